package cmd

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/scheduler"
	"github.com/sonde-cli/sonde/watch"
)

const watchLong = `Run the checks of the files at their intervals and show them live: a row for each
check with its verdict, latency, a sparkline of the latest runs, the share that
was lost and since when it is so. Enter shows all about one, s sorts, / filters,
q or Ctrl-C leaves.

Where standard output is no terminal, TERM is dumb or CI is set, it writes a line
for the first result of each check and for each change of a verdict.

The exit code is 0 when you leave, whatever the checks say: 'sonde run' judges.`

const watchExamples = `  sonde watch checks.yaml
  sonde watch checks/ --tag smoke --interval 2s
  sonde watch checks.yaml | tee changes.log`

// watchFlags are the flags of `sonde watch`.
type watchFlags struct {
	loopFlags
	interval durationFlag
	color    choice
}

func newWatch(a *App) *cobra.Command {
	f := watchFlags{color: choice{value: "auto", of: []string{"auto", "always", "never"}}}
	c := &cobra.Command{
		Use:               "watch [FILE|DIR|-]...",
		Short:             "Run the checks of files at their intervals, live on the terminal",
		Long:              watchLong,
		Example:           watchExamples,
		ValidArgsFunction: yamlFiles,
		RunE:              func(c *cobra.Command, files []string) error { return a.watch(c.Context(), &f, files) },
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.Var(&f.interval, "interval", "run every check at this interval, at least 1s, instead of its own")
	f.loopFlags.register(a, c)
	flags.Var(&f.color, "color", "colours on standard output")
	complete(c, "color", fixed(f.color.of...))
	return c
}

func (a *App) watch(ctx context.Context, f *watchFlags, files []string) error {
	if f.interval > 0 && time.Duration(f.interval) < time.Second {
		return usagef("", "--interval %s: it takes at least 1s", f.interval.String())
	}
	files, err := filesOrDefault(files)
	if err != nil {
		return err
	}
	set, err := a.loadLoop(ctx, &f.loopFlags, files, false)
	if err != nil {
		return err
	}
	a.warnAll(set.Warnings)
	if f.interval > 0 {
		for _, c := range set.Checks {
			c.Interval, c.IntervalFailing = time.Duration(f.interval), 0
		}
	}
	w := &watching{options: watch.Options{Checks: set.Checks, Color: a.color(f.color.value), Now: a.Now}}
	w.options.Engine = func() (int, uint64) {
		s := w.loop.Stats()
		return s.InFlight, s.Missed
	}
	if a.StdoutWidth > 0 && !a.dumb() {
		w.screen = watch.NewScreen(w.options)
		w.sink = w.screen
	} else {
		w.sink = watch.Lines(a.Stdout, w.options)
	}
	w.loop = f.loop(f.limits(set.Limits), longestGrace, w, a.warn)
	w.loop.Replace(set.Checks)
	return a.attend(ctx, w)
}

// watching is a running `sonde watch`.
type watching struct {
	options watch.Options
	loop    *scheduler.Loop
	screen  *watch.Screen // nil without a terminal
	sink    check.Sink
	stop    context.CancelCauseFunc
}

// errLeft is why a watch ends that the user left.
var errLeft = errors.New("left")

// attend runs the loop until the user leaves. Runs under way are cancelled
// then: nobody sees their results. A reader of standard output that is stuck
// does not keep the user from leaving.
func (a *App) attend(ctx context.Context, w *watching) error {
	a.measuring.Store(true) // a signal ends the context
	ctx, w.stop = context.WithCancelCause(ctx)
	defer w.stop(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.loop.Run(ctx) // what the sink failed at is the context's cause
	}()
	var err error
	if w.screen != nil {
		err = w.screen.Run(ctx, nil, a.Stdout)
	} else {
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, errInterrupted) {
			err = cause
		}
	}
	w.stop(errLeft)
	timer := time.NewTimer(lineEnd)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C: // the reader of standard output is stuck, and with it the loop
	}
	return err
}

// Put passes a result on; a sink that fails ends the watch.
func (w *watching) Put(r check.Result) error {
	err := w.sink.Put(r)
	if err != nil {
		w.stop(err)
	}
	return err
}

// Close closes the sink.
func (w *watching) Close() error { return w.sink.Close() }
