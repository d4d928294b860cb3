package report

import (
	"fmt"
	"slices"

	"github.com/sonde-cli/sonde/check"
)

// briefParts is how many parts of a result are listed, unless everything is
// asked for.
const briefParts = 16

// partLines has a line for each part of a result, what is worst first: its name,
// verdict, latency, and why it is not up.
func partLines(r check.Result, o Options, columns int) []string {
	if len(r.Parts) == 0 {
		return nil
	}
	parts := slices.Clone(r.Parts)
	slices.SortStableFunc(parts, func(a, b check.Part) int {
		switch {
		case a.Verdict.Worse(b.Verdict):
			return -1
		case b.Verdict.Worse(a.Verdict):
			return 1
		}
		return 0
	})
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
		text := fmt.Sprintf("%s  %-8s", pad(clean(p.Name), wide), p.Verdict)
		if p.Latency > 0 {
			text += "  " + check.FormatDuration(p.Latency)
		}
		if !p.Reason.IsZero() {
			text += "  " + clean(reason(p.Reason))
		}
		lines = append(lines, wrapText(text, columns)...)
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", left))
	}
	return lines
}
