package probes

import (
	"encoding/hex"
	"strings"
	"unicode"

	"github.com/sonde-cli/sonde/check"
)

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
// ksh where the word has line breaks or other characters that no line shows.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_./:@%+=,", r)
	}
	switch {
	case s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0:
		return s
	case !printable(s) || strings.ContainsAny(s, "\n\r\t"):
		return "$'" + check.ShellEscaped(s) + "'"
	default:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
}

// printed is a command that prints text, for another to read.
func printed(text string) string {
	c := shellLine{}
	if printable(text) {
		c.add("printf", "%s", text)
		return c.String()
	}
	c.add("echo", hex.EncodeToString([]byte(text)))
	return c.String() + " | xxd -r -p"
}

// printable reports whether a shell can hold s as it is.
func printable(s string) bool {
	for _, r := range s {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
	}
	return true
}

// hidden is a secret as a line to reproduce shows it in its own place.
func hidden(secret string) string { return check.Hidden(secret, secret) }

// shown is the field's value as a line to reproduce has it.
func (f *field) shown() string {
	if sensitiveHeader(f.name) {
		return hidden(f.value)
	}
	return f.value
}

// unescaped is a statement that a database's client takes for one to the server: at
// its begin, a backslash would make a command of the client's own of it.
func unescaped(statement string) string {
	if strings.HasPrefix(statement, `\`) {
		return " " + statement
	}
	return statement
}
