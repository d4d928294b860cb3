package report

import (
	"bytes"
	"slices"

	"github.com/sonde-cli/sonde/check"
)

// writeDetail writes a paragraph about a result that is not simply up.
func writeDetail(b *bytes.Buffer, r check.Result, o Options, p palette) {
	columns := o.Width
	head := symbol(r) + " " + clean(r.ID)
	if r.Optional {
		head += " (optional)"
	}
	b.WriteString("\n" + p.verdict(r, cut(head, columns)) + "\n")
	if r.Target != r.ID {
		for _, l := range wrapText(clean(r.Target), columns-2) {
			b.WriteString("  " + l + "\n")
		}
	}
	for _, l := range slices.Concat(detail(r, columns-2, p), partLines(r, o, columns-2), sampleLines(r, o, columns-2)) {
		b.WriteString("  " + l + "\n")
	}
}

// detail returns lines that tell all about why a result is not simply up: the
// reason, the expectations that it missed, the attempts before, and the
// command that shows the same. Lines break at columns, except for the command,
// which people copy.
func detail(r check.Result, columns int, p palette) []string {
	var lines []string
	if !r.Reason.IsZero() {
		lines = append(lines, wrapText(clean(reason(r.Reason)), columns)...)
		_, advice := sentences(r.Reason)
		for _, line := range advice {
			lines = append(lines, clean(line)) // commands, which people copy
		}
	}
	for _, f := range r.Findings {
		if !f.OK {
			lines = append(lines, wrapText(finding(f), columns)...)
		}
	}
	for _, l := range attempts(r) {
		lines = append(lines, wrapText(l, columns)...)
	}
	if where := place(r.File, r.Line); where != "" {
		lines = append(lines, p.dim(cut("defined at "+clean(where), columns)))
	}
	if r.Reproduce != "" {
		lines = append(lines, p.dim("reproduce: ")+clean(r.Reproduce))
	}
	return lines
}

// plainDetail returns detail and the parts, one a line, for formats that know no
// columns.
func plainDetail(r check.Result) []string {
	return slices.Concat(detail(r, 0, palette{}), partLines(r, Options{}, 0))
}

// finding describes a missed expectation: what was wanted, seen, and where it
// stands.
func finding(f check.Finding) string {
	text := "missed " + f.Level.String() + " " + clean(f.Expect)
	if g := got(f); g != "" {
		text += ", got " + clean(g)
	}
	if f.Note != "" {
		text += ", " + clean(f.Note)
	}
	if where := place(f.File, f.Line); where != "" {
		text += " (" + clean(where) + ")"
	}
	return text
}
