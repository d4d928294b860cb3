package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/expect"
	"github.com/sonde-cli/sonde/internal/testnet"
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

// documentedFiles returns the samples of YAML in the pages, and the one to copy.
// Those of somebody else's files, such as of a CI system, are left out, and of
// what is shown without its head the head is added.
func documentedFiles(t *testing.T) []string {
	t.Helper()
	samples := []string{page(t, "checks.example.yaml")}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, name := range append(pages, "README.md") {
		for _, m := range block.FindAllStringSubmatch(page(t, name), -1) {
			switch text := m[1]; {
			case strings.HasPrefix(text, "version: 1\n"):
				samples = append(samples, text)
			case strings.HasPrefix(text, "checks:\n"):
				samples = append(samples, "version: 1\n"+text)
			case strings.HasPrefix(text, "templates:\n"):
				samples = append(samples, "version: 1\n"+text+"checks: [{name: any, icmp: {host: 192.0.2.1}}]\n")
			case strings.HasPrefix(text, "- "):
				samples = append(samples, "version: 1\nchecks:\n"+text)
			case !slices.Contains([]string{"docs/ci.md", "docs/reports.md", "docs/serve.md", "docs/compare.md"}, name):
				t.Errorf("%s has a sample that is no file of checks:\n%s", name, text)
			}
		}
	}
	return samples
}

// besideSamples makes the files that the samples name, in a folder that becomes
// the current one.
func besideSamples(t *testing.T) {
	t.Helper()
	ca, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.Issue(testnet.CertOptions{CommonName: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for name, text := range map[string][]byte{
		"ca.pem": ca.PEM(), "client.pem": chain, "client.key": key, "order.json": []byte(`{"id":1}`), "headers.txt": []byte("Accept: application/json\n"),
		"corp.key":  []byte("corp.example. IN DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"),
		"README.md": []byte("read me\n"),
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDocumentedFiles loads the samples.
func TestDocumentedFiles(t *testing.T) {
	samples := documentedFiles(t)
	besideSamples(t)
	if len(samples) < 40 {
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

// TestDocumentedTargets makes the checks of each `sonde check` in the pages that
// stands on a line of its own.
func TestDocumentedTargets(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^    sonde check (.+)$`)
	env := func(string) (string, bool) { return "secret of a page", true }
	loader := config.Loader{Kinds: probes.Kinds(), LookupEnv: env}
	targets := 0
	for _, name := range append(pages, "README.md") {
		for _, m := range command.FindAllStringSubmatch(page(t, name), -1) {
			named, o := checkArguments(t, m[1])
			for _, target := range named {
				targets++
				if _, err := loader.Target(target, o); err != nil {
					t.Errorf("%s has %q: %v", name, m[0], err)
				}
			}
		}
	}
	if targets < 20 {
		t.Errorf("the pages have %d targets; are they still found?", targets)
	}
}

// checkArguments takes the arguments of `sonde check` apart as a shell does, as
// far as the pages have them.
func checkArguments(t *testing.T, line string) (targets []string, o config.TargetOptions) {
	t.Helper()
	var words []string
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|([^\s'"]+)`).FindAllStringSubmatch(line, -1) {
		words = append(words, m[1]+m[2]+m[3])
	}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if !strings.HasPrefix(word, "-") {
			targets = append(targets, word)
			continue
		}
		if len(words) == 0 {
			t.Fatalf("%q ends with a flag", line)
		}
		value := words[0]
		words = words[1:]
		switch word {
		case "--expect":
			o.Expect = append(o.Expect, value)
		case "--prefer":
			o.Prefer = append(o.Prefer, value)
		case "--set":
			path, text, _ := strings.Cut(value, "=")
			o.Settings = append(o.Settings, config.Setting{Path: path, Value: text, Flag: word})
		default:
			t.Fatalf("%q has a flag that this test does not know", line)
		}
	}
	return targets, o
}
