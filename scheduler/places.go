package scheduler

import "time"

// host is the destination of checks, for the limits per host.
type host struct {
	inFlight int
	next     int64 // when the rate lets the next run begin
	waiting  fifo
}

// kind is a kind of checks that has a limit of its own.
type kind struct {
	limit    int
	inFlight int
	suspects int  // in flight of checks that were down
	healthy  fifo // waiting for a place of the kind
	down     fifo // the same, of checks that are down
}

func newKinds(limits map[string]int) map[string]*kind {
	kinds := make(map[string]*kind, len(limits))
	for name, limit := range limits {
		if limit > 0 {
			kinds[name] = &kind{limit: limit}
		}
	}
	return kinds
}

// fits reports whether n more have room beside those that are there. More than
// there may be have it when nothing else is there.
func fits(there, n, most int) bool { return there+n <= most || there == 0 }

// room reports whether a run of the entry may begin, as that of a check that is
// down or not.
func (k *kind) room(e *entry) bool {
	return fits(k.inFlight, e.width, k.limit) && (!e.failing || fits(k.suspects, e.width, share(k.limit)))
}

// queue is where the entry waits for the kind.
func (k *kind) queue(e *entry) *fifo {
	if e.failing {
		return &k.down
	}
	return &k.healthy
}

// ready returns the queue of which the first entry may begin, or nil; checks that
// are not down come first.
func (k *kind) ready() *fifo {
	for _, q := range []*fifo{&k.healthy, &k.down} {
		if e := q.first(); e != nil && (e.removed || k.room(e)) {
			return q
		}
	}
	return nil
}

// enter takes places or, with fewer than 0, gives them back.
func (k *kind) enter(n int, suspect bool) {
	k.inFlight += n
	if suspect {
		k.suspects += n
	}
}

// ready returns the queue of the host if its first entry may begin, else nil.
func (h *host) ready(most int) *fifo {
	if e := h.waiting.first(); e != nil && (e.removed || fits(h.inFlight, e.width, most)) {
		return &h.waiting
	}
	return nil
}

// ripe starts a run that is due, or lets it wait: for its host and for its
// kind, where it holds nothing that others could use, and then for a place
// among all. It waits behind those that wait already, so that a run of many
// probes is not passed by without end; from is the queue of which it was the first.
func (l *Loop) ripe(e *entry, now int64, from *fifo) {
	if e.outside(now, l.ahead) {
		l.pass(e, now)
		return
	}
	e.place = busy
	h, k, limits := e.host, e.kind, &l.options.Limits
	behind := func(q *fifo) bool { return q != from && q.len() > 0 }
	switch {
	case h != nil && limits.PerHost > 0 && (behind(&h.waiting) || !fits(h.inFlight, e.width, limits.PerHost)):
		l.wait(e, &h.waiting)
		return
	case k != nil && (behind(k.queue(e)) || !k.room(e)):
		l.wait(e, k.queue(e))
		return
	case h != nil && limits.PerHostRate > 0 && !e.reserved:
		if at := l.reserve(h, e.width, now); at > now {
			e.reserved = true
			l.enqueue(at, e)
			return
		}
	}
	l.hold(e)
	if e.failing {
		l.wait(e, &l.suspects)
	} else {
		l.wait(e, &l.healthy)
	}
	l.fill(now)
}

func (l *Loop) wait(e *entry, q *fifo) {
	l.stats.Waiting++
	q.push(e)
}

// hold takes the entry's places at its host and in its kind. They are noted,
// for Replace may give the entry others before it ends.
func (l *Loop) hold(e *entry) {
	e.heldHost, e.heldKind, e.reserved, e.suspect, e.held = e.host, e.kind, false, e.failing, e.width
	if e.host != nil {
		e.host.inFlight += e.held
	}
	if e.kind != nil {
		e.kind.enter(e.held, e.suspect)
	}
}

// release gives the entry's places in its kind and at its host to the next that
// wait there.
func (l *Loop) release(e *entry, now int64) {
	h, k, n := e.heldHost, e.heldKind, e.held
	e.heldHost, e.heldKind, e.held = nil, nil, 0
	l.leave(h, k, n, e.suspect, now)
}

func (l *Loop) leave(h *host, k *kind, n int, suspect bool, now int64) {
	if k != nil {
		k.enter(-n, suspect)
		for !l.stopping && l.admit(k.ready(), now) {
		}
	}
	if h != nil {
		h.inFlight -= n
		for !l.stopping && l.admit(h.ready(l.options.Limits.PerHost), now) {
		}
	}
}

// admit goes on with the first entry of a queue. It reports whether there was one.
func (l *Loop) admit(q *fifo, now int64) bool {
	if q == nil {
		return false
	}
	e := q.pop()
	l.stats.Waiting--
	if e.removed {
		e.place = nowhere
	} else {
		l.ripe(e, now, q)
	}
	return true
}

// enter takes places among all or, with fewer than 0, gives them back.
func (l *Loop) enter(e *entry, n int) {
	l.stats.InFlight += n
	if e.suspect {
		l.stats.Suspects += n
	}
}

// ready returns the queue of which the first entry may start, or nil. Checks that
// are not down come first; before them, one that is down and has waited for a
// whole interval.
func (l *Loop) ready(now int64) *fifo {
	s, down := &l.stats, l.suspects.first()
	if down != nil && !fits(s.Suspects, down.held, share(s.Width)) {
		down = nil
	}
	q, e := &l.healthy, l.healthy.first()
	if e == nil || down != nil && now-down.due > down.interval {
		q, e = &l.suspects, down
	}
	if e == nil || !e.removed && !fits(s.InFlight, e.held, s.Width) {
		return nil
	}
	return q
}

// fill starts what waits for a place, checks that are not down first.
func (l *Loop) fill(now int64) {
	for !l.stopping && l.ctx.Err() == nil {
		q := l.ready(now)
		if q == nil {
			return
		}
		e := q.pop()
		l.stats.Waiting--
		switch {
		case e.removed:
			e.place = nowhere
			l.release(e, now)
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

// share returns how many of so many places checks that are down may take.
func share(places int) int { return max(places/shares, 1) }
