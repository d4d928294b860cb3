package watch

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// Columns of the list besides the id and the target, which share the rest.
const (
	markColumns    = 2
	latencyColumns = 7
	lossColumns    = 4
	sinceColumns   = 6
	fewestSparks   = 8
	leastName      = 8
	gap            = 2
)

// Lines besides the list: what the screen begins with and ends with.
const (
	headLines = 2
	footLines = 1
)

// View draws the screen. Only rows that are on it are drawn.
func (m *model) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	v.WindowTitle = "sonde watch"
	return v
}

func (m *model) draw() string {
	if m.height < headLines+footLines+1 || m.width < 2*leastName {
		return report.Cell("too small", m.width)
	}
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	c := m.columns()
	lines := []string{m.head(), m.style.Dim(c.head())}
	lines = append(lines, m.list(c)...)
	lines = append(lines, m.pane()...)
	return strings.Join(append(lines, m.foot()), "\n")
}

// listHeight returns how many rows there is room for.
func (m *model) listHeight() int {
	return max(m.height-headLines-footLines-m.paneHeight(), 1)
}

// paneHeight returns the lines of the detail pane, with its rule.
func (m *model) paneHeight() int {
	if !m.detail {
		return 0
	}
	return max((m.height-headLines-footLines)*3/5, 0)
}

// head sums up: "sonde watch  5000 checks: 4990 up, 10 down  12 under way".
func (m *model) head() string {
	var parts []string
	add := func(n int, word string) {
		if n > 0 {
			parts = append(parts, strconv.Itoa(n)+" "+word)
		}
	}
	add(m.sum.Down, "down")
	add(m.sum.Unknown, "unknown")
	add(m.sum.Degraded, "degraded")
	add(m.sum.Up, "up")
	add(m.sum.Flaky, "flaky")
	add(len(m.board.rows)-m.sum.Total, "waiting")
	noun := " checks: "
	if len(m.board.rows) == 1 {
		noun = " check: "
	}
	text := strconv.Itoa(len(m.board.rows)) + noun + strings.Join(parts, ", ")
	if m.options.Engine != nil {
		text += fmt.Sprintf("  %d runs, %d under way, %d missed", m.runs, m.inFlight, m.missed)
	}
	title := "sonde watch  "
	return m.style.Strong(title) + report.Cell(text, m.width-len(title))
}

// foot shows the keys, or the filter while it is typed.
func (m *model) foot() string {
	if m.typing {
		return report.Cell("/"+m.filter+"▏  enter keep  esc clear", m.width)
	}
	direction := ""
	if m.reverse {
		direction = " reversed"
	}
	detail := "enter detail"
	if m.detail {
		detail = "esc close  J K scroll"
	}
	text := fmt.Sprintf("q leave  ↑↓ move  %s  s sort: %s%s  r reverse  / filter", detail, m.order, direction)
	if m.filter != "" {
		text += fmt.Sprintf(": %s (%d)  esc clear", m.filter, len(m.shown))
	}
	return m.style.Dim(report.Cell(text, m.width))
}

// columns are the widths of the list's columns; 0 leaves one out.
type columns struct{ id, target, latency, sparks, loss, since int }

// columns shares the width: what is fixed first, then the sparkline, and what
// is left goes to the id as far as it needs it and to the target. A screen that
// is too narrow for all does without some.
func (m *model) columns() columns {
	c := columns{latency: latencyColumns, sparks: fewestSparks, loss: lossColumns, since: sinceColumns}
	optional := []*int{&c.sparks, &c.loss, &c.latency, &c.since}
	room := func() int {
		left := m.width - markColumns - verdictColumns - gap
		for _, n := range optional {
			if *n > 0 {
				left -= *n + gap
			}
		}
		return left
	}
	for _, n := range optional {
		if room() < leastName {
			*n = 0
		}
	}
	if c.sparks > 0 {
		c.sparks = min(max((room()+fewestSparks)/4, fewestSparks), pastRuns)
	}
	rest := room()
	c.id = min(max(m.board.wide, leastName), max((rest-gap)/2, leastName), max(rest, 1))
	if c.target = rest - c.id - gap; c.target < leastName {
		c.id, c.target = max(rest, 1), 0
	}
	return c
}

func (c columns) head() string {
	return c.line("  ", "VERDICT", "ID", "TARGET", "LATENCY", "LATEST", "LOSS", "SINCE")
}

// line puts cells side by side. The sparkline and the verdict may hold colours,
// so they come with their width.
func (c columns) line(mark, verdict, id, target, latency, sparks, loss, since string) string {
	var b strings.Builder
	b.WriteString(mark + fit(verdict, verdictColumns))
	cell := func(columns int, text func(string, int) string, s string) {
		if columns > 0 {
			b.WriteString(strings.Repeat(" ", gap) + text(s, columns))
		}
	}
	cell(c.id, report.Cell, id)
	cell(c.target, report.Cell, target)
	cell(c.latency, right, latency)
	cell(c.sparks, fit, sparks)
	cell(c.loss, right, loss)
	cell(c.since, right, since)
	return b.String()
}

// fit fills up plain text and leaves text with colours, which has its width.
func fit(text string, columns int) string {
	if strings.Contains(text, "\x1b") {
		return text
	}
	return report.Cell(text, columns)
}

func right(text string, columns int) string {
	return strings.Repeat(" ", max(columns-report.Width(text), 0)) + text
}

// visible returns the rows on the screen.
func (m *model) visible() []*row {
	from := min(m.top, len(m.shown))
	return m.shown[from:min(from+m.listHeight(), len(m.shown))]
}

func (m *model) list(c columns) []string {
	room := m.listHeight()
	lines := make([]string, 0, room)
	for _, w := range m.visible() {
		lines = append(lines, m.row(c, w))
	}
	if len(m.shown) == 0 {
		lines = append(lines, report.Cell("  no check matches "+m.filter, m.width))
	}
	for len(lines) < room {
		lines = append(lines, "")
	}
	return lines
}

func (m *model) row(c columns, w *row) string {
	mark := "  "
	if w == m.chosen {
		mark = "▸ "
	}
	if !w.seen {
		return c.line(mark, m.style.Dim(report.Cell("  waiting", verdictColumns)), w.id, w.target, "", "", "", "")
	}
	lost := ""
	if share, ok := w.lost(); ok {
		lost = percent(share)
	}
	return c.line(mark, m.style.Verdict(w.last, verdictColumns), w.id, w.target,
		report.Latency(w.last), m.sparks(w, c.sparks), lost, span(m.options.Now().Sub(w.since)))
}

// percent shows any loss as at least 1 %, and less than all as at most 99 %.
func percent(share float64) string {
	n := int(share*100 + 0.5)
	switch {
	case share > 0 && n == 0:
		n = 1
	case share < 1 && n == 100:
		n = 99
	}
	return strconv.Itoa(n) + "%"
}

// span words how long something lasts, in whole units.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return "now"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	default:
		return strconv.Itoa(int(d.Hours()/24)) + "d"
	}
}

var levels = [...]string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}

// sparks draws the latest latencies from 0 to the longest of them, the newest
// on the right. A run that was down is ✗, an unknown one ?.
func (m *model) sparks(w *row, n int) string {
	if n == 0 {
		return ""
	}
	list := w.latest(n)
	var most time.Duration
	for _, r := range list {
		if r.verdict != check.Down && r.verdict != check.Unknown {
			most = max(most, r.latency)
		}
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", n-len(list)))
	for len(list) > 0 { // a stretch of one colour at a time
		verdict, signs := list[0].verdict, ""
		for len(list) > 0 && list[0].verdict == verdict {
			signs += spark(list[0], most)
			list = list[1:]
		}
		b.WriteString(m.style.As(check.Result{Verdict: verdict}, signs))
	}
	return b.String()
}

// spark draws one run.
func spark(r run, most time.Duration) string {
	switch {
	case r.verdict == check.Down:
		return "✗"
	case r.verdict == check.Unknown:
		return "?"
	case most == 0:
		return levels[0]
	default:
		return levels[min(int(float64(r.latency)/float64(most)*float64(len(levels))), len(levels)-1)]
	}
}

// pane shows all about the chosen check.
func (m *model) pane() []string {
	room := m.paneHeight() - 1
	if room < 0 {
		return nil
	}
	lines := m.about()
	m.scroll = min(m.scroll, max(len(lines)-room, 0))
	lines = lines[m.scroll:]
	if len(lines) > room {
		lines = lines[:room]
	}
	for len(lines) < room {
		lines = append(lines, "")
	}
	return append([]string{m.style.Dim(strings.Repeat("─", m.width))}, lines...)
}

// about returns what is known of the chosen check: counts, what changed lately,
// and the last result in full.
func (m *model) about() []string {
	w := m.chosen
	switch {
	case w == nil:
		return nil
	case !w.seen:
		return []string{m.style.Strong(report.Cell(w.id, m.width)), "no result yet"}
	}
	card := m.style.Card(w.last, report.Options{Width: m.width, Verbose: true})
	for i, l := range card {
		card[i] = m.cropped(l)
	}
	counts := fmt.Sprintf("%d runs, %d down, %d missed, %s for %s", w.runs, w.downs, w.missed, w.verdict(), span(m.options.Now().Sub(w.since)))
	lines := []string{card[0], m.style.Dim(report.Cell(counts, m.width))}
	for i := len(w.events) - 1; i >= 0; i-- {
		lines = append(lines, m.event(w.events[i]))
	}
	return append(lines, card[1:]...)
}

// event is one line: "12:03:04  ✗ down  3x  http.status: status 503".
func (m *model) event(e event) string {
	r := check.Result{Verdict: e.verdict}
	head := "  " + e.at.Format(time.TimeOnly) + "  "
	times := right(strconv.Itoa(e.count)+"x", 5) + "  "
	room := m.width - len(head) - verdictColumns - len(times)
	return head + m.style.Verdict(r, verdictColumns) + times + report.Cell(e.why, room)
}

// cropped cuts lines that people are meant to copy, which do not break.
func (m *model) cropped(line string) string { return ansi.Truncate(line, m.width, "…") }
