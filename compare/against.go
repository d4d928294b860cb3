package compare

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sonde-cli/sonde/check"
)

// Against compares the results of a run with a baseline, by the ids of the
// checks. What was not measured is left out.
func (b *Baseline) Against(results []check.Result, o Options) *Report {
	report := &Report{Options: o, Baseline: &b.Origin}
	left := maps.Clone(b.Sides)
	var pairs []Pair
	for _, r := range results {
		side, ok := left[r.ID]
		if !ok {
			report.OnlyB = append(report.OnlyB, r.ID)
			continue
		}
		delete(left, r.ID)
		pairs = append(pairs, Pair{ID: r.ID, Optional: r.Optional, A: side, B: SideOf(r)})
	}
	report.OnlyA = slices.Sorted(maps.Keys(left))
	report.Checks = Compare(pairs, o)
	return report
}

// Judge adds what came out to the results of side B: a finding for each check
// that was compared, and degraded for what was up and became slower.
func (r *Report) Judge(results []check.Result) {
	byID := make(map[string]*Comparison, len(r.Checks))
	for i := range r.Checks {
		byID[r.Checks[i].ID] = &r.Checks[i]
	}
	for i := range results {
		if c := byID[results[i].ID]; c != nil && c.Outcome != TooFew && c.Outcome != Failing {
			c.judgeResult(&results[i], r.Options)
		}
	}
}

func (c *Comparison) judgeResult(r *check.Result, o Options) {
	r.Findings = append(slices.Clip(r.Findings), check.Finding{
		Expect: fmt.Sprintf("latency <= %.4g * baseline", 1+o.MinEffect), Level: check.Prefer, OK: c.Outcome != Slower,
		Got: map[string]any{"ratio": c.Ratio, "p": c.P}, Note: c.Outcome.String(),
	})
	if c.Outcome == Slower && r.Verdict == check.Up {
		r.Verdict = check.Degraded
		r.Reason = check.Reason{Code: check.ExpectCode("latency"), Message: c.Words(o)}
	}
}

// Words says in a sentence what came out for the latency.
func (c *Comparison) Words(o Options) string {
	switch c.Outcome {
	case TooFew:
		return fmt.Sprintf("too few latencies to compare: %d and %d, a side needs %d", len(c.A.Latencies), len(c.B.Latencies), c.Needed)
	case Failing:
		return "B is down and A is not"
	}
	text := fmt.Sprintf("median latency %s against %s, %.2f times as long (%s confidence: %.2f to %.2f)",
		check.FormatDuration(c.B.Median()), check.FormatDuration(c.A.Median()), c.Ratio, Percent(o.Confidence()), c.Low, c.High)
	if c.Outcome == Slower || c.Outcome == Faster {
		text += fmt.Sprintf(", %s by more than %s", c.Outcome, Percent(o.MinEffect))
	}
	return text
}

// Percent writes a share as 10% or 0.5%.
func Percent(share float64) string { return fmt.Sprintf("%.4g%%", share*100) }
