package probes

import (
	"container/list"
	"sync"
	"time"
)

// How long and how many connections are kept between runs.
const (
	// idleLimit is longer than servers of note keep a connection (nginx 75 s,
	// Go and Apache less), so that it is the server that decides.
	idleLimit = 2 * time.Minute
	// mostIdle bounds the connections that are kept by the process, together
	// with a share of the descriptors that it may have.
	mostIdle  = 64 << 10
	idleShare = 2
)

// idleLinks holds the connections of all checks that are idle now.
var idleLinks = newIdlePool(idleLimit, nil)

// keeper is the place for one check's idle connection. The pool guards it.
type keeper struct {
	element *list.Element // of the pool's list, with a *idleLink; nil: empty
	retired bool
}

type idleLink struct {
	keeper *keeper
	link   *link
	until  time.Time
}

// idlePool keeps at most one idle connection for each of its keepers. The
// oldest is closed when there are too many, and each when its time is over. One
// timer serves them all.
type idlePool struct {
	limit time.Duration
	most  func() int

	mu    sync.Mutex
	idle  list.List // of *idleLink, those that end first in front
	timer *time.Timer
}

// newIdlePool makes a pool; most nil bounds it by the process's descriptors.
func newIdlePool(limit time.Duration, most func() int) *idlePool {
	if most == nil {
		most = sync.OnceValue(func() int { return min(mostIdle, descriptorLimit()/idleShare) })
	}
	return &idlePool{limit: limit, most: most}
}

// take returns and forgets the keeper's connection; nil when it has none.
func (p *idlePool) take(k *keeper) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.element == nil {
		return nil
	}
	return p.remove(k.element)
}

func (p *idlePool) remove(e *list.Element) *link {
	entry := p.idle.Remove(e).(*idleLink)
	entry.keeper.element = nil
	return entry.link
}

// put keeps a connection for its check. One that is there already, for two runs
// went on at once, and those for which there is no room are closed.
func (p *idlePool) put(k *keeper, l *link) {
	p.mu.Lock()
	if k.retired || k.element != nil {
		p.mu.Unlock()
		l.close()
		return
	}
	k.element = p.idle.PushBack(&idleLink{k, l, time.Now().Add(p.limit)})
	var oldest *link
	if p.idle.Len() > p.most() {
		oldest = p.remove(p.idle.Front())
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(p.limit, p.expire)
	}
	p.mu.Unlock()
	if oldest != nil {
		oldest.close()
	}
}

// expire closes the connections whose time is over.
func (p *idlePool) expire() {
	p.mu.Lock()
	var over []*link
	p.timer = nil
	for e, now := p.idle.Front(), time.Now(); e != nil; e = p.idle.Front() {
		left := e.Value.(*idleLink).until.Sub(now)
		if left > 0 {
			p.timer = time.AfterFunc(left, p.expire)
			break
		}
		over = append(over, p.remove(e))
	}
	p.mu.Unlock()
	for _, l := range over {
		l.close()
	}
}

// retire closes the keeper's connection and keeps none from then on.
func (p *idlePool) retire(k *keeper) {
	p.mu.Lock()
	k.retired = true
	var l *link
	if k.element != nil {
		l = p.remove(k.element)
	}
	p.mu.Unlock()
	if l != nil {
		l.close()
	}
}
