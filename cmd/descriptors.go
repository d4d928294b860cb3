package cmd

import (
	"fmt"
	"os"

	"github.com/sonde-cli/sonde/check"
)

// What the bound on probes in flight leaves for.
const (
	perProbe     = 2  // descriptors: two connections race, or one waits for a name
	spare        = 8  // files that are read by the way: hosts, resolv.conf, certificates, checks
	spareServing = 64 // and clients of a daemon's pages
)

// affordable returns how many probes may be in flight at once with so many
// descriptors, of which some are open; at least 1. Half of those that are free
// at the start are the probes' in any case.
func affordable(limit, open uint64, spare uint64) int {
	free := limit - min(open, limit)
	free -= min(spare, free/2)
	return int(max(min(free/perProbe, 1<<30), 1))
}

// places returns how many of the wanted runs of checks may be in flight at once
// for the process's limit of descriptors, and that limit when it is what counts,
// else 0.
func places(checks []*check.Check, wanted int, spare uint64) (int, uint64) {
	limit, ok := descriptorLimit()
	if !ok {
		return wanted, 0
	}
	if most := check.Affordable(checks, affordable(limit, openDescriptors(), spare)); most < wanted {
		return most, limit
	}
	return wanted, 0
}

// openDescriptors counts those that are open, inherited ones too.
func openDescriptors() uint64 {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil { // no such folder: the usual three and those of the runtime
		return 8
	}
	return uint64(len(entries))
}

// fewer words that what the user asked for is more than descriptors allow.
func fewer(asked string, places int, limit uint64) (message, hint string) {
	return fmt.Sprintf("%s is more than a limit of %d open files allows, so %d at once it is", asked, limit, places),
		"raise the limit (ulimit -Hn; LimitNOFILE= of a systemd unit), or ask for less"
}
