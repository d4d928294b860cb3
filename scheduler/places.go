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

// room reports whether a run may begin, of a check that is down or not.
func (k *kind) room(failing bool) bool {
	return k.inFlight < k.limit && (!failing || k.suspects < share(k.limit))
}

func (k *kind) wait(e *entry) {
	if e.failing {
		k.down.push(e)
	} else {
		k.healthy.push(e)
	}
}

// next takes the entry that may begin, or nil; checks that are not down come
// first.
func (k *kind) next() *entry {
	var e *entry
	if k.room(false) {
		e = k.healthy.pop()
	}
	if e == nil && k.room(true) {
		e = k.down.pop()
	}
	return e
}

// enter takes or, with -1, gives back a place.
func (k *kind) enter(by int, suspect bool) {
	k.inFlight += by
	if suspect {
		k.suspects += by
	}
}

// ripe starts a run that is due, or lets it wait: for its host and for its
// kind, where it holds nothing that others could use, and then for a place
// among all.
func (l *Loop) ripe(e *entry, now int64) {
	if e.outside(now, l.ahead) {
		l.pass(e, now)
		return
	}
	e.place = busy
	h, k, limits := e.host, e.kind, &l.options.Limits
	switch {
	case h != nil && limits.PerHost > 0 && h.inFlight >= limits.PerHost:
		l.stats.Waiting++
		h.waiting.push(e)
		return
	case k != nil && !k.room(e.failing):
		l.stats.Waiting++
		k.wait(e)
		return
	case h != nil && limits.PerHostRate > 0 && !e.reserved && l.reserve(h, now) > now:
		e.reserved = true
		l.enqueue(h.next, e)
		return
	}
	l.hold(e)
	if l.stats.InFlight < l.stats.Width && (!e.failing || l.stats.Suspects < share(l.stats.Width)) {
		l.start(e, now)
		return
	}
	l.stats.Waiting++
	if e.failing {
		l.suspects.push(e)
	} else {
		l.healthy.push(e)
	}
}

// hold takes the entry's places at its host and in its kind. They are noted,
// for Replace may give the entry others before it ends.
func (l *Loop) hold(e *entry) {
	e.heldHost, e.heldKind, e.reserved, e.suspect = e.host, e.kind, false, e.failing
	if e.host != nil {
		e.host.inFlight++
	}
	if e.kind != nil {
		e.kind.enter(+1, e.suspect)
	}
}

// release gives the entry's places in its kind and at its host to the next that
// wait there.
func (l *Loop) release(e *entry, now int64) {
	h, k := e.heldHost, e.heldKind
	e.heldHost, e.heldKind = nil, nil
	if k != nil {
		k.enter(-1, e.suspect)
		for !l.stopping && l.admit(k.next(), now) {
		}
	}
	if h != nil {
		h.inFlight--
		for !l.stopping && h.inFlight < l.options.Limits.PerHost && l.admit(h.waiting.pop(), now) {
		}
	}
}

// admit goes on with an entry that waited. It reports whether there was one.
func (l *Loop) admit(e *entry, now int64) bool {
	if e == nil {
		return false
	}
	l.stats.Waiting--
	if e.removed {
		e.place = nowhere
	} else {
		l.ripe(e, now)
	}
	return true
}

// reserve takes the host's next place in its rate and returns its time.
func (l *Loop) reserve(h *host, now int64) int64 {
	h.next = max(h.next+int64(float64(time.Second)/l.options.Limits.PerHostRate), now)
	return h.next
}

// share returns how many of so many places checks that are down may take.
func share(places int) int { return max(places/shares, 1) }
