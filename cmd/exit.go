package cmd

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/sonde-cli/sonde/check"
)

// The exit codes, a contract.
const (
	ExitOK          = 0   // all up; degraded too, unless --fail-on degraded
	ExitDown        = 1   // some check is down
	ExitUsage       = 2   // usage or configuration error, or an output that could not be written
	ExitUnknown     = 3   // none is down but some are unknown
	ExitDegraded    = 4   // only degraded, and --fail-on degraded
	ExitDeadline    = 124 // the run's own deadline ran out, as with timeout(1)
	ExitInterrupted = 130 // stopped by a signal, as shells say for SIGINT
)

// What can end a run before all checks have ended; the causes of a cancelled
// context.
var (
	errInterrupted = errors.New("interrupted")
	errDeadline    = errors.New("the run's deadline ran out")
	errUnread      = errors.New("nobody reads the report any more")
)

// unread reports whether the reader of an output went away, which is no error.
func unread(err error) bool { return errors.Is(err, syscall.EPIPE) }

// status is an error that carries an exit code of which everything is said.
type status int

func (s status) Error() string { return "exit code " + strconv.Itoa(int(s)) }

// asError returns nil for code 0 and otherwise a status.
func asError(code int) error {
	if code == ExitOK {
		return nil
	}
	return status(code)
}

// exitCode maps the error of a command to the exit code. What is not a status
// is a usage or configuration error.
func (a *App) exitCode(err error) int {
	var s status
	switch {
	case err == nil, unread(err):
		return ExitOK
	case errors.As(err, &s):
		return int(s)
	default:
		return a.unmeasured(ExitUsage)
	}
}

// policy decides what the verdicts of a run mean for the exit code.
type policy struct {
	failOn verdictFlag   // the mildest verdict that fails the run
	flaky  check.Verdict // what a flaky check counts as: up, degraded or down
	nagios bool          // the code is the state of a Nagios plugin
}

// code returns the exit code of a run whose checks, optional ones left out,
// are counted in s, and which cause ended early; nil when nothing did.
func (p policy) code(s check.Summary, cause error) int {
	if p.nagios {
		return p.state(s)
	}
	fails := func(v check.Verdict) bool { return !check.Verdict(p.failOn).Worse(v) }
	switch {
	case errors.Is(cause, errInterrupted), errors.Is(cause, errUnread):
		return ExitInterrupted
	case errors.Is(cause, errDeadline):
		return ExitDeadline
	case s.Down > 0, p.flaky == check.Down && s.Flaky > 0:
		return ExitDown
	// A run that measured nothing proves nothing, whatever was asked for.
	case s.Unknown > 0 && (fails(check.Unknown) || s.Unknown == s.Total):
		return ExitUnknown
	case s.Degraded > 0 && fails(check.Degraded):
		return ExitDegraded
	}
	return ExitOK
}

// The states of a plugin (Nagios Plugin Development Guidelines, "Plugin Return
// Codes").
const (
	nagiosOK = iota
	nagiosWarning
	nagiosCritical
	nagiosUnknown
)

// state returns the plugin's state. A run that was cut short has unknown checks,
// so that needs no code of its own.
func (p policy) state(s check.Summary) int {
	switch {
	case s.Down > 0, p.flaky == check.Down && s.Flaky > 0:
		return nagiosCritical
	case s.Unknown > 0:
		return nagiosUnknown
	case s.Degraded > 0, p.flaky == check.Degraded && s.Flaky > 0:
		return nagiosWarning
	}
	return nagiosOK
}

// unmeasured returns the exit code of a command that has no verdict to tell:
// code, or for Nagios that the state is unknown.
func (a *App) unmeasured(code int) int {
	if a.isNagios() {
		return nagiosUnknown
	}
	return code
}

// verdictFlag is a --fail-on flag.
type verdictFlag check.Verdict

// Set reads down, unknown or degraded.
func (f *verdictFlag) Set(text string) error {
	var v check.Verdict
	if err := v.UnmarshalText([]byte(text)); err != nil || v == check.Up {
		return fmt.Errorf("want down, unknown or degraded")
	}
	*f = verdictFlag(v)
	return nil
}

// String returns the verdict in lower case.
func (f *verdictFlag) String() string { return check.Verdict(*f).String() }

// Type names the value in help.
func (f *verdictFlag) Type() string { return "VERDICT" }
