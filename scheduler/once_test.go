package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// probeFunc is a probe made of a function.
type probeFunc func(ctx context.Context) check.Observation

func (f probeFunc) Observe(ctx context.Context) check.Observation { return f(ctx) }

func failure(code check.Code, message string) check.Observation {
	return check.Observation{Failure: check.Reason{Code: code, Message: message}}
}

// takes observes without fault after d, or fails as a probe must when ctx ends.
func takes(d time.Duration) probeFunc {
	return func(ctx context.Context) check.Observation {
		select {
		case <-time.After(d):
			return check.Observation{Latency: d}
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return failure(check.ConnectTimeout, "no answer in time")
			}
			return failure(check.LocalShutdown, "cancelled")
		}
	}
}

func wait(d time.Duration) { <-time.After(d) }

// inTurn observes the first, the second ... of the list, and then the last.
func inTurn(list ...check.Observation) probeFunc {
	n := -1
	return func(context.Context) check.Observation {
		n = min(n+1, len(list)-1)
		return list[n]
	}
}

// memory is a sink that keeps results, and notices concurrent use.
type memory struct {
	mu      sync.Mutex
	results []check.Result
	err     error
}

func (m *memory) Put(r check.Result) error {
	if !m.mu.TryLock() {
		panic("Put is called concurrently")
	}
	defer m.mu.Unlock()
	m.results = append(m.results, r)
	return m.err
}

func (m *memory) Close() error { panic("the scheduler closed the sink") }

func once(t *testing.T, ctx context.Context, o *Once, checks ...*check.Check) []check.Result {
	t.Helper()
	var sink memory
	if err := o.Run(ctx, checks, &sink); err != nil {
		t.Fatal(err)
	}
	if len(sink.results) != len(checks) {
		t.Fatalf("%d results for %d checks", len(sink.results), len(checks))
	}
	return sink.results
}

func TestOnceRunsEachCheckOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most, started := 0, 0, 0
		var checks []*check.Check
		for i := range 50 {
			probe := takes(time.Duration(i+1) * time.Millisecond)
			checks = append(checks, &check.Check{ID: fmt.Sprint(i), Timeout: time.Second, Probe: probeFunc(func(ctx context.Context) check.Observation {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				defer func() { mu.Lock(); running--; mu.Unlock() }()
				return probe(ctx)
			})})
		}
		begin := time.Now()
		stage := func(r check.Result) check.Result { r.Origin = "here"; return r }
		o := &Once{Concurrency: 7, Stages: []check.Stage{stage}, OnStart: func(*check.Check) { mu.Lock(); started++; mu.Unlock() }}
		results := once(t, t.Context(), o, checks...)
		if most != 7 || started != 50 {
			t.Errorf("%d at once and %d started, want 7 and 50", most, started)
		}
		seen := map[string]bool{}
		for _, r := range results {
			if seen[r.ID] || r.Verdict != check.Up || r.Attempts != 1 || r.Flaky || r.Origin != "here" {
				t.Errorf("%+v", r)
			}
			if !r.Scheduled.Equal(begin) || r.Queued != r.Started.Sub(begin) {
				t.Errorf("scheduled %v, started %v, queued %v", r.Scheduled, r.Started, r.Queued)
			}
			seen[r.ID] = true
		}
	})
}

func TestOnceWithNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { once(t, t.Context(), &Once{}) })
}

func TestRetries(t *testing.T) {
	down := failure(check.ConnectRefused, "refused")
	retry := check.Retry{Attempts: 3, Wait: 100 * time.Millisecond, Factor: 2}
	for _, tc := range []struct {
		name     string
		probe    check.Probe
		retry    check.Retry
		verdict  check.Verdict
		attempts int
		flaky    bool
		failed   []check.Code
		took     time.Duration
	}{
		{"up at once", inTurn(check.Observation{}), retry, check.Up, 1, false, nil, 0},
		{"up at the second", inTurn(down, check.Observation{}), retry, check.Up, 2, true, []check.Code{check.ConnectRefused}, 100 * time.Millisecond},
		{"never up", inTurn(down), retry, check.Down, 3, false, []check.Code{check.ConnectRefused, check.ConnectRefused}, 300 * time.Millisecond},
		{"no retry", inTurn(down, check.Observation{}), check.Retry{}, check.Down, 1, false, nil, 0},
		{"a fault of ours is tried again and is not flaky", inTurn(failure(check.LocalFD, "x"), check.Observation{}), retry, check.Up, 2, false, []check.Code{check.LocalFD}, 100 * time.Millisecond},
		{"a shutdown is final", inTurn(failure(check.LocalShutdown, "x")), retry, check.Unknown, 1, false, nil, 0},
		{"timeouts", takes(time.Hour), retry, check.Down, 3, false, []check.Code{check.ConnectTimeout, check.ConnectTimeout}, 3*time.Second + 300*time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				r := once(t, t.Context(), &Once{}, &check.Check{Timeout: time.Second, Retry: tc.retry, Probe: tc.probe})[0]
				var failed []check.Code
				for _, f := range r.Failed {
					failed = append(failed, f.Code)
				}
				if diff := cmp.Diff(tc.failed, failed); diff != "" {
					t.Errorf("failed attempts (-want +got):\n%s", diff)
				}
				if r.Verdict != tc.verdict || r.Attempts != tc.attempts || r.Flaky != tc.flaky || time.Since(begin) != tc.took {
					t.Errorf("%s after %d attempts and %v, flaky %t, reason %v", r.Verdict, r.Attempts, time.Since(begin), r.Flaky, r.Reason)
				}
			})
		})
	}
}

func TestDegradedAfterAFailureIsFlaky(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &check.Check{Retry: check.Retry{Attempts: 2}, Probe: inTurn(failure(check.ConnectReset, "reset"), check.Observation{})}
		c.Expectations = []check.Expectation{{Level: check.Prefer, Test: never{}}}
		if r := once(t, t.Context(), &Once{}, c)[0]; r.Verdict != check.Degraded || !r.Flaky {
			t.Errorf("%s, flaky %t", r.Verdict, r.Flaky)
		}
	})
}

// never is a test that does not hold.
type never struct{}

func (never) Facts() []string                             { return []string{"latency"} }
func (never) Eval(func(string) (any, bool)) check.Outcome { return check.Outcome{Fact: "latency"} }

func TestPanicIsOneUnknownResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := probeFunc(func(context.Context) check.Observation { panic("secret-canary went wrong\nsecond line") })
		results := once(t, t.Context(), &Once{Concurrency: 1},
			&check.Check{ID: "bad", Probe: boom, Mask: check.NewMask("secret-canary")}, &check.Check{ID: "good", Probe: takes(1)})
		r := results[0]
		if r.Verdict != check.Unknown || r.Reason.Code != check.LocalPanic || !strings.HasSuffix(r.Reason.Message, "panic: *** went wrong") || r.ID != "bad" {
			t.Errorf("%+v", r)
		}
		if results[1].Verdict != check.Up {
			t.Errorf("the other check: %+v", results[1])
		}
	})
}

func TestCancelledRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(500*time.Millisecond, func() { cancel(errors.New("interrupted by the user")) })
		stubborn := probeFunc(func(ctx context.Context) check.Observation {
			<-ctx.Done()
			return failure(check.ConnectReset, "takes the interruption for the target's fault")
		})
		slow := check.Retry{Attempts: 2, Wait: time.Hour}
		results := once(t, ctx, &Once{Concurrency: 4},
			&check.Check{ID: "done", Probe: takes(time.Millisecond)},
			&check.Check{ID: "running", Probe: takes(time.Hour), Timeout: time.Hour},
			&check.Check{ID: "stubborn", Probe: stubborn, Timeout: time.Hour},
			&check.Check{ID: "waiting to retry", Probe: inTurn(failure(check.ConnectRefused, "refused")), Retry: slow},
			&check.Check{ID: "running too", Probe: takes(time.Hour), Timeout: time.Hour},
			&check.Check{ID: "not begun", Probe: takes(1)},
		)
		got := map[string]string{}
		for _, r := range results {
			got[r.ID] = fmt.Sprintf("%s %s %d: %s", r.Verdict, r.Reason.Code, r.Attempts, r.Reason.Message)
		}
		want := map[string]string{
			"done":             "up  1: ",
			"running":          "unknown local.shutdown 1: cut short: interrupted by the user",
			"running too":      "unknown local.shutdown 1: cut short: interrupted by the user",
			"stubborn":         "unknown local.shutdown 1: cut short: interrupted by the user",
			"waiting to retry": "unknown local.shutdown 1: cut short before attempt 2: interrupted by the user; attempt 1: refused",
			"not begun":        "unknown local.shutdown 0: not begun: interrupted by the user",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
	})
}

// The deadline of the whole run must not look like the target's timeout.
func TestDeadlineOfTheRunIsNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		probe := probeFunc(func(ctx context.Context) check.Observation {
			// A probe sets this deadline on its connection.
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != 10*time.Second {
				t.Errorf("the probe's deadline is in %v, want the check's timeout", time.Until(at))
			}
			return takes(time.Hour)(ctx)
		})
		r := once(t, ctx, &Once{}, &check.Check{Probe: probe, Timeout: 10 * time.Second})[0]
		if r.Verdict != check.Unknown || r.Reason.Code != check.LocalShutdown || r.Reason.Message != "cut short: the time for the whole run is over" {
			t.Errorf("%s %+v", r.Verdict, r.Reason)
		}
	})
}

func TestAlreadyCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, r := range once(t, ctx, &Once{}, &check.Check{Probe: takes(0)}, &check.Check{Probe: takes(0)}) {
			if r.Verdict != check.Unknown || r.Attempts != 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestSinkErrorIsReturnedAndTheRestIsPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{err: errors.New("disk full")}
		err := (&Once{}).Run(t.Context(), []*check.Check{{Probe: takes(1)}, {Probe: takes(2)}}, sink)
		if err == nil || err.Error() != "disk full" || len(sink.results) != 2 {
			t.Errorf("error %v after %d results", err, len(sink.results))
		}
	})
}

// A13: out of descriptors, fewer probes run at once.
func TestConcurrencyDropsWithoutDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running := 0
		short := 0
		probe := probeFunc(func(context.Context) check.Observation {
			mu.Lock()
			running++
			bad := running > 8 // the machine has eight descriptors
			if bad {
				short++
			}
			mu.Unlock()
			wait(10 * time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
			if bad {
				return failure(check.LocalFD, "too many open files")
			}
			return check.Observation{}
		})
		var checks []*check.Check
		for range 500 {
			checks = append(checks, &check.Check{Probe: probe})
		}
		for _, r := range once(t, t.Context(), &Once{Concurrency: 64}, checks...) {
			if r.Verdict == check.Down {
				t.Errorf("%+v", r)
			}
		}
		if short > 200 {
			t.Errorf("%d of 500 found no descriptor, the concurrency did not drop", short)
		}
	})
}

func TestStallsExcuseFailures(t *testing.T) {
	const timeout = time.Second
	down := func(code check.Code) check.Observation { return failure(code, "what the probe saw") }
	for _, tc := range []struct {
		name   string
		during func(*fakeClock) // what happens while the probe waits
		seen   check.Observation
		want   check.Code
	}{
		{"nothing", func(*fakeClock) {}, down(check.ConnectTimeout), check.ConnectTimeout},
		{"suspended", func(c *fakeClock) { c.sleep(8 * time.Hour) }, down(check.ConnectReset), check.LocalSuspended},
		{"suspended but up", func(c *fakeClock) { c.sleep(8 * time.Hour) }, check.Observation{}, ""},
		{"the clock is set forward", func(c *fakeClock) { c.set(time.Hour) }, down(check.ConnectReset), check.ConnectReset},
		{"the clock is set back", func(c *fakeClock) { c.set(-time.Hour) }, down(check.ConnectReset), check.ConnectReset},
		{"the clock is set and a certificate expires", func(c *fakeClock) { c.set(time.Hour) }, down(check.TLSExpired), check.LocalClock},
		{"a clock that is adjusted slowly", func(c *fakeClock) { c.set(time.Millisecond) }, down(check.TLSExpired), check.TLSExpired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFakeClock()
				probe := probeFunc(func(context.Context) check.Observation {
					wait(timeout / 2)
					tc.during(fake)
					wait(timeout / 2)
					return tc.seen
				})
				r := once(t, t.Context(), &Once{clock: fake.clock()}, &check.Check{Timeout: timeout, Probe: probe})[0]
				if r.Reason.Code != tc.want {
					t.Errorf("%s %+v, want %s", r.Verdict, r.Reason, tc.want)
				}
				if r.Verdict == check.Down && tc.want.Local() || r.Verdict == check.Unknown && !tc.want.Local() {
					t.Errorf("verdict %s with %s", r.Verdict, r.Reason.Code)
				}
			})
		})
	}
}

// fakeClock is a clock whose machine can be suspended and set.
type fakeClock struct {
	mu           sync.Mutex
	offset, rest time.Duration
}

func newFakeClock() *fakeClock { return &fakeClock{} }

func (f *fakeClock) sleep(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offset, f.rest = f.offset+d, f.rest+d
}

func (f *fakeClock) set(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offset += d
}

func (f *fakeClock) clock() *clock {
	return &clock{
		wall: func() time.Time {
			f.mu.Lock()
			defer f.mu.Unlock()
			return time.Now().Add(f.offset)
		},
		suspended: func() (time.Duration, bool) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.rest, true
		},
	}
}

// A process that is stopped sees one beat come late. Fake time cannot stop a
// process, so the watch is told of a last look that lies further back.
func TestWatchNoticesAStoppedProcess(t *testing.T) {
	for _, tc := range []struct {
		held time.Duration
		code check.Code
		want check.Code
	}{
		{30 * time.Millisecond, check.ConnectTimeout, check.ConnectTimeout},
		{time.Second, check.ConnectTimeout, check.LocalOverload},
		{time.Second, check.ConnectRefused, check.ConnectRefused},
		{time.Minute, check.ConnectRefused, check.LocalSuspended},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMeter(newFakeClock().clock())
			var r check.Result
			m.run(t.Context(), &check.Check{Timeout: time.Second, Probe: probeFunc(func(context.Context) check.Observation {
				m.watch.mu.Lock()
				m.watch.last -= tc.held + beat
				m.watch.mu.Unlock()
				return failure(tc.code, "what the probe saw")
			})}, &r)
			if r.Reason.Code != tc.want {
				t.Errorf("held up for %v: %s %+v, want %s", tc.held, r.Verdict, r.Reason, tc.want)
			}
		})
	}
}

func TestProbeThatReturnsLateIsOurFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := probeFunc(func(context.Context) check.Observation {
			wait(3 * time.Second)
			return failure(check.ConnectTimeout, "no answer")
		})
		r := once(t, t.Context(), &Once{}, &check.Check{Timeout: time.Second, Probe: late})[0]
		if r.Verdict != check.Unknown || r.Reason.Code != check.LocalOverload {
			t.Errorf("%s %+v", r.Verdict, r.Reason)
		}
	})
}

func TestSuspendedReadsTheSystem(t *testing.T) {
	if d, known := suspended(); known && d < -time.Second {
		t.Errorf("suspended for %v", d)
	}
}
