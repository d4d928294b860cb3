package check

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// Masked is what stands in place of a secret.
const Masked = "***"

// minSecret is the shortest secret that is searched for inside other text, in
// bytes. A shorter one would blank out half of every output.
const minSecret = 3

// Mask hides secrets in text, in each form in which they can turn up: plain,
// URL-escaped, JSON-escaped and base64. The nil Mask hides nothing. It is safe
// for concurrent use.
type Mask struct {
	replace *strings.Replacer
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
	return &Mask{replace: strings.NewReplacer(pairs...)}
}

func spellings(s string) []string {
	quoted, err := json.Marshal(s)
	if err != nil { // cannot happen for a string
		quoted = []byte(`""`)
	}
	std, raw := base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s))
	all := []string{s, url.QueryEscape(s), url.PathEscape(s), string(quoted[1 : len(quoted)-1]), std, strings.TrimRight(std, "="), raw}
	return slices.DeleteFunc(all, func(f string) bool { return len(f) < minSecret })
}

// String returns s with every secret replaced by [Masked].
func (m *Mask) String(s string) string {
	if m == nil || s == "" {
		return s
	}
	return m.replace.Replace(s)
}
