package check

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestPartsAreBounded keeps what 64 servers say within a bound, and of two all that
// one result may hold.
func TestPartsAreBounded(t *testing.T) {
	c := &Check{ID: "a"}
	var large []string
	for range maxFactItems {
		large = append(large, strings.Repeat("x", maxFactBytes))
	}
	for _, n := range []int{2, 64} {
		s := &Spread{Need: 1}
		results := make([]Result, n)
		for i := range results {
			s.Parts = append(s.Parts, SpreadPart{Name: fmt.Sprint(i), Probe: wide(1)})
			results[i] = Result{
				Verdict: Up, Facts: Facts{{Name: "large", Value: large}, {Name: "status", Value: 200}, {Name: "ip", Value: "192.0.2.1"}},
				Findings: []Finding{{Expect: "large == 1", Got: map[string]any{"large": large}}},
			}
		}
		r := c.SpreadResult(s, results, nil)
		text, err := json.Marshal(r)
		if err != nil || len(text) > maxPartsBytes+3*maxFactItems*maxFactBytes {
			t.Errorf("%d parts: %d bytes, %v", n, len(text), err)
		}
		kept := r.Parts[0].Facts.Get("large") != nil && r.Parts[0].Findings[0].Got["large"] != nil
		if kept != (n == 2) || r.Parts[0].Facts.Get("status") != 200 || r.Parts[0].Facts.Get("ip") != "192.0.2.1" {
			t.Errorf("%d parts: a part with %d facts, %d got", n, len(r.Parts[0].Facts), len(r.Parts[0].Findings[0].Got))
		}
		if r.Facts.Get("large") == nil || r.Findings[0].Got["large"] == nil {
			t.Errorf("%d parts: the result itself has lost a fact", n)
		}
	}
}
