package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/expect"
	"github.com/sonde-cli/sonde/probes"
	"github.com/sonde-cli/sonde/report"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section returns what stands between two lines of a page.
func section(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, begins := strings.Cut(text, from)
	part, _, ends := strings.Cut(rest, to)
	if !begins || !ends {
		t.Fatalf("the page has no part between %q and %q", from, to)
	}
	return part
}

func TestReasonsAreDocumented(t *testing.T) {
	text := page(t, "docs/reports.md")
	for _, c := range check.Codes() {
		if line := fmt.Sprintf("| `%s` | %s |\n", c.Code, c.Doc); !strings.Contains(text, line) {
			t.Errorf("docs/reports.md lacks the line %q", line)
		}
	}
}

// TestFormatsAreDocumented holds the page's list of formats to the source, in
// its order.
func TestFormatsAreDocumented(t *testing.T) {
	var want []string
	for _, f := range report.Formats() {
		want = append(want, fmt.Sprintf("| `%s` | %s |", f.Name, f.Doc))
	}
	table := section(t, page(t, "docs/reports.md"), "|---|---|---|\n", "\n\n")
	rows := strings.Split(table, "\n")
	if len(rows) != len(want) {
		t.Fatalf("docs/reports.md lists %d formats, there are %d", len(rows), len(want))
	}
	for i, row := range rows {
		if !strings.HasPrefix(row, want[i]) {
			t.Errorf("docs/reports.md has the row %q, want %q", row, want[i])
		}
	}
}

// TestExitCodesAreDocumented finds each code of README.md on its page, too.
func TestExitCodesAreDocumented(t *testing.T) {
	rows := regexp.MustCompile(`(?m)^\| (\d+) \|`)
	readme := section(t, page(t, "README.md"), "## Exit codes", "## How it compares")
	got, want := rows.FindAllString(page(t, "docs/exit-codes.md"), -1), rows.FindAllString(readme, -1)
	if len(want) != 7 || strings.Join(got, "") != strings.Join(want, "") {
		t.Errorf("docs/exit-codes.md has the codes %q, README.md %q", got, want)
	}
}

// TestLinks follows the links of the pages to files of this tree.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, name := range append(pages, "README.md") {
		for _, m := range link.FindAllStringSubmatch(page(t, name), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
}

// wrongEverywhere leaves out of a file's errors those that only tell what this
// system lacks. On Linux there are none.
func wrongEverywhere(err error) error {
	var found, rest config.Errors
	if runtime.GOOS == "linux" || !errors.As(err, &found) {
		return err
	}
	for _, p := range found {
		if !strings.Contains(p.Message, "this system ") {
			rest = append(rest, p)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return rest
}

// TestDocumentedFiles loads the samples of YAML in the pages, and the one to
// copy.
func TestDocumentedFiles(t *testing.T) {
	samples := []string{page(t, "checks.example.yaml")}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, name := range []string{"README.md", "docs/file.md", "docs/samples.md", "docs/ci.md", "docs/wait.md", "docs/exec.md", "docs/icmp.md", "docs/tls.md", "docs/connections.md", "docs/udp.md", "docs/ssh.md", "docs/ntp.md", "docs/http.md", "docs/steps.md", "docs/dns.md", "docs/redis.md", "docs/sql.md"} {
		for _, m := range block.FindAllStringSubmatch(page(t, name), -1) {
			text := m[1]
			if name == "docs/ci.md" && !strings.HasPrefix(text, "version: 1\n") {
				continue // a file of somebody else's
			}
			if strings.HasPrefix(text, "checks:\n") {
				text = "version: 1\n" + text
			}
			if strings.HasPrefix(text, "- ") {
				text = "version: 1\nchecks:\n" + text
			}
			if strings.HasPrefix(text, "checks:\n") {
				text = "version: 1\n" + text
			}
			samples = append(samples, text)
		}
	}
	if len(samples) < 3 {
		t.Fatalf("found %d samples", len(samples))
	}
	for _, text := range samples {
		loader := config.Loader{
			Kinds: probes.Kinds(), Stdin: bytes.NewReader([]byte(text)),
			LookupEnv: func(name string) (string, bool) { return "a-token", name == "API_TOKEN" || name == "PROXY_PASSWORD" },
		}
		set, err := loader.Load(t.Context(), "-")
		if err = wrongEverywhere(err); err != nil || set != nil && len(set.Warnings) > 0 {
			t.Errorf("%v, %v in\n%s", err, set, text)
		}
	}
}

// TestDocumentedExpectations compiles the examples of the page, each for the
// kinds that have its facts.
func TestDocumentedExpectations(t *testing.T) {
	examples := section(t, page(t, "docs/expectations.md"), "degraded.\n\n", "\n\n`sonde kinds")
	for text := range strings.Lines(examples) {
		var failures []error
		for _, k := range probes.Kinds() {
			if _, err := expect.Compile(strings.TrimSpace(text), k.AllFacts()); err != nil {
				failures = append(failures, err)
			}
		}
		if len(failures) == len(probes.Kinds()) {
			t.Errorf("%s: %v", strings.TrimSpace(text), failures)
		}
	}
}
