package cmd

import (
	"regexp"
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"orders", "orders", true},
		{"orders", "orders2", false},
		{"orders*", "orders[eu.example.com]", true},
		{"orders[eu]", "orders[eu]", true},
		{"orders[eu]", "orderse", false},
		{"*", "", true},
		{"", "", true},
		{"", "x", false},
		{"?", "ü", true},
		{"a*b*c", "a/b/b/c", true},
		{"a*b*c", "a/b/b/d", false},
		{"**x", "yyx", true},
	}
	for _, tt := range tests {
		if got := glob(tt.pattern, tt.s); got != tt.want {
			t.Errorf("glob(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "aXXbYc")
	f.Add("*[x]*", "orders[x]")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		pattern, s = strings.ToValidUTF8(pattern, "?"), strings.ToValidUTF8(s, "?")
		want := regexp.QuoteMeta(pattern)
		want = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(want)
		re, err := regexp.Compile(`(?s)\A` + want + `\z`)
		if err != nil {
			return // too large for a regular expression
		}
		if got := glob(pattern, s); got != re.MatchString(s) {
			t.Errorf("glob(%q, %q) = %v", pattern, s, got)
		}
	})
}
