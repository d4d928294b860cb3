package cmd

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/probes"
)

var update = flag.Bool("update", false, "write docs/kinds.md and golden files instead of comparing them")

// TestKindsDoc holds the page to the source: go test ./cmd -run KindsDoc -update
func TestKindsDoc(t *testing.T) {
	const page = "../docs/kinds.md"
	want := kindsMarkdown(probes.Kinds())
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, strings.ReplaceAll(string(got), "\r\n", "\n")); diff != "" {
		t.Errorf("docs/kinds.md is not what `sonde kinds --format markdown` prints (-want +got):\n%s", diff)
	}
}

func TestOptionsOf(t *testing.T) {
	want := []option{
		{Path: "does", Type: "string", Values: "up, down, unknown, flaky, hang, panic", Doc: "how it ends; hang waits to be stopped"},
		{Path: "value", Type: "int", Default: "1", Doc: "the fact value"},
		{Path: "note", Type: "string", Doc: "the fact note"},
		{Path: "knock", Type: "string", Doc: "host:port to connect to when it begins"},
		{Path: "deep.secret", Type: "string", Doc: "never shown"},
		{Path: "deep.words", Type: "list of string", Doc: "some words"},
	}
	if diff := cmp.Diff(want, optionsOf(toyKind())); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

// TestEveryOptionIsDocumented holds for all kinds.
func TestEveryOptionIsDocumented(t *testing.T) {
	for _, k := range probes.Kinds() {
		for _, o := range optionsOf(k) {
			if o.Doc == "" {
				t.Errorf("%s: option %s has no documentation", k.Name, o.Path)
			}
		}
	}
}

// TestFlagsReachOptions: each flag of check sets an option of some kind.
func TestFlagsReachOptions(t *testing.T) {
	known := make(map[string]bool)
	for _, k := range probes.Kinds() {
		for _, o := range optionsOf(k) {
			known[o.Path] = true
		}
	}
	paths := []string{"auth.username", "auth.password", "body", "body_file", "headers_file"}
	for _, f := range optionFlagList() {
		paths = append(paths, f.path)
	}
	for _, path := range paths {
		path, _, isHeader := strings.Cut(path, "headers.")
		if path != "" && !isHeader && !known[path] {
			t.Errorf("no kind has the option %s", path)
		}
	}
}
