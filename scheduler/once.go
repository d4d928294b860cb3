package scheduler

import (
	"context"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// DefaultConcurrency is how many probes Once runs at once unless told.
const DefaultConcurrency = 64

// Once runs checks one time each.
type Once struct {
	Concurrency int // at most so many probes at once; 0: DefaultConcurrency
	Stages      []check.Stage
	OnStart     func(*check.Check) // progress, may be nil; called from workers

	clock *clock // nil: the system's
}

// Run runs each check once, with its retries, and puts exactly one Result per
// check into sink, in the order in which they end, from one goroutine. When ctx
// ends, running probes are cancelled and checks not begun get unknown
// local.shutdown; context.Cause(ctx) words the message. It returns the sink's
// first error; the other results are put all the same and the sink is not
// closed. At the end the checks are closed: they can be run again, but keep
// nothing between runs any more.
func (o *Once) Run(ctx context.Context, checks []*check.Check, sink check.Sink) error {
	width := o.Concurrency
	if width <= 0 {
		width = DefaultConcurrency
	}
	source := o.clock
	if source == nil {
		source = systemClock()
	}
	inner, cancel := withoutDeadline(ctx)
	defer cancel(nil)
	defer closeAll(checks)
	run := &onceRun{once: o, meter: newMeter(source), gate: newGate(width), due: time.Now(), results: make(chan *check.Result, width)}
	done := make(chan struct{})
	defer close(done)
	go run.meter.watch.beats(done)
	defer context.AfterFunc(inner, run.gate.wakeAll)()
	go run.all(inner, checks)

	var first error
	for r := range run.results {
		for _, stage := range o.Stages {
			*r = stage(*r)
		}
		if err := sink.Put(*r); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// closeAll lets the checks' probes free what they keep. What they have to say
// of that is of no consequence: nothing is measured any more.
func closeAll(checks []*check.Check) {
	for _, c := range checks {
		_ = c.Close()
	}
}

// onceRun is one call of Once.Run.
type onceRun struct {
	once    *Once
	meter   *meter
	gate    *gate
	due     time.Time
	results chan *check.Result
}

// all starts the checks in order as places become free, and closes results
// when the last has ended.
func (o *onceRun) all(ctx context.Context, checks []*check.Check) {
	defer close(o.results)
	var running sync.WaitGroup
	defer running.Wait()
	for _, c := range checks {
		if !o.gate.enter(ctx) {
			r := new(check.Result)
			notRun(c, "not begun: "+endWords(ctx), r)
			o.send(r, r.Started)
			continue
		}
		running.Go(func() { o.one(ctx, c) })
	}
}

func (o *onceRun) one(ctx context.Context, c *check.Check) {
	if o.once.OnStart != nil {
		o.once.OnStart(c)
	}
	began, r := time.Now(), new(check.Result)
	o.meter.run(ctx, c, r)
	o.gate.leave(r.Reason.Code == check.LocalFD)
	o.send(r, began)
}

func (o *onceRun) send(r *check.Result, began time.Time) {
	r.Scheduled = o.due
	r.Queued = began.Sub(o.due)
	o.results <- r
}
