package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// began returns when the points began, in milliseconds after the first.
func began(s *check.Sample) []int64 {
	var all []int64
	for _, p := range s.Points {
		all = append(all, p.Started.Sub(s.Points[0].Started).Milliseconds())
	}
	return all
}

// slowly observes without fault, and takes each of the times in turn.
func slowly(times ...time.Duration) probeFunc {
	n := -1
	return func(ctx context.Context) check.Observation {
		n++
		return takes(times[n%len(times)])(ctx)
	}
}

func sampled(probe check.Probe, count int, pass float64) *check.Check {
	return &check.Check{
		ID: "a", Timeout: time.Second, Probe: probe,
		Samples: check.Samples{Count: count, Spacing: 100 * time.Millisecond, Pass: pass},
	}
}

func TestSample(t *testing.T) {
	const ms = time.Millisecond
	refused, ok := failure(check.ConnectRefused, "refused"), check.Observation{}
	for _, tc := range []struct {
		name    string
		probe   check.Probe
		pass    float64
		verdict check.Verdict
		reason  string
		passed  int
		began   []int64 // in ms
		took    time.Duration
	}{
		{"from start to start", slowly(20*ms, 90*ms), 1, check.Up, "", 4, []int64{0, 100, 200, 300}, 390 * ms},
		{"never overlapping, and nothing is caught up", slowly(250*ms, 10*ms), 1, check.Up, "", 4, []int64{0, 250, 350, 600}, 610 * ms},
		{"down at once", inTurn(refused), 1, check.Down, "connect.refused: 0 of 1 passed (0%), want 100% of 4, ended early; 1 connect.refused: refused", 0, []int64{0}, 0},
		{"down when one more fails than may", inTurn(refused, ok, refused, ok), 0.75, check.Down,
			"connect.refused: 1 of 3 passed (33.3%), want 75% of 4, ended early; 2 connect.refused: refused", 1, []int64{0, 100, 200}, 200 * ms},
		{"down at the last is not early", inTurn(ok, ok, refused, refused), 0.75, check.Down,
			"connect.refused: 2 of 4 passed (50%), want 75%; 2 connect.refused: refused", 2, []int64{0, 100, 200, 300}, 300 * ms},
		{"whole when it is up for certain", inTurn(ok), 0.25, check.Up, "", 4, []int64{0, 100, 200, 300}, 300 * ms},
		{"up with a failure", inTurn(refused, ok), 0.75, check.Up, "", 3, []int64{0, 100, 200, 300}, 300 * ms},
		{"each with the timeout of the check", slowly(time.Hour), 0.5, check.Down,
			"connect.timeout: 0 of 3 passed (0%), want 50% of 4, ended early; 3 connect.timeout: no answer in time", 0, []int64{0, 1000, 2000}, 3 * time.Second},
		{"our own faults are no failures", inTurn(failure(check.LocalFD, "too many open files")), 0.5, check.Unknown,
			"local.fd: 0 of 4 could be measured (0%), want 50%; 4 local.fd: too many open files", 0, []int64{0, 100, 200, 300}, 300 * ms},
		{"a panic is one observation", probeFunc(func(context.Context) check.Observation { panic("oh") }), 0.5, check.Unknown,
			"local.panic: 0 of 4 could be measured (0%), want 50%; 4 local.panic: sonde has a defect, please report it: panic: oh", 0, []int64{0, 100, 200, 300}, 300 * ms},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				c := sampled(tc.probe, 4, tc.pass)
				c.Retry = check.Retry{Attempts: 5} // has no say
				r := once(t, t.Context(), &Once{}, c)[0]
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				reason := strings.TrimSuffix(fmt.Sprintf("%s: %s", r.Reason.Code, r.Reason.Message), ": ")
				if r.Verdict != tc.verdict || reason != tc.reason || r.Sample.Passed() != tc.passed || r.Attempts != 1 || r.Flaky {
					t.Errorf("%s %s, %d passed", r.Verdict, reason, r.Sample.Passed())
				}
				if diff := cmp.Diff(tc.began, began(r.Sample)); diff != "" {
					t.Errorf("began (-want +got):\n%s", diff)
				}
				if early := len(tc.began) < 4; r.Sample.Early != early || r.Sample.Planned != 4 || !r.Started.Equal(start) {
					t.Errorf("early %t, planned %d, started %v", r.Sample.Early, r.Sample.Planned, r.Started)
				}
			})
		})
	}
}

// over is a test over a sample: the maximum must be below a bound.
type over time.Duration

func (over) Facts() []string { return []string{"latency.max"} }
func (o over) Eval(lookup func(string) (any, bool)) check.Outcome {
	v, _ := lookup("latency.max")
	return check.Outcome{OK: v.(time.Duration) < time.Duration(o), Fact: "latency.max", Message: "too slow"}
}

// What is shown of a sample: the median and its phases, and the facts of the
// last observation with the reason of the sample.
func TestSampleShows(t *testing.T) {
	n := 0
	probe := probeFunc(func(context.Context) check.Observation {
		n++
		o := check.Observation{Latency: []time.Duration{0, 30, 1, 20, 2, 40}[n]}
		o.Phases.Add(check.PhaseWait, o.Latency)
		o.Set("n", n)
		if n == 2 || n == 4 {
			o.Failure = check.Reason{Code: check.ConnectReset, Message: "reset"}
		}
		return o
	})
	for _, tc := range []struct {
		pass  float64
		max   time.Duration
		shown int
		code  check.Code
	}{{0.5, time.Hour, 5, ""}, {0.5, 1, 5, "expect.latency.max"}, {0.8, 1, 4, check.ConnectReset}} {
		synctest.Test(t, func(t *testing.T) {
			n = 0
			c := sampled(probe, 5, tc.pass)
			c.Expectations = []check.Expectation{{Text: "latency.max < x", Test: over(tc.max), Sample: true}}
			r := once(t, t.Context(), &Once{}, c)[0]
			median := time.Duration(30)
			if tc.shown == 4 { // ended early: 30 and 20 were answered
				median = 20
			}
			if wait, _ := r.Phases.Get(check.PhaseWait); r.Latency != median || wait != median || r.Facts.Get("n") != tc.shown || r.Reason.Code != tc.code {
				t.Errorf("latency %v, phases %v, facts %v, %v", r.Latency, r.Phases, r.Facts, r.Reason)
			}
		})
	}
}

func TestSampleIsCut(t *testing.T) {
	for _, tc := range []struct {
		at     time.Duration
		points int
		want   string
	}{
		{250 * time.Millisecond, 3, "cut short after 3 of 10 observations: enough; 3 passed"}, // in a pause
		{220 * time.Millisecond, 2, "cut short after 2 of 10 observations: enough; 2 passed"}, // in an observation
		{10 * time.Millisecond, 0, "cut short after 0 of 10 observations: enough; 0 passed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(tc.at, func() { cancel(errors.New("enough")) })
			start := time.Now()
			r := once(t, ctx, &Once{}, sampled(slowly(30*time.Millisecond), 10, 1))[0]
			if r.Verdict != check.Unknown || r.Reason != (check.Reason{Code: check.LocalShutdown, Message: tc.want}) || r.Sample.Early {
				t.Errorf("%s %+v", r.Verdict, r.Reason)
			}
			if len(r.Sample.Points) != tc.points || time.Since(start) != tc.at {
				t.Errorf("%d points after %v", len(r.Sample.Points), time.Since(start))
			}
		})
	}
}

// An observation that fails while the process is held up is excused, the others
// count; a latency over the sample is excused as well.
func TestSampleStalls(t *testing.T) {
	for _, tc := range []struct {
		name  string
		pass  float64
		fails bool
		want  string
	}{
		{"one may be missing", 0.75, true, "up "},
		{"none may be missing", 1, true, "unknown local.overload"},
		{"a latency of the sample", 1, false, "unknown local.overload"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeter(newFakeClock().clock())
				n := 0
				c := sampled(probeFunc(func(context.Context) check.Observation {
					if n++; n != 2 {
						return check.Observation{Latency: time.Millisecond}
					}
					m.watch.mu.Lock()
					m.watch.last -= time.Second + beat
					m.watch.mu.Unlock()
					m.watch.look()
					if tc.fails {
						return failure(check.ConnectTimeout, "no answer")
					}
					return check.Observation{Latency: time.Second}
				}), 4, tc.pass)
				c.Expectations = []check.Expectation{{Test: over(500 * time.Millisecond), Sample: true}}
				var r check.Result
				m.run(t.Context(), c, &r)
				if got := fmt.Sprintf("%s %s", r.Verdict, r.Reason.Code); got != tc.want {
					t.Errorf("%s: %s, want %s", got, r.Reason.Message, tc.want)
				}
			})
		})
	}
}

// What the points keep of a target's words is bounded.
func TestSampleWordsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := sampled(probeFunc(func(context.Context) check.Observation {
			n++
			return failure(check.ConnectReset, fmt.Sprint(n)+strings.Repeat("x", 4000))
		}), 1000, 0.001)
		r := once(t, t.Context(), &Once{}, c)[0]
		bytes := 0
		for _, p := range r.Sample.Points {
			if bytes += len(p.Reason.Message); p.Reason.Code != check.ConnectReset {
				t.Fatalf("%+v", p)
			}
		}
		if bytes > maxWords || bytes < maxWords/2 || len(r.Sample.Points) != 1000 {
			t.Errorf("%d points with %d bytes", len(r.Sample.Points), bytes)
		}
	})
}

// In a loop a sample is one run: the next waits, and what it held up is missed.
func TestLoopSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sampled(takes(10*time.Millisecond), 15, 1) // 1.41s
		c.Interval = time.Second
		var sink memory
		l := NewLoop(LoopOptions{Sink: &sink})
		l.Replace([]*check.Check{c})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := l.Run(ctx); err != nil {
			t.Fatal(err)
		}
		missed := 0
		for i, r := range sink.results {
			missed += r.Missed
			if r.Verdict == check.Up && (len(r.Sample.Points) != 15 || r.Latency != 10*time.Millisecond) || i < 4 && r.Verdict != check.Up {
				t.Errorf("%d: %s %v with %d points", i, r.Verdict, r.Reason, len(r.Sample.Points))
			}
		}
		if len(sink.results) != 5 || missed < 4 {
			t.Errorf("%d results, %d missed", len(sink.results), missed)
		}
	})
}
