package check

import (
	"encoding/json"
	"maps"
	"time"
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
	// Failed holds the reasons of the attempts before the reported one.
	Failed []Reason

	Reproduce string
}

// Result makes the result of an attempt. It masks the check's secrets and cuts
// what is long; the caller fills in what only the scheduler knows.
func (c *Check) Result(o *Observation, j Judgement) Result {
	r := Result{
		ID: c.Mask.String(c.ID), Name: c.Mask.String(c.Name), Kind: c.Kind, Target: c.Mask.String(c.Target),
		Tags: c.Tags, Labels: c.Labels, File: c.File, Line: c.Line, Optional: c.Optional,
		Verdict: j.Verdict, Reason: c.maskReason(j.Reason),
		Latency: o.Latency, Phases: o.Phases, Facts: make(Facts, len(o.Facts)),
		Attempts: 1,
	}
	if o.Reproduce != nil && j.Verdict != Up {
		r.Reproduce = c.Mask.String(o.Reproduce())
	}
	for name, v := range o.Facts {
		if !c.fact(name).Hidden {
			r.Facts[name] = c.tidy(v)
		}
	}
	for _, f := range j.Findings {
		f.Expect = c.Mask.String(f.Expect)
		got := make(map[string]any, len(f.Got))
		for name, v := range f.Got {
			got[name] = c.tidy(v)
		}
		f.Got = got
		r.Findings = append(r.Findings, f)
	}
	return r
}

func (c *Check) maskReason(r Reason) Reason {
	r.Message = clip(c.Mask.String(r.Message), maxMessageBytes)
	return r
}

// tidy masks and cuts a fact's value. Masking comes first, so that a secret
// cut in half is hidden too.
func (c *Check) tidy(v any) any {
	switch v := v.(type) {
	case string:
		return clip(c.Mask.String(v), maxFactBytes)
	case []string:
		out := make([]string, 0, min(len(v), maxFactItems+1))
		for i, s := range v {
			if i == maxFactItems {
				out = append(out, "…")
				break
			}
			out = append(out, clip(c.Mask.String(s), maxFactBytes))
		}
		return out
	case map[string]string:
		out := make(map[string]string, min(len(v), maxFactItems))
		for k, s := range v {
			if len(out) == maxFactItems {
				break
			}
			out[clip(c.Mask.String(k), maxFactBytes)] = clip(c.Mask.String(s), maxFactBytes)
		}
		return out
	case []any, map[string]any:
		text, err := json.Marshal(v)
		if err != nil {
			return "?"
		}
		if masked := c.Mask.String(string(text)); len(masked) > maxFactBytes || masked != string(text) {
			return clip(masked, maxFactBytes)
		}
		return v
	default:
		return v
	}
}

// Clone returns a copy whose maps and slices can be changed.
func (r Result) Clone() Result {
	r.Labels, r.Facts = maps.Clone(r.Labels), maps.Clone(r.Facts)
	r.Tags = append([]string(nil), r.Tags...)
	r.Findings = append([]Finding(nil), r.Findings...)
	r.Phases = append(Phases(nil), r.Phases...)
	return r
}

// clip cuts s to at most n bytes at a character's start.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
