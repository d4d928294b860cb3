package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema(testKinds())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return schema
}

func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestWhatLoadsIsValid takes files that load through the schema.
func TestWhatLoadsIsValid(t *testing.T) {
	schema := compileSchema(t)
	for _, text := range []string{
		good,
		`version: 1
defaults: {timeout: 1s, web: {hops: 1}, ping: }
templates:
  base: {timeout: 2s, labels: {b: t1, c: 3}}
  api: {use: base, tags: [api], web: {url: "http://x.test", tls: {insecure: true}}}
checks:
  - {name: a, use: [api], expect: status == 200, prefer: [latency < 1s]}
  - {name: c, use: api, tags: [], web: }
  - {name: d, each: [1, b], ping: {host: "${each}", count: "${PORT}"}, interval: "${MISSING:-5s}", enabled: "${MISSING:-true}"}
  - {name: e, each: {h: [a, b], i: [1]}, ping: {host: "${each.h}"}, retry: {attempts: 2, wait: 0, factor: 1.5}}
  - name: f
    web:
      url: http://x.test
      method: "${MISSING:-GET}"
      limit: 1000
      pause: 1h30m
      match: "^a"
      names: [a, 2, true]
      family: 4
      steps: [{send: HELO, expect: "^250"}, {}]
      tls: {min_version: 1.2}
      proxy: {url: "http://proxy.test"}
`,
		`version: 1
limits: {in_flight: "${MISSING:-2000}", per_host: 4, per_host_rate: 0.5/s, kinds: {ping: 3, web: "${MISSING:-5}"}}
defaults: {schedule: "mon-fri 08:00-18:00 Europe/Berlin", interval_failing: 5s}
checks:
  - {name: a, ping: {host: x}}
  - {name: b, ping: {host: x}, schedule: ["22:00-06:00 UTC", "sat,sun 00:00-24:00 ${MISSING:-UTC}"]}
  - {name: c, ping: {host: x}, schedule: []}`,
		`version: 1
defaults: {depends_on: a}
checks:
  - {name: a, ping: {host: x}, depends_on: []}
  - {name: b, ping: {host: x}, depends_on: [a, "${MISSING:-a}"]}`,
		"version: 1\nlimits:\nchecks: [{name: a, ping: {host: x}}]",
		"version: 1\ndefaults: {ping: {host: x}}\nchecks: [{name: a, ping: {count: 1}}]",
	} {
		mustLoad(t, testLoader(testEnv()), text)
		if err := schema.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%v\nin\n%s", err, text)
		}
	}
}

// TestSchemaRefuses holds files against the schema that do not load either.
func TestSchemaRefuses(t *testing.T) {
	schema := compileSchema(t)
	for name, text := range map[string]string{
		"no version":     "checks: [{name: a, ping: {host: x}}]",
		"no checks":      "version: 1\nchecks: []",
		"unknown key":    "version: 1\nchecks: [{name: a, naem: b, ping: {host: x}}]",
		"unknown option": "version: 1\nchecks: [{name: a, ping: {host: x, cuont: 1}}]",
		"no kind":        "version: 1\nchecks: [{name: a}]",
		"two kinds":      "version: 1\nchecks: [{name: a, ping: {host: x}, web: {url: 'http://x.test'}}]",
		"no name":        "version: 1\nchecks: [{ping: {host: x}}]",
		"required":       "version: 1\nchecks: [{name: a, ping: {count: 1}}]",
		"duration":       "version: 1\nchecks: [{name: a, timeout: 5, ping: {host: x}}]",
		"duration unit":  "version: 1\nchecks: [{name: a, timeout: 5 parsecs, ping: {host: x}}]",
		"boolean":        "version: 1\nchecks: [{name: a, optional: 'no', ping: {host: x}}]",
		"number":         "version: 1\nchecks: [{name: a, ping: {host: x, count: '3'}}]",
		"enum":           "version: 1\nchecks: [{name: a, web: {url: 'http://x', method: PATSCH}}]",
		"size":           "version: 1\nchecks: [{name: a, web: {url: 'http://x', limit: 3XB}}]",
		"misplaced":      "version: 1\ndefaults: {name: a}\nchecks: [{name: a, ping: {host: x}}]",
		"each":           "version: 1\nchecks: [{name: a, each: {h: x}, ping: {host: x}}]",
		"nested":         "version: 1\nchecks: [{name: a, web: {url: 'http://x', tls: {insecur: true}}}]",
		"limit":          "version: 1\nlimits: {in_fligth: 3}\nchecks: [{name: a, ping: {host: x}}]",
		"rate":           "version: 1\nlimits: {per_host_rate: 3}\nchecks: [{name: a, ping: {host: x}}]",
		"kind's limit":   "version: 1\nlimits: {kinds: {pong: 3}}\nchecks: [{name: a, ping: {host: x}}]",
		"window":         "version: 1\nchecks: [{name: a, ping: {host: x}, schedule: [8am-6pm]}]",
		"items":          "version: 1\nchecks: [{name: a, tags: a, ping: {host: x}}]",
	} {
		if err := schema.Validate(asJSON(t, text)); err == nil {
			t.Errorf("%s: valid by the schema:\n%s", name, text)
		}
		_ = loadErrors(t, testLoader(nil), text)
	}
}

func TestSchemaDescribes(t *testing.T) {
	text, err := Schema(testKinds())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"$schema": "https://json-schema.org/draft/2020-12/schema"`, "follow redirects", "cert.trusted", "phase.resolve",
		"loss", "lowest version", `"HEAD"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the schema does not contain %s", want)
		}
	}
	again, err := Schema(testKinds())
	if err != nil || !bytes.Equal(text, again) {
		t.Error("the schema is not the same each time")
	}
}

// FuzzLoad loads arbitrary bytes: it must end, without a panic, in a set or in
// Errors that carry a message.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(good))
	f.Add([]byte("version: 1\ndefaults: {web: {hops: 1}}\ntemplates: {a: {web: {url: '${URL}'}}}\nchecks: [{name: a, use: a, each: [x, y], expect: status == 200}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := testLoader(testEnv())
		l.Stdin = bytes.NewReader(text)
		set, err := l.Load(t.Context(), "-")
		if err == nil {
			if len(set.Checks) != set.Total || set.Total+set.Disabled == 0 {
				t.Errorf("no error, and %d of %d checks", len(set.Checks), set.Total)
			}
			return
		}
		var all Errors
		if !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("the error is %v, want Errors", err)
		}
		for _, p := range all {
			if p.Message == "" || p.File == "" || p.Line < 0 || p.Line > 0 && p.Column < 1 {
				t.Errorf("incomplete: %+v", p)
			}
		}
	})
}

// FuzzTemplate takes arbitrary scalars apart and puts them together.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{"a ${B:-c} $${ ${file:x} ${each.h}", "${A:?b}", "${", "${A:-${B:-${C}}}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseTemplate(text)
		if err != nil {
			if err.offset < 0 || err.offset > len(text) || err.message == "" {
				t.Errorf("%q: %+v", text, err)
			}
			return
		}
		s := scope{dir: t.TempDir(), files: map[string]string{}}
		e, errs := s.expand(parsed)
		for _, sp := range e.spans {
			if sp.start < 0 || sp.end < sp.start || sp.end > len(e.text) {
				t.Errorf("%q: span %v of %q", text, sp, e.text)
			}
		}
		if !parsed.dynamic() && (len(errs) > 0 || e.text != strings.ReplaceAll(text, "$${", "${")) {
			t.Errorf("%q became %q, %v", text, e.text, errs)
		}
	})
}
