//go:build !linux

package probes

import "syscall"

// portAtConnect is for Linux, where bind takes a port away from every
// destination.
var portAtConnect func(network, address string, raw syscall.RawConn) error
