package scheduler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// How Until spaces the attempts of a check.
const (
	DefaultEvery = time.Second           // the longest wait between two, unless told
	firstWait    = 50 * time.Millisecond // after the first; it doubles from one to the next
)

// errSpent is why an Until ends that ran out of time.
var errSpent = errors.New("the time to wait is over")

// Until runs checks again and again until each has given the wanted result
// once. A check's retries do not count: every attempt is one of many anyhow.
type Until struct {
	Reached func(check.Result) bool // whether the wait for its check is over
	// Ordered makes a check wait until those that it depends on have been
	// reached.
	Ordered     bool
	Every       time.Duration // longest wait between two attempts of a check; 0: DefaultEvery
	For         time.Duration // in all; 0: without end
	Concurrency int           // at most so many probes at once; 0: DefaultConcurrency

	// Attempted sees each attempt's result, Held each check that waits for
	// another, which it names as DependsOn does. Both may be nil, and are called
	// from the goroutine of Run.
	Attempted func(*check.Check, check.Result)
	Held      func(c *check.Check, by string)

	clock *clock // nil: the system's
}

// Run puts exactly one Result per check into sink: the wanted one when it is
// there, and at the end, for each check that gave none, its last one. An attempt
// gets no more time than is left; when that cut it short, it proves nothing and
// the result before stands. Attempts counts all. A check that was never tried, because one that it
// depends on was not reached, is unknown local.shutdown. When ctx ends,
// running probes are cancelled. Run returns the sink's first error; the sink is
// not closed, and the checks are, as by [Once.Run].
func (u *Until) Run(ctx context.Context, checks []*check.Check, sink check.Sink) error {
	width := u.Concurrency
	if width <= 0 {
		width = DefaultConcurrency
	}
	source := u.clock
	if source == nil {
		source = systemClock()
	}
	probing, cancel := withoutDeadline(ctx)
	defer cancel(nil)
	defer closeAll(checks)
	w := &untilRun{
		Until: u, meter: newMeter(source), gate: newGate(width), goals: goalsOf(checks),
		probing: probing, events: make(chan event, width),
	}
	var stop context.CancelCauseFunc
	w.waiting, stop = context.WithCancelCause(probing)
	defer stop(nil)
	if u.For > 0 {
		w.end = time.Now().Add(u.For)
		defer time.AfterFunc(u.For, func() { stop(errSpent) }).Stop()
	}
	done := make(chan struct{})
	defer close(done)
	go w.meter.watch.beats(done)
	defer context.AfterFunc(w.waiting, w.gate.wakeAll)()
	go w.all(checks)
	return w.deliver(sink)
}

// untilRun is one call of Until.Run.
type untilRun struct {
	*Until
	meter *meter
	gate  *gate
	goals goals
	end   time.Time // when the time is over; zero: never

	probing context.Context // of probes, which are given what is left as their timeout
	waiting context.Context // of all else; ends when the time is over, too
	events  chan event
}

// event is something to tell of a check.
type event struct {
	check *check.Check
	by    string       // what it waits for; empty for a result
	r     check.Result // of an attempt
	tried bool         // r is of a new attempt
	last  bool         // r is what remains
}

// deliver tells what happens until nothing does any more.
func (w *untilRun) deliver(sink check.Sink) error {
	var first error
	for e := range w.events {
		if e.by != "" && w.Held != nil {
			w.Held(e.check, e.by)
		}
		if e.tried && w.Attempted != nil {
			w.Attempted(e.check, e.r)
		}
		if e.last {
			if err := sink.Put(e.r); err != nil && first == nil {
				first = err
			}
		}
	}
	return first
}

// all runs the checks side by side, and closes events when the last has ended.
func (w *untilRun) all(checks []*check.Check) {
	defer close(w.events)
	var running sync.WaitGroup
	defer running.Wait()
	for _, c := range checks {
		running.Go(func() { w.one(c) })
	}
}

// one waits for a check. What depends on it begins after it was told.
func (w *untilRun) one(c *check.Check) {
	if by := w.held(c); by != "" {
		w.notBegun(c, "it waits for "+by)
		return
	}
	var last *check.Result
	wait := min(firstWait, w.every())
	for n := 1; w.gate.enter(w.waiting); n++ {
		r, whole := w.attempt(c)
		w.gate.leave(r.Reason.Code == check.LocalFD)
		r.Attempts = n
		reached := whole && w.Reached(*r)
		if whole || last == nil {
			last = r
		}
		w.events <- event{check: c, r: *last, tried: last == r, last: reached}
		if reached {
			w.goals.reach(c)
			return
		}
		if !pause(w.waiting, wait) {
			break
		}
		wait = min(2*wait, w.every())
	}
	if last == nil {
		w.notBegun(c, endWords(w.waiting))
		return
	}
	w.events <- event{check: c, r: *last, last: true}
}

func (w *untilRun) every() time.Duration {
	if w.Every <= 0 {
		return DefaultEvery
	}
	return w.Every
}

// held waits for what the check depends on. It returns what was not reached,
// and nothing when all was.
func (w *untilRun) held(c *check.Check) string {
	if !w.Ordered {
		return ""
	}
	for _, word := range c.DependsOn {
		g := w.goals[word]
		if g.isReached() {
			continue
		}
		w.events <- event{check: c, by: word}
		select {
		case <-g.reached:
		case <-w.waiting.Done():
			return word
		}
	}
	return ""
}

// attempt makes one attempt in the time that is left, and reports whether it
// ended by itself.
func (w *untilRun) attempt(c *check.Check) (r *check.Result, whole bool) {
	timeout := Timeout(c)
	cut := false
	if !w.end.IsZero() {
		left := max(time.Until(w.end), 0)
		timeout, cut = min(timeout, left), left < timeout
	}
	r = new(check.Result)
	due := time.Now()
	if c.Samples.Many() { // the end of the wait cuts it short
		w.meter.sample(w.waiting, c, r)
		cut = false
	} else {
		w.meter.attempt(w.probing, c, timeout, r)
	}
	r.Scheduled = due
	// What was cut short failed for want of time; another failure is a finding.
	return r, r.Reason.Code != check.LocalShutdown && !(cut && time.Since(due) >= timeout)
}

func (w *untilRun) notBegun(c *check.Check, why string) {
	var r check.Result
	notRun(c, "not begun: "+why, &r)
	r.Scheduled = r.Started
	w.events <- event{check: c, r: r, last: true}
}

// goal is what one word of DependsOn stands for.
type goal struct {
	mu      sync.Mutex
	left    int // checks that are not reached
	reached chan struct{}
}

func (g *goal) isReached() bool {
	select {
	case <-g.reached:
		return true
	default:
		return false
	}
}

type goals map[string]*goal

// goalsOf returns the goals that checks name.
func goalsOf(checks []*check.Check) goals {
	all := make(goals)
	for _, c := range checks {
		for _, word := range c.DependsOn {
			all[word] = &goal{reached: make(chan struct{})}
		}
	}
	for _, c := range checks {
		for _, g := range all.of(c) {
			g.left++
		}
	}
	for _, g := range all {
		if g.left == 0 { // it stands for checks that are not among these
			close(g.reached)
		}
	}
	return all
}

// of returns the goals that the check is a part of.
func (all goals) of(c *check.Check) []*goal {
	var part []*goal
	if g := all[c.ID]; g != nil {
		part = append(part, g)
	}
	if g := all[c.Name]; g != nil && c.Name != c.ID {
		part = append(part, g)
	}
	return part
}

// reach notes that the check is what it is to be.
func (all goals) reach(c *check.Check) {
	for _, g := range all.of(c) {
		g.mu.Lock()
		if g.left--; g.left == 0 {
			close(g.reached)
		}
		g.mu.Unlock()
	}
}
