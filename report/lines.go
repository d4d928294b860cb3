package report

import (
	"bytes"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// Screen writes parts of results for a terminal that someone else lays out, in
// the same signs, colours and words as the reports. All of its text is clean:
// nothing of a target or a file can steer the terminal.
type Screen struct{ p palette }

// NewScreen returns a Screen with or without colours.
func NewScreen(color bool) Screen { return Screen{newPalette(color)} }

// Verdict returns the sign and the word of a result's verdict, in columns and
// in its colour.
func (s Screen) Verdict(r check.Result, columns int) string {
	return s.p.verdict(r, pad(cut(symbol(r)+" "+r.Verdict.String(), columns), columns))
}

// As colours text as the result's verdict. The text must be clean.
func (s Screen) As(r check.Result, text string) string { return s.p.verdict(r, text) }

// Dim makes clean text faint, Strong makes it bold.
func (s Screen) Dim(text string) string { return s.p.dim(text) }

// Strong makes clean text bold.
func (s Screen) Strong(text string) string { return s.p.strong(text) }

// Card returns the lines of what the Card report shows of a result.
func (s Screen) Card(r check.Result, o Options) []string {
	var b bytes.Buffer
	if o.Width == 0 {
		o.Width = cardWidth
	}
	c := &card{w: &b, o: o.withDefaults(), p: s.p}
	if c.Put(r) != nil { // a buffer takes everything
		return nil
	}
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

// Clean makes text safe for a terminal and for one line: what could steer the
// terminal or hide becomes a visible escape.
func Clean(text string) string { return clean(text) }

// Cell shortens clean text to so many columns, or fills it up to them.
func Cell(text string, columns int) string {
	if columns <= 0 {
		return ""
	}
	return pad(cut(text, columns), columns)
}

// Width returns the columns that clean text takes.
func Width(text string) int { return width(text) }

// Latency words a result's latency: "31.2ms", or "-" without one.
func Latency(r check.Result) string { return latency(r) }

// Why returns what is to be known beside the verdict: optional, flaky, and the
// reason. It is clean, and empty for a plain up.
func Why(r check.Result) string { return clean(remarks(r)) }
