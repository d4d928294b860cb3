package scheduler

import (
	"context"
	"sync"
	"time"
)

// attemptContext is the context of one attempt. It ends at its deadline or with
// the run's, as one of context.WithTimeout does, but arms a timer and watches
// over the run's context only when somebody waits for its end. A probe that
// hands the deadline to its sockets and is done in time costs neither.
type attemptContext struct {
	context.Context // the run's
	deadline        time.Time

	mu    sync.Mutex
	err   error
	done  chan struct{} // nil: nobody waits
	after []*afterEnd
	timer *time.Timer // nil: not armed
	stop  func() bool // ends the watch over the run's context
}

// afterEnd is a function to call at the end.
type afterEnd struct{ f func() }

// Deadline returns when the attempt's time is over.
func (c *attemptContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Err returns why the context has ended, nil while it has not.
func (c *attemptContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.err
}

// Done returns a channel that is closed at the end.
func (c *attemptContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done != nil {
		return c.done
	}
	c.look()
	c.done = make(chan struct{})
	if c.err != nil {
		close(c.done)
	} else {
		c.arm()
	}
	return c.done
}

// AfterFunc calls f in a goroutine of its own at the end, unless stop was called
// before; context.AfterFunc and the contexts below this one use it.
func (c *attemptContext) AfterFunc(f func()) (stop func() bool) {
	a := &afterEnd{f}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.look(); c.err != nil {
		go f()
		return func() bool { return false }
	}
	c.after = append(c.after, a)
	c.arm()
	return func() bool { return c.forget(a) }
}

// forget takes a function off those to call, and reports whether it was one.
func (c *attemptContext) forget(a *afterEnd) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.after {
		if c.after[i] == a {
			c.after = append(c.after[:i], c.after[i+1:]...)
			return true
		}
	}
	return false
}

// arm sees to it that the end is noticed. The caller holds the lock.
func (c *attemptContext) arm() {
	if c.timer != nil {
		return
	}
	c.timer = time.AfterFunc(time.Until(c.deadline), func() { c.end(context.DeadlineExceeded) })
	c.stop = context.AfterFunc(c.Context, func() { c.end(context.Canceled) })
}

// look notices an end that nobody waited for. The caller holds the lock.
func (c *attemptContext) look() {
	switch {
	case c.err != nil:
	case c.Context.Err() != nil:
		c.finish(context.Canceled)
	case !time.Now().Before(c.deadline):
		c.finish(context.DeadlineExceeded)
	}
}

// end ends the context; the attempt itself does so when it is over.
func (c *attemptContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.finish(err)
	}
}

func (c *attemptContext) finish(err error) {
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	for _, a := range c.after {
		go a.f()
	}
	c.after = nil
	if c.timer != nil {
		c.timer.Stop()
		c.stop()
	}
}
