package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// writeTAP writes the Test Anything Protocol with YAML diagnostics, in the form
// of version 14. It says 13, which a harness for 14 reads as well ("Changes From
// TAP13 Format" of its specification), because Perl's prove up to Test::Harness
// 3.44 takes a 14 for an error; nothing in it means another thing in either.
//
// An optional check that is not up is skipped, since it does not fail the run
// either.
func writeTAP(b *bytes.Buffer, r run) {
	fmt.Fprintf(b, "TAP version 13\n1..%d", len(r.results))
	if len(r.results) == 0 {
		b.WriteString(" # SKIP no checks ran")
	}
	b.WriteByte('\n')
	for i, res := range r.results {
		fmt.Fprintf(b, "%s %d - %s\n", tapStatus(r.o, res), i+1, tapDescription(r.o, res))
		tapDiagnostics(b, res)
	}
	fmt.Fprintf(b, "# %s\n", plainSummary(r))
}

func tapStatus(o Options, r check.Result) string {
	if o.fails(r) && !r.Optional {
		return "not ok"
	}
	return "ok"
}

// tapDescription escapes what would be read as a directive.
func tapDescription(o Options, r check.Result) string {
	escape := strings.NewReplacer(`\`, `\\`, "#", `\#`)
	text := escape.Replace(clean(r.ID))
	if o.fails(r) && r.Optional {
		return text + " # SKIP optional, " + r.Verdict.String()
	}
	return text
}

// tapDiagnostics writes a YAML block whose strings are quoted as in JSON,
// which YAML reads as well.
func tapDiagnostics(b *bytes.Buffer, r check.Result) {
	if r.Verdict == check.Up && !r.Flaky {
		return
	}
	field := func(name, text string) {
		if text != "" {
			fmt.Fprintf(b, "  %s: %s\n", name, quoted(text))
		}
	}
	b.WriteString("  ---\n")
	field("verdict", r.Verdict.String())
	field("code", string(r.Reason.Code))
	field("message", r.Reason.Message)
	field("kind", r.Kind)
	field("target", r.Target)
	field("at", place(r.File, r.Line))
	fmt.Fprintf(b, "  flaky: %t\n  attempts: %d\n  duration_ms: %.3f\n", r.Flaky, r.Attempts, r.Latency.Seconds()*1000)
	if len(r.Failed) > 0 {
		b.WriteString("  failed_attempts:\n")
	}
	for _, a := range r.Failed {
		fmt.Fprintf(b, "    - code: %s\n      message: %s\n      duration_ms: %.3f\n", quoted(string(a.Code)), quoted(a.Message), a.Latency.Seconds()*1000)
	}
	tapMissed(b, r.Findings)
	if len(r.Parts) > 0 {
		b.WriteString("  parts:\n")
	}
	for _, p := range r.Parts {
		fmt.Fprintf(b, "    - name: %s\n      verdict: %q\n      code: %s\n      message: %s\n      duration_ms: %.3f\n",
			quoted(p.Name), p.Verdict, quoted(string(p.Reason.Code)), quoted(p.Reason.Message), p.Latency.Seconds()*1000)
	}
	field("reproduce", r.Reproduce)
	b.WriteString("  ...\n")
}

func tapMissed(b *bytes.Buffer, findings []check.Finding) {
	head := "  missed:\n"
	for _, f := range findings {
		if !f.OK {
			fmt.Fprintf(b, "%s    - expect: %s\n      level: %q\n      got: %s\n      at: %s\n",
				head, quoted(f.Expect), f.Level, quoted(got(f)), quoted(place(f.File, f.Line)))
			head = ""
		}
	}
}

// quoted returns text, made clean, between double quotes.
func quoted(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(clean(text)) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}
