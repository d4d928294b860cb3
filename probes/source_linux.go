package probes

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// portAtConnect leaves the choice of the local port to connect
// (IP_BIND_ADDRESS_NO_PORT, ip(7)), which knows the destination and so may give
// one port to connections to different ones. Bind would need a port for each. A
// kernel older than 4.2 does not have the option and makes do with fewer ports.
func portAtConnect(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}
