package cmd

import (
	"os"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/probes"
)

// TestDemo runs the real sample against the playground: each verdict occurs,
// and the exit code says that all went as it was meant to.
func TestDemo(t *testing.T) {
	example, err := os.ReadFile("../checks.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess("demo")
	p.Kinds, p.Example = probes.Kinds(), example
	p.demand(t, ExitOK)
	for _, want := range []string{"up", "degraded", "down", "unknown", "flaky"} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("the demo does not show %s", want)
		}
	}
}
