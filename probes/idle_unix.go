//go:build !windows

package probes

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// descriptorLimit returns how many descriptors this process may have.
func descriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(uint64(limit.Cur), 1<<30)) //nolint:unconvert // its type differs by system
}

// stale reports whether the peer of an idle connection has closed it or sent
// something, after which no request may go over it. It does not wait.
func stale(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		state := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(state[:], 0)
		gone = n > 0 || err != nil && err != unix.EINTR
	})
	return gone || err != nil
}
