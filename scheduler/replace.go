package scheduler

import "github.com/sonde-cli/sonde/check"

// Replace sets the checks, before Run or while it runs. A check whose id was
// there before keeps its count of runs, its slots and what is known of it; its
// run in flight ends as it began. Runs of checks that are gone still give their
// result. Of checks with the same id the last counts. A check that leaves is
// closed.
func (l *Loop) Replace(checks []*check.Check) {
	l.replacing.Lock()
	defer l.replacing.Unlock()
	var left []*check.Check
	defer func() { closeAll(left) }()
	byID, hosts := make(map[string]*entry, len(checks)), make(map[string]*host)
	type change struct {
		entry *entry
		check *check.Check
		host  *host
	}
	changes := make([]change, 0, len(checks))
	for _, c := range checks {
		e := byID[c.ID]
		if e == nil {
			e = l.byID[c.ID]
		}
		if e == nil {
			e = newEntry(c)
		}
		byID[c.ID] = e
		changes = append(changes, change{e, c, l.hostOf(c, hosts)})
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for id, e := range l.byID {
		if e.removed = byID[id] == nil; e.removed {
			left = append(left, e.check)
		}
	}
	kept := l.due[:0]
	for _, item := range l.due {
		if !item.entry.removed {
			kept = append(kept, item)
		}
	}
	clear(l.due[len(kept):])
	l.due = kept
	for _, ch := range changes {
		e := ch.entry
		if e.check != ch.check {
			left = append(left, e.check)
		}
		e.check, e.host = ch.check, ch.host
		if e.interval == 0 {
			e.plan(now)
			l.due = append(l.due, dueItem{e.due, e})
		}
	}
	for i := range l.due {
		if e := l.due[i].entry; e.interval != e.period() {
			e.plan(now)
			e.reserved = false
			l.due[i].at = e.due
		}
	}
	l.due.order()
	l.byID, l.hosts, l.stats.Checks = byID, hosts, len(byID)
	l.nudge()
}

// closeChecks closes all checks, for no run of theirs begins any more.
func (l *Loop) closeChecks() {
	l.replacing.Lock()
	defer l.replacing.Unlock()
	for _, e := range l.byID {
		_ = e.check.Close()
	}
}

// hostOf returns the host of a check, the one known so far where there is one.
func (l *Loop) hostOf(c *check.Check, hosts map[string]*host) *host {
	if c.Host == "" || l.options.Limits.PerHost <= 0 && l.options.Limits.PerHostRate <= 0 {
		return nil
	}
	h := hosts[c.Host]
	if h == nil {
		h = l.hosts[c.Host]
	}
	if h == nil {
		h = new(host)
	}
	hosts[c.Host] = h
	return h
}
