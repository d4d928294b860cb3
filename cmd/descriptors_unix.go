//go:build unix

package cmd

import "syscall"

// descriptorLimit returns how many descriptors the process may have open. The
// soft limit is the hard one already (on Linux 19999 of 20000, say, seen in
// /proc/self/limits of a process started with ulimit -Sn 30): Go's runtime
// raises it when the process starts, and gives children the old one.
func descriptorLimit() (uint64, bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return uint64(max(l.Cur, 0)), true //nolint:unconvert // its type differs by system
}
