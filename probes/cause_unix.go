//go:build !windows

package probes

import (
	"syscall"

	"github.com/sonde-cli/sonde/check"
)

// errNoAddress is said of a local address that this machine does not have.
const errNoAddress = syscall.EADDRNOTAVAIL

// errOversize is said of a datagram that is too large to send, or for the buffer.
const errOversize = syscall.EMSGSIZE

// errnoCode maps a system error to a reason code.
func errnoCode(errno syscall.Errno) (check.Code, bool) {
	switch errno {
	case syscall.ECONNREFUSED:
		return check.ConnectRefused, true
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, syscall.ENOTCONN:
		return check.ConnectReset, true
	case syscall.ETIMEDOUT:
		return check.ConnectTimeout, true
	case syscall.EHOSTUNREACH, syscall.EHOSTDOWN:
		return check.ConnectUnreachable, true
	case syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EAFNOSUPPORT, syscall.EINVAL:
		return check.LocalRoute, true
	case syscall.EMFILE, syscall.ENFILE:
		return check.LocalFD, true
	case syscall.EADDRNOTAVAIL, syscall.EADDRINUSE:
		return check.LocalPorts, true
	case syscall.EACCES, syscall.EPERM:
		return check.LocalPermission, true
	case syscall.ENOMEM, syscall.ENOBUFS:
		return check.LocalOverload, true
	}
	return "", false
}
