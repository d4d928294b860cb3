package check

import (
	"math"
	"time"
)

// Check is one thing to measure: a probe, how to judge it and how often to try.
type Check struct {
	ID     string // unique in a run: the name, with [values] when it came from `each`
	Name   string
	Kind   string
	Target string // as people read it, already masked
	Tags   []string
	Labels map[string]string

	Interval time.Duration // between two runs in a loop
	// IntervalFailing replaces Interval while the check is down or degraded; 0
	// keeps it.
	IntervalFailing time.Duration
	// Schedule tells when it may run in a loop; nil means always.
	Schedule *Schedule
	// Host is the destination for limits per host; empty means that none
	// apply. Checks with the same Host share its limits.
	Host     string
	Timeout  time.Duration // of one attempt
	Retry    Retry
	Samples  Samples
	Optional bool // its verdict never fails the run

	File string // where it is defined; empty on the command line
	Line int

	Probe        Probe
	Expectations []Expectation // the kind's defaults first, then the user's
	FactList     []Fact        // the kind's declarations and the common ones
	Mask         *Mask         // hides the check's secrets; nil hides nothing
}

// Close frees what the check's probe keeps between runs, if it is a [Closer].
func (c *Check) Close() error {
	if closer, ok := c.Probe.(Closer); ok {
		return closer.Close()
	}
	return nil
}

// Retry tells how often a failed attempt is tried again. A result that needed
// more than one attempt is flaky and says so.
type Retry struct {
	Attempts int           // all together; 1 means no retry
	Wait     time.Duration // before the second attempt
	Factor   float64       // by which the wait grows; 1 keeps it
	MaxWait  time.Duration // where the growth ends
}

// Delay returns the wait before attempt n+1, where n counts the attempts made.
func (r Retry) Delay(n int) time.Duration {
	longest := float64(math.MaxInt64 / 2)
	if r.MaxWait > 0 {
		longest = float64(r.MaxWait)
	}
	wait := float64(r.Wait)
	for range n - 1 {
		if wait *= max(r.Factor, 1); wait >= longest {
			return time.Duration(longest)
		}
	}
	return time.Duration(wait)
}

// fact returns the declaration of the named fact.
func (c *Check) fact(name string) Fact {
	for _, f := range c.FactList {
		if f.Name == name {
			return f
		}
	}
	return Fact{Name: name}
}
