package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDependsOn(t *testing.T) {
	text := `version: 1
defaults: {depends_on: network}
templates:
  app: {depends_on: [db, "cache[${each}]"]}
checks:
  - {name: web, use: app, each: [1, 2], ping: {host: x}}
  - {name: cache, each: [1, 2], ping: {host: x}}
  - {name: all, ping: {host: x}, depends_on: [web, off, "cache[2]"]}
  - {name: network, ping: {host: x}, depends_on: []}
  - {name: db, ping: {host: x}}
  - {name: off, enabled: false, ping: {host: x}}
`
	got := make(map[string][]string)
	for _, c := range mustLoad(t, testLoader(nil), text).Checks {
		got[c.ID] = c.DependsOn
	}
	want := map[string][]string{
		"web[1]": {"db", "cache[1]"}, "web[2]": {"db", "cache[2]"},
		"cache[1]": {"network"}, "cache[2]": {"network"},
		"all": {"web", "off", "cache[2]"}, "network": nil, "db": {"network"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A check that is left out, or in another file, is there all the same.
func TestDependsOnWhatIsLeftOut(t *testing.T) {
	dir := write(t, map[string]string{
		"a.yaml": "version: 1\nchecks: [{name: a, ping: {host: x}, depends_on: [b, c]}]",
		"b.yaml": "version: 1\nchecks: [{name: b, ping: {host: x}, depends_on: a}, {name: c, each: [1], ping: {host: x}}]",
	})
	l := testLoader(nil)
	l.Filter = func(id, _ string, _ []string) bool { return id == "a" }
	set, err := l.Load(t.Context(), dir)
	if err != nil || len(set.Checks) != 1 {
		t.Errorf("%v, %v", set, err)
	}
	l.Filter = nil
	if _, err := l.Load(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "circle: a -> b -> a") {
		t.Errorf("the error is %v", err)
	}
}

// A check whose name is not known for another mistake is not missing.
func TestDependsOnWhatIsWrong(t *testing.T) {
	for _, wrong := range []string{"{name: [b], ping: {host: x}}", "{name: b}", `{name: "${MISSING}", ping: {host: x}}`, "b"} {
		all := loadErrors(t, testLoader(nil), "version: 1\nchecks: [{name: a, ping: {host: x}, depends_on: b}, "+wrong+"]")
		if len(all) != 1 || strings.Contains(all.Error(), "no check") {
			t.Errorf("%s: %v", wrong, all)
		}
	}
}

// What a variable holds is not shown.
func TestDependsOnHidesSecrets(t *testing.T) {
	all := loadErrors(t, testLoader(map[string]string{"TOKEN": "hunter22", "OTHER": "hunter23"}), `version: 1
checks:
  - {name: a, each: ["${TOKEN}"], ping: {host: x}}
  - {name: b, ping: {host: x}, depends_on: "a[${OTHER}]"}`)
	if text := all.Error(); !strings.Contains(text, `no check "a[${OTHER}]"`) || strings.Contains(text, "hunter") {
		t.Errorf("%v", all)
	}
}

// Many that depend on many take no longer than their number asks for, in a
// circle too, and a long chain is no deep stack's end.
func TestDependsOnAtScale(t *testing.T) {
	const n = 20_000
	var values []string
	var chain strings.Builder
	for i := range n {
		values = append(values, fmt.Sprint(i))
		fmt.Fprintf(&chain, "  - {name: c%d, ping: {host: x}, depends_on: c%d}\n", i, i+1)
	}
	each := "[" + strings.Join(values, ",") + "]"
	many := "version: 1\nchecks:\n  - {name: a, each: " + each + ", ping: {host: x}, depends_on: b}\n  - {name: b, each: " + each + ", ping: {host: x}%s}\n"
	if set := mustLoad(t, testLoader(nil), fmt.Sprintf(many, "")); len(set.Checks) != 2*n {
		t.Errorf("%d checks", len(set.Checks))
	}
	if all := loadErrors(t, testLoader(nil), fmt.Sprintf(many, ", depends_on: a")); len(all) != 2 || !strings.Contains(all.Error(), "circle: a[0] -> b[0] -> a[0]") {
		t.Errorf("%d problems, the first is %v", len(all), all[0].Message)
	}
	mustLoad(t, testLoader(nil), "version: 1\nchecks:\n"+chain.String()+fmt.Sprintf("  - {name: c%d, ping: {host: x}}\n", n))
}
