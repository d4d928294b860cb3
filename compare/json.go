package compare

import (
	"encoding/json"
	"math"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// wireReport is the JSON form of a Report, a contract with the schema number of
// the document that it is part of.
type wireReport struct {
	Method     string           `json:"method"`
	Alpha      float64          `json:"alpha"`
	Confidence float64          `json:"confidence"`
	MinEffect  float64          `json:"min_effect"`
	Baseline   *wireOrigin      `json:"baseline,omitempty"`
	Summary    map[string]int   `json:"summary"` // by outcome
	Checks     []wireComparison `json:"checks"`
	OnlyA      []string         `json:"only_a"`
	OnlyB      []string         `json:"only_b"`
}

type wireOrigin struct {
	Created time.Time `json:"created"`
	Host    string    `json:"host,omitempty"`
	Version string    `json:"sonde"`
}

type wireComparison struct {
	ID       string   `json:"id"`
	Outcome  Outcome  `json:"outcome"`
	Optional bool     `json:"optional,omitempty"`
	Ratio    *float64 `json:"ratio"` // null where there is none
	Low      *float64 `json:"ratio_low"`
	High     *float64 `json:"ratio_high"`
	P        float64  `json:"p"`
	Needed   int      `json:"needed_samples,omitempty"`
	A        wireSide `json:"a"`
	B        wireSide `json:"b"`
	Changes  []Change `json:"changes"`
}

type wireSide struct {
	Target  string        `json:"target"`
	Verdict check.Verdict `json:"verdict"`
	Reason  *check.Reason `json:"reason,omitempty"`
	Samples int           `json:"samples"` // latencies that were compared
	Failed  int           `json:"failed"`
	Median  *float64      `json:"median_seconds"`
}

// MarshalJSON writes the report in snake case, with shares as numbers and
// durations in seconds.
func (r *Report) MarshalJSON() ([]byte, error) {
	w := wireReport{
		Method: "mann-whitney", Alpha: r.Alpha, Confidence: r.Confidence(), MinEffect: r.MinEffect,
		Summary: make(map[string]int, len(outcomeNames)), Checks: make([]wireComparison, len(r.Checks)),
		OnlyA: orEmpty(r.OnlyA), OnlyB: orEmpty(r.OnlyB),
	}
	if b := r.Baseline; b != nil {
		w.Baseline = &wireOrigin{Created: b.Created.UTC(), Host: b.Host, Version: b.Version}
	}
	for _, name := range outcomeNames {
		w.Summary[name] = 0
	}
	for i := range r.Checks {
		c := &r.Checks[i]
		w.Summary[c.Outcome.String()]++
		w.Checks[i] = wireComparison{
			ID: c.ID, Outcome: c.Outcome, Optional: c.Optional, P: c.P, Needed: c.Needed,
			Ratio: finite(c.Ratio),
			A:     c.A.wire(), B: c.B.wire(), Changes: orEmpty(c.Changes),
		}
		if finite(c.High) != nil { // else there are no bounds
			w.Checks[i].Low, w.Checks[i].High = &c.Low, &c.High
		}
	}
	return json.Marshal(w)
}

func (s *Side) wire() wireSide {
	w := wireSide{Target: s.Target, Verdict: s.Verdict, Samples: len(s.Latencies), Failed: s.Failed}
	if len(s.Latencies) > 0 {
		w.Median = finite(s.Median().Seconds())
	}
	if !s.Reason.IsZero() {
		w.Reason = &s.Reason
	}
	return w
}

func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
