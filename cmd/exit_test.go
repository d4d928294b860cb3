package cmd

import (
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/compare"
)

func TestComparisonCode(t *testing.T) {
	one := func(a, b check.Verdict, o compare.Outcome) compare.Comparison {
		return compare.Comparison{Pair: compare.Pair{A: compare.Side{Verdict: a}, B: compare.Side{Verdict: b}}, Outcome: o}
	}
	optional := one(check.Up, check.Unknown, compare.TooFew)
	optional.Optional = true
	for _, tt := range []struct {
		name   string
		checks []compare.Comparison
		want   int
	}{
		{"same", []compare.Comparison{one(check.Up, check.Up, compare.Same)}, ExitOK},
		{"unclear", []compare.Comparison{one(check.Up, check.Up, compare.Unclear)}, ExitOK},
		{"slower", []compare.Comparison{one(check.Up, check.Up, compare.Slower)}, ExitDown},
		{"failing", []compare.Comparison{one(check.Up, check.Down, compare.Failing)}, ExitDown},
		{"too few", []compare.Comparison{one(check.Up, check.Up, compare.TooFew)}, ExitUnknown},
		{"enough latencies of what may be down", []compare.Comparison{one(check.Up, check.Unknown, compare.Same)}, ExitUnknown},
		{"slower wins", []compare.Comparison{one(check.Up, check.Unknown, compare.Same), one(check.Up, check.Up, compare.Slower)}, ExitDown},
		{"A alone is unknown", []compare.Comparison{one(check.Unknown, check.Up, compare.Same)}, ExitOK},
		{"optional", []compare.Comparison{one(check.Up, check.Up, compare.Same), optional}, ExitOK},
	} {
		if got := comparisonCode(&compare.Report{Checks: tt.checks}, false, nil); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestPolicy(t *testing.T) {
	counts := func(up, degraded, down, unknown, flaky int) check.Summary {
		return check.Summary{Total: up + degraded + down + unknown, Up: up, Degraded: degraded, Down: down, Unknown: unknown, Flaky: flaky}
	}
	tests := []struct {
		name    string
		failOn  check.Verdict
		flaky   bool
		summary check.Summary
		cause   error
		want    int
	}{
		{"all up", check.Unknown, false, counts(3, 0, 0, 0, 0), nil, ExitOK},
		{"only optional ones", check.Unknown, false, counts(0, 0, 0, 0, 0), nil, ExitOK},
		{"degraded passes", check.Unknown, false, counts(1, 1, 0, 0, 0), nil, ExitOK},
		{"degraded fails when asked", check.Degraded, false, counts(1, 1, 0, 0, 0), nil, ExitDegraded},
		{"unknown", check.Unknown, false, counts(1, 1, 0, 1, 0), nil, ExitUnknown},
		{"unknown wins over degraded", check.Degraded, false, counts(1, 1, 0, 1, 0), nil, ExitUnknown},
		{"down wins", check.Degraded, false, counts(1, 1, 1, 1, 1), nil, ExitDown},
		{"unknown passes when asked", check.Down, false, counts(1, 0, 0, 1, 0), nil, ExitOK},
		{"nothing measured never passes", check.Down, false, counts(0, 0, 0, 2, 0), nil, ExitUnknown},
		{"degraded passes below down", check.Down, false, counts(0, 1, 0, 0, 0), nil, ExitOK},
		{"flaky passes", check.Unknown, false, counts(1, 0, 0, 0, 1), nil, ExitOK},
		{"flaky fails when asked", check.Unknown, true, counts(1, 0, 0, 0, 1), nil, ExitDown},
		{"deadline", check.Unknown, false, counts(1, 0, 1, 0, 0), errDeadline, ExitDeadline},
		{"interrupted", check.Unknown, false, counts(1, 0, 1, 0, 0), errInterrupted, ExitInterrupted},
	}
	for _, tt := range tests {
		p := policy{failOn: verdictFlag(tt.failOn), flaky: check.Up}
		if tt.flaky {
			p.flaky = check.Down
		}
		if got := p.code(tt.summary, tt.cause); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestNagiosState holds the codes of --exit-style nagios, where each verdict has
// one and the cause of an early end has none.
func TestNagiosState(t *testing.T) {
	tests := []struct {
		name    string
		flaky   check.Verdict
		summary check.Summary
		want    int
	}{
		{"all up", check.Degraded, check.Summary{Total: 3, Up: 3}, 0},
		{"only optional ones", check.Degraded, check.Summary{}, 0},
		{"degraded", check.Degraded, check.Summary{Total: 2, Up: 1, Degraded: 1}, 1},
		{"down wins", check.Degraded, check.Summary{Total: 3, Degraded: 1, Down: 1, Unknown: 1}, 2},
		{"unknown wins over degraded", check.Degraded, check.Summary{Total: 2, Degraded: 1, Unknown: 1}, 3},
		{"flaky passes", check.Up, check.Summary{Total: 1, Up: 1, Flaky: 1}, 0},
		{"flaky warns", check.Degraded, check.Summary{Total: 1, Up: 1, Flaky: 1}, 1},
		{"flaky fails", check.Down, check.Summary{Total: 1, Up: 1, Flaky: 1}, 2},
	}
	for _, tt := range tests {
		for _, cause := range []error{nil, errDeadline, errInterrupted} {
			p := policy{failOn: verdictFlag(check.Unknown), flaky: tt.flaky, nagios: true}
			if got := p.code(tt.summary, cause); got != tt.want {
				t.Errorf("%s, ended by %v: %d, want %d", tt.name, cause, got, tt.want)
			}
		}
	}
}
