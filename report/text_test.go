package report

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestClean(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"plain text ~", "plain text ~"},
		{"größe 日本 👩‍👩‍👧", "größe 日本 👩‍👩‍👧"},
		{"a\nb\r\tc", `a\nb\r\tc`},
		{"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"\x1b]0;title\x07", `\x1b]0;title\x07`},
		{"nul\x00 del\x7f", `nul\x00 del\x7f`},
		{"c1 \u009b31m", `c1 \x9b31m`},
		{"bad \xff\xc0 utf8", `bad \xff\xc0 utf8`},
		{"evil\u202egpj.exe", `evil\u202egpj.exe`},
		{"\u2066iso\u2069 \u200b \ufeff", `\u2066iso\u2069 \u200b \ufeff`},
		{"line\u2028sep\u2029", `line\u2028sep\u2029`},
		{"tag\U000e0041", `tag\U000e0041`},
		{"replacement � stays", "replacement � stays"},
		{strings.Repeat("a", maxText+1), strings.Repeat("a", maxText) + "…"},
		{strings.Repeat("a", maxText-1) + "é", strings.Repeat("a", maxText-1) + "…"},
	}
	for _, tt := range tests {
		if got := clean(tt.in); got != tt.want {
			t.Errorf("clean(%.60q) = %.60q, want %.60q", tt.in, got, tt.want)
		}
	}
}

func TestCut(t *testing.T) {
	tests := []struct {
		in   string
		n    int
		want string
	}{
		{"abcdef", 0, "abcdef"},
		{"abcdef", 6, "abcdef"},
		{"abcdef", 5, "abcd…"},
		{"abcdef", 1, "…"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"👩‍👩‍👧👩‍👩‍👧", 3, "👩‍👩‍👧…"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
	}
	for _, tt := range tests {
		if got := cut(tt.in, tt.n); got != tt.want {
			t.Errorf("cut(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func TestWrapText(t *testing.T) {
	tests := []struct {
		in   string
		n    int
		want []string
	}{
		{"one two three", 0, []string{"one two three"}},
		{"one two three", 7, []string{"one two", "three"}},
		{"one two three", 3, []string{"one", "two", "thr", "ee"}},
		{"日本語 日本", 4, []string{"日本", "語", "日本"}},
		{"abcdefgh ij", 4, []string{"abcd", "efgh", "ij"}},
		{"", 5, []string{""}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, wrapText(tt.in, tt.n)); diff != "" {
			t.Errorf("wrapText(%q, %d) (-want +got):\n%s", tt.in, tt.n, diff)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add(nasty, 10)
	f.Add("日本語 e\u0301", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = 2 + (n&0x7fff)%100 // no wide character fits into fewer
		text := clean(s)
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unsafe) {
			t.Errorf("clean(%q) = %q", s, text)
		}
		if got := cut(text, n); width(got) > n && n > 2 {
			t.Errorf("cut(%q, %d) = %q, %d columns", text, n, got, width(got))
		}
		lines := wrapText(text, n)
		for _, l := range lines {
			if width(l) > n {
				t.Errorf("wrapText(%q, %d): line %q of %d columns", text, n, l, width(l))
			}
		}
		if n < width(text) {
			kept := strings.Join(strings.Fields(text), "")
			if got := strings.ReplaceAll(strings.Join(lines, ""), " ", ""); got != strings.ReplaceAll(kept, " ", "") {
				t.Errorf("wrapText(%q, %d) lost text: %q", text, n, lines)
			}
		}
	})
}
