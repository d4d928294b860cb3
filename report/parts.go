package report

import (
	"fmt"
	"slices"

	"github.com/sonde-cli/sonde/check"
)

// briefParts is how many parts of a result are listed, unless everything is
// asked for.
const briefParts = 16

// worstFirst returns the parts sorted by their verdicts.
func worstFirst(parts []check.Part) []check.Part {
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(a, b check.Part) int {
		switch {
		case a.Verdict.Worse(b.Verdict):
			return -1
		case b.Verdict.Worse(a.Verdict):
			return 1
		}
		return 0
	})
	return parts
}

// partLines has a line for each part of a result, what is worst first: its name,
// verdict, latency, and why it is not up.
func partLines(r check.Result, o Options, columns int) []string {
	parts := worstFirst(r.Parts)
	left := 0
	if !o.Verbose && len(parts) > briefParts {
		parts, left = parts[:briefParts], len(parts)-briefParts
	}
	wide := 0
	for _, p := range parts {
		wide = max(wide, width(clean(p.Name)))
	}
	var lines []string
	for _, p := range parts {
		lines = append(lines, wrapText(pad(clean(p.Name), wide)+"  "+partOutcome(p), columns)...)
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", left))
	}
	return lines
}

// partOutcome is a part's verdict, latency, and why it is not up, on one line.
func partOutcome(p check.Part) string {
	text := fmt.Sprintf("%-8s", p.Verdict)
	if p.Latency > 0 {
		text += "  " + check.FormatDuration(p.Latency)
	}
	if !p.Reason.IsZero() {
		text += "  " + clean(reason(p.Reason))
	}
	return text
}
