package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/cmd"
	"github.com/sonde-cli/sonde/probes"
)

// schema is what `sonde schema` prints, compiled.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	var out, errs bytes.Buffer
	app := cmd.App{Args: []string{"schema"}, Kinds: probes.Kinds(), Stdout: &out, Stderr: &errs, LookupEnv: os.LookupEnv}
	if code := cmd.Main(app); code != 0 {
		t.Fatalf("sonde schema: exit code %d, %s", code, &errs)
	}
	document, err := jsonschema.UnmarshalJSON(&out)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("sonde.schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("sonde.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
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
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// TestExampleFitsSchema validates the sample that users copy with a library
// that is not ours.
func TestExampleFitsSchema(t *testing.T) {
	if err := schema(t).Validate(asJSON(t, string(example))); err != nil {
		t.Error(err)
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
