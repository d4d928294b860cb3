package scheduler

import "time"

// A check's schedule follows the wall clock, its slots the timeline. The two
// are the same until the clock is set; ahead is by how much the wall clock is
// ahead of the timeline then.

// searches bounds how many windows are looked at for one that holds a slot.
const searches = 64

// open reports whether the check may run at a time of the timeline.
func (e *entry) open(at, ahead int64) bool {
	s := e.check.Schedule
	return s == nil || s.Open(time.Unix(0, at+ahead))
}

// outside reports whether a run that is due may not begin: it waited until its
// window was over, or the clock was set. One that is on time may begin.
func (e *entry) outside(now, ahead int64) bool {
	return !e.open(now, ahead) && (now-e.due > overdue || !e.open(e.due, ahead))
}

// enterWindow moves the entry from a slot outside of its schedule to the first
// one inside. Where none is near, the one that it is left with is found to be
// outside when it comes up, and is no run.
func (e *entry) enterWindow(ahead int64) {
	for range searches {
		if e.open(e.due, ahead) {
			return
		}
		opens := e.check.Schedule.Next(time.Unix(0, e.due+ahead)).UnixNano() - ahead
		e.due = e.slot(opens-1, e.interval)
	}
}

// slots counts those of n slots, the first one given, that are inside of the
// schedule: only they can be missed.
func (e *entry) slots(first, n, ahead int64) int {
	s := e.check.Schedule
	if s == nil {
		return int(n)
	}
	var inside int64
	for i := int64(0); i < n; {
		at := time.Unix(0, first+i*e.interval+ahead)
		open, turn := s.Open(at), time.Time{}
		if open {
			turn = s.End(at)
		} else {
			turn = s.Next(at)
		}
		until := min(i+(int64(turn.Sub(at))+e.interval-1)/e.interval, n)
		if open {
			inside += until - i
		}
		i = until
	}
	return int(inside)
}

// follow takes note of where the wall clock is. When it was set, the slots of
// checks with a schedule are chosen again.
func (l *Loop) follow(ahead, now int64) {
	jump := ahead - l.ahead
	l.ahead = ahead
	if jump < int64(leap) && jump > -int64(leap) {
		return
	}
	for i := range l.due {
		if e := l.due[i].entry; e.check.Schedule != nil {
			e.plan(now, ahead)
			e.reserved = false
			l.due[i].at = e.due
		}
	}
	l.due.order()
}
