package config

import (
	"errors"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/expect"
)

// deferring lets the options' texts hold references that their kind expands in a
// run. The function returned ends that.
func (d *decoder) deferring(options check.Options) (end func()) {
	if o, ok := options.(check.Deferring); ok {
		d.vars.defers = o.Defers()
	}
	return func() { d.vars.defers = "" }
}

// deferred counts the references that are left to the run.
func (t template) deferred() int {
	n := 0
	for _, p := range t {
		if p.ref != nil && p.ref.deferred {
			n++
		}
	}
	return n
}

func isDeferred(text string) bool { return len(check.Deferred(text)) > 1 }

// noDeferral refuses what would pass for more deferred references than there are.
func (d *decoder) noDeferral(n *yaml.Node, text string, deferred int) bool {
	if d.vars == nil || d.vars.defers == "" || len(check.Deferred(text)) == 1+2*deferred {
		return true
	}
	d.errorf(n, "", "the text holds the noncharacter U+FDD0, which has no place here")
	return false
}

// of returns the kind with the facts that the options bring along.
func (k *kind) of(options check.Options) *kind {
	lister, ok := options.(check.FactLister)
	if !ok {
		return k
	}
	facts := append(k.AllFacts(), lister.ListFacts()...)
	if k.derived == nil || !slices.Equal(facts, k.derived.facts) {
		k.derived = &kind{Kind: k.Kind, facts: facts, tests: make(map[string]compiled)}
	}
	return k.derived
}

// compileFor compiles an expectation that stands in the options of a kind.
func compileFor(text string, facts []check.Fact) (check.Test, error) {
	test, err := expect.Compile(text, facts)
	var wrong *expect.Error
	if errors.As(err, &wrong) {
		return nil, &check.OptionError{Err: errors.New(wrong.Message), Hint: wrong.Hint, Text: text, Offset: wrong.Offset}
	}
	return test, err
}

// failOption reports what a kind finds wrong with an option.
func (d *decoder) failOption(n *yaml.Node, e *check.OptionError) {
	if inner, offset := holding(n, e.Text); inner != nil && n.Kind != yaml.ScalarNode {
		d.fail(inner, offset+e.Offset, e.Err.Error(), e.Hint)
		return
	}
	switch {
	case e.Text == "":
		d.fail(n, whole, e.Error(), e.Hint)
	case e.Text == n.Value:
		d.fail(n, e.Offset, e.Err.Error(), e.Hint)
	default:
		d.failExpanded(n, e.Text, e.Err.Error(), e.Hint)
	}
}

// holding returns the first scalar in n that holds the text, and where; nil for none.
func holding(n *yaml.Node, text string) (scalar *yaml.Node, offset int) {
	if n.Kind == yaml.ScalarNode {
		if i := strings.Index(n.Value, text); i >= 0 && text != "" {
			return n, i
		}
	}
	for _, inner := range n.Content {
		if scalar, offset = holding(inner, text); scalar != nil {
			return scalar, offset
		}
	}
	return nil, 0
}

// failExpanded reports an error in a text that is not as it stands in the file. An
// offset into it means nothing there, and the message may quote a part of a
// secret, of which a mask knows only the whole.
func (d *decoder) failExpanded(n *yaml.Node, text, message, hint string) {
	if slices.ContainsFunc(d.secrets, func(secret string) bool { return secret != "" && strings.Contains(text, secret) }) {
		d.fail(n, whole, "with its references filled in, this is no valid expression", "write a value with quotes in it in another way, for it is not escaped")
		return
	}
	d.fail(n, whole, message, hint)
}
