//go:build !linux && !darwin

package probes

import "errors"

// bindsDevices tells that sockets cannot be bound to a network interface.
const bindsDevices = false

// bindDevice is never called, for no route with an interface is built.
func bindDevice(_ uintptr, _, device string) error {
	return &deviceError{device, errors.ErrUnsupported}
}
