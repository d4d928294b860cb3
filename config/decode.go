package config

import (
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// decoder fills structs, which hold the defaults, from YAML nodes and reports
// everything that does not fit.
type decoder struct {
	load   *load
	dir    string // what paths are relative to
	vars   *scope // nil when values are literal
	lint   bool   // look at the shape only: references are not resolved and nothing is required
	report func(n *yaml.Node, offset int, message, hint string)
	warn   func(n *yaml.Node, message, hint string) // nil where nothing is warned of

	secrets  []string
	failed   bool
	instance string // the id of the check, when one block makes many
}

// whole is the offset of a complaint about a node as a whole.
const whole = -1

func (d *decoder) errorf(n *yaml.Node, hint, format string, args ...any) {
	d.fail(n, whole, fmt.Sprintf(format, args...), hint)
}

func (d *decoder) fail(n *yaml.Node, offset int, message, hint string) {
	d.failed = true
	d.report(n, offset, message, hint)
}

// value decodes n into v, which is settable and holds the default.
func (d *decoder) value(n *yaml.Node, v reflect.Value, f *field) {
	if !d.load.visit() {
		d.failed = true
		return
	}
	switch t := v.Type(); {
	case t == regexpType:
		d.scalar(n, v, f)
	case t == jsonType:
		d.document(n, v, f)
	case t.Kind() == reflect.Pointer:
		if v.CanSet() { // the default may be shared
			made := reflect.New(t.Elem())
			if !v.IsNil() {
				made.Elem().Set(v.Elem())
			}
			v.Set(made)
		}
		d.value(n, v.Elem(), f)
	case t.Kind() == reflect.Struct:
		d.object(n, v, f)
	case t.Kind() == reflect.Slice:
		d.list(n, v, f)
	case t.Kind() == reflect.Map:
		d.dict(n, v, f)
	default:
		d.scalar(n, v, f)
	}
}

// object decodes a map of known keys.
func (d *decoder) object(n *yaml.Node, v reflect.Value, f *field) {
	if !d.isMap(n, f) {
		return
	}
	fields := fieldsOf(v.Type())
	for key, value := range pairs(n) {
		known := fieldNamed(fields, key.Value)
		if known == nil {
			d.errorf(key, suggest(key.Value, fieldNames(fields)), "unknown key %q in %s", key.Value, f.name)
			continue
		}
		if known.over == "" {
			d.value(value, v.FieldByIndex(known.index), known)
		}
	}
	for key, value := range pairs(n) { // what begins with another's value comes after it
		if known := fieldNamed(fields, key.Value); known != nil && known.over != "" {
			based := *known
			based.base = v.FieldByIndex(fieldNamed(fields, known.over).index)
			d.value(value, v.FieldByIndex(known.index), &based)
		}
	}
	if !f.partial {
		d.required(n, v, fields, f.name)
	}
}

// required reports the options that must be there and are not. One that the
// defaults or a target filled in is there.
func (d *decoder) required(n *yaml.Node, v reflect.Value, fields []field, where string) {
	if d.lint {
		return
	}
	for i := range fields {
		f := &fields[i]
		if f.required && lookup(n, f.name) == nil && v.FieldByIndex(f.index).IsZero() {
			d.errorf(n, f.name+": "+f.doc, "%s has no %s, which it must have", where, f.name)
		}
	}
}

// isMap reports whether n is a map; nothing at all counts as an empty one.
func (d *decoder) isMap(n *yaml.Node, f *field) bool {
	if n.Kind == yaml.MappingNode || isNull(n) {
		return true
	}
	d.errorf(n, "", "%s must be a map of keys and values, not %s", f.name, describe(n))
	return false
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, f *field) {
	items := n.Content
	switch {
	case n.Kind == yaml.SequenceNode:
	case f.single && n.Kind == yaml.ScalarNode && !isNull(n):
		items = []*yaml.Node{n}
	default:
		d.errorf(n, "write it as [a, b], or one item a line after a dash", "%s must be a list, not %s", f.name, describe(n))
		return
	}
	list, element := reflect.MakeSlice(v.Type(), len(items), len(items)), *f
	element.base = reflect.Value{}
	for i, item := range items {
		if f.base.IsValid() {
			begin(list.Index(i), f.base)
		}
		d.value(item, list.Index(i), &element)
	}
	v.Set(list)
}

// begin sets the part of an item that is of the base's type.
func begin(item, base reflect.Value) {
	for i := range item.NumField() {
		if item.Field(i).Type() == base.Type() {
			item.Field(i).Set(base)
		}
	}
}

// dict decodes a map of free keys; it adds to the default and replaces equal
// keys.
func (d *decoder) dict(n *yaml.Node, v reflect.Value, f *field) {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, "", "%s must be a map of keys and values, not %s", f.name, describe(n))
		return
	}
	made := reflect.MakeMapWithSize(v.Type(), v.Len()+len(n.Content)/2) // the default may be shared
	for entry := v.MapRange(); entry.Next(); {
		made.SetMapIndex(entry.Key(), entry.Value())
	}
	v.Set(made)
	element := *f
	for key, value := range pairs(n) {
		element.name = f.name + "." + key.Value
		element.secret = f.secret || !f.shown && IsSecretKey(key.Value)
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(value, item, &element)
		v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), item)
	}
}

// scalar decodes a scalar after its references are expanded.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, f *field) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.errorf(n, "", "%s must be %s, not %s", f.name, wanted(v.Type()), describe(n))
		return
	case isNull(n):
		d.errorf(n, `for an empty text write ""`, "%s has no value", f.name)
		return
	}
	e, dynamic, ok := d.text(n)
	if !ok {
		return
	}
	if isDeferred(e.text) && (v.Kind() != reflect.String || f.enum != nil || f.path) {
		d.errorf(n, "write the value itself", "%s must be known before the run", f.name)
		return
	}
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if quoted && !dynamic && d.vars != nil && isPlainType(v.Type()) {
		d.errorf(n, "leave the quotes out", "%s must be %s, not a text", f.name, wanted(v.Type()))
		return
	}
	shown := e.text // what came from a variable is not repeated in a message
	if len(e.spans) > 0 {
		shown = n.Value
	}
	if message, hint := setScalar(v, e.text, shown, f); message != "" {
		d.errorf(n, hint, "%s: %s", f.name, message)
		return
	}
	if f.path && v.Kind() == reflect.String {
		v.SetString(within(d.dir, v.String()))
		if f.private && d.warn != nil && readers(v.String())&0o004 != 0 { // a group may be meant to
			d.warn(n, "everybody may read the file of this secret", "chmod o-r "+n.Value)
		}
	}
	d.hide(e, v, f)
}

// text expands a scalar. It is not ok when a reference is wrong and, while
// linting, when there is one whose value is not looked up then.
func (d *decoder) text(n *yaml.Node) (e expansion, dynamic, ok bool) {
	if d.vars == nil || !strings.Contains(n.Value, "${") {
		return expansion{text: n.Value}, false, d.noDeferral(n, n.Value, 0)
	}
	t, err := d.load.template(n.Value)
	if err != nil {
		d.fail(n, err.offset, err.message, err.hint)
		return e, false, false
	}
	if d.lint && t.deferred() < t.references() {
		for _, p := range t {
			if p.ref != nil && p.ref.deferred {
				_, errs := d.vars.resolve(p)
				d.failAll(n, errs)
			}
		}
		return expansion{text: literalText(t)}, false, false
	}
	e, errs := d.vars.expand(t)
	d.failAll(n, errs)
	return e, t.dynamic(), len(errs) == 0 && d.noDeferral(n, e.text, t.deferred())
}

func (d *decoder) failAll(n *yaml.Node, errs []*varError) {
	for _, err := range errs {
		d.fail(n, err.offset, err.message, err.hint)
	}
}

func literalText(t template) string {
	if len(t) == 0 {
		return ""
	}
	return t[0].literal
}

// hide notes what must not appear in any output. Numbers, durations and words
// of a fixed set are no secrets, whatever they came from.
func (d *decoder) hide(e expansion, v reflect.Value, f *field) {
	if v.Kind() != reflect.String && v.Type() != regexpType || f.enum != nil {
		return
	}
	if f.secret && e.text != "" {
		for i, part := range check.Deferred(e.text) {
			if i%2 == 0 { // the others are names
				d.secrets = append(d.secrets, credential(part))
			}
		}
	}
	if f.shown || f.path {
		return
	}
	for _, s := range e.spans {
		if f.address {
			d.secrets = append(d.secrets, addressSecrets(e.text, s)...)
		} else {
			d.secrets = append(d.secrets, e.text[s.start:s.end])
		}
	}
}

// addressSecrets returns what is secret of the part of an address that came
// from a variable. Where the probe goes stays readable: scheme, host, port,
// and a path that came with them. Passwords and queries are hidden, and so is
// a variable that only gives a part of the path.
func addressSecrets(text string, s span) []string {
	scheme := strings.Index(text, "://")
	if scheme < 0 {
		return nil
	}
	host := scheme + len("://")
	end := len(text)
	if i := strings.IndexAny(text[host:], "/?#"); i >= 0 {
		end = host + i
	}
	if s.start > end {
		return []string{text[s.start:s.end]}
	}
	var secrets []string
	if at := strings.LastIndexByte(text[host:end], '@'); at >= 0 && s.start < host+at {
		_, password, _ := strings.Cut(text[host:host+at], ":")
		secrets = append(secrets, password)
	}
	if _, query, ok := strings.Cut(text[:s.end], "?"); ok {
		for _, pair := range strings.Split(query, "&") {
			_, value, _ := strings.Cut(pair, "=")
			secrets = append(secrets, value)
		}
		secrets = append(secrets, query)
	}
	return secrets
}

// pairs iterates over a map's keys and values in order.
func pairs(n *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// lookup returns the value of a map's key, or nil.
func lookup(n *yaml.Node, name string) *yaml.Node {
	for key, value := range pairs(n) {
		if key.Value == name {
			return value
		}
	}
	return nil
}

// lookupKey returns the node of the key itself, or nil.
func lookupKey(n *yaml.Node, name string) *yaml.Node {
	for key := range pairs(n) {
		if key.Value == name {
			return key
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// describe names what stands in the file.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "a number"
	case n.Tag == "!!bool":
		return "a boolean"
	default:
		return "a text"
	}
}
