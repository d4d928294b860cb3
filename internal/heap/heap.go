// Package heap gives the garbage collector of a long-running process room in
// proportion to what lives, so that short-lived garbage costs little CPU.
package heap

import (
	"runtime"
	"runtime/debug"
)

// Bounds of the room between two collections.
const (
	room = 256 << 20 // bytes; a process with more than that alive gets Go's default
	most = 400       // percent of what lives, for a process with little alive
	std  = 100       // Go's default
)

// Settle collects garbage and sets the collector's target by what is left. It
// is to be called when what stays has been built, unless the user has set GOGC.
func Settle() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(percent(m.HeapAlloc))
}

// percent returns the target for so many living bytes.
func percent(live uint64) int {
	return int(min(most, max(std, room*100/max(live, 1))))
}
