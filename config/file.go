package config

import (
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// file is one file while its checks are made.
type file struct {
	in        *load
	src       *source
	defaults  *yaml.Node
	templates templateSet
}

func (in *load) loadFile(path string) {
	known := len(in.ids)
	defer func() { in.nameless = in.nameless || len(in.ids) == known }()
	src, p := in.read(path)
	if p != nil {
		in.errors.add(*p)
		return
	}
	in.set.Files = append(in.set.Files, src.name)
	in.errors.order(src.name)
	in.warnings.order(src.name)
	src.secretKeys, src.shownMaps = in.tellingKeys()
	before := len(in.errors.list)
	src.parse(in.errors.add, in.errors.full)
	if src.root == nil || src.root.Kind == yaml.MappingNode && len(src.root.Content) == 0 && len(in.errors.list) > before {
		return
	}
	f := &file{in: in, src: src}
	f.load()
	f.warnOfReaders()
}

// warnOfReaders warns of a secret in a file that others may read, as ssh does
// of its keys.
func (f *file) warnOfReaders() {
	if f.src.open == 0 {
		return
	}
	if found := f.src.literalSecrets(); found != nil && found.first != nil {
		n := found.first
		f.in.warnings.add(f.src.problem(n.Line, n.Column, "a secret stands in a file that others may read",
			"chmod go-r "+f.src.name+", or name it: ${VAR} or ${file:PATH}"))
	}
}

// tellingKeys returns the names of all options tagged secret, and of all maps of
// which no value is a secret, whatever its key is called.
func (in *load) tellingKeys() (secret, shown map[string]bool) {
	secret, shown = make(map[string]bool), make(map[string]bool)
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t == regexpType.Elem() {
			return
		}
		for _, f := range fieldsOf(t) {
			if f.secret {
				secret[f.name] = true
			}
			if f.shown && f.typ.Kind() == reflect.Map {
				shown[f.name] = true
			}
			walk(f.typ)
		}
	}
	for _, k := range in.kinds {
		walk(reflect.TypeOf(k.New()))
	}
	return secret, shown
}

func (f *file) problem(n *yaml.Node, message, hint string) {
	f.in.errors.add(f.src.problem(n.Line, n.Column, message, hint))
}

// load reads the top level, then templates, then checks.
func (f *file) load() {
	root := f.src.root
	if root.Kind != yaml.MappingNode {
		f.problem(root, "a file of checks must be a map of keys and values, not "+describe(root), emptyHint)
		return
	}
	for key := range pairs(root) {
		if f.in.errors.full() {
			return
		}
		if known := fileKeys(); !contains(known, key.Value) {
			f.problem(key, fmt.Sprintf("unknown key %q in the file", key.Value), f.topLevelHint(key.Value, known))
		}
	}
	f.version(root)
	f.loadLimits(lookup(root, "limits"))
	f.loadDefaults(lookup(root, "defaults"))
	f.loadTemplates(lookup(root, "templates"))
	if f.in.Modules {
		f.modules()
	}
	f.loadChecks(root)
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// topLevelHint helps with a check's key that lost its indentation.
func (f *file) topLevelHint(key string, known []string) string {
	if contains(f.checkKeys(), key) {
		return key + " belongs into a check or into defaults"
	}
	return suggest(key, known)
}

func (f *file) version(root *yaml.Node) {
	n := lookup(root, "version")
	if n == nil {
		f.problem(root, "the file has no version", "begin it with version: 1")
		return
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Value != "1" {
		shown := describe(n)
		if n.Kind == yaml.ScalarNode && !isNull(n) {
			shown = fmt.Sprintf("%q", n.Value)
		}
		f.problem(n, "the version must be 1, not "+shown, "this sonde reads version: 1")
	}
}

func (f *file) loadDefaults(n *yaml.Node) {
	if n == nil || isNull(n) {
		return
	}
	if f.lint(n, "defaults", "name", "use", "each") {
		f.defaults = without(n, func(key string) bool { return key == "name" || key == "use" || key == "each" })
	}
}

func (f *file) loadTemplates(n *yaml.Node) {
	f.templates = templateSet{file: f, nodes: make(map[string]*yaml.Node), done: make(map[string]*yaml.Node)}
	if n == nil || isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		f.problem(n, "templates must be a map of names and templates, not "+describe(n), "")
		return
	}
	for key, value := range pairs(n) {
		if f.lint(value, fmt.Sprintf("the template %q", key.Value), "name") {
			f.templates.nodes[key.Value] = without(value, func(key string) bool { return key == "name" })
		}
	}
	for key, value := range pairs(n) {
		if f.templates.nodes[key.Value] != nil && f.templates.done[key.Value] == nil {
			f.templates.named(&yaml.Node{Kind: yaml.ScalarNode, Value: key.Value, Line: value.Line, Column: value.Column}, nil)
		}
	}
}

func (f *file) loadChecks(root *yaml.Node) {
	n := lookup(root, "checks")
	if n == nil || isNull(n) || n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		at := root
		if key := lookupKey(root, "checks"); key != nil {
			at = key
		}
		f.problem(at, "the file has no checks", emptyHint)
		return
	}
	if n.Kind != yaml.SequenceNode {
		f.problem(n, "checks must be a list, not "+describe(n), "begin each check with a dash: - name: ...")
		return
	}
	for _, item := range n.Content {
		if f.in.stopped() {
			return
		}
		known := len(f.in.ids)
		if f.lint(item, "the check") {
			f.check(item)
		}
		f.in.nameless = f.in.nameless || len(f.in.ids) == known
	}
}

// checkKeys returns all keys that a check can have.
func (f *file) checkKeys() []string {
	return append(fieldNames(fieldsOf(reflect.TypeFor[spec]())), f.in.kindNames()...)
}

// lint checks the shape of a block of a check's keys: known keys, types, and
// values as far as they are known without references. It reports whether the
// block is a map at all.
func (f *file) lint(n *yaml.Node, where string, misplaced ...string) bool {
	if n.Kind != yaml.MappingNode {
		f.problem(n, fmt.Sprintf("%s must be a map of keys and values, not %s", where, describe(n)), "")
		return false
	}
	d := f.decoder(nil)
	d.lint = true
	scratch := reflect.ValueOf(newSpec()).Elem()
	fields := fieldsOf(scratch.Type())
	for key, value := range pairs(n) {
		known, kind := fieldNamed(fields, key.Value), f.in.kind(key.Value)
		switch {
		case contains(misplaced, key.Value):
			f.problem(key, fmt.Sprintf("%s has no place in %s", key.Value, where), "")
		case known != nil && known.name == "each":
		case known != nil:
			d.value(value, scratch.FieldByIndex(known.index), known)
		case kind != nil:
			options := kind.New()
			known := d.deferring(options)
			d.value(value, reflect.ValueOf(options), &field{name: kind.Name})
			known()
		default:
			f.problem(key, fmt.Sprintf("unknown key %q in %s", key.Value, where), suggest(key.Value, f.checkKeys()))
		}
	}
	return true
}

// decoder makes a decoder for nodes of the file and an instance's values.
func (f *file) decoder(vars *scope) *decoder {
	if vars == nil {
		vars = &scope{}
	}
	d := &decoder{load: f.in, dir: f.src.dir, vars: vars}
	d.report = func(n *yaml.Node, offset int, message, hint string) {
		line, column := f.src.place(n, offset)
		m := check.NewMask(d.secrets...)
		hint = m.String(hint)
		if d.instance != "" && !strings.Contains(hint, d.instance) {
			hint = strings.TrimPrefix(hint+"; this is "+m.String(d.instance), "; ")
		}
		f.in.errors.add(f.src.problem(line, column, m.String(message), hint))
	}
	d.warn = func(n *yaml.Node, message, hint string) {
		f.in.warnings.add(f.src.problem(n.Line, n.Column, message, hint))
	}
	return d
}
