package probes

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// deviceError tells that a socket could not be bound to a network interface,
// which says nothing of the target. Interfaces come and go, so that there is none
// of the name is known only when a run needs it.
type deviceError struct {
	device string
	err    error
}

// Error words the fault.
func (e *deviceError) Error() string {
	if errors.Is(e.err, os.ErrPermission) {
		return fmt.Sprintf("not allowed to connect by the interface %s\nhint: give sonde the capability CAP_NET_RAW", e.device)
	}
	return fmt.Sprintf("cannot connect by the interface %s: %v", e.device, e.err)
}

// Unwrap returns the system's error.
func (e *deviceError) Unwrap() error { return e.err }

// deviceReason is the reason of a deviceError, and whether err is one.
func deviceReason(err error) (check.Reason, bool) {
	var de *deviceError
	if !errors.As(err, &de) {
		return check.Reason{}, false
	}
	code := check.LocalRoute
	if errors.Is(de.err, os.ErrPermission) {
		code = check.LocalPermission
	}
	return check.Reason{Code: code, Message: de.Error()}, true
}

// maxDevice is how long an interface's name can be on Linux (IFNAMSIZ less the
// end) and on macOS.
const maxDevice = 15

// checkDevice validates a network interface's name, which may be empty.
func checkDevice(name string) error {
	switch {
	case name == "":
		return nil
	case !bindsDevices:
		return errors.New("this system binds no socket to an interface; set source to an address of the interface")
	case len(name) > maxDevice || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }):
		return fmt.Errorf("%q is no name of a network interface", name)
	}
	return nil
}
