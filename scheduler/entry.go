package scheduler

import (
	"time"

	"github.com/sonde-cli/sonde/check"
)

// DefaultInterval is that of a check that has none.
const DefaultInterval = 30 * time.Second

// entry is the state of one resident check. An entry is in one place at a time.
type entry struct {
	check *check.Check
	host  *host // nil when no limits per host apply
	kind  *pool // nil when the kind has no limit
	hash  uint64

	due      int64 // slot of the next or running run, on the loop's timeline
	interval int64 // with which due was computed
	seq      uint64
	missed   int // slots passed over since the last result

	width    int // probes of its next run that are under way together, as far as is known
	most     int // by which the width was first estimated
	held     int // places that its run has taken somewhere, as many as it has probes
	place    place
	failing  bool  // the last verdict was down
	unwell   bool  // the last verdict was down or degraded
	suspect  bool  // the running run takes a place of the suspects
	reserved bool  // the host's rate has a place for it
	removed  bool  // by Replace
	heldHost *host // where the run has a place
	heldKind *pool
	returned bool // from the kind to wait for the host once more
}

// place is where an entry is.
type place uint8

const (
	nowhere place = iota // new, or dropped after its removal
	queued               // in the due heap
	busy                 // running, or waiting to
)

func newEntry(c *check.Check) *entry {
	return &entry{check: c, hash: hashOf(c.ID), width: 1}
}

// set gives the entry its check. As long as that makes as many probes at most as
// the one before, what was seen of their number still holds.
func (e *entry) set(c *check.Check, most int) {
	if e.check = c; e.most != most {
		e.most, e.width = most, most
	}
}

// mostProbes returns how many probes of a run of the check are under way together
// at most.
func mostProbes(c *check.Check) int { return max(c.Footprint().AtOnce, 1) }

// needs returns how many places its run has taken or will take.
func (e *entry) needs() int {
	if e.held > 0 {
		return e.held
	}
	return e.width
}

// period returns the interval that applies now, in nanoseconds.
func (e *entry) period() int64 { return int64(Period(e.check, e.unwell)) }

// slot returns the first slot after a time: anchor + n*interval, where the
// anchor is the Unix epoch plus the phase.
func (e *entry) slot(after, interval int64) int64 {
	first := phase(e.hash, interval)
	n := (after - first) / interval
	if after < first {
		n = -1
	}
	return first + (n+1)*interval
}

// behind returns how many slots passed since the entry's own.
func (e *entry) behind(now int64) int64 {
	if e.interval <= 0 {
		return 0
	}
	return max((now-e.due)/e.interval, 0)
}

// catchUp moves to the last slot that passed and counts those before it, so
// that a run is never late by an interval or more.
func (e *entry) catchUp(now, ahead int64) {
	k := e.behind(now)
	e.missed += e.slots(e.due, k, ahead)
	e.due += k * e.interval
}

// reschedule moves the entry, whose slot is over, to its next one and counts
// those in between as missed. A change to a shorter interval keeps half of it
// as distance.
func (e *entry) reschedule(now, ahead int64) {
	k := e.behind(now)
	e.missed += e.slots(e.due+e.interval, k, ahead)
	e.due += k * e.interval
	e.interval = e.period()
	e.due = e.slot(max(now, e.due+e.interval/2), e.interval)
	e.enterWindow(ahead)
}

// plan gives the entry its first slot, or one for a changed interval.
func (e *entry) plan(now, ahead int64) {
	e.interval = e.period()
	e.due = e.slot(now, e.interval)
	e.enterWindow(ahead)
}
