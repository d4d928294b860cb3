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
	entries, hosts := make(map[string]*entry, len(checks)), make(map[string]*host)
	changes := make([]change, 0, len(checks))
	for _, c := range checks {
		e := entries[c.ID]
		for _, known := range []map[string]*entry{l.byID, l.leaving} {
			if e == nil {
				e = known[c.ID]
			}
		}
		if e == nil {
			e = newEntry(c)
		}
		entries[c.ID] = e
		changes = append(changes, change{e, c, l.hostOf(c, hosts), mostProbes(c)})
	}

	defer closeAll(l.losers(entries, changes)) // when the lock is free again
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(entries)
	l.apply(changes)
	l.byID, l.hosts, l.stats.Checks = entries, hosts, len(entries)
	l.nudge()
}

// change is what Replace has for one check.
type change struct {
	entry *entry
	check *check.Check
	host  *host
	most  int
}

// losers returns the checks that are gone or have another in their place.
func (l *Loop) losers(entries map[string]*entry, changes []change) []*check.Check {
	var all []*check.Check
	for id, e := range l.byID {
		if entries[id] != e {
			all = append(all, e.check)
		}
	}
	for _, c := range changes {
		if c.entry.check != c.check {
			all = append(all, c.entry.check)
		}
	}
	return all
}

// remove takes out what is not among the wanted entries. What is busy leaves
// when it ends, unless it is wanted again before.
func (l *Loop) remove(wanted map[string]*entry) {
	leaving := make(map[string]*entry)
	for _, known := range []map[string]*entry{l.byID, l.leaving} {
		for id, e := range known {
			if e.removed = wanted[id] != e; e.removed && e.place == busy {
				leaving[id] = e
			}
		}
	}
	l.leaving = leaving
	kept := l.due[:0]
	for _, item := range l.due {
		if item.entry.removed {
			item.entry.place = nowhere
		} else {
			kept = append(kept, item)
		}
	}
	clear(l.due[len(kept):])
	l.due = kept
}

// apply gives the entries their checks and puts in order what is due.
func (l *Loop) apply(changes []change) {
	now := l.now()
	for _, c := range changes {
		e := c.entry
		if !e.check.Schedule.Equal(c.check.Schedule) {
			e.interval = 0 // its slot is chosen again below
		}
		e.set(c.check, c.most)
		e.reserved = e.reserved && e.host == c.host
		e.host, e.kind = c.host, l.kinds[c.check.Kind]
		if e.place == nowhere {
			e.plan(now, l.ahead)
			e.place = queued
			l.due = append(l.due, dueItem{e.due, e})
		}
	}
	for i := range l.due {
		if e := l.due[i].entry; e.interval != e.period() {
			e.plan(now, l.ahead)
			e.reserved = false
			l.due[i].at = e.due
		}
	}
	l.due.order()
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
