package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/compare"
)

// parsers read a whole document of a format, as strictly as its real readers do,
// and return how many results it tells of; -1 where it tells of some only.
func parsers(t *testing.T) map[string]func(string) (int, error) {
	t.Helper()
	lines := func(text string) (int, error) { return -1, noControls(text) }
	return map[string]func(string) (int, error){
		"table": lines, "quiet": lines, "markdown": lines, "nagios": lines, "prometheus": lines,
		"json":   parseJSON(resultsSchema(t)),
		"ndjson": parseNDJSON(resultsSchema(t)),
		"junit":  parseXML("testcase"),
		"html":   parseXML("details"),
		"tap":    parseTAP,
		"github": parseCommands,
		"gitlab": func(text string) (int, error) {
			var issues []gitlabIssue
			return -1, json.Unmarshal([]byte(text), &issues)
		},
	}
}

// TestEveryDocumentParses puts results of every sort through every format, each
// of which needs its parser.
func TestEveryDocumentParses(t *testing.T) {
	known := parsers(t)
	for name, results := range variety() {
		for _, f := range Formats() {
			parse := known[f.Name]
			if parse == nil {
				t.Fatalf("%s has no parser", f.Name)
			}
			text := write(t, f.New, options(results), results)
			switch n, err := parse(text); {
			case err != nil:
				t.Errorf("%s of %s: %v", f.Name, name, err)
			case n >= 0 && n != len(results):
				t.Errorf("%s of %s: tells of %d results, want %d", f.Name, name, n, len(results))
			}
		}
	}
}

func noControls(text string) error {
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unsafe(r) }); i >= 0 {
		return fmt.Errorf("a control character at %d", i)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		return errors.New("no end of the last line")
	}
	return nil
}

func resultsSchema(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	text, err := Schema(nil)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("results.json", document); err != nil {
		t.Fatal(err)
	}
	return c
}

func parseJSON(c *jsonschema.Compiler) func(string) (int, error) {
	return func(text string) (int, error) {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return 0, err
		}
		schema, err := c.Compile("results.json")
		if err != nil {
			return 0, err
		}
		results := document.(map[string]any)["results"].([]any)
		return len(results), schema.Validate(document)
	}
}

// TestSchemaListsAll holds that the schema lists what samples and comparisons
// add to a document.
func TestSchemaListsAll(t *testing.T) {
	text, err := Schema(nil)
	if err != nil {
		t.Fatal(err)
	}
	closed := strings.ReplaceAll(string(text), `"properties": {`, `"additionalProperties": false, "properties": {`)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(closed))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("results.json", document); err != nil {
		t.Fatal(err)
	}
	results := withSamples()
	results[0].Findings = []check.Finding{{Expect: "latency.p99 < 1s", Note: "p99 is the maximum of 10"}}
	o := options(results)
	o.Comparison = func() *compare.Report {
		r := compared("")
		r.Baseline = &compare.Origin{Host: "runner-7", Version: "1.2.3"}
		return r
	}
	if _, err := parseJSON(c)(write(t, formatOf(t, "json").New, o, results)); err != nil {
		t.Error(err)
	}
}

func parseNDJSON(c *jsonschema.Compiler) func(string) (int, error) {
	return func(text string) (int, error) {
		schema, err := c.Compile("results.json#/$defs/result")
		if err != nil {
			return 0, err
		}
		n := 0
		for line := range strings.Lines(text) {
			document, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
			if err == nil {
				err = schema.Validate(document)
			}
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
}

// parseXML reads all tokens and counts the elements of a name.
func parseXML(name string) func(string) (int, error) {
	return func(text string) (int, error) {
		d := xml.NewDecoder(strings.NewReader(text))
		for n := 0; ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				return n, noControls(text)
			}
			if err != nil {
				return n, err
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == name {
				n++
			}
		}
	}
}

var tapLine = regexp.MustCompile(`^(not )?ok \d+ - `)

// parseTAP reads each diagnostic as the YAML that it is and counts test lines.
// No other line may be there than those of the protocol.
func parseTAP(text string) (int, error) {
	n, block, inBlock := 0, "", false
	for line := range strings.Lines(text) {
		switch {
		case line == "  ---\n":
			block, inBlock = "", true
		case line == "  ...\n":
			inBlock = false
			var v struct {
				Verdict  check.Verdict
				Attempts []struct{ Code, Message string } `yaml:"failed_attempts"`
				Missed   []struct{ Expect, Level, Got, At string }
				Rest     map[string]any `yaml:",inline"`
			}
			if err := yaml.Unmarshal([]byte(block), &v); err != nil {
				return n, fmt.Errorf("%w in %.300q", err, block)
			}
		case inBlock:
			block += line
		case tapLine.MatchString(line):
			n++
		case strings.HasPrefix(line, "TAP version "), strings.HasPrefix(line, "1.."), strings.HasPrefix(line, "# "):
		default:
			return n, fmt.Errorf("a line that is not TAP: %.100q", line)
		}
	}
	return n, noControls(text)
}

var command = regexp.MustCompile(`^::(error|warning|notice) ((file|line|title)=[^,:]*,?)+::[^\r\n]*\n$`)

// parseCommands holds that each line is one workflow command or, the last, no
// command at all.
func parseCommands(text string) (int, error) {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range lines[:len(lines)-1] {
		if !command.MatchString(line) {
			return -1, fmt.Errorf("no workflow command: %.200q", line)
		}
	}
	if last := lines[len(lines)-1]; strings.Contains(last, "::") {
		return -1, fmt.Errorf("a command at the end: %.100q", last)
	}
	return -1, noControls(text)
}

// TestMarkdownLimit cuts at a row and says how many are left out, in whatever
// room there is.
func TestMarkdownLimit(t *testing.T) {
	results := many(1_000)
	for _, limit := range []int{4 << 10, 20_000, 100_000, SummaryLimit} {
		o := options(results)
		o.Limit = limit
		text := write(t, formatOf(t, "markdown").New, o, results)
		if len(text) > limit {
			t.Errorf("%d bytes, want at most %d", len(text), limit)
		}
		if strings.Count(text, "<details>") != strings.Count(text, "</details>") {
			t.Errorf("limit %d: details are not closed", limit)
		}
		if cut := strings.Contains(text, " more\n"); cut != (limit < SummaryLimit) {
			t.Errorf("limit %d: says that there is more: %t", limit, cut)
		}
	}
}

// TestRepository names files as they are called in the repository.
func TestRepository(t *testing.T) {
	o := options(nil)
	o.Repository = func(file string) string { return "sub/" + file }
	got := map[string]bool{}
	for _, f := range Formats() {
		text := write(t, f.New, o, sample())
		got[f.Name] = strings.Contains(text, "sub/checks.yaml")
	}
	for _, f := range Formats() {
		want := f.Name == "github" || f.Name == "gitlab" || f.Name == "junit"
		if diff := cmp.Diff(want, got[f.Name]); diff != "" {
			t.Errorf("%s names files in the repository (-want +got):\n%s", f.Name, diff)
		}
	}
}
