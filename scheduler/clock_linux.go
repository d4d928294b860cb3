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
// and whether it could tell.
func suspended() (time.Duration, bool) { return bootLessMono(clockRead) }

// bootLessMono compares the two clocks. Were the process stopped between two
// readings, that would look like a suspended machine.
func bootLessMono(read func(id uintptr) (time.Duration, bool)) (time.Duration, bool) {
	for range tries {
		before, ok1 := read(clockMonotonic)
		boot, ok2 := read(clockBoottime)
		after, ok3 := read(clockMonotonic)
		if ok1 && ok2 && ok3 && after-before < apart {
			return boot - after, true
		}
	}
	return 0, false
}

func clockRead(id uintptr) (time.Duration, bool) {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano()), errno == 0
}
