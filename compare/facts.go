package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Facts holds what was seen as text, by the fact's name; the entries of a map
// have names of their own, such as headers.server.
type Facts map[string]string

// Change is a fact that differs between A and B. What a side did not see is
// empty.
type Change struct {
	Fact string `json:"fact"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// DefaultFacts returns the facts whose changes are shown unless others are
// chosen: how the target answers, not who it is.
func DefaultFacts() []string {
	return []string{
		"status", "version", "content_type", "encoding", "redirects", "tls.version", "tls.cipher", "tls.alpn",
		"cert.issuer", "cert.not_after", "cert.names", "cert.trusted", "rcode", "answers", "cnames", "authenticated",
	}
}

// FactsOf returns the facts of a result that can be compared. Times that were
// taken are not among them: they are what the samples are about.
func FactsOf(facts check.Facts) Facts {
	out := make(Facts, len(facts))
	for name, v := range facts.All() {
		switch v := v.(type) {
		case time.Duration:
		case map[string]string:
			for key, text := range v {
				out[name+"."+key] = text
			}
		default:
			out[name] = text(v)
		}
	}
	return out
}

// text writes a fact's value.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case float64:
		return strconv.FormatFloat(v, 'g', 6, 64)
	case []string:
		// Answers come in any order: name servers rotate them.
		return strings.Join(slices.Sorted(slices.Values(v)), ", ")
	case []any, map[string]any:
		if b, err := json.Marshal(v); err == nil {
			return string(b)
		}
	}
	return fmt.Sprint(v)
}

// Differences returns the chosen facts that are not the same in a and b, by
// name.
func Differences(a, b Facts, chosen func(fact string) bool) []Change {
	names := maps.Clone(a)
	if names == nil {
		names = make(Facts)
	}
	maps.Copy(names, b)
	var changes []Change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if a[name] != b[name] && chosen(name) {
			changes = append(changes, Change{Fact: name, A: a[name], B: b[name]})
		}
	}
	return changes
}
