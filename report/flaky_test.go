package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// TestFlaky holds that a flaky result is seen in every format, whatever the
// gate decides, and that those that say passed or failed follow the gate.
func TestFlaky(t *testing.T) {
	results := []check.Result{{
		ID: "a", Kind: "tcp", Verdict: check.Up, Attempts: 2, Flaky: true, File: "a.yaml", Line: 3,
		Failed: []check.Attempt{{Reason: check.Reason{Code: check.ConnectReset, Message: "reset by peer"}}},
	}}
	signs := map[check.Verdict]map[string]string{
		check.Up:       {"junit": "<flakyFailure", "tap": "\nok 1 - a\n", "github": "::notice ", "gitlab": `"info"`, "nagios": "SONDE OK - "},
		check.Degraded: {"junit": "<flakyFailure", "tap": "\nok 1 - a\n", "github": "::warning ", "gitlab": `"minor"`, "nagios": "SONDE WARNING - "},
		check.Down:     {"junit": "<rerunFailure", "tap": "\nnot ok 1 - a\n", "github": "::error ", "gitlab": `"critical"`, "nagios": "SONDE CRITICAL - "},
	}
	for verdict, want := range signs {
		o := options(results)
		o.Flaky = verdict
		for _, f := range everySink() {
			text := write(t, f.New, o, results)
			if !strings.Contains(text, "flaky") {
				t.Errorf("%s: --flaky counts as %s: not seen in:\n%s", f.Name, verdict, text)
			}
			if f.Name != "prometheus" && !strings.Contains(text, string(check.ConnectReset)) {
				t.Errorf("%s: the attempt's reason is not seen in:\n%s", f.Name, text)
			}
			if !strings.Contains(text, want[f.Name]) {
				t.Errorf("%s: --flaky counts as %s: no %q in:\n%s", f.Name, verdict, want[f.Name], text)
			}
		}
	}
}

// TestFlakyOptional holds that an optional check fails nothing, flaky or not.
func TestFlakyOptional(t *testing.T) {
	results := []check.Result{{ID: "a", Verdict: check.Up, Attempts: 2, Flaky: true, Optional: true}}
	o := options(results)
	o.Flaky = check.Down
	got := map[string]bool{}
	for format, sign := range map[string]string{"junit": "<skipped", "tap": "\nok 1 - a # SKIP", "github": "::notice ", "gitlab": `"info"`, "nagios": "SONDE OK - "} {
		for _, f := range Formats() {
			if f.Name == format {
				got[format] = strings.Contains(write(t, f.New, o, results), sign)
			}
		}
	}
	want := map[string]bool{"junit": true, "tap": true, "github": true, "gitlab": true, "nagios": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("taken for a pass (-want +got):\n%s", diff)
	}
}
