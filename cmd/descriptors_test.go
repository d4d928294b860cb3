package cmd

import (
	"math"
	"testing"
)

func TestAffordable(t *testing.T) {
	for _, tt := range []struct {
		limit, open, spare uint64
		want               int
	}{
		{30, 8, spare, 7}, {1024, 8, spare, 504}, {1024, 8, spareServing, 476}, {1 << 20, 10, spare, 1<<19 - 9},
		{30, 8, spareServing, 5}, {8, 8, spare, 1}, {3, 9, spare, 1}, {0, 0, spare, 1}, {math.MaxUint64, 8, spare, 1 << 30},
	} {
		if got := affordable(tt.limit, tt.open, tt.spare); got != tt.want {
			t.Errorf("%d descriptors, %d open, %d spare: %d probes, want %d", tt.limit, tt.open, tt.spare, got, tt.want)
		}
	}
}
