package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// maxBadInstances is how many bad checks of one block are reported.
const maxBadInstances = 10

// maker makes the checks of one block of the file, one at a time. What is the
// same in neighbours is kept once, so that a million of them fit into memory.
type maker struct {
	file   *file
	merged *yaml.Node
	kind   *kind
	block  *yaml.Node // of the kind
	key    *yaml.Node // the kind's key
	each   *each
	line   int
	files  map[string]string
	bad    int
	shared shared
	target string // of a module's check; empty in a file
}

// check makes the checks of one item under checks.
func (f *file) check(n *yaml.Node) {
	before := len(f.in.errors.list)
	own := f.templates.resolve(n, nil)
	k := f.kindOf(n, own, f.src.mergeKeys || len(f.in.errors.list) > before)
	if k == nil {
		return
	}
	base := without(f.defaults, func(key string) bool { return key != k.Name && f.in.kind(key) != nil })
	m := &maker{file: f, merged: merge(base, own), kind: k, line: n.Line, files: make(map[string]string)}
	m.block, m.key = placed(lookup(m.merged, k.Name), n, k.Name), lookupKey(m.merged, k.Name)
	m.lintExpectations()
	m.lintSchedule()
	if n := lookup(m.merged, "each"); n != nil {
		if m.each = f.parseEach(n); m.each == nil {
			return
		}
	}
	m.run(n)
}

// placed returns the kind's block of a check as if it stood there. What it
// lacks is missing in the check, not in the template or the defaults that it
// came from.
func placed(block, n *yaml.Node, kind string) *yaml.Node {
	own := lookup(n, kind)
	if block == nil || block.Kind != yaml.MappingNode || own != nil && own.Kind == yaml.MappingNode {
		return block
	}
	at := n
	if own != nil {
		at = lookupKey(n, kind)
	}
	moved := *block
	moved.Line, moved.Column = at.Line, at.Column
	return &moved
}

// kindOf finds the one kind of a check, its templates included. That there is
// none is no news when the cause of it was reported before: a template that is
// missing, or a misspelt kind, which is an unknown key.
func (f *file) kindOf(n, merged *yaml.Node, reported bool) *kind {
	var found *kind
	var first *yaml.Node
	for key := range pairs(merged) {
		k := f.in.kind(key.Value)
		switch {
		case k == nil:
			reported = reported || fieldNamed(fieldsOf(reflect.TypeFor[spec]()), key.Value) == nil
		case found == nil:
			found, first = k, key
		default:
			f.problem(key, fmt.Sprintf("a check has one kind, but this is %s and %s in line %d", k.Name, found.Name, first.Line),
				"make two checks of it")
			return nil
		}
	}
	if found == nil && !reported {
		f.problem(n, "the check has no kind", "give it one of "+strings.Join(f.in.kindNames(), ", "))
	}
	return found
}

// run makes every instance.
func (m *maker) run(n *yaml.Node) {
	in := m.file.in
	count := m.each.count()
	if in.set.Total+in.set.Disabled+count > maxChecks {
		m.file.problem(n, "there are more than "+strconv.Itoa(maxChecks)+" checks", "")
		return
	}
	vars := m.file.scope()
	vars.each, vars.files = m.each, m.files
	if m.each != nil {
		vars.values = make([]eachValue, len(m.each.keys))
	}
	for i := range count {
		if in.stopped() {
			return
		}
		if m.bad >= maxBadInstances {
			m.file.problem(n, fmt.Sprintf("more than %d checks of this block are bad; the others are not shown", maxBadInstances), "")
			return
		}
		if m.each != nil {
			m.each.at(i, vars.values)
		}
		if !m.instance(vars) {
			m.bad++
		}
	}
}

// instance makes one check. It reports whether nothing was wrong.
func (m *maker) instance(vars *scope) bool {
	in := m.file.in
	d := m.file.decoder(vars)
	var h head
	h.Enabled = true
	m.decode(d, &h)
	if d.failed {
		return false
	}
	id, shown, at := h.Name, h.Name, place{m.file.src.name, int32(m.line), int32(m.merged.Column)}
	if name := lookup(m.merged, "name"); name != nil {
		at.line, at.column = int32(name.Line), int32(name.Column)
	}
	if m.each != nil {
		id += suffix(vars.values, false)
		shown += suffix(vars.values, true)
		d.instance = shown
		if len(vars.values) == 1 {
			at = vars.values[0].place
		}
		in.names[h.Name] = true
	}
	if !m.unique(id, shown, at) {
		return false
	}
	if !h.Enabled {
		in.set.Disabled++
		return true
	}
	in.set.Total++
	if in.Filter != nil && !in.Filter(id, h.Name, h.Tags) {
		return true
	}
	c := &check.Check{ID: id, Name: h.Name, Tags: m.shared.tagList(h.Tags), File: m.file.src.name, Line: m.line}
	if !m.complete(c, d) {
		return false
	}
	in.set.Checks = append(in.set.Checks, c)
	return true
}

// unique reports an id that was there before.
func (m *maker) unique(id, shown string, at place) bool {
	ids := m.file.in.ids
	first, twice := ids[id]
	if !twice {
		ids[id] = at
		return true
	}
	p := Problem{File: at.file, Line: int(at.line), Column: int(at.column)}
	message := fmt.Sprintf("the check id %q stands here twice, first at %s", shown, first)
	if at.file == m.file.src.name {
		p = m.file.src.problem(p.Line, p.Column, message, "")
	}
	p.Message, p.Hint = message, "names must be unique, over all files"
	m.file.in.errors.add(p)
	return false
}

// decode fills a part of the spec from the merged block.
func (m *maker) decode(d *decoder, part any) {
	v := reflect.ValueOf(part).Elem()
	fields := fieldsOf(v.Type())
	for i := range fields {
		if n := lookup(m.merged, fields[i].name); n != nil {
			d.value(n, v.FieldByIndex(fields[i].index), &fields[i])
		}
	}
	d.required(m.merged, v, fields, "the check")
	if h, ok := part.(*head); ok && !d.failed && strings.TrimSpace(h.Name) == "" {
		d.errorf(lookup(m.merged, "name"), "", "the name is empty")
	}
}

// complete decodes the rest of a selected check and builds its probe. What the
// kind has to say of its options is reported along with all other errors,
// unless the options cannot even be read.
func (m *maker) complete(c *check.Check, d *decoder) bool {
	options := m.kind.New()
	if !m.aim(d, options) { // before, so that nothing required is missing
		return false
	}
	known := d.deferring(options)
	d.value(m.block, reflect.ValueOf(options), &field{name: m.kind.Name})
	known()
	m.aim(d, options) // and again, because the target wins
	defer func(base *kind) { m.kind = base }(m.kind)
	m.kind = m.kind.of(options)
	readable := !d.failed
	b := newSpec().body
	m.decode(d, &b)
	m.samples(d, &b)
	user := m.expectations(d, &b)
	m.bounds(d, &b)
	m.failingInterval(d, &b)
	c.Schedule = m.schedule(d, &b)
	if !readable {
		return false
	}
	c.Interval, c.Timeout, c.Optional = b.Interval, b.Timeout, b.Optional
	c.IntervalFailing = b.IntervalFailing
	c.Labels = m.shared.labelMap(b.Labels)
	c.Retry, c.Samples = b.Retry.retry(), b.Samples.samples(user, m.at("samples", "pass") == nil)
	m.dependsOn(c, d, b.DependsOn)
	built := m.kind.finish(c, options, d, user, &m.shared, func(option string) *yaml.Node {
		return optionNode(m.block, m.key, option)
	})
	return built && !d.failed
}

func (r retrySpec) retry() check.Retry {
	return check.Retry{Attempts: r.Attempts, Wait: r.Wait, Factor: r.Factor, MaxWait: r.MaxWait}
}

// bounds checks what a type alone does not.
func (m *maker) bounds(d *decoder, b *body) {
	refuse := func(bad bool, message, hint string, path ...string) {
		if bad {
			d.errorf(cmp.Or(m.at(path...), m.at(path[:1]...), m.merged), hint, "%s %s", strings.Join(path, "."), message)
		}
	}
	refuse(b.Interval < minInterval, "must be at least 1s", "", "interval")
	refuse(b.Timeout <= 0, "must be more than 0", "", "timeout")
	refuse(b.Retry.Attempts < 1, "must be at least 1", "1 means no retry", "retry", "attempts")
	refuse(b.Retry.Wait < 0, "must not be negative", "", "retry", "wait")
	refuse(b.Retry.Factor < 1, "must be at least 1", "1 keeps the wait", "retry", "factor")
	refuse(b.Retry.MaxWait < 0, "must not be negative", "", "retry", "max_wait")
	refuse(b.Samples.Count < 1 || b.Samples.Count > MaxSamples, fmt.Sprintf("must be 1 to %d", MaxSamples), "1 means no samples", "samples", "count")
	refuse(b.Samples.Spacing < MinSpacing, "must be at least "+check.FormatDuration(MinSpacing), "", "samples", "spacing")
	refuse(b.Samples.Pass <= 0, "must be above 0%", "for no such bound expect something of pass_rate", "samples", "pass")
	if !d.failed && b.Timeout > b.Interval {
		n := cmp.Or(m.at("timeout"), m.at("interval"), m.merged)
		m.file.in.warnings.add(m.file.src.problem(n.Line, n.Column,
			fmt.Sprintf("the timeout of %s is longer than the interval of %s", check.FormatDuration(b.Timeout), check.FormatDuration(b.Interval)),
			"runs of a check never overlap, so slow ones will be skipped"))
	}
}

// at returns the value of a key of the check, by its path, or nil.
func (m *maker) at(path ...string) *yaml.Node {
	n := m.merged
	for _, name := range path {
		if n = lookup(n, name); n == nil {
			return nil
		}
	}
	return n
}

// optionNode finds the node of an option that a kind complains of, by its path
// such as steps[1].expect, or the nearest one around it.
func optionNode(block, key *yaml.Node, path string) *yaml.Node {
	n, found := block, key
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		var inner *yaml.Node
		if n.Kind == yaml.SequenceNode {
			if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Content) {
				inner = n.Content[i]
			}
		} else {
			inner = lookup(n, name)
		}
		if inner == nil {
			return found
		}
		n, found = inner, inner
	}
	return found
}

// shared keeps what the check before had, to be used again when it is equal.
type shared struct {
	tags     []string
	needed   []string // depends_on
	labels   map[string]string
	secrets  []string
	mask     *check.Mask
	user     []check.Expectation
	needs    func(string) bool
	optional []check.Fact // that the user expects and that need an option
	defaults []check.Default
	all      []check.Expectation
	interval time.Duration // with windows
	windows  []string
	schedule *check.Schedule
}

func (s *shared) tagList(tags []string) []string {
	if !slices.Equal(tags, s.tags) {
		s.tags = tags
	}
	return s.tags
}

func (s *shared) labelMap(labels map[string]string) map[string]string {
	if !maps.Equal(labels, s.labels) {
		s.labels = labels
	}
	return s.labels
}

func (s *shared) maskOf(secrets []string) *check.Mask {
	if !slices.Equal(secrets, s.secrets) {
		s.secrets, s.mask = secrets, check.NewMask(secrets...)
	}
	return s.mask
}
