// Package expect is the language of expectations: one boolean expression over
// the facts that a kind observes, such as
//
//	status in [2xx, 301] && latency < 800ms
//
// [Compile] checks names and types against the kind's declarations, so that a
// mistake shows when the file is loaded and not at night. Comparisons of a fact
// with a literal are evaluated here; everything else runs on
// github.com/expr-lang/expr, with the time and memory of a run bounded.
package expect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/parser"

	"github.com/sonde-cli/sonde/check"
)

// Limits of an expression's text.
const (
	maxText    = 4096 // bytes
	maxNesting = 50   // brackets inside each other
	maxSides   = 64   // comparisons joined by and, or
)

// Error is what is wrong with an expression.
type Error struct {
	Offset  int // in bytes, into the expression's text
	Message string
	Hint    string // what to do, may be empty
}

// Error returns the message and the hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + ", " + e.Hint
}

func errorf(offset int, format string, args ...any) *Error {
	return &Error{Offset: offset, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) hint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Compile compiles an expression against a kind's facts, the common ones
// included. The error is always an *[Error].
func Compile(text string, facts []check.Fact) (check.Test, error) {
	t, err := compile(text, facts)
	if err != nil { // not returned directly: a nil *Error is no nil error
		err.Offset = min(max(err.Offset, 0), len(text))
		return nil, err
	}
	return t, nil
}

func compile(text string, facts []check.Fact) (*test, *Error) {
	src, err := scan(text)
	if err != nil {
		return nil, err
	}
	tree, perr := parser.Parse(src.rewritten)
	if perr != nil {
		return nil, src.syntaxError(perr)
	}
	r := &resolver{src: src, facts: facts}
	root, err := r.node(tree.Node)
	if err != nil {
		return nil, err
	}
	if len(r.paths) == 0 {
		return nil, errorf(0, "the expression names no fact").hint("compare a fact with what you want, such as latency < 800ms")
	}
	b := &builder{src: src, paths: r.paths}
	n, err := b.build(root, false)
	if err != nil {
		return nil, err
	}
	return newTest(n, r.paths), nil
}

// test is a compiled expression.
type test struct {
	root  node
	only  *comparison // root, when it is one comparison: the fast path
	paths []*path
	facts []string
}

func newTest(root node, paths []*path) *test {
	t := &test{root: root, paths: paths}
	t.only, _ = root.(*comparison)
	for _, p := range paths {
		if !slices.Contains(t.facts, p.fact.Name) {
			t.facts = append(t.facts, p.fact.Name)
		}
	}
	return t
}

// Facts returns the names of the declared facts that the expression names.
func (t *test) Facts() []string { return t.facts }

// Eval evaluates the expression on the facts that lookup knows.
func (t *test) Eval(lookup func(fact string) (any, bool)) check.Outcome {
	got := make(map[string]any, len(t.paths))
	if t.only != nil {
		s := t.only.path.sight(lookup)
		got[t.only.path.text] = s.value
		return t.outcome(got, t.only.judge(s))
	}
	seen := make([]sight, len(t.paths))
	for i, p := range t.paths {
		seen[i] = p.sight(lookup)
		got[p.text] = seen[i].value
	}
	return t.outcome(got, t.root.eval(seen))
}

func (t *test) outcome(got map[string]any, f *fault) check.Outcome {
	if f == nil {
		return check.Outcome{OK: true, Got: got}
	}
	return check.Outcome{Got: got, Fact: cmp.Or(f.fact, t.facts[0]), Missing: f.missing, Message: f.message}
}

// fault says why an expression does not hold.
type fault struct {
	fact    string
	missing bool // the fact was not observed
	message string
}

// joinFaults makes one fault of those of all sides of an "or". A side that was
// seen to fail explains more than one whose fact is missing.
func joinFaults(faults []*fault) *fault {
	best := faults[0]
	words := make([]string, len(faults))
	for i, f := range faults {
		if words[i] = f.message; best.missing && !f.missing {
			best = f
		}
	}
	return &fault{fact: best.fact, missing: best.missing, message: strings.Join(words, ", and ")}
}
