package scheduler

import (
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// TestDueTogether has two runs that were due at the same nanosecond wait for one
// host: the first goes on, and the second after it.
func TestDueTogether(t *testing.T) {
	for name, kind := range map[string]*pool{"no kind": nil, "kind": {limit: 9}} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(LoopOptions{Limits: Limits{PerHost: 1}}, newFakeClock().clock())
			h := new(host)
			for range 2 {
				e := newEntry(&check.Check{Kind: "tcp", Host: "h"})
				e.host, e.kind, e.due, e.interval, e.place = h, kind, 1, 1e9, busy
				l.wait(e, &h.waiting)
			}
			l.fillHost(h, 2)
			if h.inFlight != 1 || l.all.healthy.len() != 1 || h.waiting.len() != 1 {
				t.Fatalf("%d hold the host, %d may begin, %d wait", h.inFlight, l.all.healthy.len(), h.waiting.len())
			}
			l.release(l.pop(&l.all.healthy, 3), 3)
			if h.inFlight != 1 || l.all.healthy.len() != 1 || h.waiting.len() != 0 {
				t.Errorf("then %d hold the host, %d may begin, %d wait", h.inFlight, l.all.healthy.len(), h.waiting.len())
			}
		})
	}
}
