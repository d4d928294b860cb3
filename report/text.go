package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// maxText bounds one piece of a target's or file's text in any plain output,
// in bytes. Package check cuts earlier; this holds whatever it is given.
const maxText = 8 << 10

// minText is the least room, in columns, that is worth filling with text.
const minText = 12

// clean makes text safe for a terminal and for one line: control characters,
// bytes that are not UTF-8, and characters that are invisible or change the
// direction of writing become visible escapes (\n, \x1b, \u202e).
func clean(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	if harmless(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unsafe(r):
			b.WriteString(escape(r))
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// harmless reports whether s is printable ASCII, which most text is.
func harmless(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// unsafe reports whether a character moves the cursor, starts a sequence,
// breaks the line or changes how its neighbours read. The joiners stay: emoji
// and several scripts need them.
func unsafe(r rune) bool {
	if r >= ' ' && r <= '~' { // nearly all
		return false
	}
	switch r {
	case '\u200c', '\u200d':
		return false
	case '\u2028', '\u2029':
		return true
	}
	return r&0xfffe == 0xfffe || unicode.In(r, unicode.Cc, unicode.Cf) // noncharacters, controls, formats
}

func escape(r rune) string {
	switch r {
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	switch {
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	default:
		return fmt.Sprintf(`\U%08x`, r)
	}
}

// width returns the columns that s takes on a terminal.
func width(s string) int {
	if harmless(s) {
		return len(s)
	}
	return uniseg.StringWidth(s)
}

// prefix returns how many bytes of s, in whole characters as people see them,
// fit into n columns. At least one character always does.
func prefix(s string, n int) int {
	size, used, state := 0, 0, -1
	for rest := s; rest != ""; {
		var cluster string
		var columns int
		cluster, rest, columns, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used += columns; used > n && size > 0 {
			break
		}
		size += len(cluster)
	}
	return size
}

// cut shortens s to n columns; what is missing is told by an ellipsis. No n
// (0 or less) cuts nothing.
func cut(s string, n int) string {
	if n <= 0 || len(s) <= n || width(s) <= n {
		return s
	}
	if n == 1 {
		return "…"
	}
	return s[:prefix(s, n-1)] + "…"
}

// short shortens s to n columns and, for characters made of many, to a number
// of bytes that is in proportion.
func short(s string, n int) string {
	s = cut(s, n)
	if most := 4*n + 4; len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// pad fills s up to n columns with spaces on the right.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-width(s)))
}

// wrapText breaks s at spaces, and inside words that are longer, into lines of
// at most n columns. No n breaks nothing.
func wrapText(s string, n int) []string {
	if n <= 0 || width(s) <= n {
		return []string{s}
	}
	var lines []string
	line, used := "", 0
	for _, word := range strings.Fields(s) {
		w := width(word)
		if line != "" && used+1+w <= n {
			line, used = line+" "+word, used+1+w
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for w > n {
			size := prefix(word, n)
			lines = append(lines, word[:size])
			w -= width(word[:size])
			word = word[size:]
		}
		line, used = word, w
	}
	return append(lines, line)
}

// plural returns "1 check" or "2 checks".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
