// Package netif has what a socket must know of this machine's network interfaces:
// it binds one to an interface, and says why that failed.
//
// Interfaces come and go. So the name of one is checked for its form when a check
// is read, and that there is none of the name is our own side's fault in the run that
// needs it: it says nothing of the target.
package netif

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// maxName is how long an interface's name can be on Linux (IFNAMSIZ less the
// end) and on macOS.
const maxName = 15

// CheckName validates a network interface's name, which may be empty.
func CheckName(name string) error {
	switch {
	case name == "":
		return nil
	case !Binds:
		return errors.New("this system binds no socket to an interface; set source to an address of the interface")
	case len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }):
		return fmt.Errorf("%q is no name of a network interface", name)
	}
	return nil
}

// BindError tells that a socket could not be bound to a network interface.
type BindError struct {
	Name string // of the interface
	Err  error  // the system's
}

// Error words the fault.
func (e *BindError) Error() string {
	if errors.Is(e.Err, os.ErrPermission) {
		return fmt.Sprintf("not allowed to connect by the interface %s\nhint: give sonde the capability CAP_NET_RAW", e.Name)
	}
	return fmt.Sprintf("cannot connect by the interface %s: %v", e.Name, e.Err)
}

// Unwrap returns the system's error.
func (e *BindError) Unwrap() error { return e.Err }

// Reason is the reason of a [BindError], and whether err is one.
func Reason(err error) (check.Reason, bool) {
	var be *BindError
	if !errors.As(err, &be) {
		return check.Reason{}, false
	}
	code := check.LocalRoute
	if errors.Is(be.Err, os.ErrPermission) {
		code = check.LocalPermission
	}
	return check.Reason{Code: code, Message: be.Error()}, true
}
