package probes

import (
	"golang.org/x/sys/unix"
)

// mayPing reports whether this process can open an ICMP socket. It asks the
// kernel itself, not the code under test.
func mayPing() bool {
	return canOpen(unix.SOCK_DGRAM) || canOpen(unix.SOCK_RAW)
}

func canOpen(typ int) bool {
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}
