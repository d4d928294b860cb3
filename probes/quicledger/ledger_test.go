package quicledger

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// TestLedger has pieces that come twice, overlap or lie behind a gap.
func TestLedger(t *testing.T) {
	l := New(func() {})
	a := account(l.streams, 0)
	for _, c := range []struct {
		start, end int64
		cost       int
	}{
		{0, 1, pieceCost}, {0, 1, 0}, {5, 5, 0}, {5, 6, pieceCost}, {5, 7, pieceCost}, {10, 10 + largePiece, pieceCost + packetCost},
	} {
		if got := a.add(piece{c.start, c.end}); got != c.cost {
			t.Errorf("[%d,%d) costs %d, want %d", c.start, c.end, got, c.cost)
		}
		l.held += c.cost
	}
	if got := a.readable(); got != 1 {
		t.Errorf("readable to %d", got)
	}
	if _, err := io.ReadAll(l.Reader(0, bytes.NewReader(make([]byte, 7)))); err != nil || l.held != pieceCost+packetCost || l.waiting() {
		t.Errorf("%d bytes are held, waiting %v, %v", l.held, l.waiting(), err)
	}
	l.Forget(0)
	if got := a.add(piece{500, 501}); got != 0 || l.held != 0 {
		t.Errorf("a stream that is forgotten holds %d, a new piece %d", l.held, got)
	}
}

// TestLull has datagrams come while much is held behind a gap.
func TestLull(t *testing.T) {
	t.Parallel()
	l := New(func() {})
	now := time.Now()
	comes := func(after time.Duration) bool {
		now = now.Add(after)
		return !l.Drops(now)
	}
	for range 3 {
		if !comes(0) {
			t.Error("a datagram is lost while little is held")
		}
	}
	l.held = heldReady + 1
	for i, c := range []struct {
		after  time.Duration
		passes bool
	}{
		{0, true}, {0, true}, {0, false}, {Lull - 1, false}, {Lull - 1, false}, {Lull, true}, {0, true}, {1, false}, {Lull, true},
	} {
		if got := comes(c.after); got != c.passes {
			t.Errorf("datagram %d: passes is %v", i, got)
		}
	}
	account(l.streams, 0).add(piece{0, 1})
	if comes(Lull) {
		t.Error("what can be read does not wait for its reader")
	}
}
