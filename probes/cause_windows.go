package probes

import (
	"syscall"

	"golang.org/x/sys/windows"

	"github.com/sonde-cli/sonde/check"
)

// errNoAddress is said of a local address that this machine does not have.
const errNoAddress = windows.WSAEADDRNOTAVAIL

// errOversize is said of a datagram that is too large to send, or for the buffer.
const errOversize = windows.WSAEMSGSIZE

// errnoCode maps a Winsock error to a reason code.
func errnoCode(errno syscall.Errno) (check.Code, bool) {
	switch errno {
	case windows.WSAECONNREFUSED:
		return check.ConnectRefused, true
	case windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAENOTCONN, windows.WSAESHUTDOWN:
		return check.ConnectReset, true
	case windows.WSAETIMEDOUT:
		return check.ConnectTimeout, true
	case windows.WSAEHOSTUNREACH, windows.WSAEHOSTDOWN:
		return check.ConnectUnreachable, true
	case windows.WSAENETUNREACH, windows.WSAENETDOWN, windows.WSAEAFNOSUPPORT, windows.WSAEINVAL:
		return check.LocalRoute, true
	case windows.WSAEMFILE:
		return check.LocalFD, true
	case windows.WSAEADDRNOTAVAIL, windows.WSAEADDRINUSE:
		return check.LocalPorts, true
	case windows.WSAEACCES:
		return check.LocalPermission, true
	case windows.WSAENOBUFS:
		return check.LocalOverload, true
	}
	return "", false
}
