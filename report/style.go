package report

import (
	"io"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"github.com/sonde-cli/sonde/check"
)

// palette colours text. The zero palette leaves it as it is.
type palette struct {
	on                                                 bool
	good, warn, bad, unsure, faint, bold, early, later lipgloss.Style
}

// newPalette makes a palette of the terminal's own 16 colours, so that they
// fit its theme. The profile is given and the output is no terminal, hence
// nothing is asked of the terminal.
func newPalette(color bool) palette {
	if !color {
		return palette{}
	}
	r := lipgloss.NewRenderer(io.Discard, termenv.WithProfile(termenv.ANSI))
	r.SetColorProfile(termenv.ANSI) // else it looks at the environment
	fg := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	return palette{
		on: true, good: fg("2"), warn: fg("3"), bad: fg("1").Bold(true), unsure: fg("5"),
		early: fg("6"), later: fg("4"),
		faint: r.NewStyle().Faint(true), bold: r.NewStyle().Bold(true),
	}
}

func (p palette) paint(s lipgloss.Style, text string) string {
	if !p.on || text == "" {
		return text
	}
	return s.Render(text)
}

func (p palette) dim(text string) string    { return p.paint(p.faint, text) }
func (p palette) strong(text string) string { return p.paint(p.bold, text) }

// bar returns the colour of a phase: one for getting there, one for waiting.
func (p palette) bar(phase string) lipgloss.Style {
	if phase == check.PhaseWait || phase == check.PhaseTransfer {
		return p.later
	}
	return p.early
}

// verdict colours text by what it tells about.
func (p palette) verdict(r check.Result, text string) string {
	switch {
	case r.Verdict == check.Up && !r.Flaky:
		return p.paint(p.good, text)
	case r.Verdict == check.Up, r.Verdict == check.Degraded:
		return p.paint(p.warn, text)
	case r.Verdict == check.Down:
		return p.paint(p.bad, text)
	default:
		return p.paint(p.unsure, text)
	}
}

// symbol returns the sign of a result, which tells the verdicts apart without
// colour: ✓ up, ~ up but flaky, ! degraded, ✗ down, ? unknown.
func symbol(r check.Result) string {
	switch {
	case r.Verdict == check.Up && r.Flaky:
		return "~"
	case r.Verdict == check.Up:
		return "✓"
	case r.Verdict == check.Degraded:
		return "!"
	case r.Verdict == check.Down:
		return "✗"
	default:
		return "?"
	}
}
