// Package probes holds the kinds, one file each, and the journey that they
// share: resolve, connect, tls. A kind registers itself in init; everything
// else gets the kinds as a value from [Kinds].
package probes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// registry is filled by the init functions of this package's kinds and not
// changed after that.
var registry []check.Kind

// register adds a kind. Called from init only; a kind that is registered twice
// is a defect in the source.
func register(k check.Kind) {
	if slices.ContainsFunc(registry, func(other check.Kind) bool { return other.Name == k.Name }) {
		panic(fmt.Sprintf("kind %q is registered twice", k.Name))
	}
	registry = append(registry, k)
}

// Kinds returns all kinds, sorted by name.
func Kinds() []check.Kind {
	kinds := slices.Clone(registry)
	slices.SortFunc(kinds, func(a, b check.Kind) int { return strings.Compare(a.Name, b.Name) })
	return kinds
}
