package expect

import (
	"strconv"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// path is a fact as an expression names it: the declared fact and the steps
// into its value, as in json.items[0].name or headers['server'].
type path struct {
	fact  check.Fact
	steps []any  // string or int
	text  string // in one spelling, the key of Outcome.Got
	index int    // among the test's paths
}

func newPath(fact check.Fact, steps []any) *path {
	p := &path{fact: fact, steps: steps}
	var b strings.Builder
	b.WriteString(fact.Name)
	for _, s := range steps {
		switch s := s.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(s) + "]")
		case string:
			if wordStart(s) && wordEnd(s, 0) == len(s) {
				b.WriteString("." + s)
			} else {
				b.WriteString("[" + literalText(s) + "]")
			}
		}
	}
	p.text = b.String()
	return p
}

// valueType returns the type of what the path leads to.
func (p *path) valueType() check.Type {
	switch {
	case len(p.steps) == 0 || p.fact.Type == check.Any:
		return p.fact.Type
	default: // an element of a list or map of strings
		return check.String
	}
}

// sight is what was seen of a path.
type sight struct {
	value any  // nil when there is none
	fact  bool // the fact was observed, even if the path leads nowhere
}

// sight looks the path's value up.
func (p *path) sight(lookup func(string) (any, bool)) sight {
	v, ok := lookup(p.fact.Name)
	if !ok {
		return sight{}
	}
	for _, s := range p.steps {
		if v = step(v, s); v == nil {
			break
		}
	}
	return sight{value: v, fact: true}
}

// unknown reports whether the path leads into a fact that was not observed. Such
// a member is not absent, for nothing is known of it.
func (p *path) unknown(s sight) bool { return !s.fact && len(p.steps) > 0 }

// absent words that the path has no value.
func (p *path) absent(s sight) *fault {
	if !s.fact {
		return &fault{fact: p.fact.Name, missing: true, message: p.fact.Name + " was not observed"}
	}
	return &fault{fact: p.fact.Name, message: p.text + " is missing"}
}

// step goes one step into a value; nil when it leads nowhere. The keys of a map
// of strings are found in any case, because those of HTTP headers have none.
func step(v, s any) any {
	switch v := v.(type) {
	case map[string]any:
		if key, ok := s.(string); ok {
			return v[key]
		}
	case map[string]string:
		key, ok := s.(string)
		if !ok {
			return nil
		}
		if text, ok := v[key]; ok {
			return text
		}
		for k, text := range v {
			if strings.EqualFold(k, key) {
				return text
			}
		}
	case []any:
		if i, ok := position(s, len(v)); ok {
			return v[i]
		}
	case []string:
		if i, ok := position(s, len(v)); ok {
			return v[i]
		}
	}
	return nil
}

// position resolves an index, which counts from the end when negative.
func position(s any, n int) (int, bool) {
	i, ok := s.(int)
	if i < 0 {
		i += n
	}
	return i, ok && i >= 0 && i < n
}
