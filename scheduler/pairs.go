package scheduler

import (
	"context"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Pairs observes two checks in turn, so that what drifts between two
// observations does so for both.
type Pairs struct {
	Concurrency int // at most so many pairs at once; 0: 1
	// Order returns whose turn it is, true for the second of the pair, with
	// each side n times.
	Order   func(n int) []bool
	OnStart func(*check.Check) // progress, may be nil; called from workers
}

// Run takes the samples of each pair, of as many observations a side as the
// first check says, and puts both Results of each: that of the first check,
// then that of the second. The observations of a pair never overlap, each
// begins a spacing of the first check after the one before. A side that is down
// whatever comes is left alone. Else Run is as [Once.Run].
func (p *Pairs) Run(ctx context.Context, pairs [][2]*check.Check, sink check.Sink) error {
	width := max(p.Concurrency, 1)
	inner, cancel := withoutDeadline(ctx)
	defer cancel(nil)
	m := newMeter(systemClock())
	done := make(chan struct{})
	defer close(done)
	go m.watch.beats(done)
	results := make(chan [2]check.Result, width)
	go p.all(inner, m, width, pairs, results)

	var first error
	for both := range results {
		for _, r := range both {
			if err := sink.Put(r); err != nil && first == nil {
				first = err
			}
		}
	}
	for _, pair := range pairs {
		closeAll(pair[:])
	}
	return first
}

// all starts the pairs in order as places become free, and closes results when
// the last has ended.
func (p *Pairs) all(ctx context.Context, m *meter, width int, pairs [][2]*check.Check, results chan<- [2]check.Result) {
	defer close(results)
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, width)
	for _, pair := range pairs {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			results <- p.one(ctx, m, pair)
		})
	}
}

// one takes both samples of a pair.
func (p *Pairs) one(ctx context.Context, m *meter, pair [2]*check.Check) [2]check.Result {
	var results [2]check.Result
	for i, c := range pair {
		notRun(c, "not begun: "+endWords(ctx), &results[i])
	}
	if ctx.Err() != nil {
		return results
	}
	if p.OnStart != nil {
		p.OnStart(pair[0])
		p.OnStart(pair[1])
	}
	began := m.watch.mark()
	sides := p.observe(ctx, m, pair, &results)
	for i, c := range pair {
		m.conclude(ctx, c, &sides[i], began, &results[i])
	}
	return results
}

// observe takes the observations of a pair; last holds the last of each side.
func (p *Pairs) observe(ctx context.Context, m *meter, pair [2]*check.Check, last *[2]check.Result) [2]sampling {
	var sides [2]sampling
	for i, c := range pair {
		sides[i].last = make(map[check.Code]check.Result)
		sides[i].sample.Planned = c.Samples.Count
	}
	next := time.Now()
	for _, second := range p.Order(pair[0].Samples.Count) {
		i := 0
		if second {
			i = 1
		}
		if sides[i].over(pair[i]) {
			continue
		}
		if !pause(ctx, time.Until(next)) {
			return sides
		}
		next = time.Now().Add(pair[0].Samples.Spacing)
		failed := m.attempt(ctx, pair[i], &last[i])
		if last[i].Reason.Code == check.LocalShutdown {
			return sides
		}
		sides[i].add(&last[i], failed)
	}
	return sides
}

// over reports whether the sample is down whatever comes, and notes that it
// ends early. It is asked before each observation.
func (s *sampling) over(c *check.Check) bool {
	s.sample.Early = s.down > c.Samples.Tolerated()
	return s.sample.Early
}
