// Package report turns results into bytes: a table for people, JSON for
// programs, and what a terminal shows meanwhile. Every writer is a [check.Sink].
//
// What a target said is hostile: nothing of it reaches a terminal or a plain
// text before [clean] made its control characters, escape sequences and
// direction overrides visible. Colour never carries meaning alone.
package report

import (
	"fmt"
	"io"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/compare"
)

// Options are what a report may know of its surroundings.
type Options struct {
	Color   bool // use ANSI colours
	Width   int  // of the terminal in columns; 0 when it is none, then nothing is cut
	Verbose bool // show all that is known

	Started time.Time        // of the run; the report's creation when zero
	Now     func() time.Time // the clock; time.Now when nil
	Checks  []*check.Check   // of the run, in file order
	// ExitCode tells what the process will exit with. Called once, at Close;
	// nil means 0.
	ExitCode func(check.Summary) int
	// Comparison returns what the run was compared with, or nil. Called at
	// Close; nil means that there is none.
	Comparison func() *compare.Report
	// Flaky is what a flaky result counts as for the gate: up, degraded or down.
	// Up when unknown.
	Flaky check.Verdict
	// Repository turns the name of a file into the one that it has in the
	// repository, for those who annotate it there; nil leaves it.
	Repository func(file string) string
	// Limit is the most bytes that a Markdown report takes; 0 is a step's summary
	// of GitHub Actions as a whole.
	Limit int
}

// Format is one way to write the results of a run.
type Format struct {
	Name string
	Doc  string // one line, lower case, no full stop
	// New returns a sink that writes to w one well-formed document, which is
	// complete when Close returns, however many results were put. It does not
	// close w. Errors of w are wrapped and come from Put or Close.
	New func(w io.Writer, o Options) check.Sink
}

// Formats returns all formats, the most used first.
func Formats() []Format {
	return []Format{
		{"table", "a table for people with details of what is not up", atClose("table", writeTable)},
		{"json", "one JSON document with all results", newJSON},
		{"ndjson", "one JSON object on a line for each result, as it arrives", newNDJSON},
		{"quiet", "nothing when all is up, else a line for each check that is not", newQuiet},
		{"junit", "JUnit XML, a suite for each check; valid by the Jenkins xUnit schema", atClose("junit", writeJUnit)},
		{"tap", "Test Anything Protocol with YAML diagnostics", atClose("tap", writeTAP)},
		{"github", "annotations of a GitHub Actions job", atClose("github", writeGitHub)},
		{"gitlab", "a GitLab code quality report", atClose("gitlab", writeGitLab)},
		{"nagios", "the output of a Nagios plugin: status line and performance data", atClose("nagios", writeNagios)},
		{"prometheus", "metrics for node_exporter's textfile collector", atClose("prometheus", writePrometheus)},
		{"markdown", "Markdown for a step's summary or a comment", atClose("markdown", writeMarkdown)},
		{"html", "one self-contained page for a browser, with waterfalls and distributions", atClose("html", writeHTML)},
	}
}

// minWidth is the narrowest terminal that is written for.
const minWidth = 30

// withDefaults fills in what the caller left out.
func (o Options) withDefaults() Options {
	if o.Width > 0 {
		o.Width = max(o.Width, minWidth)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Started.IsZero() {
		o.Started = o.Now()
	}
	if o.ExitCode == nil {
		o.ExitCode = func(check.Summary) int { return 0 }
	}
	if o.Flaky == check.Unknown {
		o.Flaky = check.Up
	}
	if o.Repository == nil {
		o.Repository = func(file string) string { return file }
	}
	if o.Limit == 0 {
		o.Limit = SummaryLimit
	}
	return o
}

// elapsed returns the time since the run began, never negative.
func (o Options) elapsed() time.Duration { return max(0, o.Now().Sub(o.Started)) }

// counts returns the verdict that the gate takes a result for: a flaky one may
// count as worse than it is.
func (o Options) counts(r check.Result) check.Verdict {
	if r.Flaky && o.Flaky.Worse(r.Verdict) {
		return o.Flaky
	}
	return r.Verdict
}

// fails reports whether the gate takes a result for a failure, were its check
// not optional.
func (o Options) fails(r check.Result) bool {
	v := o.counts(r)
	return v == check.Down || v == check.Unknown
}

// wrap says which report could not be written; nil stays nil.
func wrap(format string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write the %s report: %w", format, err)
}
