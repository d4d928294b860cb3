package probes

import (
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// FuzzFactPath reads paths of facts and follows those that are any.
func FuzzFactPath(f *testing.F) {
	for _, seed := range []string{"json.items[0].id", "headers['x-y']", "captures.a", "cookies.s.value", "status", "[", "a..b", "json[-1]", "redirect_chain[0]"} {
		f.Add(seed)
	}
	o := check.Observation{}
	o.Set("json", map[string]any{"items": []any{map[string]any{"id": 1.0}}})
	o.Set("headers", map[string]string{"x-y": "z"})
	o.Set("redirect_chain", []string{"a"})
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseFactPath(text)
		if err != nil {
			return
		}
		if !strings.HasPrefix(text, p.fact.Name) {
			t.Errorf("%q is of the fact %s", text, p.fact.Name)
		}
		if v, err := p.of(&o); err == nil && v.text == "" {
			t.Errorf("%q leads to nothing", text)
		}
	})
}

// FuzzCookie reads what a server may set: what is sent back is what came.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{"a=1; Path=/; Secure", `a={"b": 1}`, "=", "a", "a=b=c; Max-Age=-1", "__Host-a=1; Domain=x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c := parseCookie(line)
		if c == nil {
			return
		}
		if !strings.Contains(line, c.Name) || !strings.Contains(line, c.Value) || len(c.Name)+len(c.Value) > maxCookie || strings.Contains(c.Value, ";") {
			t.Errorf("%q gave %q and %q", line, c.Name, c.Value)
		}
	})
}
