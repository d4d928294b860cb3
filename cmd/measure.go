package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/compare"
	"github.com/sonde-cli/sonde/report"
	"github.com/sonde-cli/sonde/scheduler"
)

// verdictFlags are the flags of commands that measure: how results are shown
// and what they mean.
type verdictFlags struct {
	reports list
	failOn  verdictFlag
	flaky   choice
	color   choice
	verbose bool

	exitStyle choice
}

func (f *verdictFlags) register(a *App, c *cobra.Command) {
	f.failOn = verdictFlag(check.Unknown)
	f.flaky = choice{value: "warn", of: []string{"pass", "warn", "fail"}}
	flags := c.Flags()
	f.registerReports(c, report.Formats())
	flags.Var(&f.failOn, "fail-on", "mildest verdict that fails: down, unknown or degraded")
	flags.Var(&f.flaky, "flaky", "what it means that a check needed a second attempt")
	f.registerColor(c)
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show all that is known of every check")
	complete(c, "fail-on", fixed("down", "unknown", "degraded"))
	complete(c, "flaky", fixed(f.flaky.of...))
}

// registerReports registers the flag of the reports, which are of the formats.
func (f *verdictFlags) registerReports(c *cobra.Command, formats []report.Format) {
	f.reports.arg = "FORMAT[=PATH]"
	c.Flags().Var(&f.reports, "report", strings.Join(formatNames(formats), ", ")+"; to standard output or a file; repeatable")
	complete(c, "report", reportCompletions(formats))
}

func (f *verdictFlags) registerColor(c *cobra.Command) {
	f.color = choice{value: "auto", of: []string{"auto", "always", "never"}}
	c.Flags().Var(&f.color, "color", "colours on standard output")
	complete(c, "color", fixed(f.color.of...))
}

// registerExitStyle adds --exit-style, which is for commands that others run as
// a plugin.
func (f *verdictFlags) registerExitStyle(c *cobra.Command) {
	f.exitStyle = choice{value: "sonde", of: []string{"sonde", "nagios"}}
	c.Flags().Var(&f.exitStyle, "exit-style", "nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; goes with --report nagios")
	complete(c, "exit-style", fixed(f.exitStyle.of...))
}

// verifyExitStyle refuses what contradicts the states of Nagios.
func (f *verdictFlags) verifyExitStyle() error {
	if f.exitStyle.value == "nagios" && check.Verdict(f.failOn) != check.Unknown {
		return usagef("leave out one of them", "--exit-style nagios tells each verdict by its code, --fail-on has no say in it")
	}
	return nil
}

func (f *verdictFlags) policy() policy {
	flaky := map[string]check.Verdict{"pass": check.Up, "warn": check.Degraded, "fail": check.Down}[f.flaky.value]
	return policy{failOn: f.failOn, flaky: flaky, nagios: f.exitStyle.value == "nagios"}
}

// measurement is one run of a set of checks, ready to begin.
type measurement struct {
	app          *App
	flags        *verdictFlags
	checks       []*check.Check
	destinations []destination
	concurrency  int
	asked        string        // how the user asked for it; empty when nobody did
	deadline     time.Duration // of the whole run; 0 for none
	progress     bool
	tap          func(check.Result) // sees each result; may be nil
	// Of a run that is compared, else nil: how it is measured, what is changed in
	// its results, in file order, before they are reported, what the reports
	// show beside them, and what the process exits with.
	measure    func(context.Context) error
	revise     func([]check.Result)
	comparison *compare.Report
	exit       func(cause error) int

	stop    context.CancelCauseFunc // ends the run
	outputs outputs
	held    check.Sink           // keeps the results for revise; nil when nothing waits
	live    *report.ProgressLine // nil when nothing is shown
	summary check.Summary        // of the checks that count
	cut     int                  // how many did not end by themselves
	cause   error                // why the run ended early; nil when it did not
}

// run measures everything once and returns the exit code as an error.
func (m *measurement) run(ctx context.Context) error {
	var err error
	if m.outputs, err = m.app.openOutputs(m.destinations); err != nil {
		return err
	}
	m.app.measuring.Store(true)
	options := m.options()
	m.outputs.begin(m.app.Stdout, m.app.Stderr, options)
	if m.progress {
		m.watch(options)
	}
	if m.measure == nil {
		m.measure = m.once
	}
	err = m.bounded(ctx, m.measure)
	if m.live != nil {
		_ = m.live.Close() // progress that nobody sees is no failure
	}
	if err != nil {
		m.outputs.discard()
		return err
	}
	code := m.code()
	m.remark()
	for _, failure := range m.outputs.finish(m.app) {
		if code == ExitOK {
			code = m.app.unmeasured(ExitUsage)
		}
		m.app.fail(failure, code)
	}
	return asError(code)
}

// once measures each check once.
func (m *measurement) once(ctx context.Context) error {
	once := scheduler.Once{Concurrency: m.places()}
	if m.live != nil {
		once.OnStart = m.live.Start
	}
	if m.revise == nil {
		return once.Run(ctx, m.checks, m)
	}
	var all kept
	m.held = report.InOrder(m.checks, &all)
	err := errors.Join(once.Run(ctx, m.checks, m), m.held.Close())
	m.revise(all)
	for _, r := range all {
		m.take(r)
	}
	return err
}

// kept is a sink that keeps the results.
type kept []check.Result

// Put keeps the result.
func (k *kept) Put(r check.Result) error {
	*k = append(*k, r)
	return nil
}

// Close has nothing to do.
func (k *kept) Close() error { return nil }

// places returns how many checks are measured at once: as many as wanted, if the
// process may have as many descriptors as that takes.
func (m *measurement) places() int {
	most, limit := places(m.checks, min(m.concurrency, len(m.checks)), spare)
	if limit > 0 && m.asked != "" {
		m.app.warn(fewer(m.asked, most, limit))
	}
	return most
}

// bounded runs f with the deadline of the whole run. That is a cancellation
// and not a deadline of the context, so that no probe takes it for its
// target's timeout.
func (m *measurement) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.stop = cancel
	if m.deadline > 0 {
		defer time.AfterFunc(m.deadline, func() { cancel(errDeadline) }).Stop()
	}
	err := f(ctx)
	if cause := context.Cause(ctx); cause != nil && (m.cut > 0 || !errors.Is(cause, errUnread)) {
		m.cause = cause
	}
	return err
}

// watch shows the progress on standard error, and keeps it from mixing with a
// report that streams to the same screen.
func (m *measurement) watch(o report.Options) {
	o.Width = m.app.StderrWidth
	o.Color = o.Color && m.app.StdoutWidth > 0
	m.live = report.Progress(m.app.Stderr, o)
	for _, out := range m.outputs {
		if out.file == nil && m.app.StdoutWidth > 0 {
			out.sink = m.live.Over(out.sink)
		}
	}
}

func (m *measurement) options() report.Options {
	o := report.Options{
		Color: m.app.color(m.flags.color.value), Width: m.app.StdoutWidth, Verbose: m.flags.verbose,
		Started: m.app.Now(), Now: m.app.Now, Checks: m.checks,
		Flaky: m.flags.policy().flaky, Repository: m.app.repository(),
	}
	// The document's code is the process's: it counts what counts.
	o.ExitCode = func(check.Summary) int { return m.code() }
	o.Comparison = func() *compare.Report { return m.comparison }
	return o
}

func (m *measurement) code() int {
	if m.exit != nil {
		return m.exit(m.cause)
	}
	return m.flags.policy().code(m.summary, m.cause)
}

// Put takes a result from the scheduler.
func (m *measurement) Put(r check.Result) error {
	if m.live != nil {
		_ = m.live.Put(r)
	}
	if m.held != nil {
		return m.held.Put(r)
	}
	m.take(r)
	return nil
}

// take counts a result and reports it.
func (m *measurement) take(r check.Result) {
	if !r.Optional {
		m.summary.Add(r)
	}
	if r.Reason.Code == check.LocalShutdown {
		m.cut++
	}
	if m.tap != nil {
		m.tap(r)
	}
	m.outputs.put(r)
	if m.outputs.unread() {
		m.stop(errUnread)
	}
}

// Close is part of a sink; the reports are completed by run.
func (m *measurement) Close() error { return nil }

// remark says on standard error what the reports do not.
func (m *measurement) remark() {
	if m.cause != nil {
		hint := ""
		if errors.Is(m.cause, errDeadline) {
			hint = "give it more with --timeout, or more at once with --concurrency"
		}
		m.app.warn(fmt.Sprintf("%s: %d of %s did not end", m.cause, m.cut, plural(len(m.checks), "check")), hint)
	}
	m.remarkFlaky()
}

// remarkFlaky says that checks are flaky and what that means for the run.
func (m *measurement) remarkFlaky() {
	n := m.summary.Flaky
	if n == 0 || m.flags.flaky.value == "pass" {
		return
	}
	verb := " is"
	if n > 1 {
		verb = " are"
	}
	hint := "--flaky=fail makes that fail the run, --flaky=pass is silent"
	if m.flags.flaky.value == "fail" {
		hint = "--flaky=fail makes that fail the run"
	}
	m.app.warn(plural(n, "check")+verb+" flaky: up only after a failed attempt", hint)
}
