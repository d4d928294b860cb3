package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/report"
	"github.com/sonde-cli/sonde/scheduler"
)

// How long a wait takes, and how often it looks at least.
const (
	defaultFor    = time.Minute
	shortestEvery = 50 * time.Millisecond // what is not up yet is not to be hammered
)

const waitLong = `Wait until all checks are up, then run a command in sonde's place, if one is given
behind --.

A FILE is - or ends in .yaml, .yml or /, or is a path such as ./checks; anything
else is a TARGET as of 'sonde check', with host:port for tcp. Both may be mixed.
Without any, checks.yaml of the current folder is read.

Each check is tried at once, and then again after 50ms, 100ms, 200ms and so on up
to --every, until it is up once. One with depends_on is first tried when what it
names is up. Optional checks are not waited for.

While it waits, a terminal shows one line, and anything else gets a line for each
change, on standard error. Standard output is the command's.

The exit code is 0 when all are up, 124 when --for runs out, with the reasons of
what is not up, 3 at once when sonde is not permitted to measure, which no waiting
mends, 2 for a mistake, and 130 when interrupted. A command that is run has its
own: 127 when it is not found and 126 when it cannot be run.`

const waitExamples = `  sonde wait db:5432 redis:6379 && ./migrate
  sonde wait db:5432 https://auth.example.com/health --for 2m -- ./server --port 8080
  sonde wait checks.yaml --tag backends
  sonde wait https://localhost:8443/ready -k --expect 'json.status == "ok"'
  sonde wait db:5432 --until down --for 30s`

// waitFlags are the flags of `sonde wait`.
type waitFlags struct {
	selection
	expect, prefer  list
	longest, every  durationFlag
	timeout         durationFlag
	until           choice
	failOn          choice
	reports         list
	options         optionFlags
	chosen, pointed bool // flags for checks of files were given, or for targets
}

func newWait(a *App) *cobra.Command {
	f := waitFlags{
		until:   choice{value: "up", of: []string{"up", "down"}},
		failOn:  choice{value: "down", of: []string{"down", "degraded"}},
		longest: durationFlag(defaultFor), every: durationFlag(scheduler.DefaultEvery),
	}
	c := &cobra.Command{
		Use:               "wait [FILE|TARGET]... [-- COMMAND [ARG]...]",
		Short:             "Wait until all are up, then run a command",
		Long:              waitLong,
		Example:           waitExamples,
		ValidArgsFunction: a.filesOrTargets,
		RunE: func(c *cobra.Command, args []string) error {
			command, err := splitCommand(&args, c.ArgsLenAtDash())
			if err != nil {
				return err
			}
			f.chosen = changed(c, "only", "tag", "skip-tag")
			f.pointed = changed(c, targetFlagNames()...)
			return a.wait(c.Context(), &f, args, command)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	f.only.arg, f.tags.arg, f.skipTags.arg = "GLOB", "TAG", "TAG"
	f.expect.arg, f.prefer.arg, f.reports.arg = "EXPRESSION", "EXPRESSION", "FORMAT[=PATH]"
	flags.Var(&f.longest, "for", "how long to wait at most; then the exit code is 124")
	flags.Var(&f.every, "every", "longest wait between two attempts of a check, at least 50ms")
	flags.Var(&f.until, "until", "what to wait for; down takes no notice of depends_on")
	flags.Var(&f.failOn, "fail-on", "degraded: what is only degraded is not up yet")
	flags.VarP(&f.timeout, "timeout", "m", "how long one attempt may take; as the file says, else 5s, and never longer than what is left")
	flags.Var(&f.only, "only", "of files: only checks whose id or name matches (* and ?); repeatable")
	flags.Var(&f.tags, "tag", "of files: only checks with the tag; repeatable")
	flags.Var(&f.skipTags, "skip-tag", "of files: no checks with the tag; repeatable")
	flags.Var(&f.reports, "report", "the last results in the end, as of 'sonde run'; repeatable")
	flags.VarP(&f.expect, "expect", "e", "of targets: what must hold of the facts to be up; repeatable")
	flags.VarP(&f.prefer, "prefer", "p", "of targets: what should hold of the facts, else it is degraded; repeatable")
	f.options.register(c)
	complete(c, "until", fixed(f.until.of...))
	complete(c, "fail-on", fixed(f.failOn.of...))
	complete(c, "report", reportCompletions(report.Formats()))
	complete(c, "only", a.labels(func(id string, _ []string) []string { return []string{id} }))
	tags := a.labels(func(_ string, tags []string) []string { return tags })
	complete(c, "tag", tags)
	complete(c, "skip-tag", tags)
	complete(c, "set", a.optionPaths)
	return c
}

// wait waits, and becomes the command when all is reached.
func (a *App) wait(ctx context.Context, f *waitFlags, args []string, command []string) error {
	if time.Duration(f.every) < shortestEvery {
		return usagef("", "--every %s: it takes at least 50ms", f.every.String())
	}
	var path string
	if len(command) > 0 {
		var err error
		if path, err = a.lookPath(command[0]); err != nil {
			return err
		}
	}
	destinations, err := waitReports(f.reports.values, len(command) > 0)
	if err != nil {
		return err
	}
	checks, err := a.waitChecks(ctx, f, args)
	if err != nil {
		return err
	}
	w := &waiting{app: a, flags: f, checks: checks}
	if err := w.run(ctx, destinations); err != nil || len(command) == 0 {
		return err
	}
	return a.become(path, command)
}

// waiting is a running `sonde wait`.
type waiting struct {
	app     *App
	flags   *waitFlags
	checks  []*check.Check
	outputs outputs
	view    waitView
	began   time.Time

	stop   context.CancelCauseFunc
	missed []check.Result // the last results of those that were not reached
	cause  error          // why it ended; nil when all was reached
}

// waitView shows how a wait goes.
type waitView interface {
	Held(c *check.Check, by string)
	Attempted(c *check.Check, r check.Result, reached bool)
	Close() error
}

// errForbidden is why a wait ends that no waiting helps.
var errForbidden = errors.New("sonde is not permitted to measure")

// run waits, and returns the exit code as an error.
func (w *waiting) run(ctx context.Context, destinations []destination) error {
	var err error
	a := w.app
	if w.outputs, err = a.openOutputs(destinations); err != nil {
		return err
	}
	w.began = a.Now()
	o := report.Options{Started: w.began, Now: a.Now, Checks: w.checks, Color: a.color("auto"), Width: a.StdoutWidth}
	o.ExitCode = func(check.Summary) int { return w.code() }
	w.outputs.begin(a.Stdout, a.Stderr, o)
	o.Width = a.StderrWidth
	w.view = a.waitView(w.flags.until.value, o)
	a.measuring.Store(true)
	ctx, w.stop = context.WithCancelCause(ctx)
	defer w.stop(nil)
	places, _ := places(w.checks, min(scheduler.DefaultInFlight, len(w.checks)), spare)
	until := scheduler.Until{
		Reached: w.reached, Ordered: w.flags.until.value == "up", Concurrency: places,
		Every: time.Duration(w.flags.every), For: time.Duration(w.flags.longest),
		Held: w.view.Held, Attempted: w.attempted,
	}
	err = until.Run(ctx, w.checks, w)
	a.measuring.Store(false) // from here on a signal ends the process
	_ = w.view.Close()       // what nobody sees is no failure
	if err != nil {
		w.outputs.discard()
		return err
	}
	switch cause := context.Cause(ctx); {
	case cause != nil:
		w.cause = cause
	case len(w.missed) > 0:
		w.cause = errDeadline
	}
	return w.finish()
}

// waitView returns what shows a wait: nothing where the report on standard
// output is for a program.
func (a *App) waitView(want string, o report.Options) waitView {
	switch {
	case a.wantsJSON():
		return unseen{}
	case a.animate():
		return report.NewWaitLine(a.Stderr, want, o)
	default:
		return report.NewWaitLog(a.Stderr, o)
	}
}

type unseen struct{}

func (unseen) Held(*check.Check, string)                  {}
func (unseen) Attempted(*check.Check, check.Result, bool) {}
func (unseen) Close() error                               { return nil }

// reached reports whether a result ends the wait for its check. What could not
// be measured proves nothing.
func (w *waiting) reached(r check.Result) bool {
	if w.flags.until.value == "down" {
		return r.Verdict == check.Down
	}
	return r.Verdict == check.Up || r.Verdict == check.Degraded && w.flags.failOn.value != "degraded"
}

func (w *waiting) attempted(c *check.Check, r check.Result) {
	w.view.Attempted(c, r, w.reached(r))
	if r.Reason.Code == check.LocalPermission {
		w.stop(errForbidden)
	}
}

// Put takes the last result of a check.
func (w *waiting) Put(r check.Result) error {
	if !w.reached(r) {
		w.missed = append(w.missed, r)
	}
	w.outputs.put(r)
	return nil
}

// Close is part of a sink; the reports are completed by finish.
func (w *waiting) Close() error { return nil }

func (w *waiting) code() int {
	switch {
	case w.cause == nil:
		return ExitOK
	case errors.Is(w.cause, errDeadline):
		return ExitDeadline
	case errors.Is(w.cause, errForbidden):
		return ExitUnknown
	default:
		return ExitInterrupted
	}
}

// finish completes the reports and says how it ended. A report that is lost
// fails what went well.
func (w *waiting) finish() error {
	code := w.code()
	w.remark(code)
	for _, failure := range w.outputs.finish(w.app) {
		if code == ExitOK {
			code = ExitUsage
		}
		w.app.fail(failure, code)
	}
	return asError(code)
}

// remark says, with the reasons, what was not reached, and on a terminal, where
// nothing else stays to be read, that all was.
func (w *waiting) remark(code int) {
	a, want := w.app, w.flags.until.value
	took := check.FormatDuration(a.Now().Sub(w.began))
	if code == ExitOK {
		if a.animate() && !a.wantsJSON() {
			a.stderr("%s %s after %s\n", plural(len(w.checks), "check"), want, took)
		}
		return
	}
	said := fmt.Sprintf("not %s after %s: %d of %s", want, took, len(w.missed), plural(len(w.checks), "check"))
	hint := ""
	switch code {
	case ExitDeadline:
		hint = "give it more time with --for"
	case ExitUnknown, ExitInterrupted:
		said = w.cause.Error() + "; " + said
	}
	a.failMissed(said, hint, w.missed, code)
}

// maxMissed is how many checks are named that were not reached.
const maxMissed = 50

// failMissed words the end of a wait that did not reach all.
func (a *App) failMissed(said, hint string, missed []check.Result, code int) {
	more := max(len(missed)-maxMissed, 0)
	missed = missed[:len(missed)-more]
	if a.wantsJSON() {
		problem := &wireProblem{Message: said, Hint: hint}
		for _, r := range missed {
			problem.Problems = append(problem.Problems, &wireProblem{Message: report.Missed(r)[0], File: r.File, Line: r.Line})
		}
		a.stderrJSON(wireMessage{Schema: check.Schema, Error: problem, ExitCode: code})
		return
	}
	a.stderr("sonde: %s\n", said)
	for _, r := range missed {
		for _, line := range report.Missed(r) {
			a.stderr("  %s\n", line)
		}
	}
	if more > 0 {
		a.stderr("  and %d more\n", more)
	}
	if hint != "" {
		a.stderr("hint: %s\n", hint)
	}
}

// waitReports returns where the last results go: nowhere, unless told.
// Standard output is the command's when there is one.
func waitReports(values []string, command bool) ([]destination, error) {
	destinations, err := parseReports(values, report.Format{})
	if err != nil {
		return nil, err
	}
	for _, d := range destinations {
		if d.path == "" && command {
			return nil, usagef("give it a file: --report "+d.format.Name+"=PATH", "standard output is the command's, not the %s report's", d.format.Name)
		}
	}
	return destinations, nil
}

// waitChecks returns what is waited for: the selected checks of the files and
// one for each target, without those that are optional.
func (a *App) waitChecks(ctx context.Context, f *waitFlags, args []string) ([]*check.Check, error) {
	files, targets, err := filesAndTargets(args)
	switch {
	case err != nil:
		return nil, err
	case len(targets) == 0 && f.pointed:
		return nil, usagef("write it into the file", "--expect, --prefer and options of kinds are for targets, and there is none")
	case len(targets) > 0 && len(files) == 0 && f.chosen:
		return nil, usagef("name the targets that are meant", "--only, --tag and --skip-tag choose checks of files, and there is none")
	}
	if len(args) == 0 {
		if files, err = filesOrDefault(nil); err != nil {
			return nil, usagef("for example: sonde wait db:5432 -- ./server", "nothing to wait for is named, and there is no checks.yaml here")
		}
	}
	var checks []*check.Check
	if len(files) > 0 {
		set, err := a.load(ctx, &f.selection, files)
		if err != nil {
			return nil, err
		}
		for _, c := range set.Checks {
			if !c.Optional {
				checks = append(checks, c)
			}
		}
		if len(checks) == 0 {
			return nil, usagef("optional checks are not waited for", "all of the %s are optional", plural(len(set.Checks), "check"))
		}
	}
	pointed, err := a.waitTargets(f, targets)
	if err != nil {
		return nil, err
	}
	checks = append(checks, pointed...)
	for _, c := range checks {
		if f.timeout > 0 {
			c.Timeout = time.Duration(f.timeout)
		}
	}
	return checks, nil
}

func (a *App) waitTargets(f *waitFlags, targets []string) ([]*check.Check, error) {
	settings, err := f.options.settings(a.Stdin)
	if err != nil {
		return nil, err
	}
	return a.targetChecks(targets, config.TargetOptions{Expect: f.expect.values, Prefer: f.prefer.values, Settings: settings})
}
