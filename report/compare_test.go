package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/compare"
)

// compared holds a comparison with every outcome.
func compared(evil string) *compare.Report {
	latencies := func(n int, middle time.Duration) []time.Duration {
		out := make([]time.Duration, n)
		for i := range out {
			out[i] = middle + middle/100*time.Duration(i%8)
		}
		return out
	}
	side := func(host string, n int, middle time.Duration) compare.Side {
		return compare.Side{Target: "https://" + host + "/", Verdict: check.Up, Latencies: latencies(n, middle), Facts: compare.Facts{"status": "200", "tls.version": "1.3"}}
	}
	const ms = time.Millisecond
	o := compare.Options{Alpha: compare.DefaultAlpha, MinEffect: compare.DefaultMinEffect}
	before := side("a.example", 40, 100*ms)
	old := before
	old.Facts = compare.Facts{"status": "301", "tls.version": "1.2", "content_type": "text/html" + evil}
	dead := compare.Side{
		Target: "https://b.example/", Verdict: check.Down, Failed: 1,
		Reason: check.Reason{Code: check.ConnectRefused, Message: "b.example refused the connection" + evil},
	}
	shaky := side("b.example", 38, 103*ms)
	shaky.Failed = 2
	return &compare.Report{
		Options: o,
		Checks: compare.Compare([]compare.Pair{
			{ID: "same" + evil, A: before, B: before},
			{ID: "orders[eu]", A: old, B: side("b.example", 40, 131*ms)},
			{ID: "quick", A: before, B: side("a.example", 40, 71*ms)},
			{ID: "shaky", A: before, B: shaky},
			{ID: "unclear", A: before, B: side("a.example", 40, 110*ms)},
			{ID: "short", A: side("a.example", 3, 100*ms), B: before},
			{ID: "dead", A: before, B: dead, Optional: true},
			{ID: "both", A: dead, B: dead},
		}, o),
		OnlyA: []string{"left" + evil}, OnlyB: []string{"new"},
	}
}

func TestComparisonGolden(t *testing.T) {
	for _, f := range ComparisonFormats() {
		o := options(nil)
		o.Comparison = func() *compare.Report { return compared("") }
		golden(t, "compare-"+f.Name+".golden", write(t, f.New, o, nil))
	}
	// A run beside its baseline.
	results := sample()
	for _, f := range Formats() {
		switch f.Name {
		case "table", "json", "markdown", "html":
			o := options(results)
			o.Comparison = func() *compare.Report {
				r := compared("")
				r.Baseline = &compare.Origin{Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Host: "runner-7", Version: "1.2.3"}
				return r
			}
			golden(t, "baseline-"+f.Name+".golden", write(t, f.New, o, results))
		}
	}
}

// TestComparisonHostile shows that what targets and files say stays text, and
// that a terminal's width is kept.
func TestComparisonHostile(t *testing.T) {
	evil := "\x1b[31m\u202e|<script>`\n" + strings.Repeat("界", 3000)
	for _, f := range append(ComparisonFormats(), formatOf(t, "html")) {
		for _, width := range []int{0, 80, 120} {
			o := options(nil)
			o.Width = width
			o.Comparison = func() *compare.Report { return compared(evil) }
			text := write(t, f.New, o, nil)
			if strings.ContainsAny(text, "\x1b\u202e") {
				t.Errorf("%s lets control characters through", f.Name)
			}
			switch f.Name {
			case "table":
				if width > 0 {
					checkWidths(t, text, width)
				}
			case "markdown":
				if strings.Contains(text, "<script") || len(text) > SummaryLimit {
					t.Errorf("markdown has markup, or %d bytes", len(text))
				}
			case "html":
				if _, err := parseXML("tr")(text); err != nil || count(elements(t, text), "script") > 0 || !strings.Contains(text, "<h2>Comparison</h2>") {
					t.Errorf("html is no page with a comparison, or has markup: %v", err)
				}
			case "json":
				if !json.Valid([]byte(text)) {
					t.Errorf("no JSON: %s", text)
				}
			}
		}
	}
}
