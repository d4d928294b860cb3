package importer_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/importer"
	"github.com/sonde-cli/sonde/probes"
)

var update = flag.Bool("update", false, "write the golden files anew")

func read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// load loads an imported file as `sonde run` would, with all of its variables
// set.
func load(t testing.TB, result *importer.Result) *config.Set {
	t.Helper()
	known := make(map[string]bool)
	for _, v := range result.Variables {
		known[v.Name] = true
	}
	loader := config.Loader{
		Kinds: probes.Kinds(), Stdin: strings.NewReader(string(result.Text)),
		LookupEnv: func(name string) (string, bool) { return "value", known[name] },
	}
	set, err := loader.Load(t.Context(), "-")
	if err != nil {
		t.Fatalf("%v in\n%s", err, result.Text)
	}
	return set
}

// TestImport holds what becomes of a file of each format, and that it loads. The
// golden file has the warnings and variables, too.
func TestImport(t *testing.T) {
	for _, tc := range []struct{ name, format, targets string }{
		{"gatus.yaml", "gatus", ""}, {"blackbox.yaml", "blackbox", "prometheus.yaml"}, {"cloudprober.cfg", "cloudprober", ""},
		{"cloudprober.yaml", "cloudprober", ""}, {"nagios.cfg", "nagios", ""}, {"plugins.nagios", "nagios", ""}, {"kuma.json", "kuma", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			source := importer.Source{Name: tc.name, Text: read(t, tc.name)}
			if tc.targets != "" {
				source.Targets = &importer.Source{Name: tc.targets, Text: read(t, tc.targets)}
			}
			result, err := importer.Import(source)
			if err != nil {
				t.Fatal(err)
			}
			if result.Format != tc.format {
				t.Errorf("recognised as %s", result.Format)
			}
			got := everything(result)
			golden := filepath.Join("testdata", tc.name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(read(t, tc.name+".golden"), got); diff != "" {
				t.Errorf("-want +got, `go test -update` accepts it:\n%s", diff)
			}
			got = strings.NewReplacer("client_secret: ${", "", "client secret of", "").Replace(got) // which name no value
			if strings.Contains(got, "secret") || strings.Contains(got, "sekrit") || strings.Contains(got, "hunter2") || strings.Contains(got, "pa${ss}") || strings.Contains(got, "t0p") {
				t.Error("a secret was copied")
			}
			if tc.name != "blackbox.yaml" { // its ${file:/etc/key} is not here
				load(t, result)
			}
		})
	}
}

func everything(result *importer.Result) string {
	var b strings.Builder
	b.Write(result.Text)
	b.WriteString("--- warnings\n")
	for _, w := range result.Warnings {
		fmt.Fprintln(&b, w)
	}
	b.WriteString("--- variables\n")
	for _, v := range result.Variables {
		fmt.Fprintf(&b, "%s: %s, line %d\n", v.Name, v.Doc, v.Line)
	}
	return b.String()
}

// TestTemplates imports modules without targets: a file must have a check, so it
// gets an example, which is not enabled.
func TestTemplates(t *testing.T) {
	result, err := importer.Import(importer.Source{Text: "modules: {web: {prober: http}, ping: {prober: icmp}}"})
	if err != nil {
		t.Fatal(err)
	}
	if set := load(t, result); set.Disabled != 1 || set.Total != 0 || result.Templates != 2 {
		t.Errorf("%+v in\n%s", set, result.Text)
	}
}

// TestListOfTargets gives every module the targets that suit it.
func TestListOfTargets(t *testing.T) {
	for _, targets := range []string{"- a.example\n- b.example\n", "a.example\nb.example\n", "[{targets: [a.example, b.example]}]"} {
		result, err := importer.Import(importer.Source{
			Text: "modules: {web: {prober: http}, ping: {prober: icmp}}", Targets: &importer.Source{Name: "targets", Text: targets},
		})
		if err != nil {
			t.Fatal(err)
		}
		if set := load(t, result); set.Total != 4 {
			t.Errorf("%q makes %d checks", targets, set.Total)
		}
	}
}

func TestUnreadable(t *testing.T) {
	for name, tc := range map[string]struct{ format, text, want string }{
		"empty":       {"", "", ":1:1: this is no configuration"},
		"unknown":     {"", "a: 1", ":1:1: this is no configuration"},
		"bad YAML":    {"gatus", "endpoints: [\na: b: c", "is not valid YAML"},
		"a list":      {"gatus", "- 1", ":1:1: a map is wanted"},
		"templates":   {"", "probe {\n name: \"{{.x}}\" }", ":2:1: templates ({{ }}) are not expanded"},
		"bad proto":   {"cloudprober", "probe {\n name: \"unclosed\n}\n", "this is not valid text protobuf"},
		"deep":        {"cloudprober", strings.Repeat("probe {", 100_000), "nested more than"},
		"no commands": {"nagios", "# nothing\n", "there is no command line"},
	} {
		_, err := importer.Import(importer.Source{Name: "in", Format: tc.format, Text: tc.text})
		var unreadable *importer.Error
		if !errors.As(err, &unreadable) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

// TestOddSources imports what is wrong in parts: no panic, and a file that loads
// or none.
func TestOddSources(t *testing.T) {
	for name, text := range map[string]string{
		"wrong types":   "endpoints: [{name: [1], url: {a: b}, interval: x, conditions: {a: b}, headers: [1]}, 5, ~]",
		"merge circle":  "a: &a {<<: *a, endpoints: 1}\nendpoints: [*a]",
		"merge bomb":    "a: &a {x: 1}\nb: &b {<<: [" + strings.Repeat("*a, ", 20) + "*a]}\nc: &c {<<: [" + strings.Repeat("*b, ", 200) + "*b]}\nd: &d {<<: [" + strings.Repeat("*c, ", 2000) + "*c]}\nendpoints: [{<<: *d, name: x, url: 'icmp://h'}]",
		"use circle":    "define service {\nname a\nuse a,b\n}\ndefine service {\nname b\nuse a,b\nhost_name h\ncheck_command c\n}",
		"alias":         "endpoints: &e [{name: x, url: 'icmp://h', conditions: ['[CONNECTED] == true']}]\nb: *e",
		"newline":       "endpoints: [{name: \"a\\nchecks: []\\n# b\", url: 'ftp://h', conditions: []}, {name: ok, url: 'icmp://h', conditions: ['x\\ny']}]",
		"reference":     "endpoints: [{name: '$$$${X}', url: 'http://h/$${a}', conditions: ['[BODY] == $$$${b}']}]",
		"many monitors": `{"monitorList": [{"type":"port"},{"type":"http"},{"type":"dns"},{"type":"ping"},{"type":"keyword"},{"type":"json-query"}, null]}`,
		"modules":       "modules: {a: {prober: http, http: {valid_status_codes: x, headers: 3}}, b: {prober: dns, dns: 3}, c: 4}",
	} {
		result, err := importer.Import(importer.Source{Name: "in", Text: text})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(string(result.Text), "\nchecks: []\n#") {
			t.Errorf("%s: a name became YAML:\n%s", name, result.Text)
		}
	}
}
