package scheduler

import (
	"context"
	"sync"
	"time"
)

// How the width grows again after descriptors ran out.
const (
	growEvery = 100 * time.Millisecond // between two steps
	steps     = 64                     // a step is one of so many parts of the width that was asked for
)

// gate bounds what is in flight. Its width shrinks when the machine runs out
// of descriptors and grows again slowly.
type gate struct {
	mu      sync.Mutex
	freed   *sync.Cond
	most    int // the width that was asked for
	width   int
	changed time.Time // when the width last did
	used    int
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
	switch now := time.Now(); {
	case exhausted:
		g.width, g.changed = narrower(g.width, g.used), now
	case g.width < g.most && now.Sub(g.changed) >= growEvery:
		g.width, g.changed = wider(g.width, g.most), now
	}
	g.mu.Unlock()
	g.freed.Broadcast()
}

// narrower returns the width after descriptors ran out: half of what was in use,
// where used are those besides the run that found none.
func narrower(width, used int) int { return max(min(width, used+1)/2, 1) }

// wider returns the width after one more step towards the most.
func wider(width, most int) int { return min(width+max(most/steps, 1), most) }

func (g *gate) wakeAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.freed.Broadcast()
}
