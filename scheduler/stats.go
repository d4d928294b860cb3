package scheduler

import (
	"slices"
	"time"
)

// latenessBounds are those of LatenessBounds, which hands out copies.
var latenessBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// LatenessBounds returns the upper bounds of the buckets of Stats.Lateness; the
// last bucket has none.
func LatenessBounds() []time.Duration { return slices.Clone(latenessBounds[:]) }

const latenessBuckets = len(latenessBounds) + 1

// Stats are the engine's own numbers. Counters begin at 0 with the Loop.
type Stats struct {
	Checks   int // resident
	InFlight int
	Suspects int // in flight of checks that were down
	Waiting  int // due, without a place yet
	Width    int // places at the moment; fewer than asked for when descriptors run out

	Started     uint64 // runs
	Missed      uint64 // slots that passed without a run
	Lateness    [latenessBuckets]uint64
	LatenessSum time.Duration // of all started runs, from due to begun

	Stalls     uint64        // times that the process was held up or the machine suspended
	Stalled    time.Duration // how long it was held up in all, while something was in flight
	Suspended  time.Duration // how long the machine was suspended in all
	ClockSteps time.Duration // by which the wall clock was set, sizes added up

	Outbox      int    // results that the sink has not taken yet
	OutboxWaits uint64 // results that had to wait for room in the outbox
	SinkErrors  uint64 // results that the sink refused
}

// late counts a run that began d after it was due.
func (s *Stats) late(d time.Duration) {
	i := 0
	for i < len(latenessBounds) && d > latenessBounds[i] {
		i++
	}
	s.Lateness[i]++
	s.LatenessSum += d
}
