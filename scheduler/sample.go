package scheduler

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// maxWords bounds the sentences that the points of one sample keep, in bytes.
// Those after have their codes alone.
const maxWords = 64 << 10

// sampling is a sample while it is taken.
type sampling struct {
	sample check.Sample
	phases []check.Phases // of each point
	// last holds the last observation with each reason, up with the empty one:
	// what may be shown of the sample.
	last  map[check.Code]check.Result
	down  int
	words int // bytes of the points' sentences
}

// sample observes as often as the check says, one after the other, and fills r.
// An observation begins a spacing after the one before began, or when that has
// ended; what is late is not caught up. Nothing is tried again. The sample ends
// early when it is down whatever the other observations would be; a sample that
// may still be up is always whole, so that its latencies are as many as planned.
func (m *meter) sample(ctx context.Context, c *check.Check, r *check.Result) {
	s := sampling{last: make(map[check.Code]check.Result)}
	s.sample.Planned = c.Samples.Count
	mark := m.watch.mark()
	for {
		next := time.Now().Add(c.Samples.Spacing)
		failed := m.attempt(ctx, c, r)
		if r.Reason.Code == check.LocalShutdown {
			break
		}
		s.add(r, failed)
		taken := len(s.sample.Points)
		if s.down > c.Samples.Tolerated() {
			s.sample.Early = taken < s.sample.Planned
			break
		}
		if taken == s.sample.Planned || !pause(ctx, time.Until(next)) {
			break
		}
	}
	m.conclude(ctx, c, &s, mark, r)
}

// add notes the result of one observation.
func (s *sampling) add(r *check.Result, failed bool) {
	p := check.Point{Started: r.Started, Latency: r.Latency, Verdict: r.Verdict, Reason: r.Reason}
	p.Failed = failed && !p.Passed()
	if n := len(s.sample.Points); n > 0 && s.sample.Points[n-1].Reason == p.Reason {
		p.Reason = s.sample.Points[n-1].Reason // the text is kept once
	} else if s.words += len(p.Reason.Message); s.words > maxWords {
		p.Reason.Message = ""
	}
	if r.Verdict == check.Down {
		s.down++
	}
	s.sample.Points = append(s.sample.Points, p)
	s.phases = append(s.phases, r.Phases)
	s.last[r.Reason.Code] = *r
}

// conclude judges the sample and fills r, which holds the last observation. A
// latency that is missed over the sample is excused as one of an observation
// is.
func (m *meter) conclude(ctx context.Context, c *check.Check, s *sampling, began mark, r *check.Result) {
	defer recovered(c, r)
	var j check.Judgement
	if taken := len(s.sample.Points); taken < s.sample.Planned && !s.sample.Early {
		j.Reason = check.Reason{Code: check.LocalShutdown, Message: fmt.Sprintf(
			"cut short after %d of %d observations: %s; %d passed", taken, s.sample.Planned, endWords(ctx), s.sample.Passed())}
	} else {
		j = c.JudgeSample(&s.sample)
	}
	var phases check.Phases
	if i, ok := s.sample.Median(); ok {
		phases = s.phases[i]
	}
	*r = c.SampleResult(s.shown(j.Reason.Code, r), &s.sample, j, phases)
	if r.Verdict == check.Down && strings.HasPrefix(string(r.Reason.Code), "expect.latency.") {
		m.excuse(c, r, Timeout(c), 0, began)
	}
}

// shown returns the observation that stands for the sample: the last with the
// sample's reason, else the last that was up, else the very last.
func (s *sampling) shown(code check.Code, last *check.Result) check.Result {
	if r, ok := s.last[code]; ok {
		return r
	}
	if r, ok := s.last[""]; ok {
		return r
	}
	return *last
}
