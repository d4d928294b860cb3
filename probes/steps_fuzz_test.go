package probes

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

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

// FuzzFill puts what a target says into texts: it stays the value that it is.
func FuzzFill(f *testing.F) {
	for _, seed := range []string{"a", `"`, `\`, "a/b?c=d#e&f", "\r\n", "${x}", "\u2028", `","b":"`, "%2f", "../.."} {
		f.Add(seed)
	}
	ref := check.Defer("steps.a.body")
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		filled := func(option, template string, form bool) string {
			return fill(optionText{option: option, text: strings.ReplaceAll(template, "REF", ref)}, form, func() value { return value{text, true} })
		}
		for _, option := range []string{"json", "body"} {
			var got []string
			if err := json.Unmarshal([]byte(filled(option, `["REF","x\"REF","REFREF"]`, false)), &got); err != nil {
				t.Fatalf("%q in %s: %v", text, option, err)
			}
			if diff := cmp.Diff([]string{text, `x"` + text, text + text}, got); diff != "" {
				t.Error(option, diff)
			}
		}
		form, err := url.ParseQuery(filled("body", "a=REF&b=x", true))
		if err != nil || form.Get("a") != text || len(form) != 2 {
			t.Errorf("%q in a form: %v %v", text, form, err)
		}
		u, err := url.Parse(filled("url", "http://x.test/a/REF/b?c=REF&d=e", false))
		if err != nil || u.Host != "x.test" || u.Path != "/a/"+text+"/b" || u.Query().Get("c") != text || u.Query().Get("d") != "e" || strings.Count(u.EscapedPath(), "/") != 3 {
			t.Errorf("%q in a URL: %v %v", text, u, err)
		}
	})
}
