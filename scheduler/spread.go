package scheduler

import (
	"context"
	"sync"

	"github.com/sonde-cli/sonde/check"
)

// spread observes the parts of a check's probe in place of it, all at the same
// time, and fills r. actx is the attempt's context, below the run's. What this
// process is to blame for is excused part by part, before they are counted. It
// reports whether a failure stopped what stands for the run.
func (m *meter) spread(ctx, actx context.Context, c *check.Check, probe check.Spreader, excuse func(*check.Result), r *check.Result) bool {
	s := probe.Spread(actx)
	if !s.Found.Failure.IsZero() {
		unlessCut(ctx, &s.Found)
		*r = c.Result(&s.Found, c.Judge(&s.Found))
		excuse(r)
		return true
	}
	parts := make([]check.Result, len(s.Parts))
	var whole check.Observation
	var broken any // a panic over the whole
	var all sync.WaitGroup
	for i := range s.Parts {
		all.Go(func() {
			defer recovered(c, &parts[i])
			o := s.Parts[i].Probe.Observe(actx)
			unlessCut(ctx, &o)
			parts[i] = c.PartResult(&s, o)
		})
	}
	if s.Whole != nil {
		all.Go(func() {
			defer func() { broken = recover() }()
			whole = s.Whole.Observe(actx)
			unlessCut(ctx, &whole)
		})
	}
	all.Wait()
	if broken != nil {
		panic(broken) // for observe
	}
	for i := range parts {
		excuse(&parts[i])
	}
	*r = c.SpreadResult(&s, parts, &whole)
	excuse(r)
	return !r.Passed()
}
