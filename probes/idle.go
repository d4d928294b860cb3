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
	// mostIdle bounds the connections that are kept by the process.
	mostIdle = 64 << 10
	// idleSpare is how many descriptors they leave to the probes in flight, or
	// half of all when there are fewer than twice as many.
	idleSpare = 5000
)

// idleLinks holds the connections of all checks that are idle now.
var idleLinks = newIdlePool(idleLimit, nil)

// keeper is the place for one check's idle connection. The pool guards it.
type keeper struct {
	link    *link         // nil: none
	element *list.Element // of the pool's list; its value is the keeper
	until   time.Time
	retired bool
}

// idlePool keeps at most one idle connection for each of its keepers. The
// oldest is closed when there are too many, and each when its time is over. One
// timer serves them all.
type idlePool struct {
	limit time.Duration
	most  func() int

	mu    sync.Mutex
	idle  list.List // of *keeper, those that end first in front
	timer *time.Timer
}

// newIdlePool makes a pool; most nil bounds it by the process's descriptors.
func newIdlePool(limit time.Duration, most func() int) *idlePool {
	if most == nil {
		most = sync.OnceValue(func() int {
			limit := descriptorLimit()
			return min(mostIdle, max(limit/2, limit-idleSpare))
		})
	}
	return &idlePool{limit: limit, most: most}
}

// take returns and forgets the keeper's connection; nil when it has none.
func (p *idlePool) take(k *keeper) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remove(k)
}

func (p *idlePool) remove(k *keeper) *link {
	l := k.link
	if l != nil {
		p.idle.Remove(k.element)
		k.link, k.element = nil, nil
	}
	return l
}

// first is the keeper whose connection ends first, nil when there is none.
func (p *idlePool) first() *keeper {
	if p.idle.Len() == 0 {
		return nil
	}
	return p.idle.Front().Value.(*keeper)
}

// put keeps a connection for its check. One that is there already, for two runs
// went on at once, and those for which there is no room are closed.
func (p *idlePool) put(k *keeper, l *link) {
	p.mu.Lock()
	if k.retired || k.link != nil {
		p.mu.Unlock()
		l.close()
		return
	}
	k.link, k.element, k.until = l, p.idle.PushBack(k), time.Now().Add(p.limit)
	var oldest *link
	if p.idle.Len() > p.most() {
		oldest = p.remove(p.first())
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
	for k, now := p.first(), time.Now(); k != nil; k = p.first() {
		if left := k.until.Sub(now); left > 0 {
			p.timer = time.AfterFunc(left, p.expire)
			break
		}
		over = append(over, p.remove(k))
	}
	p.mu.Unlock()
	for _, l := range over {
		l.close()
	}
}

// shed closes all connections, for the process needs their descriptors.
func (p *idlePool) shed() {
	p.mu.Lock()
	var all []*link
	for k := p.first(); k != nil; k = p.first() {
		all = append(all, p.remove(k))
	}
	p.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}

// retire closes the keeper's connection and keeps none from then on.
func (p *idlePool) retire(k *keeper) {
	p.mu.Lock()
	k.retired = true
	l := p.remove(k)
	p.mu.Unlock()
	if l != nil {
		l.close()
	}
}
