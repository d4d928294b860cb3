package check

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Masked is what stands in place of a secret.
const Masked = "***"

// minSecret is the shortest secret that is searched for inside other text, in
// bytes. A shorter one would blank out half of every output.
const minSecret = 3

// Hidden returns what stands in a secret's own place in a text that a Mask of it
// goes over later: form, which is the secret as it is written there, or [Masked]
// where the secret is too short for the Mask to search for.
func Hidden(secret, form string) string {
	if n := len(strings.TrimSpace(secret)); n > 0 && n < minSecret {
		return Masked
	}
	return form
}

// Mask hides secrets in text, in each form in which they can turn up: plain,
// URL-escaped, quoted for JSON, Go or a shell, base64, hexadecimal, and with dots for what is not
// printable. The nil Mask hides nothing. It is safe
// for concurrent use.
type Mask struct {
	replace *strings.Replacer
	forms   []string
	secrets []string // what it was made of
}

// NewMask returns a Mask of the secrets; empty and very short ones are left
// out. It returns nil when none remains.
func NewMask(secrets ...string) *Mask {
	var forms []string
	for _, s := range secrets {
		for _, part := range append([]string{s}, strings.Split(s, "\n")...) {
			if part = strings.TrimSpace(part); len(part) >= minSecret {
				forms = append(forms, spellings(part)...)
			}
		}
	}
	if len(forms) == 0 {
		return nil
	}
	slices.Sort(forms)
	forms = slices.Compact(forms)
	// The longest first, so that a secret inside another does not leave a rest.
	slices.SortStableFunc(forms, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		pairs = append(pairs, f, Masked)
	}
	return &Mask{replace: strings.NewReplacer(pairs...), forms: forms, secrets: secrets}
}

// With returns a Mask that hides more secrets too. It is made anew rather than
// put behind m, for one secret can be a part of another.
func (m *Mask) With(more ...string) *Mask {
	switch {
	case len(more) == 0:
		return m
	case m == nil:
		return NewMask(more...)
	default:
		return NewMask(slices.Concat(m.secrets, more)...)
	}
}

func spellings(s string) []string {
	quoted, err := json.Marshal(s)
	if err != nil { // cannot happen for a string
		quoted = []byte(`""`)
	}
	std, raw := base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s))
	all := []string{
		s, url.QueryEscape(s), url.PathEscape(s), inner(string(quoted)), inner(strconv.Quote(s)), dotted(s),
		strings.ReplaceAll(s, "'", `'\''`),
		ShellEscaped(s),
		std, strings.TrimRight(std, "="), raw, hex.EncodeToString([]byte(s)),
	}
	return slices.DeleteFunc(all, func(f string) bool { return len(f) < minSecret })
}

// inner takes the quotes off.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// ShellEscaped is s as it stands in $'...', the quotes of bash, zsh and ksh. A
// shell that does not know them, such as dash, takes it for a text in plain quotes:
// a single quote in it ends them in none.
func ShellEscaped(s string) string {
	var out strings.Builder
	for at := 0; at < len(s); {
		r, size := utf8.DecodeRuneInString(s[at:])
		switch short := strings.IndexRune("\n\r\t\\", r); {
		case short >= 0:
			out.WriteString([]string{`\n`, `\r`, `\t`, `\\`}[short])
		case r == '\'', r == utf8.RuneError && size == 1, !unicode.IsPrint(r):
			for _, b := range []byte(s[at : at+size]) {
				fmt.Fprintf(&out, `\%03o`, b)
			}
		default:
			out.WriteString(s[at : at+size])
		}
		at += size
	}
	return out.String()
}

// dotted is s as an excerpt of foreign bytes shows it.
func dotted(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, s)
}

// String returns s with every secret replaced by [Masked], and so the begin of a
// secret that an ellipsis cuts short.
func (m *Mask) String(s string) string {
	if m == nil || s == "" {
		return s
	}
	s = m.replace.Replace(s)
	if !strings.Contains(s, ellipsis) {
		return s
	}
	parts := strings.Split(s, ellipsis)
	for i := range parts[:len(parts)-1] {
		parts[i] = m.withoutBegin(parts[i])
	}
	return strings.Join(parts, ellipsis)
}

// withoutBegin masks the longest begin of a secret at the end of s.
func (m *Mask) withoutBegin(s string) string {
	longest := 0
	for _, form := range m.forms {
		for n := min(len(form), len(s)); n > longest && n >= minSecret; n-- {
			if strings.HasSuffix(s, form[:n]) {
				longest = n
			}
		}
	}
	if longest == 0 {
		return s
	}
	return s[:len(s)-longest] + Masked
}
