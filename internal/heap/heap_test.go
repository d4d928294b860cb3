package heap

import (
	"runtime/debug"
	"testing"
)

func TestPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 4 << 20: 400, 64 << 20: 400, 128 << 20: 200, 256 << 20: 100, 1 << 30: 100} {
		if got := percent(live); got != want {
			t.Errorf("percent(%d) = %d, want %d", live, got, want)
		}
	}
}

func TestSettle(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	Settle()
	if got := debug.SetGCPercent(100); got != 400 {
		t.Errorf("the target of a small heap is %d, want 400", got)
	}
}
