package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/expect"
)

// kind is a check.Kind with what all its checks share.
type kind struct {
	check.Kind
	facts   []check.Fact
	tests   map[string]compiled
	last    any   // what the kind's Build hands to the next
	derived *kind // the same with facts of one check's own, made last
}

type compiled struct {
	test   check.Test
	sample string // the first fact over a sample that it names; empty for none
	err    *expect.Error
}

// compile compiles an expression once.
func (k *kind) compile(text string) compiled {
	if c, ok := k.tests[text]; ok {
		return c
	}
	test, err := expect.Compile(text, k.facts)
	c := compiled{test: test}
	switch {
	case err == nil:
		c.sample, c.err = k.overSample(text, test)
	case !errors.As(err, &c.err):
		c.err = &expect.Error{Message: err.Error()}
	}
	k.tests[text] = c
	return c
}

// items returns those of a key that takes a list or a single one.
func items(merged *yaml.Node, key string) []*yaml.Node {
	n := lookup(merged, key)
	if n != nil && n.Kind == yaml.SequenceNode {
		return n.Content
	}
	if n != nil && n.Kind == yaml.ScalarNode {
		return []*yaml.Node{n}
	}
	return nil
}

// lintExpectations compiles the expressions that need no values, for checks
// that are disabled or not selected.
func (m *maker) lintExpectations() {
	d := m.file.decoder(nil)
	d.lint = true
	defer func(base *kind) { m.kind = base }(m.kind)
	if m.kind = m.lintOptions(d); m.kind == nil {
		return // what facts there are is not known without values
	}
	for _, level := range []check.Level{check.Expect, check.Prefer} {
		for _, n := range items(m.merged, level.String()) {
			if n.Kind != yaml.ScalarNode || isNull(n) {
				continue
			}
			if e, _, ok := d.text(n); ok {
				m.compile(d, n, e.text, true)
			}
		}
	}
}

// lintOptions looks at the expressions in the options. It returns the kind with the
// facts that they bring along, or nil when these are not known.
func (m *maker) lintOptions(d *decoder) *kind {
	options := m.kind.New()
	linter, ok := options.(check.Linter)
	if !ok {
		if _, own := options.(check.FactLister); own {
			return nil
		}
		return m.kind
	}
	shape := m.file.decoder(m.file.scope())
	shape.lint, shape.report = true, func(*yaml.Node, int, string, string) {} // it was reported
	end := shape.deferring(options)
	if m.block != nil {
		shape.value(m.block, reflect.ValueOf(options), &field{name: m.kind.Name})
	}
	end()
	if shape.failed {
		return nil
	}
	known, err := linter.Lint(compileFor)
	for _, e := range check.OptionErrors(err) {
		d.failOption(optionNode(m.block, m.key, e.Option), e)
	}
	if !known {
		return nil
	}
	return m.kind.of(options)
}

// compile compiles an expression and reports one that is wrong, or that needs
// samples where there are none.
func (m *maker) compile(d *decoder, n *yaml.Node, text string, samples bool) (compiled, bool) {
	c := m.kind.compile(text)
	err := c.err
	if err == nil && c.sample != "" && !samples {
		err = needsSamples(text, c.sample, "give the check samples: {count: 30}")
	}
	if err == nil {
		return c, true
	}
	if text == n.Value {
		d.fail(n, err.Offset, err.Message, err.Hint)
		return c, false
	}
	d.failExpanded(n, text, err.Message, err.Hint)
	return c, false
}

// expectations compiles what the user expects and prefers.
func (m *maker) expectations(d *decoder, b *body) []check.Expectation {
	var list []check.Expectation
	for _, level := range []check.Level{check.Expect, check.Prefer} {
		texts := b.Expect
		if level == check.Prefer {
			texts = b.Prefer
		}
		for i, n := range items(m.merged, level.String()) {
			if d.failed && (i >= len(texts) || texts[i] == "") {
				continue // it was reported
			}
			if c, ok := m.compile(d, n, texts[i], b.Samples.Count > 1); ok {
				m.warnOfFew(d, n, texts[i], c.test, b.Samples.Count)
				list = append(list, check.Expectation{
					Text: texts[i], Level: level, Test: c.test, Sample: c.sample != "", File: m.file.src.name, Line: n.Line,
				})
			}
		}
	}
	return list
}

// needs tells which facts are asked for, by an expectation or by the caller.
func (in *load) needs(s *shared) func(fact string) bool {
	if len(in.Needs) == 0 {
		return s.needs
	}
	return func(fact string) bool { return s.needs(fact) || slices.Contains(in.Needs, fact) }
}

// finish builds the probe and what hangs on it. Errors go to the node that at
// finds for an option. It reports whether all went well.
func (k *kind) finish(c *check.Check, options check.Options, d *decoder, user []check.Expectation, s *shared, at func(option string) *yaml.Node) bool {
	in := d.load
	s.setUser(user, k.facts)
	complete := true
	for _, f := range s.optional {
		if option, ok := lacks(options, f.Option); ok {
			d.fail(at(option), whole, "an expectation names "+f.Name+", which is never there without "+f.Option, "set it, or leave the expectation out")
			complete = false
		}
	}
	if !complete {
		return false
	}
	plan, err := options.Build(check.Setup{Needs: in.needs(s), Getenv: in.getenv, Version: in.Version, Compile: compileFor, Last: &k.last})
	d.secrets = append(d.secrets, plan.Secrets...)
	if err != nil {
		for _, e := range check.OptionErrors(err) {
			d.failOption(at(e.Option), e)
		}
		return false
	}
	if err := s.addDefaults(k, plan.Defaults); err != nil {
		d.fail(at(""), whole, err.Error(), "this is a defect of sonde, please report it")
		return false
	}
	c.Kind, c.FactList = k.Name, k.facts
	c.Probe, c.Expectations = plan.Probe, s.all
	c.Mask = s.maskOf(d.secrets)
	c.Target = plan.Target
	if masked := c.Mask.String(hidePassword(plan.Target)); masked != plan.Target {
		c.Target = masked // otherwise the string is kept once, with the probe's
	}
	return true
}

func sameExpectation(a, b check.Expectation) bool {
	return a.Text == b.Text && a.Level == b.Level && a.File == b.File && a.Line == b.Line
}

// setUser sets the expectations of the user and what needs says of them.
func (s *shared) setUser(user []check.Expectation, declared []check.Fact) {
	if s.needs != nil && slices.EqualFunc(user, s.user, sameExpectation) {
		return
	}
	facts := make(map[string]bool)
	for _, e := range user {
		for _, fact := range e.Test.Facts() {
			facts[fact] = true
		}
	}
	s.user, s.all = user, nil
	s.needs = func(fact string) bool { return facts[fact] }
	s.optional = nil
	for _, f := range declared {
		if f.Option != "" && facts[f.Name] {
			s.optional = append(s.optional, f)
		}
	}
}

// lacks reports whether the options lack what a fact needs, such as
// "family: both" or "ping", and which option that is.
func lacks(options check.Options, needed string) (option string, lacking bool) {
	option, value, exact := strings.Cut(needed, ": ")
	v := reflect.ValueOf(options).Elem()
	f := fieldNamed(fieldsOf(v.Type()), option)
	if f == nil {
		return "", true
	}
	v = v.FieldByIndex(f.index)
	return option, exact && fmt.Sprint(v) != value || !exact && v.IsZero()
}

// addDefaults puts the kind's expectations before the user's.
func (s *shared) addDefaults(k *kind, defaults []check.Default) error {
	if s.all != nil && slices.Equal(defaults, s.defaults) {
		return nil
	}
	all, err := check.WithDefaults(defaults, s.user, func(text string) (check.Test, error) {
		compiled := k.compile(text)
		if compiled.err != nil {
			return nil, fmt.Errorf("the kind %s expects %q by default, which is wrong: %s", k.Name, text, compiled.err.Message)
		}
		return compiled.test, nil
	})
	if err != nil {
		return err
	}
	s.defaults, s.all = defaults, all
	return nil
}
