// Package cmd is the command line: the only package that knows flags, the
// environment, streams, signals and exit codes. [Main] runs a command of an
// [App], which stands for the process, so that a test can be one.
package cmd

import (
	"context"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
)

// App is the process as the commands see it.
type App struct {
	Args      []string // without the program's name
	LookupEnv func(string) (string, bool)

	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// StdoutWidth and StderrWidth are the columns of the terminals behind the
	// streams; 0 when a stream is no terminal.
	StdoutWidth, StderrWidth int

	// Signals delivers the requests to stop. The first one ends a run early,
	// with what is known so far; a second one ends the process.
	Signals <-chan os.Signal
	// Hangups makes SIGHUP a request to reload instead of one to stop, and
	// delivers it. nil: there are none.
	Hangups func() <-chan os.Signal
	// Become makes the process the command at path. Where the system cannot do
	// that, it runs it and returns its exit code.
	Become func(path string, argv []string) (code int, err error)
	Now    func() time.Time
	// Hostname names the machine; nil: it has no name.
	Hostname func() (string, error)

	Kinds   []check.Kind
	Build   Build
	Example []byte // the annotated sample of a file of checks

	// measuring is set while there are results that a signal must not throw
	// away.
	measuring *atomic.Bool
}

// Main runs the command that the arguments name and returns the process's exit
// code.
func Main(app App) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	app.measuring = new(atomic.Bool)
	code := make(chan int, 1)
	go func() { code <- app.execute(ctx) }()
	var first os.Signal
	var at time.Time
	for {
		select {
		case c := <-code:
			return c
		case s := <-app.Signals:
			if s == first && time.Since(at) < echo {
				continue
			}
			if !app.measuring.Load() || ctx.Err() != nil {
				return app.unmeasured(ExitInterrupted)
			}
			first, at = s, time.Now()
			cancel(errInterrupted)
		}
	}
}

// echo is how soon the same signal again is the same request: timeout(1) sends
// one to the process and one to its group.
const echo = 100 * time.Millisecond

// execute runs the command that the arguments name, tells what went wrong and
// returns the exit code.
func (a *App) execute(ctx context.Context) int {
	root := newRoot(a)
	root.SetArgs(append([]string{}, a.Args...)) // nil would mean the process's own
	err := root.ExecuteContext(ctx)
	a.explain(err)
	return a.exitCode(err)
}

// loader returns a loader of checks in this process.
func (a *App) loader() *config.Loader {
	return &config.Loader{Kinds: a.Kinds, LookupEnv: a.LookupEnv, Version: a.Build.Version, Stdin: a.Stdin}
}

// set reports whether the environment variable is there and not empty.
func (a *App) set(name string) bool {
	value, ok := a.LookupEnv(name)
	return ok && value != ""
}
