package probes

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// excerpt shows the start of foreign bytes: at most 80 characters, control
// characters as dots. A cut never leaves the first half of a word, for that
// could be half of a secret, which is only masked when it is whole.
func excerpt(b []byte) string {
	var s strings.Builder
	count := 0
	for i := 0; i < len(b); count++ {
		r, size := utf8.DecodeRune(b[i:])
		if count == maxQuote {
			text := s.String()
			return `"` + text[:strings.LastIndexAny(text, " \t\"'<>,;:=&?.()[]{}/")+1] + `…"`
		}
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			r = '.'
		}
		s.WriteRune(r)
		i += size
	}
	return `"` + s.String() + `"`
}
