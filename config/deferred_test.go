package config

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// later is a kind whose texts can wait for the run, with facts of each check's own.
type laterOptions struct {
	Common laterPart   `yaml:"common" doc:"what all begin with"`
	Parts  []laterItem `yaml:"parts" over:"common" required:"true" doc:"the parts"`
}

type laterPart struct {
	Text    string            `yaml:"text" required:"true" doc:"some text"`
	Count   int               `yaml:"count" doc:"some number"`
	Headers map[string]string `yaml:"headers" doc:"some headers"`
	Proxy   *testProxy        `yaml:"proxy" doc:"a block that may be missing"`
}

type laterItem struct {
	Name   string            `yaml:"name" shown:"true" doc:"its name"`
	Part   laterPart         `yaml:",inline"`
	Keep   map[string]string `yaml:"keep" shown:"true" doc:"what to keep"`
	Expect string            `yaml:"expect" doc:"an expression"`
}

func (o *laterOptions) Defers() string { return "parts." }

func (o *laterOptions) ListFacts() []check.Fact {
	var facts []check.Fact
	for _, p := range o.Parts {
		facts = append(facts, check.Fact{Name: "parts." + p.Name, Type: check.Int, Doc: "of a part"})
	}
	return facts
}

func (o *laterOptions) Build(s check.Setup) (check.Plan, error) {
	for _, p := range o.Parts {
		if p.Expect == "" {
			continue
		}
		if _, err := s.Compile(p.Expect, o.ListFacts()); err != nil {
			e := check.OptionErrors(err)[0]
			e.Option = "parts[0].expect"
			return check.Plan{}, e
		}
	}
	return check.Plan{Probe: laterProbe{o}, Target: "later"}, nil
}

type laterProbe struct{ o *laterOptions }

func (laterProbe) Observe(context.Context) check.Observation { return check.Observation{} }

func laterLoader() *Loader {
	l := testLoader(testEnv())
	l.Kinds = append(l.Kinds, check.Kind{Name: "later", Doc: "waits", New: func() check.Options {
		return &laterOptions{Common: laterPart{Count: 3}}
	}})
	return l
}

const laterHead = "version: 1\nchecks:\n  - name: x\n    later:\n"

func TestDeferredReferences(t *testing.T) {
	set := mustLoad(t, laterLoader(), laterHead+`
      common: {headers: {A: "1", B: "2"}, proxy: {url: one}}
      parts:
        - {name: first, text: "a $5 $${x} ${parts.first['y z'].b}!", headers: {B: "3"}, proxy: {url: two}}
        - {name: second, text: plain, count: 4}
    expect: parts.first == 1
`)
	parts := set.Checks[0].Probe.(laterProbe).o.Parts
	if diff := cmp.Diff([]string{"a $5 ${x} ", "parts.first['y z'].b", "!"}, check.Deferred(parts[0].Part.Text)); diff != "" {
		t.Error(diff)
	}
	got := []laterPart{parts[0].Part, parts[1].Part}
	got[0].Text = ""
	want := []laterPart{
		{Count: 3, Headers: map[string]string{"A": "1", "B": "3"}, Proxy: &testProxy{URL: "two"}},
		{Text: "plain", Count: 4, Headers: map[string]string{"A": "1", "B": "2"}, Proxy: &testProxy{URL: "one"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDeferredMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{parts: [{name: a, text: "${other.a}"}]}`, `5:33: "other.a" is no name of a variable`},
		{`{parts: [{name: a, text: "${parts.a"}]}`, "5:33: the reference has no closing brace"},
		{`{parts: [{name: a, text: x, count: "${parts.a}"}]}`, "5:42: count must be known before the run"},
		{`{parts: [{name: a, text: "\uFDD0"}]}`, "5:32: the text holds the noncharacter"},
		{`{parts: [{name: a, text: "\uFDD0 ${parts.a}"}]}`, "5:32: the text holds the noncharacter"},
		{`{parts: [{name: a}]}`, "5:16: parts has no text"},
		{`{common: {count: x}, parts: [{name: a, text: x}]}`, `5:24: count: "x" is not a whole number`},
		{`{parts: [{name: a, text: x, expect: "parts.b == 1"}]}`, "5:44: there is no fact parts.b"},
		{`{parts: [{name: a, text: x, expect: "'${SECRET}' == parts.b"}]}`, "5:43: with its references filled in"},
		{"{parts: [{name: a, text: x}]}\n    expect: parts.b == 1", "6:13: there is no fact parts.b"},
	} {
		l := laterLoader()
		l.LookupEnv = func(name string) (string, bool) { return "hunter2", name == "SECRET" }
		_, err := loadText(t, l, laterHead+"      "+c.text+"\n")
		if err == nil || !strings.HasPrefix(err.Error(), "<stdin>:"+c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

// TestKeysOfShownMaps quotes what a key such as token stands for where it is no
// secret.
func TestKeysOfShownMaps(t *testing.T) {
	_, err := loadText(t, laterLoader(), laterHead+`      {parts: [{name: a, text: x, keep: {token: json.token}, expect: "nothing"}]}`+"\n")
	if err == nil || !strings.Contains(err.Error(), "{token: json.token}") {
		t.Errorf("got %v", err)
	}
}
