package check

import (
	"slices"
	"time"
)

// Samples tells how a run observes several times.
type Samples struct {
	Count   int           // observations of a run; 0 or 1 means one, without a [Sample]
	Spacing time.Duration // from the start of one to the start of the next, which never overlap
	Pass    float64       // ratio of the observations that must pass, 0 to 1
}

// Many reports whether a run observes more than once.
func (s Samples) Many() bool { return s.Count > 1 }

// Sample is what a run with samples saw.
type Sample struct {
	Planned int
	Early   bool // ended before Planned, since the verdict could not change any more
	Points  []Point
}

// Point is one observation of a [Sample].
type Point struct {
	Started time.Time
	Latency time.Duration
	Verdict Verdict
	Reason  Reason
	// Failed tells that the probe was stopped by a failure: Latency is the time
	// until then, not that of an answer.
	Failed bool
}

// Passed reports whether the observation counts as passed: up or degraded.
func (p *Point) Passed() bool { return p.Verdict == Up || p.Verdict == Degraded }

// Answered reports whether the point's latency is that of an answer: the
// target was measured, and no failure ended the probe.
func (p *Point) Answered() bool { return p.Verdict != Unknown && !p.Failed }

// Passed counts the observations that passed.
func (s *Sample) Passed() int { return s.count((*Point).Passed) }

// Unknown counts the observations that could not be made.
func (s *Sample) Unknown() int {
	return s.count(func(p *Point) bool { return p.Verdict == Unknown })
}

func (s *Sample) count(is func(*Point) bool) int {
	n := 0
	for i := range s.Points {
		if is(&s.Points[i]) {
			n++
		}
	}
	return n
}

// PassRate returns the ratio of the observations that passed among those that
// could be made, and whether there were any.
func (s *Sample) PassRate() (float64, bool) {
	known := len(s.Points) - s.Unknown()
	if known == 0 {
		return 0, false
	}
	return float64(s.Passed()) / float64(known), true
}

// Latencies returns the latencies of the points that were answered, in the
// order of the observations. It is what all facts over latencies are made of.
func (s *Sample) Latencies() []time.Duration {
	all := make([]time.Duration, 0, len(s.Points))
	for i := range s.Points {
		if s.Points[i].Answered() {
			all = append(all, s.Points[i].Latency)
		}
	}
	return all
}

// SampleResult makes the result of a sample out of that of one of its
// observations, which lends its facts, its findings and the command that
// reproduces it. The phases are those of the observation at the median. It
// takes shown over.
func (c *Check) SampleResult(shown Result, s *Sample, j Judgement, phases Phases) Result {
	r := shown
	r.Sample, r.Verdict, r.Reason = s, j.Verdict, c.maskReason(j.Reason)
	r.Findings = slices.Concat(r.Findings, j.Findings)
	for i := range r.Findings {
		r.Findings[i].Expect = c.Mask.String(r.Findings[i].Expect)
	}
	for name, v := range s.Facts().All() {
		r.Facts.Set(name, v)
	}
	if i, ok := s.Median(); ok {
		r.Latency, r.Phases = s.Points[i].Latency, phases
	}
	if len(s.Points) > 0 {
		r.Started = s.Points[0].Started
	}
	return r
}

// wireSample is the JSON form of a Sample, part of that of a Result.
type wireSample struct {
	Planned  int         `json:"planned"`
	Taken    int         `json:"taken"`
	Passed   int         `json:"passed"`
	Unknown  int         `json:"unknown,omitempty"`
	PassRate *float64    `json:"pass_rate"` // null when none could be made
	Early    bool        `json:"early"`
	Points   []wirePoint `json:"points"`
}

type wirePoint struct {
	Started time.Time `json:"started"`
	Latency float64   `json:"latency_seconds"`
	Verdict Verdict   `json:"verdict"`
	Reason  *Reason   `json:"reason,omitempty"`
	Failed  bool      `json:"failed,omitempty"`
}

// wire returns the sample as JSON has it, with its counts.
func (s *Sample) wire() *wireSample {
	if s == nil {
		return nil
	}
	w := &wireSample{
		Planned: s.Planned, Taken: len(s.Points), Passed: s.Passed(), Unknown: s.Unknown(),
		Early: s.Early, Points: make([]wirePoint, len(s.Points)),
	}
	if rate, ok := s.PassRate(); ok {
		w.PassRate = &rate
	}
	for i := range s.Points {
		p := &s.Points[i]
		w.Points[i] = wirePoint{Started: p.Started.UTC(), Latency: seconds(p.Latency), Verdict: p.Verdict, Failed: p.Failed}
		if !p.Reason.IsZero() {
			w.Points[i].Reason = &p.Reason
		}
	}
	return w
}
