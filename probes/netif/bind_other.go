//go:build !linux && !darwin

package netif

import "errors"

// Binds tells that sockets cannot be bound to a network interface.
const Binds = false

// Bind is not to be called, for [CheckName] takes no name.
func Bind(_ uintptr, _, name string) error { return &BindError{name, errors.ErrUnsupported} }
