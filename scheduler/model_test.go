package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// chance makes checks, limits and moments by a seed.
type chance struct {
	mu sync.Mutex
	*rand.Rand
}

func (c *chance) upTo(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.IntN(n)
}

func (c *chance) among(list ...time.Duration) time.Duration { return list[c.upTo(len(list))] }

// limits has each limit or not.
func (c *chance) limits() Limits {
	l := Limits{InFlight: 4 + c.upTo(30), Kinds: map[string]int{}}
	if c.upTo(3) > 0 {
		l.PerHost = 1 + c.upTo(8)
	}
	if c.upTo(3) == 0 {
		l.PerHostRate = float64(1 + c.upTo(20))
	}
	for i := range 3 {
		l.Kinds[fmt.Sprint("kind", i)] = c.upTo(9)
	}
	return l
}

// probe is one that fails at times, of one part or of several.
func (c *chance) probe() check.Probe {
	one := probeFunc(func(ctx context.Context) check.Observation {
		o := takes(c.among(0, 10*time.Millisecond, time.Second, time.Minute))(ctx)
		switch c.upTo(9) {
		case 0:
			return failure(check.ConnectRefused, "no")
		case 1:
			return failure(check.LocalFD, "too many open files")
		}
		return o
	})
	if c.upTo(2) == 0 {
		return one
	}
	return wide{most: 1 + c.upTo(12), n: func() int { return c.upTo(9) }, part: one}
}

// checks are some of sixty, a few of which have another kind, host or probe each time.
func (c *chance) checks() []*check.Check {
	var list []*check.Check
	for i := range 60 {
		if c.upTo(8) == 0 {
			continue
		}
		one := &check.Check{
			ID: fmt.Sprint(i), Kind: fmt.Sprint("kind", i%4), Host: fmt.Sprint("host", i%5),
			Interval: time.Duration(1+i%7) * 3 * time.Second, Timeout: 2 * time.Second, Probe: c.probe(),
		}
		if c.upTo(10) == 0 {
			one.Kind, one.Host = fmt.Sprint("kind", c.upTo(4)), fmt.Sprint("host", c.upTo(5))
		}
		switch i % 6 {
		case 0:
			one.Retry = check.Retry{Attempts: 2, Wait: 100 * time.Millisecond}
		case 1:
			one.Samples = check.Samples{Count: 3}
		}
		list = append(list, one)
	}
	return list
}

// TestPlacesAddUp has runs of any width under any limits while checks come, go and
// change: at each moment the places taken are those that runs hold, nobody waits
// where there is room, and at the end all are free.
func TestPlacesAddUp(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &chance{Rand: rand.New(rand.NewPCG(seed, 0))}
				l := startLoop(t, LoopOptions{Limits: c.limits()}, c.checks()...)
				for range 400 {
					wait(time.Duration(c.upTo(700)) * time.Millisecond)
					synctest.Wait()
					l.addsUp(t)
					if c.upTo(20) == 0 {
						l.Replace(c.checks())
						l.addsUp(t)
					}
				}
				if seed%2 == 0 { // the others end with runs that wait
					l.Replace(nil)
					wait(10 * time.Minute)
					l.addsUp(t)
					if s := l.Stats(); s.InFlight != 0 || s.Waiting != 0 || len(l.leaving) != 0 && l.busyAmong(l.leaving) > 0 {
						t.Errorf("nothing is to run: %+v, %d leave", s, len(l.leaving))
					}
				}
				l.end(t)
				l.addsUp(t)
			})
		})
	}
}

func (r *running) busyAmong(entries map[string]*entry) (n int) {
	for _, e := range entries {
		if e.place == busy {
			n++
		}
	}
	return n
}

// addsUp compares the places that are taken with those that entries hold.
func (r *running) addsUp(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	all, waiting := pool{}, map[*entry]bool{}
	kinds, hosts := map[*pool]*pool{}, map[*host]int{}
	for _, k := range r.kinds {
		kinds[k] = &pool{}
	}
	note := func(q *fifo) {
		for i, e := range q.items[q.head:] {
			if waiting[e] || e.place != busy {
				t.Errorf("%s waits twice, or is not busy: %d", e.check.ID, e.place)
			}
			if i > 0 && q.items[q.head+i-1].due > e.due {
				t.Errorf("%s waits behind one that was due later", e.check.ID)
			}
			waiting[e] = true
		}
	}
	queues := []*fifo{&r.all.healthy, &r.all.down}
	for _, k := range r.kinds {
		queues = append(queues, &k.healthy, &k.down)
	}
	for _, known := range []map[string]*entry{r.byID, r.leaving} {
		for _, e := range known {
			for _, h := range []*host{e.host, e.heldHost} {
				if _, ok := hosts[h]; h != nil && !ok {
					hosts[h] = 0
					queues = append(queues, &h.waiting)
				}
			}
		}
	}
	for _, q := range queues {
		note(q)
	}
	for _, known := range []map[string]*entry{r.byID, r.leaving} {
		for _, e := range known {
			if e.heldHost != nil {
				hosts[e.heldHost] += e.held
			}
			if e.heldKind != nil {
				kinds[e.heldKind].enter(e.held, e.suspect)
			}
			if e.place == busy && !waiting[e] {
				all.enter(e.held, e.suspect)
			}
			if e.place != busy && e.held != 0 {
				t.Errorf("%s holds %d places and is not busy", e.check.ID, e.held)
			}
		}
	}
	r.compare(t, "all", &r.all, &all)
	for name, k := range r.kinds {
		r.compare(t, name, k, kinds[k])
	}
	for h, n := range hosts {
		if h.inFlight != n {
			t.Errorf("%d places taken at a host, runs hold %d", h.inFlight, n)
		}
		first := h.waiting.first()
		if !r.stopping && first != nil && h.inFlight == 0 {
			t.Errorf("%s waits for a host that has all places free", first.check.ID)
		}
	}
	if r.stats.Waiting != len(waiting) {
		t.Errorf("%d wait, %d say the stats", len(waiting), r.stats.Waiting)
	}
}

func (r *running) compare(t *testing.T, name string, got, want *pool) {
	t.Helper()
	if got.inFlight != want.inFlight || got.suspects != want.suspects {
		t.Errorf("%s: %d places taken, %d by checks that are down; runs hold %d and %d", name, got.inFlight, got.suspects, want.inFlight, want.suspects)
	}
	if !r.stopping && got.inFlight == 0 && got.healthy.len()+got.down.len() > 0 {
		t.Errorf("%s: some wait, and all places are free", name)
	}
}
