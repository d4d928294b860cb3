//go:build unix

package cmd

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/scheduler"
)

// TestLoopStaysWithinDescriptors asks for more than any limit allows.
func TestLoopStaysWithinDescriptors(t *testing.T) {
	const many = math.MaxInt32
	for _, tt := range []struct {
		flag  bound
		file  int
		asked string
	}{{0, many, "limits.in_flight of 2147483647 is"}, {many, 5, "--in-flight 2147483647 is"}, {0, 0, ""}, {0, 1, ""}} {
		var warnings []string
		f := loopFlags{inFlight: tt.flag}
		limits := scheduler.Limits{InFlight: tt.file}
		if tt.flag > 0 {
			limits.InFlight = int(tt.flag)
		}
		l := f.loop(limits, 0, nil, func(message, _ string) { warnings = append(warnings, message) })
		if told := slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, tt.asked) }); told != (tt.asked != "") || len(warnings) > 1 {
			t.Errorf("%+v: told %q", tt, warnings)
		}
		if w := l.Stats().Width; w < 1 || w == many {
			t.Errorf("%+v: %d places", tt, w)
		}
	}
}
