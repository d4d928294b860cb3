package cmd

import (
	"testing"

	"github.com/sonde-cli/sonde/check"
)

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
		p := policy{failOn: verdictFlag(tt.failOn), flakyFail: tt.flaky}
		if got := p.code(tt.summary, tt.cause); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
