package probes

import "strings"

// shellLine is a command's words, quoted for a shell as they are added.
type shellLine []string

func (c *shellLine) add(words ...string) {
	for _, w := range words {
		*c = append(*c, shellQuote(w))
	}
}

// String returns the command as one line.
func (c *shellLine) String() string { return strings.Join(*c, " ") }

// shellQuote quotes a word for a POSIX shell, or with $'...' for bash, zsh and
// ksh where the word has line breaks.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_./:@%+=,", r)
	}
	switch {
	case s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0:
		return s
	case strings.ContainsAny(s, "\n\r\t"):
		return "$'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + "'"
	default:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
}
