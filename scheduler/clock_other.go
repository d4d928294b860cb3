//go:build !linux

package scheduler

import "time"

// suspended returns how long the machine has been suspended since it booted,
// and whether the platform can tell. Here it cannot; a leap of the wall clock
// against the monotonic one counts instead.
func suspended() (time.Duration, bool) { return 0, false }
