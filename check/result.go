package check

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
	"unicode/utf8"
)

// Schema is the number of the JSON schema of a Result.
const Schema = 1

// Limits of what a result carries of a target's data. What is longer is cut
// and ends in an ellipsis.
const (
	maxFactBytes    = 1024
	maxFactItems    = 64
	maxMessageBytes = 1024
)

// Result is the plain data of one run. It holds no secret and no unbounded
// data of a target.
type Result struct {
	Origin string // the node; empty on a laptop
	Seq    uint64 // counts the runs of this check

	ID     string
	Name   string
	Kind   string
	Target string
	Tags   []string
	Labels map[string]string
	File   string // where the check is defined
	Line   int

	Verdict  Verdict
	Reason   Reason
	Findings []Finding
	Optional bool

	Scheduled time.Time     // when it was due
	Started   time.Time     // of the attempt that is reported
	Queued    time.Duration // from due to started; never part of Latency
	Missed    int           // runs skipped since the result before
	Latency   time.Duration
	Phases    Phases
	Facts     Facts

	Attempts int
	Flaky    bool // up or degraded, but only after a failed attempt
	// Failed holds the attempts before the reported one.
	Failed []Attempt
	// Sample is what a run with samples saw; nil without. Then Latency is the
	// median, and Phases are those of the observation that took it.
	Sample *Sample
	// Parts are the outcomes of a run that looks at its target in several parts,
	// such as at each address of a name; see [Spread]. Empty for any other.
	Parts []Part

	Reproduce string
}

// Attempt is one that failed before the reported one.
type Attempt struct {
	Reason
	Latency time.Duration // as of the result; 0 when nothing was measured
}

// Result makes the result of an attempt. It masks the check's secrets and cuts
// what is long; the caller fills in what only the scheduler knows. It takes
// over the maps of the observation and of the findings.
func (c *Check) Result(o *Observation, j Judgement) Result {
	named := c.Mask // what a run learns must not change what the check is called
	if len(o.Secrets) > 0 {
		wary := *c
		wary.Mask = c.Mask.With(o.Secrets...)
		c = &wary
	}
	r := Result{
		ID: named.String(c.ID), Name: named.String(c.Name), Kind: c.Kind, Target: named.String(c.Target),
		Tags: c.Tags, Labels: c.Labels, File: c.File, Line: c.Line, Optional: c.Optional,
		Verdict: j.Verdict, Reason: c.maskReason(j.Reason),
		Latency: o.Latency, Phases: o.Phases, Facts: o.Facts, Findings: j.Findings,
		Attempts: 1,
	}
	if o.Reproduce != nil && j.Verdict != Up {
		r.Reproduce = c.Mask.String(o.Reproduce())
	}
	for i := range c.FactList {
		if f := &c.FactList[i]; f.Hidden {
			r.Facts.Delete(f.Name)
		}
	}
	for i := range r.Facts {
		f := &r.Facts[i]
		if tidied, changed := c.tidy(f.Value); changed {
			f.Value = tidied
		}
	}
	for i := range r.Findings {
		c.tidyAll(r.Findings[i].Got)
	}
	if c.Mask != nil {
		c.maskNames(&r, named)
	}
	return r
}

// maskNames masks what comes from the file, where a variable can have put a
// secret. Tags and labels belong to the check and are copied.
func (c *Check) maskNames(r *Result, named *Mask) {
	r.Tags = slices.Clone(r.Tags)
	for i := range r.Tags {
		r.Tags[i] = named.String(r.Tags[i])
	}
	r.Labels = maps.Clone(r.Labels)
	for k, v := range r.Labels {
		r.Labels[k] = named.String(v)
	}
	for i := range r.Findings {
		r.Findings[i].Expect = c.Mask.String(r.Findings[i].Expect)
	}
}

func (c *Check) tidyAll(facts map[string]any) {
	for name, v := range facts {
		if tidied, changed := c.tidy(v); changed {
			facts[name] = tidied
		}
	}
}

func (c *Check) maskReason(r Reason) Reason {
	r.Message = clip(c.Mask.String(r.Message), maxMessageBytes)
	return r
}

// tidy masks and cuts a fact's value and tells whether that changed it. Masking
// comes first, so that a secret cut in half is hidden too. A value that changes
// is copied, because the target's data can be shared by several facts.
func (c *Check) tidy(v any) (any, bool) {
	switch x := v.(type) {
	case string:
		if s := c.tidyText(x); s != x {
			return s, true
		}
	case []string:
		if !c.fineList(x) {
			return c.tidyList(x), true
		}
	case map[string]string:
		if !c.fineMap(x) {
			return c.tidyMap(x), true
		}
	case []any, map[string]any:
		text, err := json.Marshal(v)
		if err != nil {
			return "?", true
		}
		if s := c.tidyText(string(text)); s != string(text) {
			return s, true
		}
	}
	return v, false
}

func (c *Check) tidyText(s string) string { return clip(c.Mask.String(s), maxFactBytes) }

func (c *Check) fine(s string) bool { return c.tidyText(s) == s }

func (c *Check) fineList(list []string) bool {
	return len(list) <= maxFactItems && !slices.ContainsFunc(list, func(s string) bool { return !c.fine(s) })
}

func (c *Check) tidyList(list []string) []string {
	out := make([]string, 0, min(len(list), maxFactItems+1))
	for i, s := range list {
		if i == maxFactItems {
			return append(out, ellipsis)
		}
		out = append(out, c.tidyText(s))
	}
	return out
}

func (c *Check) fineMap(m map[string]string) bool {
	for k, s := range m {
		if !c.fine(k) || !c.fine(s) {
			return false
		}
	}
	return len(m) <= maxFactItems
}

// tidyMap keeps the first keys in order, so that the same map is always cut in
// the same way.
func (c *Check) tidyMap(m map[string]string) map[string]string {
	keys := slices.Sorted(maps.Keys(m))
	out := make(map[string]string, min(len(m), maxFactItems))
	for _, k := range keys[:min(len(keys), maxFactItems)] {
		out[c.tidyText(k)] = c.tidyText(m[k])
	}
	return out
}

// Clone returns a copy whose maps and slices can be changed.
func (r Result) Clone() Result {
	r.Labels, r.Facts = maps.Clone(r.Labels), slices.Clone(r.Facts)
	r.Tags = slices.Clone(r.Tags)
	r.Phases, r.Failed = slices.Clone(r.Phases), slices.Clone(r.Failed)
	if r.Sample != nil {
		s := *r.Sample
		s.Points = slices.Clone(s.Points)
		r.Sample = &s
	}
	r.Findings = cloneFindings(r.Findings)
	r.Parts = slices.Clone(r.Parts)
	for i := range r.Parts {
		p := &r.Parts[i]
		p.Phases, p.Facts, p.Findings = slices.Clone(p.Phases), slices.Clone(p.Facts), cloneFindings(p.Findings)
	}
	return r
}

func cloneFindings(findings []Finding) []Finding {
	findings = slices.Clone(findings)
	for i := range findings {
		findings[i].Got = maps.Clone(findings[i].Got)
	}
	return findings
}

const ellipsis = "…"

// clip cuts s to at most n bytes at a character's start and marks the cut.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for end := n; end > n-utf8.UTFMax; end-- {
		if utf8.RuneStart(s[end]) {
			n = end
			break
		}
	}
	return s[:n] + ellipsis
}
