package scheduler

import (
	"context"
	"sync"
)

// gate bounds what is in flight. Its width shrinks when the machine runs out
// of descriptors and grows again slowly.
type gate struct {
	mu    sync.Mutex
	freed *sync.Cond
	most  int // the width that was asked for
	width int
	used  int
}

func newGate(width int) *gate {
	g := &gate{most: width, width: width}
	g.freed = sync.NewCond(&g.mu)
	return g
}

// enter waits for a place and reports whether it got one before ctx ended. The
// caller sees to it that wakeAll is called at that end.
func (g *gate) enter(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.used >= g.width && ctx.Err() == nil {
		g.freed.Wait()
	}
	if ctx.Err() != nil {
		return false
	}
	g.used++
	return true
}

// leave gives a place back. exhausted tells that the run failed for want of
// descriptors.
func (g *gate) leave(exhausted bool) {
	g.mu.Lock()
	g.used--
	g.width = adapt(g.width, g.most, g.used, exhausted)
	g.mu.Unlock()
	g.freed.Broadcast()
}

// adapt returns the next width: half of what was in use when descriptors ran
// out, else one more than before, up to the most.
func adapt(width, most, used int, exhausted bool) int {
	if exhausted {
		return max(min(width, used+1)/2, 1)
	}
	return min(width+1, most)
}

func (g *gate) wakeAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.freed.Broadcast()
}
