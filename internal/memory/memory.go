// Package memory trades memory of a daemon for time of the garbage collector.
package memory

import (
	"io/fs"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
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
	share   = 5         // of a container's or service's limit all but one of so many parts
)

// Where Linux tells which control groups a process is in, and what they may
// have (cgroups(7)).
const (
	ownGroups = "/proc/self/cgroup"
	allGroups = "/sys/fs/cgroup"
)

// Relax lets the heap grow to five times what is in use, as long as the process
// stays below half a gigabyte or a quarter above what is loaded now, whichever
// is more, and below the limit of its container or service. It is to be called when what stays
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

// container returns the limit of the process's container or service in bytes, 0
// when there is none.
func container() int64 {
	own, err := os.ReadFile(ownGroups)
	if err != nil { // not Linux
		return 0
	}
	return lowest(os.DirFS(allGroups), string(own))
}

// lowest returns the lowest limit of the memory of the groups and of those that
// they are in. Inside of a container the root is often the container's own
// group, whatever path the process is told.
func lowest(groups fs.FS, own string) int64 {
	var least int64
	for line := range strings.Lines(own) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		root, files := "memory", []string{"memory.limit_in_bytes"} // version 1
		switch {
		case controllers == "":
			root, files = ".", []string{"memory.max", "memory.high"}
		case !slices.Contains(strings.Split(controllers, ","), "memory"):
			continue
		}
		for dir := path.Join(root, path.Clean("/"+group)); ; dir = path.Dir(dir) {
			for _, file := range files {
				if n := limitIn(groups, path.Join(dir, file)); n > 0 && (least == 0 || n < least) {
					least = n
				}
			}
			if dir == root {
				break
			}
		}
	}
	return least
}

// limitIn returns the limit that a file tells, 0 when there is none.
func limitIn(groups fs.FS, file string) int64 {
	text, err := fs.ReadFile(groups, file)
	if err != nil {
		return 0
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil { // "max"
		return 0
	}
	return limit
}
