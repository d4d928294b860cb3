package check

import (
	"context"
	"testing"
)

// wide is a probe with so many connections at once.
type wide int

func (wide) Observe(context.Context) Observation { return Observation{} }

func (w wide) Footprint() Footprint { return Footprint{AtOnce: int(w)} }

// TestDescriptors takes the runs that need the most, and finds how many of them
// there is room for.
func TestDescriptors(t *testing.T) {
	var checks []*Check
	for _, atOnce := range []int{0, 3, 64, 1, 0} {
		checks = append(checks, &Check{Probe: wide(atOnce)})
	}
	for n, want := range []int{0, 128, 134, 136, 138, 140, 140} {
		if got := Descriptors(checks, n, 2); got != want {
			t.Errorf("%d runs: %d descriptors, want %d", n, got, want)
		}
	}
	for _, tt := range []struct{ places, want int }{{0, 1}, {10, 1}, {63, 1}, {64, 1}, {66, 1}, {67, 2}, {68, 3}, {500, 435}} {
		if got := Affordable(checks, tt.places); got != tt.want {
			t.Errorf("%d places: %d runs, want %d", tt.places, got, tt.want)
		}
	}
	if got := Affordable(nil, 7); got != 7 {
		t.Errorf("checks that are not known yet: %d runs, want 7", got)
	}
}
