package memory

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func TestRelaxAndUndo(t *testing.T) {
	growthBefore, limitBefore := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	defer func() {
		debug.SetGCPercent(growthBefore)
		debug.SetMemoryLimit(limitBefore)
	}()
	undo := Relax()
	if limit := debug.SetMemoryLimit(-1); limit <= 0 || limit == math.MaxInt64 {
		t.Errorf("limit %d", limit)
	}
	if got := debug.SetGCPercent(growth); got != growth {
		t.Errorf("growth %d, want %d", got, growth)
	}
	undo()
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		t.Errorf("limit %d after undo", limit)
	}
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("growth %d after undo", got)
	}
}

func TestLoaded(t *testing.T) {
	runtime.GC()
	before := loaded()
	held := make([]byte, 64<<20)
	runtime.GC()
	if grown := loaded() - before; before <= 0 || grown < int64(len(held))/2 {
		t.Errorf("%d in use, %d more with %d held", before, grown, len(held))
	}
	runtime.KeepAlive(held)
}

func TestLowest(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	for name, tt := range map[string]struct {
		groups fstest.MapFS
		own    string
		want   int64
	}{
		"none":      {nil, "0::/\n", 0},
		"container": {fstest.MapFS{"memory.max": file("300")}, "0::/\n", 300},
		"no limit":  {fstest.MapFS{"memory.max": file("max")}, "0::/\n", 0},
		"service": {fstest.MapFS{
			"system.slice/memory.max": file("max"), "system.slice/sonde.service/memory.max": file("200"), "other/memory.max": file("1"),
		}, "0::/system.slice/sonde.service\n", 200},
		"slice above": {fstest.MapFS{
			"system.slice/memory.max": file("100"), "system.slice/sonde.service/memory.max": file("200"),
		}, "0::/system.slice/sonde.service\n", 100},
		"throttled": {fstest.MapFS{"a/memory.max": file("200"), "a/memory.high": file("150")}, "0::/a\n", 150},
		"version 1": {fstest.MapFS{
			"memory/memory.limit_in_bytes": file("9223372036854771712"), "memory/docker/x/memory.limit_in_bytes": file("400"),
		}, "5:cpu:/\n4:memory:/docker/x\n0::/\n", 400},
		"version 1, inside":        {fstest.MapFS{"memory/memory.limit_in_bytes": file("500")}, "4:hugetlb,memory:/docker/x\n", 500},
		"outside of the namespace": {fstest.MapFS{"memory.max": file("7")}, "0::/../../a\n", 7},
		"garbage":                  {fstest.MapFS{"memory.max": file("-1")}, "x\n\n::\n", 0},
	} {
		if got := lowest(tt.groups, tt.own); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
