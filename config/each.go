package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxEachFile is the largest list of values that is read, in bytes.
const maxEachFile = 64 << 20

// each is the lists of values that make many checks of one.
type each struct {
	keys   []string // one empty key when each is a plain list
	values [][]eachValue
}

// eachValue is one value of a list and its place.
type eachValue struct {
	text   string
	secret bool // it came from a variable
	place
}

// place is a position in a file.
type place struct {
	file         string
	line, column int32
}

func (p place) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }

func (v eachValue) expansion() expansion {
	if v.secret {
		return secret(v.text)
	}
	return expansion{text: v.text}
}

// count returns the number of combinations, at most one more than maxChecks.
func (e *each) count() int {
	if e == nil {
		return 1
	}
	n := 1
	for _, list := range e.values {
		if n *= len(list); n > maxChecks {
			return maxChecks + 1
		}
	}
	return n
}

// at fills values with combination i. The last list varies fastest.
func (e *each) at(i int, values []eachValue) {
	for k := len(e.values) - 1; k >= 0; k-- {
		list := e.values[k]
		values[k] = list[i%len(list)]
		i /= len(list)
	}
}

// usage tells how the values are referred to.
func (e *each) usage() string {
	names := make([]string, len(e.keys))
	for i, key := range e.keys {
		names[i] = strings.TrimSuffix("${each."+key, ".") + "}"
	}
	return "write " + strings.Join(names, " or ")
}

// suffix is what tells an instance's id from the others'. Where it is only
// shown, values from variables are masked.
func suffix(values []eachValue, shown bool) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.text
		if shown {
			texts[i] = v.expansion().masked()
		}
	}
	return "[" + strings.Join(texts, ",") + "]"
}

// parseEach reads an each key: a list, or a map of lists. A list may be
// {file: path} or {cidr: prefix}, or have these among its items. It returns nil
// after an error.
func (f *file) parseEach(n *yaml.Node) *each {
	e := &each{}
	ok := true
	add := func(key string, list *yaml.Node) {
		values := f.eachList(list, strings.TrimSuffix("each."+key, "."))
		e.keys, e.values = append(e.keys, key), append(e.values, values)
		ok = ok && len(values) > 0
	}
	switch {
	case n.Kind == yaml.SequenceNode:
		add("", n)
	case n.Kind == yaml.MappingNode && len(n.Content) == 0:
		f.problem(n, "each has no keys", eachHint)
		return nil
	case n.Kind == yaml.MappingNode:
		for key, value := range pairs(n) {
			if strings.Trim(key.Value, nameBytes) != "" || key.Value == "" {
				f.problem(key, fmt.Sprintf("%q cannot be a key of each", key.Value), "letters, digits, _ and - may be in it")
				ok = false
				continue
			}
			add(key.Value, value)
		}
	default:
		f.problem(n, "each must be a list or a map of lists, not "+describe(n), eachHint)
		return nil
	}
	if !ok {
		return nil
	}
	return e
}

const (
	nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	eachHint  = "write each: {host: [a.example.com, b.example.com]}, {file: hosts.txt} or {cidr: 192.0.2.0/28} in place of the list"
)

func (f *file) eachList(n *yaml.Node, name string) []eachValue {
	switch n.Kind {
	case yaml.SequenceNode:
		return f.eachItems(n, name)
	case yaml.MappingNode:
		return f.eachSource(n, name)
	}
	f.problem(n, name+" must be a list, not "+describe(n), eachHint)
	return nil
}

// eachSource reads values that do not stand in the file themselves.
func (f *file) eachSource(n *yaml.Node, name string) []eachValue {
	if len(n.Content) == 2 {
		switch n.Content[0].Value {
		case "file":
			return f.eachFile(n.Content[1], name)
		case "cidr":
			return f.eachCIDR(n.Content[1], name+".cidr")
		}
	}
	f.problem(n, name+" must be a list, {file: path} or {cidr: prefix}", eachHint)
	return nil
}

func (f *file) eachItems(n *yaml.Node, name string) []eachValue {
	if len(n.Content) == 0 {
		f.problem(n, name+" has no values", "")
	}
	values := make([]eachValue, 0, len(n.Content))
	failed := false
	for _, item := range n.Content {
		if item.Kind == yaml.MappingNode {
			more := f.eachSource(item, name)
			failed = failed || len(more) == 0
			values = append(values, more...)
			continue
		}
		e, ok := f.eachText(item, name)
		failed = failed || !ok
		values = append(values, eachValue{text: e.text, secret: len(e.spans) > 0,
			place: place{f.src.name, int32(item.Line), int32(item.Column)}})
	}
	if failed {
		return nil
	}
	return values
}

// eachText expands a value, in which only the environment and files are known.
func (f *file) eachText(n *yaml.Node, name string) (expansion, bool) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		f.problem(n, fmt.Sprintf("a value of %s must be a text or a number, not %s", name, describe(n)), "")
		return expansion{}, false
	}
	d := f.decoder(f.scope())
	e, _, ok := d.text(n)
	return e, ok
}

func (f *file) scope() *scope {
	return &scope{lookup: f.in.LookupEnv, dir: f.src.dir, files: make(map[string]string)}
}

// eachFile reads a file with one value a line. Empty lines and those that
// begin with # are left out.
func (f *file) eachFile(n *yaml.Node, name string) []eachValue {
	path, ok := f.eachText(n, name+".file")
	if !ok {
		return nil
	}
	file := within(f.src.dir, path.text)
	text, err := readAll(file, maxEachFile)
	if err == nil && !utf8.ValidString(text) {
		err = errNotText{}
	}
	if err != nil {
		f.problem(n, fmt.Sprintf("cannot read the file %q of %s: %v", path.masked(), name, plainCause(err)), "the path is relative to the file of checks")
		return nil
	}
	values := make([]eachValue, 0, strings.Count(text, "\n")+1)
	line := int32(0)
	for value := range strings.Lines(text) {
		line++
		if value = strings.TrimSpace(value); value != "" && value[0] != '#' {
			values = append(values, eachValue{text: value, place: place{file, line, 1}})
		}
	}
	if len(values) == 0 {
		f.problem(n, fmt.Sprintf("the file of %s has no values", name), "")
	}
	return values
}

type errNotText struct{}

func (errNotText) Error() string { return "it is not UTF-8 text" }
