package probes

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/nearest"
)

// factPath is a fact with steps into its value: json.items[0].id.
type factPath struct {
	fact  check.Fact
	steps []any // string or int
	text  string
}

// hintedError is an error with what to do about it.
type hintedError struct {
	error
	hint string
}

func hinted(hint, format string, args ...any) error {
	return &hintedError{fmt.Errorf(format, args...), hint}
}

// parseFactPath reads the path of a fact. After a dot comes any name up to the next
// dot or bracket, hyphens included, and in brackets an index or a name in quotes.
func parseFactPath(text string) (*factPath, error) {
	parts, dots, err := splitPath(text)
	if err != nil {
		return nil, err
	}
	facts := stepFacts()
	for n := dots; n > 0; n-- {
		name := joinNames(parts[:n])
		i := slices.IndexFunc(facts, func(f check.Fact) bool { return f.Name == name })
		if i < 0 {
			continue
		}
		p := &factPath{fact: facts[i], steps: parts[n:], text: text}
		return p, p.fits()
	}
	first := joinNames(parts[:1])
	hint := nearest.To(first, factNames(facts))
	if hint != "" {
		hint = "did you mean " + hint + strings.TrimPrefix(text, first) + "?"
	}
	return nil, hinted(hint, "there is no fact %s", excerpt([]byte(text)))
}

func factNames(facts []check.Fact) []string {
	names := make([]string, len(facts))
	for i, f := range facts {
		names[i] = f.Name
	}
	return names
}

func joinNames(parts []any) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i], _ = p.(string)
	}
	return strings.Join(names, ".")
}

// splitPath returns the parts of a path, of which so many at its beginning are
// names after dots.
func splitPath(text string) (parts []any, dots int, err error) {
	bad := fmt.Errorf("%s is no path such as json.items[0].id", excerpt([]byte(text)))
	for rest := text; rest != ""; {
		switch {
		case rest[0] == '[':
			inside, after, ok := strings.Cut(rest[1:], "]")
			quoted := len(inside) > 2 && inside[0] == '\'' && inside[len(inside)-1] == '\''
			i, err := strconv.Atoi(inside)
			switch {
			case !ok, len(parts) == 0, !quoted && err != nil:
				return nil, 0, bad
			case quoted:
				parts = append(parts, inside[1:len(inside)-1])
			default:
				parts = append(parts, i)
			}
			rest = after
			continue
		case rest[0] == '.' && len(parts) > 0:
			rest = rest[1:]
		case len(parts) > 0:
			return nil, 0, bad
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return nil, 0, bad
		}
		if dots == len(parts) {
			dots++
		}
		parts = append(parts, rest[:end])
		rest = rest[end:]
	}
	if len(parts) == 0 {
		return nil, 0, errors.New("it names no fact")
	}
	return parts, dots, nil
}

// fits checks that the fact's type has the steps.
func (p *factPath) fits() error {
	isName := func(i int) bool { _, ok := p.steps[i].(string); return ok }
	n := len(p.steps)
	switch p.fact.Type {
	case check.Any:
		return nil
	case check.Map:
		if n == 1 && isName(0) {
			return nil
		}
		return fmt.Errorf("%s is a map, of which one name is wanted, such as %s.x", p.fact.Name, p.fact.Name)
	case check.Strings:
		if n == 1 && !isName(0) {
			return nil
		}
		return fmt.Errorf("%s is a list, of which one item is wanted, such as %s[0]", p.fact.Name, p.fact.Name)
	case check.Duration, check.Time:
		return fmt.Errorf("%s is a %s, which is no text to send", p.fact.Name, p.fact.Type)
	}
	if n > 0 {
		return fmt.Errorf("%s has no member %v", p.fact.Name, p.steps[0])
	}
	return nil
}

// value is a value that was seen, as text, and whether it was a text to begin with.
type value struct {
	text   string
	isText bool
}

// of returns the path's value in an observation.
func (p *factPath) of(o *check.Observation) (value, error) {
	v, ok := o.Fact(p.fact.Name)
	if !ok {
		if why, known := o.Because[p.fact.Name]; known {
			return value{}, errors.New(why.Message)
		}
		return value{}, fmt.Errorf("%s was not observed", p.fact.Name)
	}
	for _, s := range p.steps {
		v = memberOf(v, s)
	}
	v = p.exact(v, o)
	text, isText := v.(string)
	switch v := v.(type) {
	case nil:
		return value{}, fmt.Errorf("%s is missing", p.text)
	case string:
	case json.Number:
		text = v.String()
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	case bool, int:
		text = fmt.Sprint(v)
	default:
		encoded, err := json.Marshal(v)
		if err != nil {
			return value{}, fmt.Errorf("%s: %w", p.text, err)
		}
		text = string(encoded)
	}
	if len(text) > maxReferenced {
		return value{}, fmt.Errorf("%s is larger than %s", p.text, check.Size(maxReferenced))
	}
	return value{text, isText}, nil
}

// exact returns a value of JSON with its numbers as they were sent: a number that
// counts orders can have more digits than the fact holds.
func (p *factPath) exact(v any, o *check.Observation) any {
	switch number := v.(type) {
	case float64:
		if math.Abs(number) < 1<<53 {
			return v
		}
	case map[string]any, []any:
	default:
		return v
	}
	body, _ := o.Facts.Get("body").(string)
	if p.fact.Name != "json" || body == "" {
		return v
	}
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	var again any
	if decoder.Decode(&again) != nil {
		return v
	}
	for _, s := range p.steps {
		again = memberOf(again, s)
	}
	return again
}

// memberOf goes one step into a value; nil when it leads nowhere. Names of header
// fields have no case.
func memberOf(v, s any) any {
	switch v := v.(type) {
	case map[string]any:
		if key, ok := s.(string); ok {
			return v[key]
		}
	case map[string]string:
		key, _ := s.(string)
		for k, text := range v {
			if k == key || strings.EqualFold(k, key) {
				return text
			}
		}
	case []any:
		if i, ok := s.(int); ok && i >= 0 && i < len(v) {
			return v[i]
		}
	case []string:
		if i, ok := s.(int); ok && i >= 0 && i < len(v) {
			return v[i]
		}
	}
	return nil
}

// secret reports whether a value is to be hidden: by the names that lead to it, or
// because it looks like a token.
func (p *factPath) secret(v value) bool {
	for _, s := range p.steps {
		if name, ok := s.(string); ok && secretName(name) {
			return true
		}
	}
	return tokenLike(v.text)
}

func secretName(name string) bool { return sensitiveHeader(name) || sensitiveParameter(name) }

// tokenLike reports whether a text has the looks of a token: long, in one piece,
// and no URL.
func tokenLike(text string) bool {
	return len(text) >= 16 && !strings.ContainsAny(text, " \t\r\n{}<>") && !strings.Contains(text, "://") && text[0] != '/'
}

// reference is one ${steps.NAME.PATH} in a text of a step's options.
type reference struct {
	name string // all of it, without the dollar sign and the braces
	step *step
	path *factPath
}

// resolveReference finds what a reference stands for. Before are the steps that
// have been made by then, after those that have not.
func resolveReference(name string, before, after []*step) (*reference, error) {
	stepName, path, ok := strings.Cut(strings.TrimPrefix(name, "steps."), ".")
	if !ok {
		return nil, hinted("write ${steps.NAME.FACT}", "%s names no fact of the step", name)
	}
	named := func(s *step) bool { return s.name == stepName }
	i := slices.IndexFunc(before, named)
	if i < 0 {
		if slices.ContainsFunc(after, named) {
			return nil, fmt.Errorf("the step %s has not been made by then", stepName)
		}
		names := make([]string, len(before))
		for i, s := range before {
			names[i] = s.name
		}
		hint := nearest.To(stepName, names)
		if hint != "" {
			hint = "did you mean " + hint + "?"
		}
		return nil, hinted(hint, "there is no step %s before", excerpt([]byte(stepName)))
	}
	parsed, err := parseFactPath(path)
	if err != nil {
		return nil, err
	}
	r := &reference{name: name, step: before[i], path: parsed}
	return r, r.captured()
}

// captured checks that a capture of the step is meant where captures are.
func (r *reference) captured() error {
	if r.path.fact.Name != "captures" {
		return nil
	}
	name := r.path.steps[0].(string)
	names := r.step.captureNames()
	if slices.Contains(names, name) {
		return nil
	}
	hint := nearest.To(name, names)
	if hint != "" {
		hint = "did you mean " + hint + "?"
	}
	return hinted(hint, "the step %s captures no %s", r.step.name, excerpt([]byte(name)))
}
