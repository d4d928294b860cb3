package cmd

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/sonde-cli/sonde/probes"
)

// Process returns the App of this process. It is the one place that touches
// the process's arguments, environment, streams and signals.
func Process(build Build, example []byte) App {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as it is below nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	// A reader that goes away (`| head`) is an error of its write, not the end
	// of the process: the other reports have to be completed.
	signal.Ignore(syscall.SIGPIPE)
	become := func(path string, argv []string) (int, error) {
		if err := restoreSignals(signals); err != nil {
			return 0, err
		}
		return replace(&exec.Cmd{Path: path, Args: argv, Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	}
	return App{
		Args:        os.Args[1:],
		LookupEnv:   os.LookupEnv,
		Stdin:       os.Stdin,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		StdoutWidth: columns(os.Stdout),
		StderrWidth: columns(os.Stderr),
		Signals:     signals,
		Hangups:     hangups,
		Become:      become,
		Now:         time.Now,
		Hostname:    os.Hostname,
		Kinds:       probes.Kinds(),
		Build:       build.complete(),
		Example:     example,
	}
}

// hangups delivers SIGHUP, which is no request to stop any more.
func hangups() <-chan os.Signal {
	hangups := make(chan os.Signal, 1)
	signal.Reset(syscall.SIGHUP)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// restoreSignals makes them end the process again, or be ignored, as when it
// began. One that came before is not lost: it is errInterrupted.
func restoreSignals(signals <-chan os.Signal) error {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // Reset alone leaves it ignored
	signal.Reset()
	select {
	case <-signals:
		return errInterrupted
	default:
		return nil
	}
}

// columns returns the width of the terminal behind f, or 0 when there is none.
// A terminal that does not know its width gets 80.
func columns(f *os.File) int {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return 0
	}
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		return width
	}
	return 80
}
