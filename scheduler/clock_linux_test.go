package scheduler

import (
	"testing"
	"testing/synctest"
	"time"
)

// The process is stopped for a minute before some of the readings; the machine
// was suspended for an hour.
func TestAStopBetweenTheClocksIsNoSuspend(t *testing.T) {
	for _, tc := range []struct {
		name  string
		stops []int // before which readings
		known bool
	}{
		{"none", nil, true},
		{"before the first", []int{0}, true},
		{"within the first try", []int{1}, true},
		{"at the end of the first try", []int{2}, true},
		{"within two tries", []int{2, 4}, true},
		{"within each", []int{1, 4, 8}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, n := time.Now(), 0
				total, known := bootLessMono(func(id uintptr) (time.Duration, bool) {
					for _, stop := range tc.stops {
						if n == stop {
							wait(time.Minute)
						}
					}
					n++
					at := time.Since(begin)
					if id == clockBoottime {
						at += time.Hour
					}
					return at, true
				})
				if known != tc.known || known && total != time.Hour {
					t.Errorf("suspended for %v, known %t", total, known)
				}
			})
		})
	}
	if _, known := bootLessMono(func(uintptr) (time.Duration, bool) { return 0, false }); known {
		t.Error("known without a clock")
	}
}
