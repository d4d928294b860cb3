package scheduler

import "time"

// pool is a number of places for probes: of all, or of a kind that has a limit of
// its own. Checks that are down get a share of it at most.
type pool struct {
	limit    int
	inFlight int
	suspects int  // in flight of checks that were down
	healthy  fifo // waiting for a place
	down     fifo // the same, of checks that are down
}

// host is the destination of checks, for the limits per host.
type host struct {
	inFlight int
	next     int64 // when the rate lets the next run begin
	waiting  fifo
}

func newKinds(limits map[string]int) map[string]*pool {
	kinds := make(map[string]*pool, len(limits))
	for name, limit := range limits {
		if limit > 0 {
			kinds[name] = &pool{limit: limit}
		}
	}
	return kinds
}

// fits reports whether n more have room beside those that are there. More than
// there may be have it when nothing else is there.
func fits(there, n, most int) bool { return there+n <= most || there == 0 }

// share returns how many of so many places checks that are down may take.
func share(places int) int { return max(places/shares, 1) }

// queue is where the entry waits for the pool.
func (p *pool) queue(e *entry) *fifo {
	if e.failing {
		return &p.down
	}
	return &p.healthy
}

// ready returns the queue of which the first entry may go on, or nil. Checks that
// are not down come first; before them, one that is down, has waited for a whole
// interval and for longer than they have. Nothing passes the one whose turn it is,
// so that a run of many probes comes to its places.
func (p *pool) ready(now int64) *fifo {
	q, e, down := &p.healthy, p.healthy.first(), p.down.first()
	if down != nil && !down.removed && !fits(p.suspects, down.needs(), share(p.limit)) {
		down = nil
	}
	if e == nil || down != nil && now-down.due > down.interval && down.due < e.due {
		q, e = &p.down, down
	}
	if e == nil || !e.removed && !fits(p.inFlight, e.needs(), p.limit) {
		return nil
	}
	return q
}

// enter takes places or, with fewer than 0, gives them back.
func (p *pool) enter(n int, suspect bool) {
	p.inFlight += n
	if suspect {
		p.suspects += n
	}
}

// admits reports whether the entry may go on from the host's places: where nobody
// waits who was due before it, and it has room.
func (l *Loop) admits(h *host, e *entry) bool {
	most := l.options.Limits.PerHost
	if h == nil || most <= 0 || e.heldHost != nil {
		return true
	}
	first := h.waiting.first()
	return (first == nil || first.due >= e.due) && fits(h.inFlight, e.needs(), most)
}

// ripe takes a run that is due to where it must wait first: for its host, then for
// its kind, where it holds nothing that others could use, and then for a place
// among all, which fill gives.
func (l *Loop) ripe(e *entry, now int64) {
	if e.outside(now, l.ahead) {
		l.pass(e, now)
		return
	}
	e.place = busy
	if !l.admits(e.host, e) {
		l.wait(e, &e.host.waiting)
		return
	}
	k := e.kind
	if k == nil {
		l.reach(e, now)
		return
	}
	if e.returned && e.heldHost == nil {
		l.holdHost(e)
	}
	l.wait(e, k.queue(e))
	l.fillKind(k, now)
}

// reach lets the entry, for which its host and its kind have room, wait for the
// host's rate or, holding its places there, for one among all.
func (l *Loop) reach(e *entry, now int64) {
	if h := e.host; h != nil && l.options.Limits.PerHostRate > 0 && !e.reserved {
		if at := l.reserve(h, e.width, now); at > now {
			e.reserved = true
			l.enqueue(at, e)
			l.release(e, now)
			return
		}
	}
	if e.heldHost == nil {
		l.holdHost(e)
	}
	// They are noted, for Replace may give the entry others before it ends.
	e.heldKind, e.reserved, e.returned, e.suspect = e.kind, false, false, e.failing
	if e.kind != nil {
		e.kind.enter(e.held, e.suspect)
	}
	l.wait(e, l.all.queue(e))
}

func (l *Loop) holdHost(e *entry) {
	e.heldHost, e.held = e.host, e.width
	if e.host != nil {
		e.host.inFlight += e.held
	}
}

func (l *Loop) wait(e *entry, q *fifo) {
	l.stats.Waiting++
	q.push(e)
}

// pop takes the first entry of a queue. It is nil where that has been removed,
// which gives back what it held.
func (l *Loop) pop(q *fifo, now int64) *entry {
	e := q.pop()
	l.stats.Waiting--
	if e.removed {
		e.place = nowhere
		l.release(e, now)
		return nil
	}
	return e
}

// release gives the entry's places in its kind and at its host to the next that
// wait there.
func (l *Loop) release(e *entry, now int64) {
	h, k, n := e.heldHost, e.heldKind, e.held
	e.heldHost, e.heldKind, e.held, e.returned = nil, nil, 0, false
	l.leave(h, k, n, e.suspect, now)
}

// leave gives back n places. All are free before the first is given away, so that
// who needs both has them.
func (l *Loop) leave(h *host, k *pool, n int, suspect bool, now int64) {
	if k != nil {
		k.enter(-n, suspect)
	}
	if h != nil {
		h.inFlight -= n
	}
	l.fillKind(k, now)
	l.fillHost(h, now)
}

// fillKind goes on with what waits for places of a kind. Who finds none at its host
// then goes back to wait there, with its rank by age, and the next time holds the
// host's place while it waits here: else, where both have others all the time, it
// would never come to both.
func (l *Loop) fillKind(k *pool, now int64) {
	for k != nil && !l.stopping {
		q := k.ready(now)
		if q == nil {
			return
		}
		switch e := l.pop(q, now); {
		case e == nil:
		case e.outside(now, l.ahead):
			l.release(e, now)
			l.pass(e, now)
		case e.kind != k: // it was replaced
			l.ripe(e, now)
		case !l.admits(e.host, e):
			e.returned = true
			l.wait(e, &e.host.waiting)
		default:
			l.reach(e, now)
		}
	}
}

// fillHost goes on with what waits for places of a host.
func (l *Loop) fillHost(h *host, now int64) {
	for h != nil && !l.stopping {
		first := h.waiting.first()
		if first == nil || !first.removed && !fits(h.inFlight, first.needs(), l.options.Limits.PerHost) {
			return
		}
		if e := l.pop(&h.waiting, now); e != nil {
			l.ripe(e, now)
		}
	}
}

// fill starts what has a place among all.
func (l *Loop) fill(now int64) {
	for !l.stopping && l.ctx.Err() == nil {
		q := l.all.ready(now)
		if q == nil {
			return
		}
		switch e := l.pop(q, now); {
		case e == nil:
		case e.outside(now, l.ahead):
			l.release(e, now)
			l.pass(e, now)
		default:
			l.start(e, now)
		}
	}
}

// reserve takes the host's next n places in its rate and returns their time.
func (l *Loop) reserve(h *host, n int, now int64) int64 {
	at := max(h.next, now)
	h.next = at + int64(float64(n)*float64(time.Second)/l.options.Limits.PerHostRate)
	return at
}
