package cmd

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// color decides whether standard output gets colours.
func (a *App) color(flag string) bool {
	switch flag {
	case "always":
		return true
	case "never":
		return false
	}
	return a.StdoutWidth > 0 && !a.set("NO_COLOR") && !a.dumb()
}

// dumb reports whether the terminal, if there is one, understands no control
// sequences, or nobody sits in front of it.
func (a *App) dumb() bool {
	term, _ := a.LookupEnv("TERM")
	return term == "dumb" || a.set("CI")
}

// animate reports whether standard error can show progress, beside a report in
// the format on standard output.
func (a *App) animate(stdout report.Format) bool {
	streams := stdout.Name == "ndjson" // would mix with the progress on one screen
	return a.StderrWidth > 0 && !a.dumb() && (a.StdoutWidth == 0 || !streams)
}

// liveProgress shows on a terminal how far a run is. Nil shows nothing.
type liveProgress struct{ sink check.Sink }

func startProgress(w io.Writer, o report.Options, width int) *liveProgress {
	o.Width = width
	return &liveProgress{sink: report.Progress(w, o)}
}

func (p *liveProgress) start(*check.Check) {}

// put counts a result. Progress that cannot be shown is no reason to stop.
func (p *liveProgress) put(r check.Result) {
	if p != nil {
		_ = p.sink.Put(r)
	}
}

// clear removes the progress from the screen.
func (p *liveProgress) clear() {
	if p != nil {
		_ = p.sink.Close()
	}
}

// choice is a flag with a closed list of values.
type choice struct {
	value string
	of    []string
}

// Set accepts one of the values.
func (c *choice) Set(text string) error {
	if !slices.Contains(c.of, text) {
		return fmt.Errorf("want one of %s", strings.Join(c.of, ", "))
	}
	c.value = text
	return nil
}

// String returns the value.
func (c *choice) String() string { return c.value }

// Type names the value in help.
func (c *choice) Type() string { return strings.ToUpper(strings.Join(c.of, "|")) }
