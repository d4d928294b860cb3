package scheduler

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// seen is what a watch made of the clocks.
type seen struct{ slept, stepped time.Duration }

func (w *watch) seen() seen {
	w.sleeps()
	return seen{time.Duration(w.slept.Load()), time.Duration(w.stepped.Load())}
}

// A machine that cannot tell for a moment how long it was suspended is asked
// again later, and the wall clock is not taken for the answer.
func TestWatchKeepsWhatItKnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, blind := newFakeClock(), false
		c := fake.clock()
		suspended := c.suspended
		c.suspended = func() (time.Duration, bool) {
			if blind {
				return 0, false
			}
			return suspended()
		}
		fake.sleep(time.Hour) // before
		w := newWatch(c)
		blind = true
		fake.sleep(8 * time.Hour)
		fake.set(2 * time.Hour)
		if got := w.seen(); got != (seen{}) {
			t.Errorf("%+v while nothing is known", got)
		}
		blind = false
		for range 2 {
			if got := w.seen(); got != (seen{8 * time.Hour, 2 * time.Hour}) {
				t.Errorf("%+v afterwards", got)
			}
		}

		blind = true
		w = newWatch(c)
		blind = false // the first answer is no more than a beginning
		for range 2 {
			if got := w.seen(); got != (seen{}) {
				t.Errorf("%+v after a beginning without an answer", got)
			}
		}
		fake.sleep(time.Minute)
		if got := w.seen(); got != (seen{time.Minute, 0}) {
			t.Errorf("%+v after another minute", got)
		}
	})
}

// stoppedClock is a wall clock at whose reading the process is stopped for a
// minute so many times, by turns before and after it.
func stoppedClock(stops *int) *clock {
	c := newFakeClock().clock()
	c.suspended = func() (time.Duration, bool) { return 0, false }
	c.wall = func() time.Time {
		at := time.Now()
		if *stops > 0 {
			*stops--
			wait(time.Minute)
			if *stops%2 == 0 {
				at = time.Now()
			}
		}
		return at
	}
	return c
}

func TestAStopBetweenTheClocksIsNoStep(t *testing.T) {
	for _, stops := range []int{1, tries, 2*tries - 1} {
		synctest.Test(t, func(t *testing.T) {
			left := 0
			w := newWatch(stoppedClock(&left))
			left = stops
			for range 3 {
				if got := w.seen(); got != (seen{}) {
					t.Errorf("%d stops: %+v", stops, got)
				}
			}
			if left != 0 {
				t.Errorf("%d of %d stops are left", left, stops)
			}
		})
	}
}

func TestAStopBetweenTheClocksDoesNotMoveTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 0
		l := newLoop(LoopOptions{Sink: nothing{}}, stoppedClock(&left))
		for _, stops := range []int{1, tries, 2 * tries} {
			left = stops
			before := time.Now()
			l.turn()
			if l.ahead != 0 || left != 0 {
				t.Errorf("the wall clock is ahead by %v, %d stops are left", time.Duration(l.ahead), left)
			}
			if l.now() != time.Now().UnixNano() || time.Since(before) != time.Duration(stops)*time.Minute {
				t.Errorf("the timeline is at %v after %v", time.Unix(0, l.now()).UTC(), time.Since(before))
			}
		}
	})
}

// The second run after an idle time must not take that for a stall, however
// close behind the first it begins.
func TestIdleTimeIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(newFakeClock().clock())
		wait(time.Hour)
		w.mu.Lock() // the first is held up before it can set the last look
		first := make(chan struct{})
		go func() {
			defer close(first)
			w.begin()
		}()
		for range 1000 {
			runtime.Gosched()
		}
		if n := w.running.Load(); n != 0 {
			t.Errorf("%d in flight, and the last look is that of an hour ago", n)
		}
		w.mu.Unlock()
		m := w.begin()
		if stalled, _, _ := w.since(m); stalled != 0 {
			t.Errorf("the second was held up for %v", stalled)
		}
		<-first
		w.end()
		w.end()
		if n := w.running.Load(); n != 0 {
			t.Errorf("%d in flight at the end", n)
		}
	})
}
