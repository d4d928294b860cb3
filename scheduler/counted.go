package scheduler

import (
	"context"

	"github.com/sonde-cli/sonde/check"
)

// counted returns the check with a probe that tells of how many parts its run is,
// as soon as that is known. Until then the run holds as many places as the last
// one came to, or as there can be.
func (l *Loop) counted(e *entry, c *check.Check) *check.Check {
	probe, ok := c.Probe.(check.Spreader)
	if !ok {
		return c
	}
	telling, most := *c, mostProbes(c)
	telling.Probe = &countedProbe{Probe: c.Probe, spreader: probe, tell: func(n int) { l.resize(e, most, n) }}
	return &telling
}

// countedProbe is a probe of several parts that tells how many it has.
type countedProbe struct {
	check.Probe
	spreader check.Spreader
	tell     func(int)
}

// Spread returns the run's parts.
func (p *countedProbe) Spread(ctx context.Context) check.Spread {
	s := p.spreader.Spread(ctx)
	n := len(s.Parts)
	if s.Whole != nil {
		n++
	}
	if n > 0 { // else it got to no part, which says nothing about their number
		p.tell(n)
	}
	return s
}

// resize gives the entry's run, of which there could be most, n places. More of them than it had are taken even
// where there is no room, for the run goes on: what begins next waits until there
// is.
func (l *Loop) resize(e *entry, most, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	more := n - e.held
	e.held = n
	if e.most == most { // else another check has its place, of which this tells nothing
		e.width = n
	}
	l.all.enter(more, e.suspect)
	now := l.now()
	l.leave(e.heldHost, e.heldKind, -more, e.suspect, now)
	l.fill(now)
}
