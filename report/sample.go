package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// briefPoints is how many observations that did not pass are listed.
const briefPoints = 20

// sampleCell is a sample in short: "30/30 p50 12ms p95 20ms". The maximum
// stands for a percentile that there are too few observations for.
func sampleCell(r check.Result) string {
	if r.Sample == nil {
		return ""
	}
	text := sampleCount(r.Sample)
	facts := r.Sample.Facts()
	for _, name := range []string{"latency.p50", "latency.p95"} {
		if d, ok := facts.Get(name).(time.Duration); ok {
			text += " " + strings.TrimPrefix(name, "latency.") + " " + check.FormatDuration(d)
		}
	}
	if _, ok := facts.Lookup("latency.p95"); !ok {
		if d, ok := facts.Get("latency.max").(time.Duration); ok {
			text += " max " + check.FormatDuration(d)
		}
	}
	return text
}

// sampleCount is "29/30", and "1/2 of 30" for a sample that ended before.
func sampleCount(s *check.Sample) string {
	text := fmt.Sprintf("%d/%d", s.Passed(), len(s.Points))
	if len(s.Points) < s.Planned {
		text += fmt.Sprintf(" of %d", s.Planned)
	}
	return text
}

// sampleLines tell what a sample saw: how many passed, the latencies and, when
// verbose, the observations that are not up.
func sampleLines(r check.Result, o Options, columns int) []string {
	s := r.Sample
	if s == nil {
		return nil
	}
	lines := wrapText("sample: "+sampleWords(s), columns)
	if times := sampleTimes(s); times != "" {
		lines = append(lines, wrapText(times, columns)...)
	}
	if o.Verbose {
		lines = append(lines, pointLines(s, columns)...)
	}
	return lines
}

// sampleWords tells how many passed, and why there are fewer than planned.
func sampleWords(s *check.Sample) string {
	text := fmt.Sprintf("%d of %d passed", s.Passed(), len(s.Points))
	if n := s.Unknown(); n > 0 {
		text += fmt.Sprintf(", %d could not be made", n)
	}
	switch {
	case s.Early:
		text += fmt.Sprintf(", ended early (%d planned): it could no longer pass", s.Planned)
	case len(s.Points) < s.Planned:
		text += fmt.Sprintf(", cut short (%d planned)", s.Planned)
	}
	return text
}

// sampleTimes lists the facts over the latencies, in the order of their
// declaration.
func sampleTimes(s *check.Sample) string {
	facts := s.Facts()
	var parts []string
	for _, f := range check.CommonFacts() {
		if d, ok := facts.Get(f.Name).(time.Duration); ok && f.Sample {
			parts = append(parts, strings.TrimPrefix(f.Name, "latency.")+" "+check.FormatDuration(d))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "latency: " + strings.Join(parts, ", ")
}

// pointLines lists the observations that are not up.
func pointLines(s *check.Sample, columns int) []string {
	var lines []string
	left := 0
	for i, p := range s.Points {
		switch {
		case p.Verdict == check.Up:
		case left > 0 || len(lines) >= briefPoints:
			left++
		default:
			lines = append(lines, wrapText(fmt.Sprintf("observation %d: %s, %s", i+1, p.Verdict, clean(reason(p.Reason))), columns)...)
		}
	}
	if left > 0 {
		lines = append(lines, wrapText(fmt.Sprintf("and %d more that are not up", left), columns)...)
	}
	return lines
}
