package check

import "slices"

// Footprint is what a run of a probe takes of this machine.
type Footprint struct {
	// Ports is how many local ports a run leaves in TIME_WAIT: one for each TCP
	// connection that the probe closes first (RFC 9293 section 3.6).
	Ports int
	// Kept is how many descriptors stay open between two runs.
	Kept int
	// Probes is how many probes an attempt is made of at most, such as one for
	// each address of a name or each request of a journey; 0 is one.
	Probes int
	// AtOnce is how many of them are under way together at most; 0 is one.
	AtOnce int
}

// Descriptors returns how many descriptors runs of n of the checks need at most
// when each of their probes takes so many.
func Descriptors(checks []*Check, n, perProbe int) int {
	wide := wideFirst(checks)
	sum := max(min(n, len(checks)), 0)
	for i := range min(sum, len(wide)) {
		sum += wide[i] - 1
	}
	return sum * perProbe
}

// Affordable returns how many of the checks may run at once, at least 1, where
// there are so many places for their probes, whichever of the checks these are.
func Affordable(checks []*Check, places int) int {
	runs := 0
	for _, atOnce := range wideFirst(checks) {
		if places < atOnce {
			return max(runs, 1)
		}
		places -= atOnce
		runs++
	}
	return max(runs+places, 1)
}

// wideFirst returns how many probes those checks have under way at once that have
// several, the most first.
func wideFirst(checks []*Check) []int {
	var wide []int
	for _, c := range checks {
		if n := c.Footprint().AtOnce; n > 1 {
			wide = append(wide, n)
		}
	}
	slices.SortFunc(wide, func(a, b int) int { return b - a })
	return wide
}

// Footprinter is implemented by a probe that leaves something behind.
type Footprinter interface{ Footprint() Footprint }

// Footprint returns that of the check's probe; nothing unless it is a
// [Footprinter].
func (c *Check) Footprint() Footprint {
	if f, ok := c.Probe.(Footprinter); ok {
		return f.Footprint()
	}
	return Footprint{}
}
