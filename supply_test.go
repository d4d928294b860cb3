package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestActionsArePinned takes other people's actions by their hash: a tag can be
// moved to other code.
func TestActionsArePinned(t *testing.T) {
	text, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	pinned := regexp.MustCompile(`^uses: [a-z-]+/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	found := 0
	for line := range strings.Lines(string(text)) {
		use := strings.TrimPrefix(strings.TrimSpace(line), "- ")
		if !strings.HasPrefix(use, "uses:") {
			continue
		}
		if found++; !pinned.MatchString(use) {
			t.Errorf("%s is not pinned by a hash, with its version behind it", use)
		}
	}
	if found == 0 {
		t.Error("no action is used: this test looks at nothing")
	}
}

// TestReleasesAreTraceable has a release say of what it is made, and the same
// commit make the same files.
func TestReleasesAreTraceable(t *testing.T) {
	text, err := os.ReadFile(".goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"flags: [-trimpath]", "mod_timestamp: \"{{ .CommitTimestamp }}\"", "-X main.date={{ .CommitDate }}", "\nsboms:\n", "\nchecksum:\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf(".goreleaser.yaml lacks %q", want)
		}
	}
}
