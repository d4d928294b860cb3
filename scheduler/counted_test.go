package scheduler

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// wide is a probe of n parts, of which it says before that they may be most.
type wide struct {
	parts
	most int
	n    func() int
	part check.Probe
}

func (w wide) Footprint() check.Footprint { return check.Footprint{AtOnce: w.most} }

func (w wide) Spread(ctx context.Context) check.Spread {
	var s check.Spread
	for i := range w.n() {
		s.Parts = append(s.Parts, check.SpreadPart{Name: fmt.Sprint(i), Probe: w.part})
	}
	s.Need = len(s.Parts)
	return s
}

// crowd counts the probes that are under way.
type crowd struct {
	mu        sync.Mutex
	now, most int
}

// during returns a probe that is among the crowd for d.
func (c *crowd) during(d time.Duration) probeFunc {
	enter := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now += n
		c.most = max(c.most, c.now)
	}
	return func(ctx context.Context) check.Observation {
		enter(+1)
		defer enter(-1)
		return takes(d)(ctx)
	}
}

func always(n int) func() int { return func() int { return n } }

// TestLimitsCountProbes has runs of several probes beside those of one. No limit is
// exceeded, and those of many probes have their turn though there is always
// something smaller that would fit.
func TestLimitsCountProbes(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		most   int
	}{
		"in all":   {Limits{InFlight: 10}, 10},
		"per host": {Limits{PerHost: 10}, 10},
		"kind":     {Limits{Kinds: map[string]int{"tcp": 10}}, 10},
		"alone":    {Limits{InFlight: 3}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c crowd
				like := check.Check{Kind: "tcp", Host: "h", Interval: 10 * time.Second, Timeout: time.Minute}
				eight, one := like, like
				eight.ID, eight.Probe = "eight", wide{most: 64, n: always(8), part: c.during(time.Second)}
				one.ID, one.Probe = "one", c.during(2*time.Second)
				l := startLoop(t, LoopOptions{Limits: tc.limits}, append(many(2, eight), many(45, one)...)...)
				wait(5 * time.Minute)
				runs := byID(l.end(t))
				if c.most > tc.most {
					t.Errorf("%d probes at once, want %d at most", c.most, tc.most)
				}
				if c.now != 0 {
					t.Errorf("%d probes under way at the end", c.now)
				}
				for id, least := range map[string]int{"eight0": 8, "eight1": 8, "one0": 8} {
					if n := len(runs[id]); n < least {
						t.Errorf("%d runs of %s in five minutes", n, id)
					}
				}
			})
		})
	}
}

// TestRateCountsProbes lets as many probes begin as the rate says.
func TestRateCountsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check.Check{ID: "a", Host: "h", Interval: 10 * time.Second, Probe: wide{most: 4, n: always(4), part: takes(0)}}
		l := startLoop(t, LoopOptions{Limits: Limits{PerHostRate: 2}}, many(20, c)...)
		wait(10 * time.Minute)
		if n := len(l.end(t)); n < 290 || n > 301 {
			t.Errorf("%d runs of 4 probes in 600 s at 2 probes a second", n)
		}
	})
}

// TestWidthIsLearned takes the most that there can be for the first run's, and then
// what the run before had; a check that others take the place of keeps it.
func TestWidthIsLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addresses := 2
		one := check.Check{ID: "a", Interval: 10 * time.Second, Timeout: 5 * time.Second,
			Probe: wide{most: 64, n: func() int { return addresses }, part: takes(time.Second)}}
		l := startLoop(t, LoopOptions{}, &one)
		most := func() int {
			n := 0
			for range 10 * 60 {
				wait(100 * time.Millisecond)
				n = max(n, l.Stats().InFlight)
			}
			return n
		}
		if n := most(); n != 2 {
			t.Errorf("%d in flight, want 2", n)
		}
		width := func() int {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.byID["a"].width
		}
		again, more := one, one
		l.Replace([]*check.Check{&again})
		if n := width(); n != 2 {
			t.Errorf("%d places after a reload, want the 2 that it had", n)
		}
		addresses = 5
		if n := most(); n != 5 {
			t.Errorf("%d in flight, want 5", n)
		}
		more.Probe = wide{most: 3, n: always(3), part: takes(0)}
		l.Replace([]*check.Check{&more})
		if n := width(); n != 3 {
			t.Errorf("%d places of another probe, want 3", n)
		}
		l.end(t)
	})
}

// TestWideSuspectHasItsTurn runs a check that is down and of more probes than the
// places of such checks, beside others that leave a place free all the time, and
// never as many as it needs.
func TestWideSuspectHasItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := check.Check{ID: "down", Interval: 10 * time.Second, Timeout: 5 * time.Second,
			Probe: wide{most: 6, n: always(6), part: probeFunc(func(context.Context) check.Observation { return failure(check.ConnectRefused, "no") })}}
		busy := many(50, check.Check{ID: "busy", Interval: 10 * time.Second, Timeout: 5 * time.Second, Probe: takes(1500 * time.Millisecond)})
		l := startLoop(t, LoopOptions{Limits: Limits{InFlight: 8}}, append(busy, &down)...)
		wait(10 * time.Minute)
		if n := len(byID(l.end(t))["down"]); n < 20 {
			t.Errorf("%d runs in 10 minutes", n)
		}
	})
}
