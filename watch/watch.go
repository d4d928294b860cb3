// Package watch shows a running loop of checks: on a terminal as a live screen,
// a row for each check, and elsewhere as a line for each change. Both are sinks
// of the loop. Whatever targets and files say is made harmless first.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// Options configure a Screen or Lines.
type Options struct {
	Checks []*check.Check // in the order of the files
	Color  bool
	Now    func() time.Time
	// Engine tells how many runs are under way and how many were missed in
	// all; nil shows neither. It is called ten times a second at most.
	Engine func() (inFlight int, missed uint64)
}

// Screen is the live view. Put may be called before, while and after it runs.
type Screen struct {
	board   *board
	options Options
}

// NewScreen returns a live view of the checks.
func NewScreen(o Options) *Screen { return &Screen{board: newBoard(o.Checks), options: o} }

// Put takes note of a result. The screen shows it within a tenth of a second,
// together with the others of that time.
func (s *Screen) Put(r check.Result) error {
	if r.Reason.Code != check.LocalShutdown { // we are leaving
		s.board.put(r)
	}
	return nil
}

// Close does nothing; the screen ends with Run.
func (s *Screen) Close() error { return nil }

// Run shows the screen until the user leaves or ctx ends, neither of which is
// an error. It restores the terminal, after a panic too. A nil in stands for the
// process's terminal.
func (s *Screen) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	profile := colorprofile.Ascii
	if s.options.Color {
		profile = colorprofile.ANSI
	}
	// Signals are the caller's business; they end ctx.
	o := []tea.ProgramOption{tea.WithContext(ctx), tea.WithOutput(out), tea.WithoutSignalHandler(), tea.WithColorProfile(profile)}
	if in != nil {
		o = append(o, tea.WithInput(in))
	}
	_, err := tea.NewProgram(newModel(s.board, s.options), o...).Run()
	if err != nil && ctx.Err() == nil {
		if errors.Is(err, tea.ErrProgramPanic) {
			return errors.New("the screen has a defect, please report what stands above")
		}
		return fmt.Errorf("the screen: %w", err)
	}
	return nil
}

// lines writes a line for each first result and each change of a verdict.
type lines struct {
	w      io.Writer
	screen report.Screen
	last   map[string]state
}

type state struct {
	verdict check.Verdict
	since   time.Time
}

// Lines returns a sink that writes a line for the first result of each check
// and for each change of its verdict: when, verdict, id, target, latency, the
// verdict before and how long it lasted, and the reason.
func Lines(w io.Writer, o Options) check.Sink {
	return &lines{w: w, screen: report.NewScreen(o.Color), last: make(map[string]state, len(o.Checks))}
}

// verdictColumns is the width of the longest verdict with its sign.
const verdictColumns = len("! degraded")

func (l *lines) Put(r check.Result) error {
	was, known := l.last[r.ID]
	if r.Reason.Code == check.LocalShutdown || known && was.verdict == r.Verdict {
		return nil
	}
	l.last[r.ID] = state{r.Verdict, r.Started}
	line := r.Started.UTC().Format(time.RFC3339) + " " + l.screen.Verdict(r, verdictColumns) + " " + report.Clean(r.ID)
	if r.Target != r.ID {
		line += " " + report.Clean(r.Target)
	}
	line += " " + report.Latency(r)
	if known {
		line += fmt.Sprintf(", was %s for %s", was.verdict, check.FormatDuration(r.Started.Sub(was.since)))
	}
	if why := report.Why(r); why != "" {
		line += ", " + why
	}
	if _, err := io.WriteString(l.w, line+"\n"); err != nil {
		return fmt.Errorf("cannot write to standard output: %w", err)
	}
	return nil
}

func (l *lines) Close() error { return nil }
