package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/compare"
)

// ComparisonFormats returns the formats that show a comparison alone. Their
// sinks take no results; what they show is [Options.Comparison] at Close.
func ComparisonFormats() []Format {
	return []Format{
		{"table", "a table for people with the changes of each check", alone("table", func(b *bytes.Buffer, r *compare.Report, o Options) {
			writeComparison(b, r, o, newPalette(o.Color))
		})},
		{"json", "one JSON document", alone("json", writeComparisonJSON)},
		{"markdown", "Markdown for a step's summary or a comment", alone("markdown", func(b *bytes.Buffer, r *compare.Report, o Options) {
			(&markdown{b: b, limit: o.Limit - markdownTail}).comparison(r)
		})},
	}
}

func alone(name string, render func(*bytes.Buffer, *compare.Report, Options)) func(io.Writer, Options) check.Sink {
	return func(w io.Writer, o Options) check.Sink {
		return &comparisonSink{name: name, render: render, w: w, o: o.withDefaults()}
	}
}

type comparisonSink struct {
	name   string
	render func(*bytes.Buffer, *compare.Report, Options)
	w      io.Writer
	o      Options
}

func (s *comparisonSink) Put(check.Result) error { return nil }

func (s *comparisonSink) Close() error {
	var b bytes.Buffer
	s.render(&b, s.o.comparison(), s.o)
	_, err := b.WriteTo(s.w)
	return wrap(s.name, err)
}

// comparison returns the comparison of the run, nil when there is none.
func (o Options) comparison() *compare.Report {
	if o.Comparison == nil {
		return nil
	}
	return o.Comparison()
}

func writeComparisonJSON(b *bytes.Buffer, r *compare.Report, o Options) {
	text, err := json.Marshal(struct {
		Schema     int             `json:"schema"`
		Started    time.Time       `json:"started"`
		Duration   float64         `json:"duration_seconds"`
		ExitCode   int             `json:"exit_code"`
		Comparison *compare.Report `json:"comparison"`
	}{check.Schema, o.Started.UTC(), o.elapsed().Seconds(), o.ExitCode(check.Summary{}), r})
	if err != nil { // cannot happen: it is made of text and finite numbers
		text = []byte("{}")
	}
	b.Write(append(visible(text), '\n'))
}

// comparisonCells are the cells of a check's line; the texts are clean.
func comparisonCells(c *compare.Comparison) []string {
	p := strconv.FormatFloat(c.P, 'f', 4, 64)
	if c.P < 0.0001 {
		p = "<0.0001"
	}
	if c.Outcome == compare.TooFew || math.IsInf(c.High, 1) {
		p = "-"
	}
	return []string{outcomeSign(c.Outcome) + " " + outcomeWord(c.Outcome), clean(c.ID), sideCell(&c.A), sideCell(&c.B), factor(c.Ratio), bounds(c), p}
}

func comparisonTitles(r *compare.Report) []string {
	return []string{"LATENCY", "CHECK", "A", "B", "B/A", compare.Percent(r.Confidence()) + " INTERVAL", "P"}
}

// sideCell is the median, with the failures of a side that had any.
func sideCell(s *compare.Side) string {
	text := "-"
	if len(s.Latencies) > 0 {
		text = check.FormatDuration(s.Median())
	}
	if s.Failed > 0 {
		text += fmt.Sprintf(" (%d failed)", s.Failed)
	}
	return text
}

func factor(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "-"
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

func bounds(c *compare.Comparison) string {
	if factor(c.High) == "-" {
		return "-"
	}
	return factor(c.Low) + " to " + factor(c.High)
}

func outcomeWord(o compare.Outcome) string { return strings.ReplaceAll(o.String(), "_", " ") }

// likeOutcome is a result that is shown as the outcome is.
func likeOutcome(o compare.Outcome) check.Result {
	switch o {
	case compare.Slower, compare.Failing:
		return check.Result{Verdict: check.Down}
	case compare.Same, compare.Faster:
		return check.Result{Verdict: check.Up}
	case compare.Unclear:
		return check.Result{Verdict: check.Up, Flaky: true}
	default:
		return check.Result{Verdict: check.Unknown}
	}
}

func outcomeSign(o compare.Outcome) string { return symbol(likeOutcome(o)) }

// writeComparison writes a line for each check, then what changed in each, and
// the sum.
func writeComparison(b *bytes.Buffer, r *compare.Report, o Options, p palette) {
	for _, l := range wrapText(comparisonHead(r, o), o.Width) {
		b.WriteString(p.dim(l) + "\n")
	}
	rows := [][]string{comparisonTitles(r)}
	for i := range r.Checks {
		rows = append(rows, comparisonCells(&r.Checks[i]))
	}
	cols := comparisonColumns(rows, o)
	for n, row := range rows {
		cells := make([]string, len(cols))
		for i, c := range cols {
			cells[i] = align(cut(row[i], c.width), c)
		}
		if n == 0 {
			b.WriteString(p.dim(line(cells)) + "\n")
			continue
		}
		cells[0] = p.verdict(likeOutcome(r.Checks[n-1].Outcome), cells[0])
		b.WriteString(line(cells) + "\n")
	}
	for i := range r.Checks {
		writeChanges(b, r, &r.Checks[i], o.Width, p)
	}
	b.WriteByte('\n')
	for _, text := range append([]string{comparisonSum(r)}, remainder(r)...) {
		for _, l := range wrapText(clean(text), o.Width) {
			b.WriteString(l + "\n")
		}
	}
}

// comparisonColumns measures the columns; the check's gives way on a terminal
// that is too narrow.
func comparisonColumns(rows [][]string, o Options) []column {
	cols := make([]column, len(rows[0]))
	for i := range cols {
		cols[i] = column{right: i > 1}
		for _, row := range rows {
			cols[i].width = max(cols[i].width, width(row[i]))
		}
	}
	cols[1].min = 8
	if o.Width > 0 {
		return fit(cols, o.Width)
	}
	return cols
}

// writeChanges writes a paragraph about a check of which there is more to tell
// than its line does.
func writeChanges(b *bytes.Buffer, r *compare.Report, c *compare.Comparison, columns int, p palette) {
	lines := comparisonDetail(r, c)
	if len(lines) == 0 {
		return
	}
	b.WriteString("\n" + p.verdict(likeOutcome(c.Outcome), cut(outcomeSign(c.Outcome)+" "+clean(c.ID), columns)) + "\n")
	for _, text := range lines {
		for _, l := range wrapText(text, columns-2) {
			b.WriteString("  " + l + "\n")
		}
	}
}

// comparisonDetail returns clean lines: a sentence about what did not come out
// well, unless the results beside it say it already, and the facts that changed.
func comparisonDetail(r *compare.Report, c *compare.Comparison) []string {
	var lines []string
	if c.Outcome == compare.TooFew || c.Outcome.Regressed() && r.Baseline == nil {
		lines = append(lines, clean(c.Words(r.Options)))
	}
	if r.Baseline == nil {
		lines = append(lines, sideLines(c)...)
	}
	for _, change := range c.Changes {
		lines = append(lines, clean(change.Fact)+": "+orNone(change.A)+" -> "+orNone(change.B))
	}
	return lines
}

// sideLines says what A and B are where the check's name does not, and why they
// are not up.
func sideLines(c *compare.Comparison) []string {
	var lines []string
	for i, s := range []*compare.Side{&c.A, &c.B} {
		switch name := "AB"[i : i+1]; {
		case !s.Reason.IsZero():
			lines = append(lines, name+": "+clean(s.Target)+" is "+s.Verdict.String()+", "+clean(reason(s.Reason)))
		case c.A.Target != c.B.Target:
			lines = append(lines, name+": "+clean(s.Target))
		}
	}
	return lines
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return short(clean(s), 300)
}

// comparisonHead says what A and B are.
func comparisonHead(r *compare.Report, o Options) string {
	if r.Baseline == nil {
		return "A and B in turn"
	}
	text := "A: the baseline of " + r.Baseline.Created.UTC().Format(time.RFC3339)
	if r.Baseline.Host != "" {
		text += " on " + clean(r.Baseline.Host)
	}
	return text + ", B: this run"
}

// outcomes are those of a comparison, the worst first.
func outcomes() []compare.Outcome {
	return []compare.Outcome{compare.Failing, compare.Slower, compare.Faster, compare.Same, compare.Unclear, compare.TooFew}
}

// comparisonSum counts the outcomes and says what they mean.
func comparisonSum(r *compare.Report) string {
	var parts []string
	for _, o := range outcomes() {
		n := 0
		for i := range r.Checks {
			if r.Checks[i].Outcome == o {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, outcomeWord(o)))
		}
	}
	return fmt.Sprintf("%s: %s; slower is by more than %s, with a false alarm in at most %s of runs",
		plural(len(r.Checks), "comparison"), strings.Join(parts, ", "), compare.Percent(r.MinEffect), compare.Percent(r.Alpha))
}

// remainder says what is left to know: how many samples would tell what these
// do not, and which checks have no partner.
func remainder(r *compare.Report) []string {
	var lines []string
	needed := 0
	for i := range r.Checks {
		if r.Checks[i].Outcome == compare.Unclear {
			needed = max(needed, r.Checks[i].Needed)
		}
	}
	if needed > 0 {
		lines = append(lines, fmt.Sprintf("what is unclear takes about %d samples to tell", needed))
	}
	if len(r.OnlyA) > 0 {
		lines = append(lines, "only in A: "+short(strings.Join(r.OnlyA, ", "), 500))
	}
	if len(r.OnlyB) > 0 {
		lines = append(lines, "only in B: "+short(strings.Join(r.OnlyB, ", "), 500))
	}
	return lines
}

// comparison writes a table of all checks and what changed in each.
func (m *markdown) comparison(r *compare.Report) {
	m.add("\n#### " + comparisonSum(r) + "\n")
	if len(r.Checks) > 0 {
		m.add("\n| " + strings.Join(comparisonTitles(r), " | ") + " |\n|---|---|--:|--:|--:|--:|--:|\n")
	}
	for i := range r.Checks {
		c := &r.Checks[i]
		cells := comparisonCells(c)
		cells[0] = markdownSymbol(likeOutcome(c.Outcome)) + " " + outcomeWord(c.Outcome)
		cells[1] = markdownText(c.ID, 200)
		cells[6] = strings.Replace(cells[6], "<", "&lt;", 1)
		if !m.add("| " + strings.Join(cells, " | ") + " |\n") {
			fmt.Fprintf(m.b, "\n%s left out.\n", plural(len(r.Checks)-i, "more comparison"))
			return
		}
	}
	for i := range r.Checks {
		c := &r.Checks[i]
		text := ""
		for _, l := range comparisonDetail(r, c) {
			text += "- " + markdownText(l, 600) + "\n"
		}
		if text != "" && !m.add("\n"+markdownText(c.ID, 200)+"\n\n"+text) {
			m.b.WriteString("\nThe other changes are left out.\n")
			return
		}
	}
	for _, l := range remainder(r) {
		m.add("\n" + markdownText(l, 2000) + "\n")
	}
}
