package scheduler

import (
	"sync"
	"sync/atomic"
	"time"
)

// How the process is watched.
const (
	beat      = 100 * time.Millisecond // between two looks at the clocks while something runs
	tolerance = 50 * time.Millisecond  // a beat that is later than this was held up
	leap      = time.Second            // a jump between two clocks that is larger is no noise
	wallLeap  = 10 * time.Second       // the same where only the wall clock can tell
	apart     = 10 * time.Millisecond  // clocks that are read within this are read at once
	tries     = 3                      // to read them so
)

// clock is what the watch reads besides time.Now: the parts that tests cannot
// fake otherwise.
type clock struct {
	wall func() time.Time
	// suspended returns how long the machine has been suspended in all, and
	// whether that is known: never on some platforms, not each time on others.
	suspended func() (time.Duration, bool)
}

// pair reads the wall clock and the monotonic one at once. It reports false
// when the process was held up between them each time: what lies between such
// readings says nothing about the clocks.
func (c *clock) pair() (wall, mono time.Time, ok bool) {
	for range tries {
		before := time.Now()
		wall = c.wall()
		mono = time.Now()
		if mono.Sub(before) < apart {
			return wall, mono, true
		}
	}
	return wall, mono, false
}

func systemClock() *clock { return &clock{wall: time.Now, suspended: suspended} }

// watch looks at this process: whether it was held up (stopped, starved of
// CPU), whether the machine was suspended and whether the clock was set. It
// beats only while something is in flight.
type watch struct {
	clock *clock
	base  time.Time // of the monotonic clock

	stalled atomic.Int64 // in all, nanoseconds
	slept   atomic.Int64
	stepped atomic.Int64 // by which the wall clock was set, sizes added up

	running atomic.Int64
	wake    chan struct{}

	mu        sync.Mutex
	last      time.Duration // monotonic time of the last look
	lastSlept time.Duration // last known reading of clock.suspended
	tells     bool          // there was one
	drift     time.Duration // wall clock less monotonic then
}

func newWatch(c *clock) *watch {
	w := &watch{clock: c, base: time.Now(), wake: make(chan struct{}, 1)}
	w.lastSlept, w.tells = c.suspended()
	wall, mono, _ := c.pair()
	w.drift = w.driftAt(wall, mono)
	return w
}

// driftAt returns how far the wall clock went ahead of the monotonic one.
func (w *watch) driftAt(wall, mono time.Time) time.Duration {
	return wall.Round(0).Sub(w.base.Round(0)) - mono.Sub(w.base)
}

// mark is a reading of the watch at the beginning of an attempt.
type mark struct{ stalled, slept, stepped int64 }

// begin notes that something is in flight and returns a mark for its end.
func (w *watch) begin() mark {
	if n := w.running.Load(); n == 0 || !w.running.CompareAndSwap(n, n+1) {
		w.first()
	}
	return w.mark()
}

func (w *watch) mark() mark { return mark{w.stalled.Load(), w.slept.Load(), w.stepped.Load()} }

// first notes what may be the first in flight after an idle time, which is no
// stall: none can look before the last look is set, one that comes second
// included.
func (w *watch) first() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running.Add(1) > 1 {
		return
	}
	w.last = time.Since(w.base)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) end() { w.running.Add(-1) }

// since looks at the clocks and returns what happened after the mark.
func (w *watch) since(m mark) (stalled, slept, stepped time.Duration) {
	w.look()
	return time.Duration(w.stalled.Load() - m.stalled), time.Duration(w.slept.Load() - m.slept),
		time.Duration(w.stepped.Load() - m.stepped)
}

// beats looks at the clocks again and again until done is closed.
func (w *watch) beats(done <-chan struct{}) {
	timer := time.NewTimer(beat)
	defer timer.Stop()
	for {
		if w.running.Load() == 0 {
			select {
			case <-w.wake:
			case <-done:
				return
			}
		}
		timer.Reset(beat)
		select {
		case <-timer.C:
			w.look()
		case <-done:
			return
		}
	}
}

// look compares the clocks with what they showed at the last look. While
// something is in flight that was one beat ago at most.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Since(w.base)
	late := now - w.last - beat
	w.last = now
	if late > tolerance {
		w.stalled.Add(int64(late))
	}
	w.jumps()
}

// jumps notices a suspended machine and a clock that was set. Suspended time
// shows on the wall clock too and is no step. Where the clocks could not be
// read at once, the next call compares with what was known before.
func (w *watch) jumps() {
	wall, mono, ok := w.clock.pair()
	total, known := w.clock.suspended()
	if !ok || w.tells && !known {
		return
	}
	drift := w.driftAt(wall, mono)
	jump := drift - w.drift
	var slept time.Duration
	switch {
	case w.tells:
		slept = total - w.lastSlept
	case jump > wallLeap:
		slept = jump
	}
	if slept > leap {
		w.slept.Add(int64(slept))
		jump -= slept
	}
	w.lastSlept, w.tells, w.drift = total, known, drift
	if jump > leap || jump < -leap {
		w.stepped.Add(int64(max(jump, -jump)))
	}
}

// sleeps looks at the clocks and returns how long the machine was suspended in
// all since the watch began.
func (w *watch) sleeps() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jumps()
	return time.Duration(w.slept.Load())
}
