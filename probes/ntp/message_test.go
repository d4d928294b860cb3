package ntp

import (
	"testing"
	"time"
)

// TestEra compares stamps on both sides of 2036, when they begin anew.
func TestEra(t *testing.T) {
	t.Parallel()
	before := time.Date(2036, 2, 7, 6, 28, 10, 0, time.UTC)
	after := before.Add(20*time.Second + 250*time.Millisecond)
	if d := StampOf(after).Since(StampOf(before)); d != after.Sub(before) {
		t.Errorf("%v", d)
	}
	if d := StampOf(before).Since(StampOf(after)); d != before.Sub(after) {
		t.Errorf("%v", d)
	}
	if StampOf(after) > StampOf(before) {
		t.Error("there is no new era between them")
	}
}
