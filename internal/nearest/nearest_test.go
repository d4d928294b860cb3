package nearest

import (
	"strings"
	"testing"
)

func TestTo(t *testing.T) {
	known := []string{"timeout", "tags", "tag", "http", "icmp", "a"}
	for wrong, want := range map[string]string{
		"timeout": "timeout", "tiemout": "timeout", "timeou": "timeout", "timeouts": "timeout", "TIMEOUT": "timeout",
		"tgas": "tags", "tga": "tag", "htp": "http", "htttp": "http",
		"b": "", "": "", "gopher": "", strings.Repeat("x", 100): "",
	} {
		if got := To(wrong, known); got != want {
			t.Errorf("To(%q) = %q, want %q", wrong, got, want)
		}
	}
	if got := To("a", nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

func FuzzTo(f *testing.F) {
	f.Add("tiemout", "timeout")
	f.Fuzz(func(t *testing.T, wrong, word string) {
		if got := To(wrong, []string{word}); got != "" && got != word {
			t.Errorf("To(%q, %q) = %q", wrong, word, got)
		}
	})
}
