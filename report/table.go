package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// Column limits of the table, in columns of the terminal.
const (
	gap       = 2  // between two columns
	maxColumn = 60 // a longer cell of a plain text table pushes the rest of its line
)

// table writes a line for each result, a paragraph for each that is not simply
// up, and the sum.
type table struct {
	run
	p palette
}

func writeTable(b *bytes.Buffer, r run) {
	t := table{run: r, p: newPalette(r.o.Color)}
	if len(t.results) > 0 {
		t.rows(b)
	}
	for _, r := range t.results {
		if r.Verdict != check.Up || r.Flaky || t.o.Verbose && r.Sample != nil || len(r.Parts) > 0 {
			writeDetail(b, r, t.o, t.p)
		}
	}
	if c := t.o.comparison(); c != nil {
		b.WriteByte('\n')
		writeComparison(b, c, t.o, t.p)
	}
	if len(t.results) > 0 {
		b.WriteByte('\n')
	}
	b.WriteString(summaryLine(t.sum, t.o, t.p) + "\n")
}

// column is one column of the table.
type column struct {
	title string
	cell  func(check.Result) string
	right bool // aligned to the right
	min   int  // it is not made narrower than this; 0 for never narrower
	drop  int  // the highest is left out first where there is no room; 0 for never
	width int
}

func columns() []column {
	return []column{
		{title: "VERDICT", cell: func(r check.Result) string { return symbol(r) + " " + r.Verdict.String() }},
		{title: "CHECK", min: 8, cell: func(r check.Result) string { return clean(r.ID) }},
		{title: "KIND", min: 4, drop: 2, cell: func(r check.Result) string { return clean(r.Kind) }},
		{title: "TARGET", min: 20, drop: 3, cell: func(r check.Result) string { return clean(r.Target) }},
		{title: "LATENCY", right: true, cell: latency},
		{title: "SAMPLES", min: 14, drop: 2, cell: sampleCell},
		{title: "REASON", min: 28, drop: 1, cell: func(r check.Result) string { return clean(remarks(r)) }},
	}
}

// latency returns the time that the probe took, nothing when it took place not
// at all.
func latency(r check.Result) string {
	if r.Latency == 0 {
		return "-"
	}
	return check.FormatDuration(r.Latency)
}

// rows writes the head and a line for each result.
func (t table) rows(b *bytes.Buffer) {
	cols := t.layout()
	titles := make([]string, len(cols))
	for i, c := range cols {
		titles[i] = align(cut(c.title, c.width), c)
	}
	b.WriteString(t.p.dim(line(titles)) + "\n")
	cells := make([]string, len(cols))
	for _, r := range t.results {
		for i, c := range cols {
			text := c.cell(r)
			if t.o.Width > 0 {
				text = cut(text, c.width)
			}
			if cells[i] = align(text, c); i == 0 {
				cells[i] = t.p.verdict(r, cells[i])
			}
		}
		b.WriteString(line(cells) + "\n")
	}
}

func align(text string, c column) string {
	if c.right {
		return strings.Repeat(" ", max(0, c.width-width(text))) + text
	}
	return pad(text, c.width)
}

func line(cells []string) string {
	return strings.TrimRight(strings.Join(cells, strings.Repeat(" ", gap)), " ")
}

// layout measures the columns and fits them to the terminal: the widest shrink
// first, then columns go. Columns that would say nothing new are left out: a
// target that is the check's name, reasons and samples when there are none.
func (t table) layout() []column {
	cols := columns()
	told, sampled, named := false, false, true
	for _, r := range t.results {
		for i := range cols {
			cols[i].width = max(cols[i].width, width(cols[i].cell(r)))
		}
		named = named && r.Target == r.ID
		told, sampled = told || remarks(r) != "", sampled || r.Sample != nil
	}
	cols = slices.DeleteFunc(cols, func(c column) bool {
		return c.title == "TARGET" && named || c.title == "REASON" && !told || c.title == "SAMPLES" && !sampled
	})
	for i := range cols {
		c := &cols[i]
		c.width = max(c.width, len(c.title))
		if t.o.Width == 0 {
			c.width = min(c.width, maxColumn)
		}
	}
	if t.o.Width > 0 {
		cols = fit(cols, t.o.Width)
	}
	return cols
}

// fit makes columns narrower until they fit into total columns of a terminal,
// and leaves out those with the highest drop where that is not enough.
func fit(cols []column, total int) []column {
	for {
		narrowed := slices.Clone(cols)
		over := gap*(len(cols)-1) - total
		for _, c := range cols {
			over += c.width
		}
		for over > 0 && narrow(narrowed) {
			over--
		}
		if over <= 0 {
			return narrowed
		}
		worst := slices.IndexFunc(cols, func(c column) bool { return c.drop == highestDrop(cols) })
		if cols[worst].drop == 0 {
			return narrowed
		}
		cols = slices.Delete(cols, worst, worst+1)
	}
}

// narrow makes the widest column that may shrink narrower by one.
func narrow(cols []column) bool {
	widest := -1
	for i, c := range cols {
		if c.min > 0 && c.width > c.min && (widest < 0 || c.width > cols[widest].width) {
			widest = i
		}
	}
	if widest >= 0 {
		cols[widest].width--
	}
	return widest >= 0
}

func highestDrop(cols []column) int {
	return slices.MaxFunc(cols, func(a, b column) int { return a.drop - b.drop }).drop
}

// summaryLine counts the verdicts: "12 checks: 9 up, 1 down in 1.2s", as a
// list where that is wider than the terminal.
func summaryLine(s check.Summary, o Options, p palette) string {
	if s.Total == 0 {
		return "no checks ran"
	}
	checks, took := plural(s.Total, "check"), " in "+check.FormatDuration(o.elapsed())
	plain := checks + ": " + strings.Join(counts(s, palette{}), ", ") + took
	if o.Width > 0 && width(plain) > o.Width {
		return checks + took + "\n  " + strings.Join(counts(s, p), "\n  ")
	}
	return checks + ": " + strings.Join(counts(s, p), ", ") + took
}

// plainSummary is the summary on one line without colour.
func plainSummary(r run) string {
	r.o.Width = 0
	return summaryLine(r.sum, r.o, palette{})
}

// counts returns "9 up", "1 down" and so on, without those of which there are
// none.
func counts(s check.Summary, p palette) []string {
	var parts []string
	for _, c := range []struct {
		n    int
		like check.Result
	}{
		{s.Up, check.Result{Verdict: check.Up}},
		{s.Degraded, check.Result{Verdict: check.Degraded}},
		{s.Down, check.Result{Verdict: check.Down}},
		{s.Unknown, check.Result{Verdict: check.Unknown}},
	} {
		if c.n > 0 {
			parts = append(parts, p.verdict(c.like, fmt.Sprintf("%d %s", c.n, c.like.Verdict)))
		}
	}
	if s.Flaky > 0 {
		parts = append(parts, p.verdict(check.Result{Verdict: check.Up, Flaky: true}, fmt.Sprintf("%d flaky", s.Flaky)))
	}
	return parts
}
