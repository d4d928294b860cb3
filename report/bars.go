package report

import (
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Columns of the bar chart beside the bars.
const (
	phaseColumn = 8 // the longest phase name, "transfer"
	timeColumn  = 7 // the longest duration, "-" and such included
	minBars     = 8
)

// bars draws the phases as a waterfall: each bar begins where the one before
// it ended and is as long as its part of the whole latency. Every phase that
// took place shows at least one block.
func bars(r check.Result, columns int, p palette) []string {
	room := max(minBars, columns-phaseColumn-timeColumn-2*gap)
	total := r.Latency
	var sum time.Duration
	for _, ph := range r.Phases {
		sum += max(0, ph.Duration)
	}
	total = max(total, sum, 1)
	var lines []string
	var at time.Duration
	for _, ph := range r.Phases {
		d := max(0, ph.Duration)
		from, to := scale(at, total, room), scale(at+d, total, room)
		at += d
		from = min(from, room-1)
		to = max(to, from+1)
		took := check.FormatDuration(ph.Duration)
		lines = append(lines, pad(cut(clean(ph.Name), phaseColumn), phaseColumn)+strings.Repeat(" ", gap)+
			strings.Repeat(" ", max(0, timeColumn-width(took)))+took+strings.Repeat(" ", gap+from)+
			p.paint(p.bar(ph.Name), strings.Repeat("█", to-from)))
	}
	return lines
}

// scale returns the column, of so many, at which d of total ends.
func scale(d, total time.Duration, columns int) int {
	return int(float64(d)/float64(total)*float64(columns) + 0.5)
}
