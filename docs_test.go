package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

func TestReasonsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/reports.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range check.Codes() {
		if line := fmt.Sprintf("| `%s` | %s |\n", c.Code, c.Doc); !strings.Contains(string(page), line) {
			t.Errorf("docs/reports.md lacks the line %q", line)
		}
	}
}
