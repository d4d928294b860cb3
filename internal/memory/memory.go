// Package memory trades memory of a daemon for time of the garbage collector.
package memory

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

// What the heap may grow to between two collections. Each run leaves a few
// kilobytes of garbage; at thousands of runs a second Go's own target, twice
// what is in use, spends up to a quarter of the CPU on collecting it.
const (
	growth  = 400       // percent of what is in use (GOGC)
	floor   = 512 << 20 // bytes up to which it may grow in any case
	reserve = 4         // above what is loaded, one of so many parts
	rest    = 64 << 20  // bytes besides the heap: stacks, the runtime
	share   = 5         // of a container's limit all but one of so many parts
)

// containerLimit is where Linux tells the limit of this process's container
// (cgroup v2, memory.max): bytes, or "max".
const containerLimit = "/sys/fs/cgroup/memory.max"

// Relax lets the heap grow to five times what is in use, as long as the process
// stays below half a gigabyte or a quarter above what is loaded now, whichever
// is more, and below its container's limit. It is to be called when what stays
// in memory is loaded, and again when that changes. The returned function undoes
// it.
func Relax() (undo func()) {
	runtime.GC()
	live := loaded()
	limit := max(floor, live+live/reserve+rest)
	if most := container(); most > 0 {
		limit = min(limit, most-most/share)
	}
	oldLimit := debug.SetMemoryLimit(limit)
	oldGrowth := debug.SetGCPercent(growth)
	return func() {
		debug.SetGCPercent(oldGrowth)
		debug.SetMemoryLimit(oldLimit)
	}
}

// loaded returns how many bytes of the heap the last collection found in use.
func loaded() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// container returns the limit of the process's container, 0 when there is none.
func container() int64 {
	text, err := os.ReadFile(containerLimit)
	if err != nil {
		return 0
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil { // "max"
		return 0
	}
	return limit
}
