package report

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// SummaryLimit keeps a Markdown report below the 1 MiB that GitHub takes as a
// step's summary, in bytes.
const SummaryLimit = 1_000_000

// markdownTail is kept free for what ends the report, in bytes.
const markdownTail = 200

// markdown writes until the limit is reached and counts what it leaves out.
type markdown struct {
	b     *bytes.Buffer
	limit int
}

// add writes text unless it does not fit any more.
func (m *markdown) add(text string) bool {
	if m.b.Len()+len(text) > m.limit {
		return false
	}
	m.b.WriteString(text)
	return true
}

// writeMarkdown writes GitHub flavoured Markdown: the sum, what is not simply
// up with details, and the rest folded away.
func writeMarkdown(b *bytes.Buffer, r run) {
	m := &markdown{b: b, limit: r.o.Limit - markdownTail}
	m.add("### sonde: " + plainSummary(r) + "\n")
	var bad, good []check.Result
	for _, res := range r.results {
		if res.Verdict == check.Up && !res.Flaky {
			good = append(good, res)
		} else {
			bad = append(bad, res)
		}
	}
	if c := r.o.comparison(); c != nil {
		m.comparison(c)
	}
	m.table(bad)
	for i, res := range bad {
		if !m.add(markdownDetail(res)) {
			fmt.Fprintf(b, "\nand details of %d more\n", len(bad)-i)
			break
		}
	}
	if len(good) > 0 && m.add(fmt.Sprintf("\n<details><summary>%d up</summary>\n", len(good))) {
		m.table(good)
		b.WriteString("\n</details>\n")
	}
}

// table writes a row for each result.
func (m *markdown) table(results []check.Result) {
	if len(results) == 0 {
		return
	}
	head := m.add("\n| | verdict | check | kind | target | latency | reason |\n|---|---|---|---|---|--:|---|\n")
	for i, r := range results {
		row := fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n", markdownSymbol(r), r.Verdict,
			markdownText(r.ID, 200), markdownText(r.Kind, 40), markdownText(r.Target, 200), latency(r), markdownText(remarks(r), 300))
		if !head || !m.add(row) {
			fmt.Fprintf(m.b, "\nand %d more\n", len(results)-i)
			return
		}
	}
}

func markdownDetail(r check.Result) string {
	text := "\n<details><summary>" + markdownSymbol(r) + " " + markdownText(r.ID, 200) + "</summary>\n\n"
	// An indented block cannot be ended by what stands in it, as a fence can.
	for _, l := range plainDetail(r) {
		text += "    " + short(l, 2000) + "\n"
	}
	return text + "\n</details>\n"
}

// markdownSymbol is a sign that needs no escape and no colour.
func markdownSymbol(r check.Result) string {
	switch {
	case r.Verdict == check.Up && r.Flaky:
		return "🔁"
	case r.Verdict == check.Up:
		return "✅"
	case r.Verdict == check.Degraded:
		return "⚠️"
	case r.Verdict == check.Down:
		return "❌"
	default:
		return "❔"
	}
}

// markdownText writes text that means itself in a table's cell and in HTML:
// what could be markup is written as a character reference, which never is,
// and the code element keeps mentions and :emoji: from being seen in it.
func markdownText(s string, columns int) string {
	if s == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString("<code>")
	for _, r := range short(clean(s), columns) {
		if strings.ContainsRune("\\`*_{}[]<>&#!|~$@:^\"", r) {
			fmt.Fprintf(&b, "&#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
	b.WriteString("</code>")
	return b.String()
}
