package scheduler

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// reloaded returns the checks of the n-th version of a file: 300 that stay as
// they are, 100 that change each time, 100 that come and go. As after a reload,
// none is the same object as before.
func reloaded(n int) []*check.Check {
	checks := many(300, check.Check{ID: "same", Kind: "tcp", Host: "one", Interval: time.Second, Timeout: 500 * time.Millisecond, Probe: takes(20 * time.Millisecond)})
	intervals := []time.Duration{time.Second, 700 * time.Millisecond, 2 * time.Second}
	changing := check.Check{ID: "changing", Kind: fmt.Sprint("kind", n%2), Host: fmt.Sprint("host", n%3), Interval: intervals[n%3], Probe: takes(30 * time.Millisecond)}
	checks = append(checks, many(100, changing)...)
	for i, c := range many(100, check.Check{ID: "passing", Interval: time.Second, Probe: takes(300 * time.Millisecond)}) {
		if (i+n)%4 > 0 {
			checks = append(checks, c)
		}
	}
	return checks
}

// Reloads at a few hundred runs a second, of which many are under way then,
// lose no run of what stays as it is.
func TestReloadsLoseNoRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{PerHost: 200, Kinds: map[string]int{"tcp": 250, "kind0": 50}}
		begin := time.Now()
		l := startLoop(t, LoopOptions{Limits: limits}, reloaded(0)...)
		for n := range 1000 {
			wait(37 * time.Millisecond)
			l.Replace(reloaded(n))
		}
		wait(3 * time.Second)
		lasted := time.Since(begin)
		runs := byID(l.end(t))
		for i := range 300 {
			id := fmt.Sprint("same", i)
			if n, want := len(runs[id]), int(lasted/time.Second); n < want-1 || n > want+1 {
				t.Errorf("%s ran %d times in %d s", id, n, want)
			}
			for i, r := range runs[id] {
				if r.Seq != uint64(i+1) || r.Missed != 0 || r.Queued > time.Millisecond || r.Verdict != check.Up {
					t.Errorf("%s, run %d: seq %d, %d missed, queued %v, %v", id, i, r.Seq, r.Missed, r.Queued, r.Reason)
				}
				if i > 0 && r.Scheduled.Sub(runs[id][i-1].Scheduled).Round(2*time.Millisecond) != time.Second {
					t.Errorf("%s: %v after %v", id, r.Scheduled, runs[id][i-1].Scheduled)
				}
			}
		}
		for id, all := range runs { // nor is one counted twice of those that change
			for i, r := range all {
				if id[0] == 'c' && r.Seq != uint64(i+1) {
					t.Errorf("%s, run %d: seq %d", id, i, r.Seq)
				}
			}
		}
		if s := l.Stats(); s.Missed != 0 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}
