package probes

import "net"

// descriptorLimit returns how many descriptors this process may have; Windows sets
// no limit of note.
func descriptorLimit() int { return 1 << 20 }

// stale reports whether an idle connection is known to be unusable. Windows
// has no cheap way to look: the request will tell.
func stale(net.Conn) bool { return false }
