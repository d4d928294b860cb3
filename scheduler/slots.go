package scheduler

import (
	"hash/fnv"
	"math/bits"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Period returns the time between two runs of the check in a Loop; unwell tells
// that it is down or degraded.
func Period(c *check.Check, unwell bool) time.Duration {
	switch {
	case unwell && c.IntervalFailing > 0:
		return c.IntervalFailing
	case c.Interval > 0:
		return c.Interval
	default:
		return DefaultInterval
	}
}

// Phase returns when in its period a Loop runs the check with this id: at the
// Unix epoch plus the phase, and every period from then on.
func Phase(id string, period time.Duration) time.Duration {
	return time.Duration(phase(hashOf(id), int64(period)))
}

// Timeout returns the time of one attempt of the check.
func Timeout(c *check.Check) time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return DefaultTimeout
}

// phase is the hash's part of the interval: the same after a restart and on
// every node, and spread evenly over the checks.
func phase(hash uint64, interval int64) int64 {
	hi, _ := bits.Mul64(hash, uint64(interval))
	return int64(hi)
}

func hashOf(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return mix(h.Sum64())
}

// mix spreads a hash over all its bits (the finaliser of MurmurHash3), because
// those of ids that differ in their last letter are close to each other.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
