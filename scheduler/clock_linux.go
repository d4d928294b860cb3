package scheduler

import (
	"syscall"
	"time"
	"unsafe"
)

// Clocks of clock_gettime(2).
const (
	clockMonotonic = 1 // stands still while the machine is suspended
	clockBoottime  = 7 // does not
)

// suspended returns how long the machine has been suspended since it booted,
// and whether the platform can tell.
func suspended() (time.Duration, bool) {
	boot, ok1 := clockRead(clockBoottime)
	mono, ok2 := clockRead(clockMonotonic)
	return boot - mono, ok1 && ok2
}

func clockRead(id uintptr) (time.Duration, bool) {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano()), errno == 0
}
