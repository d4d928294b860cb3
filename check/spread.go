package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Spreader is implemented by a probe that looks at its target in several parts,
// such as at each address of a name. Each run asks it for them anew.
type Spreader interface {
	Spread(ctx context.Context) Spread
}

// Spread is what a run observes in place of its probe. The parts are observed at
// the same time, each judged by the check's expectations.
type Spread struct {
	// Found is what was seen on the way to the parts; each has its phases and
	// facts too. With a Failure there are no parts, and it stands for the run.
	Found Observation
	Parts []SpreadPart
	// Need is how many of the parts must pass.
	Need int
	// Whole, if there is one, is observed beside the parts and is the run. A part
	// that fails makes it no worse than degraded, and one that fails with Absent
	// leaves it as it is. For each part it gets the facts <part>.up and
	// <part>.latency.
	Whole  Probe
	Absent Code
}

// SpreadPart is one part of a [Spread].
type SpreadPart struct {
	Name  string
	Probe Probe
}

// Part is the outcome of one part of a run.
type Part struct {
	Name     string
	Verdict  Verdict
	Reason   Reason
	Latency  time.Duration
	Phases   Phases
	Facts    Facts
	Findings []Finding
}

// Passed reports whether the result counts as passed: up or degraded.
func (r *Result) Passed() bool { return r.Verdict == Up || r.Verdict == Degraded }

// PartsThat returns how many of the result's parts have the verdict.
func (r *Result) PartsThat(have Verdict) int {
	n := 0
	for i := range r.Parts {
		if r.Parts[i].Verdict == have {
			n++
		}
	}
	return n
}

// PartResult is the result of one part of the spread.
func (c *Check) PartResult(s *Spread, o Observation) Result {
	found := &s.Found
	o.Latency += found.Latency
	if len(found.Phases) > 0 {
		phases := slices.Clone(found.Phases)
		for _, p := range o.Phases {
			phases.Add(p.Name, p.Duration)
		}
		o.Phases = phases
	}
	for _, f := range found.Facts {
		o.Set(f.Name, f.Value)
	}
	part := *c
	if s.Whole != nil { // what is expected of all parts together is not of one
		part.Expectations = slices.DeleteFunc(slices.Clone(c.Expectations), func(e Expectation) bool {
			return slices.ContainsFunc(e.Test.Facts(), func(fact string) bool { return s.ofParts(fact) })
		})
	}
	return c.Result(&o, part.Judge(&o))
}

// ofParts reports whether the fact is one of those that the whole gets.
func (s *Spread) ofParts(fact string) bool {
	return slices.ContainsFunc(s.Parts, func(p SpreadPart) bool {
		return fact == p.Name+".up" || fact == p.Name+".latency"
	})
}

// SpreadResult makes the run's result of those of its parts, in their order, and
// of what was observed of the whole, if the spread has one.
func (c *Check) SpreadResult(s *Spread, parts []Result, whole *Observation) Result {
	var r Result
	if s.Whole != nil {
		r = c.wholeResult(s, parts, whole)
	} else {
		r = c.neededResult(s, parts)
	}
	r.Parts = make([]Part, len(parts))
	for i := range parts {
		p := &parts[i]
		p.fitInto(maxPartsBytes / len(parts))
		r.Parts[i] = Part{
			Name: c.Mask.String(s.Parts[i].Name), Verdict: p.Verdict, Reason: p.Reason,
			Latency: p.Latency, Phases: p.Phases, Facts: p.Facts, Findings: p.Findings,
		}
	}
	return r
}

// neededResult has as many parts pass as are needed. It is that of the part
// that stands for them: one with the same verdict. Latency and phases are those
// of the part with which enough had passed, or of the slowest of all.
func (c *Check) neededResult(s *Spread, parts []Result) Result {
	var n [len(verdictNames)]int
	passed := make([]int, 0, len(parts))
	for i := range parts {
		n[parts[i].Verdict]++
		if parts[i].Passed() {
			passed = append(passed, i)
		}
	}
	byLatency := func(a, b int) int { return cmp.Compare(parts[a].Latency, parts[b].Latency) }
	slices.SortStableFunc(passed, byLatency)
	verdict := Degraded
	switch {
	case len(passed)+n[Unknown] < s.Need:
		verdict = Down
	case len(passed) < s.Need:
		verdict = Unknown
	case n[Up] >= s.Need:
		verdict = Up
	}
	shown := slices.IndexFunc(parts, func(p Result) bool { return p.Verdict == verdict })
	if shown < 0 { // more are needed than there are
		r := c.Result(&Observation{Latency: s.Found.Latency, Phases: s.Found.Phases, Facts: s.Found.Facts}, Judgement{Verdict: verdict})
		r.Reason = c.maskReason(c.needReason(s, parts, len(passed), verdict))
		return r
	}
	r := parts[shown]
	r.Facts, r.Findings = slices.Clone(r.Facts), slices.Clone(r.Findings)
	r.Verdict = verdict
	if verdict != Up {
		counted := len(passed)
		if verdict == Degraded {
			counted = n[Up]
		}
		r.Reason = c.maskReason(c.needReason(s, parts, counted, verdict))
	}
	timed := 0
	if len(passed) >= s.Need {
		timed = passed[s.Need-1]
	} else {
		for i := range parts {
			if byLatency(i, timed) > 0 {
				timed = i
			}
		}
	}
	r.Latency, r.Phases = parts[timed].Latency, slices.Clone(parts[timed].Phases)
	return r
}

// maxPartsNamed is how many parts a sentence names.
const maxPartsNamed = 8

// needReason words that too few parts have passed: "1 of 3 passed, 3 are
// needed; 192.0.2.2: no answer within 5s; also 192.0.2.3: http.status". The code
// is that of the first part with the verdict.
func (c *Check) needReason(s *Spread, parts []Result, counted int, verdict Verdict) Reason {
	words := map[Verdict]string{Down: "passed", Unknown: "passed for sure", Degraded: "met every preference"}[verdict]
	text := fmt.Sprintf("%d of %d %s, %d needed", counted, len(parts), words, s.Need)
	reason := Reason{Code: ExpectCode("addresses.found"), Message: text}
	var others []string
	advice := ""
	for i := range parts {
		p := &parts[i]
		switch {
		case p.Verdict != verdict:
		case reason.Message == text:
			reason.Code = p.Reason.Code
			what, hint, hinted := strings.Cut(p.Reason.Message, "\n")
			if hinted {
				advice = "\n" + hint
			}
			reason.Message += "; " + s.Parts[i].Name + ": " + what
		default:
			others = append(others, fmt.Sprintf("%s: %s", s.Parts[i].Name, p.Reason.Code))
		}
	}
	if more := len(others) - maxPartsNamed; more > 0 {
		others = append(others[:maxPartsNamed], fmt.Sprintf("and %d more", more))
	}
	if len(others) > 0 {
		reason.Message += "; also " + strings.Join(others, ", ")
	}
	reason.Message += advice
	return reason
}

// wholeResult is that of the whole with what its parts say of it.
func (c *Check) wholeResult(s *Spread, parts []Result, whole *Observation) Result {
	for i := range parts {
		p, name := &parts[i], s.Parts[i].Name
		if p.Verdict == Unknown {
			whole.Explain(name+".up", p.Reason.Code, name+": "+p.Reason.Message)
			whole.Explain(name+".latency", p.Reason.Code, name+": "+p.Reason.Message)
			continue
		}
		whole.Set(name+".up", p.Passed())
		if p.Passed() {
			whole.Set(name+".latency", p.Latency)
		} else {
			whole.Explain(name+".up", p.Reason.Code, name+": "+p.Reason.Message)
			whole.Explain(name+".latency", p.Reason.Code, name+": "+p.Reason.Message)
		}
	}
	r := c.Result(whole, c.Judge(whole))
	if r.Verdict == Down || r.Verdict == Unknown {
		return r
	}
	for i := range parts {
		p := &parts[i]
		v := p.Verdict
		switch {
		case v == Down && p.Reason.Code == s.Absent:
			continue
		case v == Down:
			v = Degraded
		}
		// A part that is known to fail says more than one that is not known.
		if v == Degraded && r.Verdict != Degraded || v == Unknown && r.Verdict == Up {
			r.Verdict = v
			r.Reason = c.maskReason(Reason{Code: p.Reason.Code, Message: s.Parts[i].Name + ": " + p.Reason.Message})
			r.Reproduce = p.Reproduce
		}
	}
	return r
}

// wirePart is the JSON form of a Part.
type wirePart struct {
	Name     string         `json:"name"`
	Verdict  Verdict        `json:"verdict"`
	Reason   *Reason        `json:"reason,omitempty"`
	Latency  float64        `json:"latency_seconds"`
	Phases   map[string]any `json:"phases"`
	Facts    map[string]any `json:"facts"`
	Findings []Finding      `json:"findings"`
}

func wireParts(parts []Part) []wirePart {
	if len(parts) == 0 {
		return nil
	}
	out := make([]wirePart, len(parts))
	for i := range parts {
		p := &parts[i]
		out[i] = wirePart{
			Name: p.Name, Verdict: p.Verdict, Latency: seconds(p.Latency),
			Phases: wirePhases(p.Phases), Facts: nest(p.Facts), Findings: wireFindings(p.Findings),
		}
		if !p.Reason.IsZero() {
			out[i].Reason = &p.Reason
		}
	}
	return out
}
