package scheduler

import (
	"context"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Pairs observes two checks in turn, so that what drifts between two
// observations does so for both.
type Pairs struct {
	Concurrency int // at most so many pairs at once; 0: 1
	// Order returns whose turn it is, true for the second of the pair, with
	// each side n times.
	Order func(n int) []bool
	// Progress, may be nil: OnStart is called from workers, OnEnd is not called
	// concurrently.
	OnStart func(*check.Check)
	OnEnd   func(check.Result)
}

// Run takes the samples of each pair, of as many observations a side as the
// first check says, and returns both results of each in the order of pairs. The
// observations of a pair never overlap, and each begins a spacing of the first
// check after the one before. A side that is down whatever comes is left alone.
// What ctx ends is as in [Once.Run]. At the end the checks are closed.
func (p *Pairs) Run(ctx context.Context, pairs [][2]*check.Check) [][2]check.Result {
	inner, cancel := withoutDeadline(ctx)
	defer cancel(nil)
	m := newMeter(systemClock())
	done := make(chan struct{})
	defer close(done)
	go m.watch.beats(done)

	all := make([][2]check.Result, len(pairs))
	places := make(chan struct{}, max(p.Concurrency, 1))
	ended := make(chan int, len(pairs))
	for i, pair := range pairs {
		go func() {
			places <- struct{}{}
			defer func() { <-places }()
			all[i] = p.one(inner, m, pair)
			ended <- i
		}()
	}
	for range pairs {
		i := <-ended
		if p.OnEnd != nil {
			p.OnEnd(all[i][0])
			p.OnEnd(all[i][1])
		}
	}
	for _, pair := range pairs {
		closeAll(pair[:])
	}
	return all
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
		failed := m.attempt(ctx, pair[i], Timeout(pair[i]), &last[i])
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
