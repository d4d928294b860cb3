package scheduler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Defaults of a Loop.
const (
	DefaultInFlight = 1024            // probes at once
	DefaultOutbox   = 16384           // results that may wait for the sink
	DefaultGrace    = 5 * time.Second // for runs in flight after Stop
)

// How the loop keeps time.
const (
	quantum   = int64(time.Millisecond)       // runs that are due within one start together
	longSleep = 30 * time.Second              // between two looks at the clocks when nothing is due
	heldUp    = int64(time.Second)            // a wake-up that is later than this is a stall
	overdue   = int64(100 * time.Millisecond) // after a stall, runs that are later than this are missed
	shares    = 4                             // checks that are down get one of so many places
	calm      = int64(time.Second)            // after the width was halved, before it changes again
)

// Limits bound what a Loop has in flight. They count probes: a run is one, and one
// that goes to several addresses, families or servers at once is as many. A run of
// more probes than a limit allows is alone there.
type Limits struct {
	InFlight    int     // in all; 0: DefaultInFlight
	PerHost     int     // for one Check.Host; 0: no limit
	PerHostRate float64 // that begin for one Check.Host, per second; 0: no limit
	// Kinds bounds those of one Check.Kind; one that is missing or below 1 has
	// no limit. Checks that are down get a quarter of a kind's places at most, as
	// they do of all.
	Kinds map[string]int
}

// LoopOptions configure a Loop.
type LoopOptions struct {
	Sink   check.Sink    // gets the results from one goroutine; not closed
	Stages []check.Stage // applied in that goroutine
	Limits Limits
	Grace  time.Duration // for runs in flight after Stop; 0: DefaultGrace
	Outbox int           // results that may wait for the sink; 0: DefaultOutbox
	Origin string        // Result.Origin
}

// Loop runs checks at their intervals until it is stopped.
//
// Run n of a check is due at anchor + n*interval. The anchor is the Unix epoch
// plus a part of the interval that a hash of the check's id chooses, so that
// checks are spread evenly and in the same way after a restart and on every
// node. The intervals follow the monotonic clock (with the time that the
// machine was suspended): setting the wall clock does not disturb them, and
// they are pinned to the wall clock of the Loop's start.
//
// A check never runs twice at once. A slot that passes while its check runs,
// waits for a place, or while the process is held up, is not made up for: it is
// counted as missed, in the check's next Result and in Stats.
//
// Checks that are down get a quarter of the places at most, so that targets
// which swallow packets until the timeout do not keep the others waiting.
type Loop struct {
	options LoopOptions
	meter   *meter
	clock   *clock
	epoch   int64     // the timeline at base: Unix time in nanoseconds
	base    time.Time // monotonic
	out     *outbox
	poke    chan struct{} // wakes the dispatcher

	replacing sync.Mutex
	byID      map[string]*entry // guarded by replacing, as are the next two
	leaving   map[string]*entry // removed while they were busy
	hosts     map[string]*host

	mu       sync.Mutex
	ctx      context.Context // of the runs
	slept    int64           // time suspended, part of the timeline
	ahead    int64           // by how much the wall clock was set ahead of the timeline
	due      dueHeap
	wake     int64 // when the dispatcher means to wake up
	idle     []*worker
	shrunk   int64 // when the width was last halved
	grown    int64 // when it last grew
	stopping bool
	all      pool // of all runs that began or wait for that alone
	kinds    map[string]*pool
	drained  chan struct{} // closed when stopping and nothing is in flight
	stats    Stats

	workers sync.WaitGroup
}

// worker is a goroutine that makes runs. It is used again, so that its stack
// need not grow anew for each run.
type worker struct{ next chan *entry }

// NewLoop returns a Loop without checks.
func NewLoop(o LoopOptions) *Loop { return newLoop(o, systemClock()) }

func newLoop(o LoopOptions, c *clock) *Loop {
	if o.Limits.InFlight <= 0 {
		o.Limits.InFlight = DefaultInFlight
	}
	if o.Outbox <= 0 {
		o.Outbox = DefaultOutbox
	}
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	l := &Loop{
		options: o, meter: newMeter(c), clock: c, epoch: c.wall().UnixNano(), base: time.Now(),
		out: newOutbox(o.Outbox), poke: make(chan struct{}, 1), drained: make(chan struct{}), ctx: context.Background(),
	}
	l.all.limit = o.Limits.InFlight
	l.kinds = newKinds(o.Limits.Kinds)
	return l
}

// Run runs the checks until Stop is called or ctx ends. After Stop no run
// begins, those in flight get their grace, then they are cancelled. The end of
// ctx cancels them at once. Run returns when every result is with the sink, with
// the sink's first error. It can be called once.
func (l *Loop) Run(ctx context.Context) error {
	inner, cancel := withoutDeadline(ctx)
	defer cancel(nil)
	l.mu.Lock()
	l.ctx = inner
	l.mu.Unlock()

	done := make(chan struct{})
	go l.meter.watch.beats(done)
	defer close(done)
	var sink sync.WaitGroup
	sink.Go(func() { l.out.drain(l.options.Stages, l.options.Sink) })

	l.dispatch(inner)
	l.settle(inner, cancel)
	l.out.close()
	sink.Wait()
	l.closeChecks()
	return l.out.firstErr
}

// Stop begins the end: no run begins any more.
func (l *Loop) Stop() {
	l.mu.Lock()
	l.stopping = true
	l.mu.Unlock()
	l.nudge()
}

// settle waits for the runs in flight, for the grace at most, and ends the
// workers.
func (l *Loop) settle(ctx context.Context, cancel context.CancelCauseFunc) {
	l.mu.Lock()
	l.stopping = true
	l.checkDrained()
	l.mu.Unlock()
	grace := time.NewTimer(l.options.Grace)
	defer grace.Stop()
	select {
	case <-l.drained:
	case <-ctx.Done():
	case <-grace.C:
		cancel(errors.New("sonde is ending"))
	}
	<-l.drained
	l.mu.Lock()
	for _, w := range l.idle {
		close(w.next)
	}
	l.idle = nil
	l.mu.Unlock()
	l.workers.Wait()
}

func (l *Loop) checkDrained() {
	if l.stopping && l.all.inFlight == 0 {
		select {
		case <-l.drained:
		default:
			close(l.drained)
		}
	}
}

// now reads the timeline: Unix time in nanoseconds by the clock of the start,
// which is not set any more but passes while the machine is suspended.
func (l *Loop) now() int64 { return l.at(time.Now()) }

func (l *Loop) at(mono time.Time) int64 { return l.epoch + int64(mono.Sub(l.base)) + l.slept }

func (l *Loop) nudge() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// dispatch starts what is due until the loop stops.
func (l *Loop) dispatch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.poke:
		case <-ctx.Done():
			return
		}
		sleep, stopping := l.turn()
		if stopping {
			return
		}
		timer.Reset(sleep)
	}
}

// turn starts what is due and returns how long to sleep.
func (l *Loop) turn() (time.Duration, bool) {
	slept := int64(l.meter.watch.sleeps())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slept = slept
	wall, mono, ok := l.clock.pair()
	now := l.at(mono)
	if ok {
		l.follow(wall.UnixNano()-now, now)
	}
	stalled := l.wake > 0 && now-l.wake > heldUp
	if stalled {
		l.stats.Stalls++
	}
	for !l.stopping && len(l.due) > 0 && l.due[0].at <= now {
		if e := l.due.pop(); stalled && now-e.due > overdue {
			l.pass(e, now)
		} else {
			l.ripe(e, now)
		}
	}
	l.fill(now)
	l.wake = now + int64(longSleep)
	if len(l.due) > 0 {
		next := l.due[0].at
		l.wake = min(l.wake, (next+quantum-1)/quantum*quantum)
	}
	return time.Duration(l.wake - now), l.stopping
}

// pass counts the slot as missed, if it is one inside of the schedule, and
// waits for the next one.
func (l *Loop) pass(e *entry, now int64) {
	if e.open(e.due, l.ahead) {
		e.missed++
		l.stats.Missed++
	}
	e.reserved = false
	l.plan(e, now)
}

// plan puts the entry's next slot on the heap and counts those before it that
// passed.
func (l *Loop) plan(e *entry, now int64) {
	before := e.missed
	e.reschedule(now, l.ahead)
	l.stats.Missed += uint64(e.missed - before)
	l.enqueue(e.due, e)
}

// enqueue puts the entry on the heap, and wakes the dispatcher where it means
// to sleep for longer: it may be the end of a run that comes here.
func (l *Loop) enqueue(at int64, e *entry) {
	e.place = queued
	l.due.push(at, e)
	if at < l.wake {
		l.nudge()
	}
}

// start hands the entry to a worker.
func (l *Loop) start(e *entry, now int64) {
	before := e.missed
	e.catchUp(now, l.ahead)
	l.stats.Missed += uint64(e.missed - before)
	e.seq++
	l.stats.Started++
	l.all.enter(e.held, e.suspect)
	if n := len(l.idle); n > 0 {
		w := l.idle[n-1]
		l.idle[n-1] = nil
		l.idle = l.idle[:n-1]
		w.next <- e // has room: an idle worker waits for one entry
		return
	}
	w := &worker{next: make(chan *entry, 1)}
	w.next <- e
	l.workers.Go(func() { l.work(w) })
}

// work makes runs until the worker is let go.
func (l *Loop) work(w *worker) {
	var r check.Result
	for e := range w.next {
		verdict := l.measure(e, &r)
		if !l.finish(w, e, verdict, r.Reason.Code == check.LocalFD) {
			return
		}
	}
}

// measure makes one run and passes its result on. It returns the verdict.
func (l *Loop) measure(e *entry, r *check.Result) check.Verdict {
	l.mu.Lock()
	c, seq, missed, due := e.check, e.seq, e.missed, e.due
	e.missed = 0
	queued := time.Duration(l.now() - due)
	l.stats.late(queued)
	ctx := l.ctx
	l.mu.Unlock()

	scheduled := l.clock.wall().Add(-queued)
	l.meter.run(ctx, l.counted(e, c), r)
	r.Origin, r.Seq, r.Missed = l.options.Origin, seq, missed
	r.Scheduled, r.Queued = scheduled, queued
	l.out.put(r)
	return r.Verdict
}

// finish gives the place back, plans the entry's next run and starts what
// waited. It reports whether the worker is to go on.
func (l *Loop) finish(w *worker, e *entry, verdict check.Verdict, exhausted bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if verdict != check.Unknown { // which says nothing about the target
		e.failing, e.unwell = verdict == check.Down, verdict != check.Up
	}
	l.all.enter(-e.held, e.suspect)
	l.adapt(now, exhausted)
	if e.place = nowhere; !e.removed {
		l.plan(e, now)
	}
	keep := len(l.idle) < 64+l.all.inFlight && !(l.stopping && l.all.inFlight == 0)
	if keep {
		l.idle = append(l.idle, w)
	}
	l.release(e, now)
	l.fill(now)
	l.checkDrained()
	return keep
}

// adapt follows what the machine can bear: half as many places when it ran out
// of descriptors, at most once a second, and then slowly more again. How fast
// does not depend on how many runs end.
func (l *Loop) adapt(now int64, exhausted bool) {
	most := l.options.Limits.InFlight
	switch {
	case now-l.shrunk < calm:
	case exhausted:
		l.all.limit, l.shrunk = narrower(l.all.limit, l.all.inFlight), now
	case l.all.limit < most && now-l.grown >= int64(growEvery):
		l.all.limit, l.grown = wider(l.all.limit, most), now
	}
}

// Stats returns the engine's numbers at this moment.
func (l *Loop) Stats() Stats {
	l.out.mu.Lock()
	waiting, waits, failed := len(l.out.pending), l.out.blocked, l.out.failed
	l.out.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.InFlight, s.Suspects, s.Width = l.all.inFlight, l.all.suspects, l.all.limit
	s.Outbox, s.OutboxWaits, s.SinkErrors = waiting, waits, failed
	w := l.meter.watch
	s.Stalled, s.Suspended = time.Duration(w.stalled.Load()), time.Duration(w.slept.Load())
	s.ClockSteps = time.Duration(w.stepped.Load())
	return s
}
