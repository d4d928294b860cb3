package memory

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
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
