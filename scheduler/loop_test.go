package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// running is a Loop that runs in a bubble, with all its results.
type running struct {
	*Loop
	sink *memory
	fake *fakeClock
	err  chan error
}

func startLoop(t *testing.T, o LoopOptions, checks ...*check.Check) *running {
	t.Helper()
	r := &running{sink: &memory{}, fake: newFakeClock(), err: make(chan error, 1)}
	if o.Sink == nil {
		o.Sink = r.sink
	}
	r.Loop = newLoop(o, r.fake.clock())
	r.Replace(checks)
	go func() { r.err <- r.Run(t.Context()) }()
	return r
}

// end stops the loop and returns its results.
func (r *running) end(t *testing.T) []check.Result {
	t.Helper()
	r.Stop()
	if err := <-r.err; err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.InFlight != 0 || s.Suspects != 0 || s.Outbox != 0 || s.Started != uint64(len(r.sink.results)) {
		t.Errorf("%d results, stats at the end: %+v", len(r.sink.results), s)
	}
	return r.sink.results
}

func byID(results []check.Result) map[string][]check.Result {
	m := map[string][]check.Result{}
	for _, r := range results {
		m[r.ID] = append(m[r.ID], r)
	}
	return m
}

func many(n int, c check.Check) []*check.Check {
	var all []*check.Check
	for i := range n {
		one := c
		one.ID = fmt.Sprintf("%s%d", c.ID, i)
		all = append(all, &one)
	}
	return all
}

func TestRunsAreSpreadAndPinned(t *testing.T) {
	starts := map[string]time.Duration{}
	for range 2 { // a restart gives the same phases
		synctest.Test(t, func(t *testing.T) {
			wait(17 * time.Second)
			l := startLoop(t, LoopOptions{Origin: "node"}, many(600, check.Check{ID: "check", Interval: time.Minute, Probe: takes(700 * time.Millisecond)})...)
			wait(10 * time.Minute)
			perSecond := map[int64]int{}
			for id, runs := range byID(l.end(t)) {
				if len(runs) < 9 || len(runs) > 10 {
					t.Errorf("%s ran %d times in 10 minutes", id, len(runs))
				}
				for i, r := range runs {
					if r.Seq != uint64(i+1) || r.Origin != "node" || r.Missed != 0 || r.Queued < 0 || r.Queued > time.Millisecond {
						t.Errorf("%s: %+v", id, r)
					}
					if i > 0 && r.Scheduled.Sub(runs[i-1].Scheduled).Round(2*time.Millisecond) != time.Minute {
						t.Errorf("%s drifts: %v after %v", id, r.Scheduled, runs[i-1].Scheduled)
					}
					perSecond[r.Started.Unix()]++
				}
				phase := time.Duration(runs[0].Scheduled.UnixNano() % int64(time.Minute)).Round(5 * time.Millisecond)
				if known, ok := starts[id]; ok && known != phase {
					t.Errorf("%s: phase %v, before the restart %v", id, phase, known)
				}
				starts[id] = phase
			}
			for second, n := range perSecond {
				if n > 30 { // 10 are to be expected
					t.Errorf("%d runs begin in second %d", n, second)
				}
			}
		})
	}
}

func TestACheckNeverRunsTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		busy := false
		probe := probeFunc(func(ctx context.Context) check.Observation {
			mu.Lock()
			if busy {
				t.Error("runs twice at once")
			}
			busy = true
			mu.Unlock()
			wait(25 * time.Second)
			mu.Lock()
			busy = false
			mu.Unlock()
			return check.Observation{}
		})
		l := startLoop(t, LoopOptions{}, &check.Check{ID: "slow", Interval: 10 * time.Second, Timeout: time.Minute, Probe: probe})
		wait(10 * time.Minute)
		for i, r := range l.end(t) {
			if r.Verdict != check.Up || i > 0 && r.Missed != 2 {
				t.Errorf("run %d: %+v, want two missed", i, r)
			}
		}
		if s := l.Stats(); s.Started != 20 || s.Missed < 38 || s.Missed > 40 {
			t.Errorf("%d started, %d missed", s.Started, s.Missed)
		}
	})
}

func TestFasterWhileFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		probe := probeFunc(func(context.Context) check.Observation {
			if at := time.Since(begin); at > 10*time.Minute && at < 20*time.Minute {
				return failure(check.ConnectRefused, "refused")
			}
			return check.Observation{}
		})
		l := startLoop(t, LoopOptions{}, &check.Check{ID: "a", Interval: time.Minute, IntervalFailing: 5 * time.Second, Probe: probe})
		wait(30 * time.Minute)
		down, up := 0, 0
		for _, r := range l.end(t) {
			if r.Missed != 0 {
				t.Errorf("%+v", r)
			}
			if r.Verdict == check.Down {
				down++
			} else {
				up++
			}
		}
		if down < 108 || down > 120 || up < 18 || up > 22 {
			t.Errorf("%d down and %d up", down, up)
		}
	})
}

// H1: suspended for hours, then no burst, and the gap is counted.
func TestSuspendGivesNoBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLoop(t, LoopOptions{}, many(300, check.Check{ID: "a", Interval: time.Minute, Probe: takes(time.Millisecond)})...)
		wait(5 * time.Minute)
		l.fake.sleep(8 * time.Hour)
		resumed := l.fake.clock().wall()
		wait(5 * time.Minute)
		missed, firstSecond := 0, 0
		for _, r := range l.end(t) {
			missed += r.Missed
			if d := r.Started.Sub(resumed); d >= 0 && d < time.Second {
				firstSecond++
			}
			if r.Verdict != check.Up || r.Queued > time.Second {
				t.Errorf("%+v", r)
			}
		}
		if firstSecond > 30 {
			t.Errorf("%d runs in the second after the resume", firstSecond)
		}
		if want := 300 * 8 * 60; missed < want-300 || missed > want+300 {
			t.Errorf("%d missed, want about %d", missed, want)
		}
		if s := l.Stats(); s.Suspended != 8*time.Hour || s.Stalls == 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestReplaceKeepsWhatIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(id string, interval time.Duration) *check.Check {
			return &check.Check{ID: id, Interval: interval, Probe: takes(time.Second)}
		}
		l := startLoop(t, LoopOptions{}, at("same", time.Minute), at("gone", time.Minute), at("faster", time.Minute))
		wait(10 * time.Minute)
		for range 50 { // also while runs are in flight
			l.Replace([]*check.Check{at("same", time.Minute), at("faster", 10*time.Second), at("new", time.Minute)})
			wait(700 * time.Millisecond)
		}
		wait(10*time.Minute - 35*time.Second)
		runs := byID(l.end(t))
		for i, r := range runs["same"] {
			if r.Seq != uint64(i+1) || r.Missed != 0 || i > 0 && r.Scheduled.Sub(runs["same"][i-1].Scheduled).Round(2*time.Millisecond) != time.Minute {
				t.Errorf("same: %+v", r)
			}
		}
		got := map[string]int{}
		for id, r := range runs {
			got[id] = len(r)
		}
		for id, want := range map[string]int{"same": 20, "gone": 10, "faster": 70, "new": 10} {
			if got[id] < want-1 || got[id] > want+1 {
				t.Errorf("%s ran %d times, want about %d", id, got[id], want)
			}
		}
		if s := l.Stats(); s.Checks != 3 {
			t.Errorf("%d checks", s.Checks)
		}
	})
}

// A check that is taken out and put back while it runs or waits is still one.
func TestRemovedAndPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		busy := map[int]bool{}
		var checks []*check.Check
		for i := range 20 {
			checks = append(checks, &check.Check{ID: fmt.Sprint(i), Host: fmt.Sprint(i % 3), Interval: 5 * time.Second, Timeout: time.Minute,
				Probe: probeFunc(func(context.Context) check.Observation {
					mu.Lock()
					if busy[i] {
						t.Errorf("%d runs twice at once", i)
					}
					busy[i] = true
					mu.Unlock()
					wait(12 * time.Second)
					mu.Lock()
					busy[i] = false
					mu.Unlock()
					return check.Observation{}
				})})
		}
		l := startLoop(t, LoopOptions{Limits: Limits{InFlight: 10, PerHost: 4}}, checks...)
		for i := range 600 {
			from, to := i%20, (i*7)%21
			l.Replace(checks[min(from, to):max(from, to)])
			wait(time.Duration(i%5) * 300 * time.Millisecond)
		}
		l.Replace(checks)
		before := l.Stats().Started
		wait(time.Minute)
		if n := l.Stats().Started - before; n < 40 { // ten places, twelve seconds each
			t.Errorf("%d runs in the last minute", n)
		}
		for id, runs := range byID(l.end(t)) {
			for i := range runs {
				if runs[i].Verdict != check.Up || i > 0 && runs[i].Scheduled.Before(runs[i-1].Scheduled) {
					t.Errorf("%s: %+v", id, runs[i])
				}
			}
		}
	})
}

func TestStopGivesGrace(t *testing.T) {
	for _, tc := range []struct {
		takes time.Duration
		want  check.Verdict
		after time.Duration
	}{
		{3 * time.Second, check.Up, 3 * time.Second},
		{time.Hour, check.Unknown, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := make(chan struct{}, 100)
			probe := probeFunc(func(ctx context.Context) check.Observation {
				began <- struct{}{}
				return takes(tc.takes)(ctx)
			})
			l := startLoop(t, LoopOptions{}, &check.Check{ID: "a", Interval: time.Minute, Timeout: 2 * time.Hour, Probe: probe})
			<-began
			begin := time.Now()
			results := l.end(t)
			if len(results) != 1 || results[0].Verdict != tc.want || time.Since(begin) != tc.after {
				t.Errorf("%v after %v", results, time.Since(begin))
			}
		})
	}
}

func TestEndOfTheContextCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		sink := &memory{}
		l := newLoop(LoopOptions{Sink: sink, Limits: Limits{InFlight: 2}}, newFakeClock().clock())
		l.Replace(many(10, check.Check{ID: "a", Interval: time.Second, Timeout: time.Hour, Probe: takes(time.Hour)}))
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		wait(time.Minute)
		cancel(errors.New("interrupted twice"))
		if err := <-done; err != nil || len(sink.results) != 2 {
			t.Fatalf("%v, %d results", err, len(sink.results))
		}
		for _, r := range sink.results {
			if r.Verdict != check.Unknown || r.Reason.Message != "cut short: interrupted twice" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// blocked is a sink that is stuck until it is let go.
type blocked struct {
	memory
	open chan struct{}
}

func (b *blocked) Put(r check.Result) error {
	<-b.open
	return b.memory.Put(r)
}

func TestAStuckSinkLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &blocked{open: make(chan struct{})}
		l := newLoop(LoopOptions{Sink: sink, Outbox: 10, Limits: Limits{InFlight: 5}}, newFakeClock().clock())
		l.Replace(many(50, check.Check{ID: "a", Interval: time.Second, Probe: takes(time.Millisecond)}))
		done := make(chan error)
		go func() { done <- l.Run(t.Context()) }()
		wait(time.Minute)
		s := l.Stats()
		if s.Outbox != 10 || s.OutboxWaits != 5 || s.InFlight != 5 || s.Waiting != 45 {
			t.Errorf("while stuck: %+v", s)
		}
		close(sink.open)
		wait(time.Minute)
		l.Stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for id, runs := range byID(sink.results) {
			total := 0
			for i, r := range runs {
				if total += 1 + r.Missed; r.Seq != uint64(i+1) {
					t.Errorf("%s: run %d has number %d", id, i, r.Seq)
				}
			}
			if total < 118 || total > 120 {
				t.Errorf("%s: %d slots of 120 are accounted for", id, total)
			}
		}
	})
}

func TestSinkErrorEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &memory{err: errors.New("disk full")}
		l := newLoop(LoopOptions{Sink: sink}, newFakeClock().clock())
		l.Replace(many(1, check.Check{Interval: time.Second, Probe: takes(1)}))
		done := make(chan error)
		go func() { done <- l.Run(t.Context()) }()
		wait(10*time.Second + time.Millisecond)
		l.Stop()
		if err := <-done; err == nil || err.Error() != "disk full" || l.Stats().SinkErrors < 9 {
			t.Errorf("%v, %+v", err, l.Stats())
		}
	})
}

// A week with a night's sleep each day and a clock that is set to and fro.
func TestAWeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		inFlight := map[string]bool{}
		var checks []*check.Check
		for i := range 12 {
			c := &check.Check{ID: fmt.Sprint("check", i), Interval: time.Duration(i+1) * time.Minute, Timeout: 10 * time.Second}
			takes := time.Duration(i*200) * time.Millisecond
			c.Probe = probeFunc(func(context.Context) check.Observation {
				mu.Lock()
				if inFlight[c.ID] {
					t.Errorf("%s runs twice at once", c.ID)
				}
				inFlight[c.ID] = true
				mu.Unlock()
				wait(takes)
				mu.Lock()
				inFlight[c.ID] = false
				mu.Unlock()
				return failure(check.ConnectTimeout, "always")
			})
			checks = append(checks, c)
		}
		l := startLoop(t, LoopOptions{}, checks...)
		for day := range 7 {
			wait(8 * time.Hour)
			l.fake.set(time.Duration(day-3) * time.Hour)
			wait(8*time.Hour + 123*time.Millisecond)
			l.fake.sleep(8 * time.Hour)
		}
		wait(time.Hour)
		awake, asleep := 7*(16*time.Hour+123*time.Millisecond)+time.Hour, 7*8*time.Hour
		results := l.end(t)
		for id, runs := range byID(results) {
			total, down := 0, 0
			for i, r := range runs {
				total += 1 + r.Missed
				if r.Verdict == check.Down {
					down++
				} else if r.Reason.Code != check.LocalSuspended {
					t.Errorf("%s: %s %+v", id, r.Verdict, r.Reason)
				}
				if r.Queued < 0 || r.Queued > time.Second || r.Seq != uint64(i+1) {
					t.Errorf("%s: %+v", id, r)
				}
			}
			i := slices.IndexFunc(checks, func(c *check.Check) bool { return c.ID == id })
			interval := checks[i].Interval
			if want := int((awake + asleep) / interval); total < want-2 || total > want+2 {
				t.Errorf("%s: %d slots are accounted for, want %d", id, total, want)
			}
			if want := int(awake / interval); down < want-10 || down > want+10 {
				t.Errorf("%s: %d runs, want about %d", id, down, want)
			}
		}
		if s := l.Stats(); s.Suspended != asleep || s.ClockSteps != (3+2+1+0+1+2+3)*time.Hour {
			t.Errorf("suspended for %v, the clock set by %v", s.Suspended, s.ClockSteps)
		}
	})
}

func TestHeapOrders(t *testing.T) {
	var h dueHeap
	x := uint64(1)
	for range 1000 {
		x = mix(x + 1)
		h.push(int64(x%500), &entry{due: int64(x % 500)})
	}
	h = append(h, dueItem{-1, &entry{due: -1}})
	h.order()
	last := int64(-2)
	for len(h) > 0 {
		e := h.pop()
		if e.due < last {
			t.Fatalf("%d after %d", e.due, last)
		}
		last = e.due
	}
}

func TestQueueKeepsOrder(t *testing.T) {
	var q fifo
	next := int64(0)
	for i := range int64(10_000) {
		q.push(&entry{due: i})
		if i%3 != 0 {
			if e := q.pop(); e.due != next {
				t.Fatalf("%d, want %d", e.due, next)
			}
			next++
		}
	}
	if q.len() != 10_000-int(next) || len(q.items) > 10_000 {
		t.Errorf("%d left", q.len())
	}
}
