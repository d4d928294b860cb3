//go:build !unix

package cmd

// descriptorLimit returns false: Windows has no such limit on handles.
func descriptorLimit() (uint64, bool) { return 0, false }
