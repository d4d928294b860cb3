package expect

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// TestHintOfManyFacts names those of the steps of a journey as one each.
func TestHintOfManyFacts(t *testing.T) {
	facts := []check.Fact{{Name: "latency", Type: check.Duration}, {Name: "phase.tls", Type: check.Duration}}
	for i := range mostNamed {
		facts = append(facts, check.Fact{Name: fmt.Sprintf("steps.a.fact%d", i), Type: check.Int}, check.Fact{Name: fmt.Sprintf("steps.b.fact%d", i), Type: check.Int})
	}
	for text, want := range map[string]string{
		"xyzzy":       "the facts are latency, phase.tls, steps.a.*, steps.b.*",
		"steps.q.zzz": "the facts are steps.a.*, steps.b.*",
	} {
		_, err := Compile(text, facts)
		var wrong *Error
		if !errors.As(err, &wrong) || wrong.Hint != want {
			t.Errorf("%s: %v\nwant the hint %q", text, err, want)
		}
	}
}
