package check

// Footprint is what a probe takes of this machine beyond the time of a run.
type Footprint struct {
	// Ports is how many local ports a run leaves in TIME_WAIT: one for each TCP
	// connection that the probe closes first (RFC 9293 section 3.6).
	Ports int
	// Kept is how many descriptors stay open between two runs.
	Kept int
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
