package cmd

import (
	"os"
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
	return App{
		Args:        os.Args[1:],
		LookupEnv:   os.LookupEnv,
		Stdin:       os.Stdin,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		StdoutWidth: columns(os.Stdout),
		StderrWidth: columns(os.Stderr),
		Signals:     signals,
		Hangups:     func() <-chan os.Signal { return hangups(signals) },
		Now:         time.Now,
		Kinds:       probes.Kinds(),
		Build:       build.complete(),
		Example:     example,
	}
}

// hangups makes SIGHUP a request to reload: it is delivered here, and no more
// as one of the signals to stop.
func hangups(stop chan<- os.Signal) <-chan os.Signal {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	signal.Stop(stop)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	return reload
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
