package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/cmd"
	"github.com/sonde-cli/sonde/probes"
	"github.com/sonde-cli/sonde/report"
)

// sonde runs a command and returns its standard output.
func sonde(t *testing.T, code int, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	app := cmd.App{
		Args: args, Kinds: probes.Kinds(), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, LookupEnv: os.LookupEnv,
		Now: time.Now, Example: example,
	}
	if got := cmd.Main(app); got != code {
		t.Fatalf("sonde %v: exit code %d, %s", args, got, &errs)
	}
	return out.Bytes()
}

func parse(t *testing.T, text []byte) any {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func compile(t *testing.T, document any) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// schema is what `sonde schema` prints, compiled.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	return compile(t, parse(t, sonde(t, 0, "schema")))
}

// TestResultsFitSchema holds that what a run of every kind reports is valid by
// the schema of results, and that the schema lists all of it.
func TestResultsFitSchema(t *testing.T) {
	document := parse(t, sonde(t, 0, "schema", "--results"))
	forbidOthers(document)
	if err := compile(t, document).Validate(parse(t, sonde(t, 0, "demo", "--report", "json"))); err != nil {
		t.Error(err)
	}
}

// TestEveryFactFitsSchema holds the schema of results to all that every kind can
// report, with the facts of its parts, too.
func TestEveryFactFitsSchema(t *testing.T) {
	document := parse(t, sonde(t, 0, "schema", "--results"))
	forbidOthers(document)
	compiled := compile(t, document)
	for _, k := range probes.Kinds() {
		r := check.Result{ID: "a", Name: "a", Kind: k.Name, Target: "t", Verdict: check.Down, Attempts: 1, Started: time.Unix(1, 0)}
		r.Reason = check.Reason{Code: check.ConnectRefused, Message: "refused"}
		for _, f := range k.Facts {
			if !f.Hidden {
				r.Facts.Set(f.Name, anyValue(f.Type))
			}
		}
		for _, name := range check.PhaseNames() {
			r.Phases.Add(name, time.Millisecond)
		}
		r.Findings = []check.Finding{{Expect: "error == ''", Got: map[string]any{"error": "connect.refused"}}}
		r.Parts = []check.Part{{Name: "192.0.2.1", Verdict: check.Down, Reason: r.Reason, Latency: time.Second, Phases: r.Phases, Facts: r.Facts, Findings: r.Findings}}
		line, err := report.Line(r)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf(`{"schema":1,"started":"2026-01-02T03:04:05Z","duration_seconds":1,"exit_code":1,
			"summary":{"total":1,"up":0,"degraded":0,"down":1,"unknown":0,"flaky":0},"results":[%s]}`, line)
		if err := compiled.Validate(parse(t, []byte(text))); err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
		wrong := strings.Replace(text, `"parts":[{"name":"192.0.2.1","verdict":"down"`, `"parts":[{"name":"192.0.2.1","verdict":"bad"`, 1)
		if err := compiled.Validate(parse(t, []byte(wrong))); err == nil {
			t.Errorf("%s: a part may have any verdict", k.Name)
		}
	}
}

// anyValue returns a value of the type.
func anyValue(typ check.Type) any {
	return map[check.Type]any{
		check.Bool: true, check.Int: 1, check.Float: 0.5, check.String: "text", check.Duration: time.Second, check.Time: time.Unix(1, 0),
		check.Strings: []string{"a"}, check.Map: map[string]string{"a": "b"}, check.Any: map[string]any{"a": []any{1.0}},
	}[typ]
}

// forbidOthers makes a schema refuse properties that it does not list.
func forbidOthers(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		if s["type"] == "object" && s["properties"] != nil {
			s["additionalProperties"] = false
		}
		for _, inner := range s {
			forbidOthers(inner)
		}
	case []any:
		for _, inner := range s {
			forbidOthers(inner)
		}
	}
}

// asJSON turns YAML into what a validator takes.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, data)
}

// TestExampleFitsSchema validates the sample that users copy with a library
// that is not ours.
func TestExampleFitsSchema(t *testing.T) {
	if err := schema(t).Validate(asJSON(t, string(example))); err != nil {
		t.Error(err)
	}
}

// TestDocumentedFilesFitSchema validates the samples of the pages.
func TestDocumentedFilesFitSchema(t *testing.T) {
	compiled := schema(t)
	for _, text := range documentedFiles(t) {
		if err := compiled.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
}

func TestSchemaTakesShares(t *testing.T) {
	compiled := schema(t)
	for _, share := range []string{"95%", "99.5%", "0.95", "1", "${SHARE}"} {
		text := "version: 1\nchecks:\n  - {name: a, icmp: {host: h}, samples: {count: 30, spacing: 50ms, pass: \"" + share + "\"}}"
		if err := compiled.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%s: %v", share, err)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	compiled := schema(t)
	const head = "version: 1\nchecks:\n  - "
	for name, text := range map[string]string{
		"no version":     "checks: [{name: a, icmp: {host: h}}]",
		"unknown key":    head + "{name: a, icmp: {host: h}, tiemout: 5s}",
		"unknown option": head + "{name: a, icmp: {host: h, cuont: 3}}",
		"unknown nested": head + "{name: a, http: {url: 'http://h/', tls: {insecur: true}}}",
		"no kind":        head + "{name: a}",
		"two kinds":      head + "{name: a, icmp: {host: h}, tcp: {host: h, port: 1}}",
		"unknown kind":   head + "{name: a, gopher: {host: h}}",
		"no host":        head + "{name: a, tcp: {port: 1}}",
		"port":           head + "{name: a, tcp: {host: h, port: [1]}}",
		"duration":       head + "{name: a, icmp: {host: h}, timeout: 5}",
		"choice":         head + "{name: a, dns: {name: h, transport: pigeon}}",
		"boolean":        head + "{name: a, icmp: {host: h}, optional: 'perhaps'}",
		"share":          head + "{name: a, icmp: {host: h}, samples: {count: 30, pass: 95}}",
		"samples":        head + "{name: a, icmp: {host: h}, samples: 30}",
		"tags":           head + "{name: a, icmp: {host: h}, tags: {a: b}}",
	} {
		if err := compiled.Validate(asJSON(t, text)); err == nil {
			t.Errorf("%s: valid by the schema", name)
		}
	}
}

func TestResultsSchemaRefuses(t *testing.T) {
	compiled := compile(t, parse(t, sonde(t, 0, "schema", "--results")))
	const good = `{"schema":1,"started":"2026-01-02T03:04:05Z","duration_seconds":0.4,"exit_code":1,
		"summary":{"total":1,"up":0,"degraded":0,"down":1,"unknown":0,"flaky":0},
		"results":[{"id":"a","name":"a","kind":"http","target":"t","verdict":"down","reason":{"code":"http.status","message":"m"},
		"started":"2026-01-02T03:04:05Z","latency_seconds":0.1,"queued_seconds":0,"attempts":1,"flaky":false,"phases":{"tls_seconds":0.1},
		"facts":{"status":503,"new":1},"findings":[],"tags":[],"labels":{},"newer":2}]}`
	if err := compiled.Validate(parse(t, []byte(good))); err != nil {
		t.Errorf("a good document, with fields of a later version: %v", err)
	}
	for old, bad := range map[string]string{
		`"schema":1`:           `"schema":2`,
		`"verdict":"down"`:     `"verdict":"good"`,
		`"id":"a",`:            ``,
		`"code":"http.status"`: `"code":"http.teapot"`,
		`"status":503`:         `"status":"503"`,
		`"tls_seconds":0.1`:    `"tls_seconds":"0.1s"`,
		`"labels":{}`:          `"labels":{"a":1}`,
		`"started":"2026-01-02T03:04:05Z","latency`: `"started":"yesterday","latency`,
	} {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s in the good document", old)
		}
		if err := compiled.Validate(parse(t, []byte(strings.Replace(good, old, bad, 1)))); err == nil {
			t.Errorf("valid with %s", bad)
		}
	}
}
