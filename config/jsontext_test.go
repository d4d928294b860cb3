package config

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// anyOptions are options with a value of any shape.
type anyOptions struct {
	Value check.JSON `yaml:"value" doc:"any value"`
}

func (o *anyOptions) Build(check.Setup) (check.Plan, error) {
	return check.Plan{Target: string(o.Value), Probe: anyProbe(o.Value)}, nil
}

// anyProbe is the value as the probe gets it, without a mask.
type anyProbe string

func (anyProbe) Observe(context.Context) check.Observation { return check.Observation{} }

// loadAny loads a check whose option has the value, which begins behind the key.
func loadAny(t *testing.T, value string) (*check.Check, error) {
	t.Helper()
	loader := Loader{
		Kinds: []check.Kind{{Name: "any", Doc: "a test", New: func() check.Options { return new(anyOptions) }}},
		Stdin: strings.NewReader("version: 1\nchecks:\n  - name: a\n    any:\n      value:" + value + "\n"),
		LookupEnv: func(name string) (string, bool) {
			v, ok := map[string]string{"N": "5", "B": "true", "S": `a "b"`, "Z": "007", "X": "null"}[name]
			return v, ok
		},
	}
	set, err := loader.Load(t.Context(), "-")
	if err != nil {
		return nil, err
	}
	return set.Checks[0], nil
}

func TestJSONOption(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		" 1":     `1`,
		" text":  `"text"`,
		" \"1\"": `"1"`,
		" [1, -2.50, 1e3, true, False, null, ~, yes, 2026-01-02, 0.1]":                                                `[1,-2.50,1e3,true,false,null,null,"yes","2026-01-02",0.1]`,
		" {b: 1, a: {c: []}, \"<&>\": \"ü\\n\"}":                                                                      `{"b":1,"a":{"c":[]},"<&>":"ü\n"}`,
		"\n        n: ${N}\n        m: \"${N}\"\n        b: ${B}\n        z: ${Z}\n        x: ${X}\n        p: v${N}": `{"n":5,"m":"5","b":true,"z":"007","x":"null","p":"v5"}`,
	} {
		c, err := loadAny(t, value)
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		if diff := cmp.Diff(want, string(c.Probe.(anyProbe))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", value, diff)
		}
	}
	for value, want := range map[string]string{
		"": "value has no value", " 0x1F": `value: "0x1F" is no number of JSON`, " {a: [.inf]}": `value.a: ".inf" is no number`, " {a: 01}": "is no number of JSON",
		" ${NONE}": "NONE is not set", " {a: 1, a: 2}": "a",
	} {
		if _, err := loadAny(t, value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}

// TestJSONOptionSecrets hides what came from variables, and what stands under
// the name of a secret.
func TestJSONOptionSecrets(t *testing.T) {
	t.Parallel()
	c, err := loadAny(t, ` {user: {password: [hidden-one, {x: hidden-two}]}, other: 'v-${S}', plain: shown}`)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"user":{"password":["***",{"x":"***"}]},"other":"v-***","plain":"shown"}`; c.Target != want {
		t.Errorf("shown %s, want %s", c.Target, want)
	}
}
