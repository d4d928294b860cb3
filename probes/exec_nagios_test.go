//go:build !windows

package probes

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

func plugin(o *execOptions) { o.Nagios = true }

// perfOf is perfdata as expressions see it.
func perfOf(text string) (map[string]any, string) {
	metrics, bad := parsePerf(text)
	all := make(map[string]any)
	for _, m := range metrics {
		all[m.label] = m.tree()
	}
	return all, bad
}

func TestParsePerf(t *testing.T) {
	t.Parallel()
	type tree = map[string]any
	zeroTo := func(text string, end float64) tree {
		return tree{"text": text, "inside": false, "start": 0.0, "end": end}
	}
	for text, want := range map[string]tree{
		"":                   {},
		"users=4;20;50;0":    {"users": tree{"value": 4.0, "unit": "", "warn": zeroTo("20", 20), "crit": zeroTo("50", 50), "min": 0.0}},
		"time=12ms;;;0;1000": {"time": tree{"value": 0.012, "unit": "s", "min": 0.0, "max": 1.0}},
		"t=4us":              {"t": tree{"value": 4e-6, "unit": "s"}},
		"'/ a'=2KB;;@1:3":    {"/ a": tree{"value": 2048.0, "unit": "B", "crit": tree{"text": "@1:3", "inside": true, "start": 1024.0, "end": 3072.0}}},
		"'it''s'=1%":         {"it's": tree{"value": 1.0, "unit": "%"}},
		"a=1c b=U\nc=-2.5":   {"a": tree{"value": 1.0, "unit": "c"}, "b": tree{"unit": ""}, "c": tree{"value": -2.5, "unit": ""}},
		"r=1;~:5;10:":        {"r": tree{"value": 1.0, "unit": "", "warn": tree{"text": "~:5", "inside": false, "end": 5.0}, "crit": tree{"text": "10:", "inside": false, "start": 10.0}}},
		"e=1e3 m=2Mb k=0,5s": {"e": tree{"value": 1000.0, "unit": ""}, "m": tree{"value": 2.0, "unit": "Mb"}, "k": tree{"value": 0.5, "unit": "s"}},
		"bad=1;5:2;x;@":      {"bad": tree{"value": 1.0, "unit": ""}},
	} {
		got, bad := perfOf(text)
		if diff := cmp.Diff(want, got); diff != "" || bad != "" {
			t.Errorf("%q: %s\n%s", text, bad, diff)
		}
	}
}

// TestParsePerfMalformed leaves out what is malformed and says so.
func TestParsePerfMalformed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a", "a=", "a=x", "a=NaN", "a=Inf", "a=0x10", "a=1e999", "=1", "'a=1", "a=1;2;3;4;5;6", "'a'b=1", "a=1" + strings.Repeat("u", 17), strings.Repeat("l", 256) + "=1"} {
		got, bad := perfOf(text + " ok=1")
		if _, fine := got["ok"]; bad == "" || len(got) > 1 || !fine && text[0] != '\'' {
			t.Errorf("%.20q: %v, %q", text, got, bad)
		}
	}
	if got, bad := parsePerf(strings.Repeat("a=1 ", 5000)); len(got) != maxMetrics || bad == "" {
		t.Errorf("%d values, %q", len(got), bad)
	}
}

func FuzzNagiosOutput(f *testing.F) {
	f.Add("OK | 'a b'=1.5ms;~:5;@1:2;0;10\nlong | c=2KB\nd=U")
	f.Add("x|'='=''=1 ''=;;;; a=1;;;;;")
	f.Fuzz(func(t *testing.T, out string) {
		metrics, _ := parsePerf(perfText([]byte(out)))
		if len(metrics) > maxMetrics {
			t.Errorf("%d values", len(metrics))
		}
		for _, m := range metrics {
			if m.label == "" || !utf8.ValidString(m.label+m.unit) || strings.ContainsAny(m.label, "\n\x1b\x00") {
				t.Errorf("label %q, unit %q", m.label, m.unit)
			}
			for _, v := range []*float64{m.value, m.min, m.max} {
				if v != nil && (math.IsInf(*v, 0) || math.IsNaN(*v)) {
					t.Errorf("%s is %v", m.label, *v)
				}
			}
			for _, r := range []*alertRange{m.warn, m.crit} {
				if r != nil && (r.start > r.end || math.IsNaN(r.start+0) || math.IsNaN(r.end)) {
					t.Errorf("range %v", *r)
				}
			}
		}
		if line := cleanLine(out); len(line) > maxLine || !utf8.ValidString(line) || strings.ContainsAny(line, "\n\x1b") {
			t.Errorf("line %q", line)
		}
	})
}

// TestPluginStates has the exit codes as they become facts and failures.
func TestPluginStates(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]struct {
		state string
		code  check.Code
	}{
		"echo 'OK - fine | load1=0.5;5;10;0'":         {"ok", ""},
		"echo 'WARNING - | load1=7;5;10;0'; exit 1":   {"warning", ""},
		"echo 'CRITICAL - | load1=11;5;10;0'; exit 2": {"critical", ""},
		"echo 'UNKNOWN - no such host'; exit 3":       {"unknown", check.LocalProgram},
		"exit 127":                                    {"unknown", check.LocalProgram},
		"kill -9 $$":                                  {"unknown", check.LocalProgram},
	} {
		o := observeExec(t, script, plugin)
		wantFailure(t, o, want.code)
		wantFacts(t, o, check.FactsOf(map[string]any{"state": want.state}))
	}
	o := observeExec(t, "printf 'DISK OK | a=1\\nlong text\\nmore | b=2ms\\nc=U\\n'", plugin)
	wantFacts(t, o, check.FactsOf(map[string]any{"output": "DISK OK", "perf": map[string]any{"a": 1.0, "b": 0.002}}))
	if o = observeExec(t, "echo 'OK | a=1 b=23456789'", func(o *execOptions) { o.Nagios, o.MaxOutput = true, 15 }); o.Because["perf"].Code == "" {
		t.Error("nothing says that performance data were cut off")
	}
	wantFacts(t, o, check.FactsOf(map[string]any{"perf": map[string]any{"a": 1.0}}))
}
