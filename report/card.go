package report

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// cardWidth is used where the terminal's width is not known.
const cardWidth = 80

// briefFacts is how many lines of facts a card shows unless Verbose.
const briefFacts = 20

// card shows each result at length: what `sonde check` prints on a terminal.
type card struct {
	w   io.Writer
	b   bytes.Buffer // of the current card
	o   Options
	p   palette
	sum check.Summary
}

// Card returns a sink that shows each result at length: verdict, the phases as
// a bar chart, facts, expectations, the reason and a command that reproduces
// it. Results appear in file order, each as soon as those before it are known.
func Card(w io.Writer, o Options) check.Sink {
	o = o.withDefaults()
	if o.Width == 0 {
		o.Width = cardWidth
	}
	return InOrder(o.Checks, &card{w: w, o: o, p: newPalette(o.Color)})
}

func (c *card) Put(r check.Result) error {
	if c.sum.Total > 0 {
		c.b.WriteByte('\n')
	}
	c.sum.Add(r)
	c.section([]string{c.header(r)}, "")
	c.section(bars(r, c.o.Width-2, c.p), "  ")
	c.section(partLines(r, c.o, c.o.Width-2), "  ")
	c.section(sampleLines(r, c.o, c.o.Width-2), "  ")
	c.section(c.facts(r), "  ")
	c.section(c.expectations(r), "  ")
	c.section(c.cause(r), "  ")
	return c.flush()
}

// Close writes the sum of several results; one speaks for itself.
func (c *card) Close() error {
	if c.sum.Total > 1 {
		c.b.WriteString("\n" + summaryLine(c.sum, c.o, c.p) + "\n")
	}
	return c.flush()
}

func (c *card) flush() error {
	_, err := c.b.WriteTo(c.w)
	return wrap("card", err)
}

// section writes lines, with an empty line before them unless they begin the
// card.
func (c *card) section(lines []string, indent string) {
	if len(lines) > 0 && indent != "" {
		c.b.WriteByte('\n')
	}
	for _, l := range lines {
		c.b.WriteString(strings.TrimRight(indent+l, " ") + "\n")
	}
}

// header is "✗ down  https://example.com/  31ms", with the name where it is
// not the target.
func (c *card) header(r check.Result) string {
	verdict := symbol(r) + " " + r.Verdict.String()
	if r.Flaky {
		verdict += ", flaky"
	}
	took := "  " + latency(r)
	about := clean(r.Target)
	if r.Name != r.Target && r.ID != r.Target {
		about = clean(r.ID) + "  " + about
	}
	if r.Optional {
		about += " (optional)"
	}
	about = cut(about, max(minText, c.o.Width-width(verdict)-2-width(took)))
	return c.p.verdict(r, verdict) + "  " + c.p.strong(about) + c.p.dim(took)
}

// facts lists what was observed: plain names first, then group by group. Those
// over a sample have their own section.
func (c *card) facts(r check.Result) []string {
	all := factLines(r, c.o.Verbose)
	if r.Sample != nil {
		over := r.Sample.Facts()
		all = slices.DeleteFunc(all, func(l factLine) bool { return over.Get(l.name) != nil })
	}
	hidden := 0
	if !c.o.Verbose && len(all) > briefFacts {
		hidden = len(all) - briefFacts
		all = all[:briefFacts]
	}
	names := 0
	for _, f := range all {
		names = max(names, min(width(f.name), (c.o.Width-2)*2/5))
	}
	var lines []string
	for _, f := range all {
		name := pad(cut(f.name, names), names)
		values := wrapText(f.value, c.o.Width-4-names)
		if !c.o.Verbose {
			values = []string{cut(f.value, c.o.Width-4-names)}
		}
		for _, v := range values {
			lines = append(lines, c.p.dim(name)+"  "+v)
			name = pad("", names)
		}
	}
	if hidden > 0 {
		lines = append(lines, c.p.dim(cut("and "+plural(hidden, "more fact")+", all with --verbose", c.o.Width-2)))
	}
	return lines
}

// factLine is one line of the facts, already clean.
type factLine struct{ name, value string }

// factLines flattens the facts. With each, maps have a line for each entry and
// empty texts are shown.
func factLines(r check.Result, each bool) []factLine {
	var lines []factLine
	for name, v := range r.Facts.All() {
		if v == "" && !each {
			continue
		}
		if m, ok := v.(map[string]string); ok && each {
			for k, s := range m {
				lines = append(lines, factLine{clean(name + "." + k), clean(s)})
			}
			continue
		}
		lines = append(lines, factLine{clean(name), clean(value(v))})
	}
	grouped := func(name string) int { return min(1, strings.Count(name, ".")) }
	slices.SortFunc(lines, func(a, b factLine) int {
		if d := grouped(a.name) - grouped(b.name); d != 0 {
			return d
		}
		return strings.Compare(a.name, b.name)
	})
	return lines
}

// expectations lists what was wanted, whether it was so, and what was seen.
func (c *card) expectations(r check.Result) []string {
	var lines []string
	for _, f := range r.Findings {
		if f.OK {
			lines = append(lines, c.met(f))
			continue
		}
		style := c.p.bad
		if f.Level == check.Prefer {
			style = c.p.warn
		}
		mark := "✗ "
		for _, l := range wrapText(finding(f), c.o.Width-4) {
			lines = append(lines, c.p.paint(style, mark+l))
			mark = "  "
		}
	}
	return lines
}

// met is the line of an expectation that holds.
func (c *card) met(f check.Finding) string {
	text := cut("✓ "+f.Level.String()+" "+clean(f.Expect), c.o.Width-2)
	line := c.p.paint(c.p.good, text)
	if room := c.o.Width - 2 - width(text); room >= minText && len(f.Got) > 0 {
		seen := ", got " + clean(got(f))
		if f.Note != "" {
			seen += ", " + clean(f.Note)
		}
		line += c.p.dim(cut(seen, room))
	}
	return line
}

// cause tells why a result is not simply up and how to see the same.
func (c *card) cause(r check.Result) []string {
	r.Findings = nil // they have their own section
	if r.Verdict == check.Up && !r.Flaky {
		return nil
	}
	return detail(r, c.o.Width-2, c.p)
}
