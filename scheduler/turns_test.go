package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// TestEachHasItsTurn has runs beside others that take all that is there all the
// time: none is passed by without end.
func TestEachHasItsTurn(t *testing.T) {
	refused := func(d time.Duration) probeFunc {
		return func(ctx context.Context) check.Observation {
			takes(d)(ctx)
			return failure(check.ConnectRefused, "no")
		}
	}
	like := check.Check{ID: "the", Kind: "a", Host: "one", Interval: 10 * time.Second, Timeout: 5 * time.Second}
	with := func(p check.Probe, n int, id, kind, host string) []*check.Check {
		c := like
		c.ID, c.Kind, c.Host, c.Probe = id, kind, host, p
		return many(n, c)
	}
	wideOne := wide{most: 8, n: always(8), part: takes(time.Second)}
	for name, tc := range map[string]struct {
		limits Limits
		checks []*check.Check
	}{
		"wide among checks that are down": {
			Limits{InFlight: 8},
			append(with(wideOne, 1, "the", "a", "one"), with(refused(4*time.Second), 50, "down", "a", "one")...),
		},
		"wide among those of its kind that are down": {
			Limits{Kinds: map[string]int{"a": 8}},
			append(with(wideOne, 1, "the", "a", "one"), with(refused(4*time.Second), 50, "down", "a", "one")...),
		},
		"down among those of its kind that are not": {
			Limits{Kinds: map[string]int{"a": 2}},
			append(with(refused(0), 1, "the", "a", "one"), with(takes(4*time.Second), 50, "up", "a", "one")...),
		},
		"of a host and of a kind that have others": {
			Limits{PerHost: 3, Kinds: map[string]int{"a": 3}},
			append(with(takes(time.Second), 1, "the", "a", "one"),
				append(with(takes(3700*time.Millisecond), 40, "host", "b", "one"), with(takes(4300*time.Millisecond), 40, "kind", "a", "two")...)...),
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := startLoop(t, LoopOptions{Limits: tc.limits}, tc.checks...)
				wait(30 * time.Minute)
				runs := byID(l.end(t))["the0"]
				if len(runs) < 15 {
					t.Errorf("%d runs in 30 minutes", len(runs))
				}
			})
		})
	}
}

// TestReplacedWhileItRuns has a run tell of its parts when another check has its
// place, of which nothing is known.
func TestReplacedWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := check.Check{ID: "a", Interval: 10 * time.Second, Timeout: 5 * time.Second}
		after := before
		before.Retry = check.Retry{Attempts: 2, Wait: time.Second}
		before.Probe = wide{most: 3, n: always(3), part: probeFunc(func(context.Context) check.Observation { return failure(check.ConnectRefused, "no") })}
		after.Probe = wide{most: 64, n: always(10), part: takes(0)}
		l := startLoop(t, LoopOptions{}, &before)
		for l.Stats().InFlight == 0 {
			wait(100 * time.Millisecond)
		}
		l.Replace([]*check.Check{&after})
		wait(2 * time.Second) // its second attempt tells
		l.mu.Lock()
		if n := l.byID["a"].width; n != 64 {
			t.Errorf("%d places for the next run, want 64", n)
		}
		l.mu.Unlock()
		l.end(t)
	})
}

// TestQueuesGoByAge puts what has waited elsewhere where it belongs.
func TestQueuesGoByAge(t *testing.T) {
	var q fifo
	for i := range 200 { // more than are kept at the front
		q.push(&entry{due: int64(i)})
		if i%2 == 0 {
			q.pop()
		}
	}
	for _, due := range []int64{150, 3, 500, 199, 3} {
		q.push(&entry{due: due, seq: 1})
	}
	n, last := q.len(), &entry{}
	for e := q.pop(); e != nil; e = q.pop() {
		if n--; e.due < last.due || e.due == last.due && e.seq < last.seq {
			t.Errorf("%d comes after %d", e.due, last.due)
		}
		last = e
	}
	if n != 0 {
		t.Errorf("%d are not there", n)
	}
}
