package importer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// parse reads the first document of YAML or JSON.
func parse(source string) (root *yaml.Node, err error) {
	defer func() { // the library is not ours, and a file may be hostile
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	var document yaml.Node
	err = yaml.NewDecoder(strings.NewReader(source)).Decode(&document)
	switch {
	case errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0:
		return nil, errEmpty
	case err != nil:
		return nil, err
	}
	return target(document.Content[0]), nil
}

// yaml reads the source as YAML or JSON whose top is a map.
func (j *job) yaml() (*object, error) {
	root, err := parse(j.source.Text)
	if err != nil {
		line, message := 1, strings.TrimPrefix(err.Error(), "yaml: ")
		if rest, ok := strings.CutPrefix(message, "line "); ok {
			number, said, _ := strings.Cut(rest, ": ")
			if n, e := strconv.Atoi(number); e == nil {
				line, message = n, said
			}
		}
		return nil, j.failure(line, 1, "this is not valid YAML: "+message, "")
	}
	if root.Kind != yaml.MappingNode {
		return nil, j.failure(root.Line, root.Column, "a map is wanted at the top of the file", "")
	}
	return j.object(nil, root, ""), nil
}

// target follows an alias.
func target(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// object is a map of the source. It knows which of its keys were asked for: the
// others have no equivalent, and rest names them.
type object struct {
	job  *job
	item *item
	at   *yaml.Node
	path string // of the map, with a dot at its end, for messages
	keys []*yaml.Node
	vals map[string]*yaml.Node
	used map[string]bool
}

// object opens a map; one without keys for anything else.
func (j *job) object(it *item, n *yaml.Node, path string) *object {
	o := &object{job: j, item: it, at: n, path: path, vals: make(map[string]*yaml.Node), used: make(map[string]bool)}
	o.merge(target(n), make(map[*yaml.Node]bool))
	return o
}

// merge takes over the keys that are not there yet, and those of merge keys (<<),
// each map once.
func (o *object) merge(n *yaml.Node, done map[*yaml.Node]bool) {
	if n == nil || n.Kind != yaml.MappingNode || done[n] {
		return
	}
	done[n] = true
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], target(n.Content[i+1])
		switch {
		case key.Tag == "!!merge" && value.Kind == yaml.SequenceNode:
			merged = append(merged, value.Content...)
		case key.Tag == "!!merge":
			merged = append(merged, value)
		case o.vals[o.job.key(key.Value)] == nil:
			name := o.job.key(key.Value)
			o.vals[name] = value
			o.keys = append(o.keys, key)
		}
	}
	for _, m := range merged {
		o.merge(target(m), done)
	}
}

// key spells a key in the one way in which it is asked for: Cloudprober's may
// be written in camel case, too.
func (j *job) key(name string) string {
	if j.source.Format != "cloudprober" {
		return name
	}
	var b strings.Builder
	for _, r := range name {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// node returns a key's value; nil when it is not there or null.
func (o *object) node(key string) *yaml.Node {
	o.used[key] = true
	n := o.vals[key]
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	return n
}

func (o *object) has(key string) bool { return o.node(key) != nil }

// place is where the key's value stands, or the map itself.
func (o *object) place(key string) *yaml.Node {
	if n := o.vals[key]; n != nil {
		return n
	}
	return o.at
}

func (o *object) wrong(key, want string) {
	o.job.miss(o.item, o.vals[key], o.path+key+" is left out, for it is not "+want)
}

// str returns a text; "" when it is not there.
func (o *object) str(key string) string {
	n := o.node(key)
	if n == nil {
		return ""
	}
	s, ok := scalarText(n)
	if !ok {
		o.wrong(key, "a text")
		return ""
	}
	return s
}

func scalarText(n *yaml.Node) (string, bool) {
	if n = target(n); n.Kind != yaml.ScalarNode {
		return "", false
	}
	if n.Tag != "!!binary" {
		return n.Value, true
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
	return string(decoded), err == nil && utf8.Valid(decoded)
}

// strs returns a list of texts, or the only one.
func (o *object) strs(key string) []string {
	var all []string
	for _, n := range o.list(key) {
		if s, ok := scalarText(n); ok {
			all = append(all, s)
		} else {
			o.wrong(key, "a list of texts")
		}
	}
	return all
}

// list returns the elements of a list, or the only one.
func (o *object) list(key string) []*yaml.Node {
	n := o.node(key)
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.SequenceNode:
		return n.Content
	}
	return []*yaml.Node{n}
}

// object returns a map, and whether it is there.
func (o *object) object(key string) (*object, bool) {
	n := o.node(key)
	if n != nil && n.Kind != yaml.MappingNode {
		o.wrong(key, "a map")
	}
	return o.job.object(o.item, n, o.path+key+"."), n != nil && n.Kind == yaml.MappingNode
}

func (o *object) flag(key string, instead bool) bool {
	n := o.node(key)
	if n == nil {
		return instead
	}
	switch strings.ToLower(n.Value) {
	case "true", "1", "yes", "on":
		return true
	case "false", "0", "no", "off", "":
		return false
	}
	o.wrong(key, "true or false")
	return instead
}

func (o *object) number(key string) (int, bool) {
	n := o.node(key)
	if n == nil || n.Value == "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || v != math.Trunc(v) || math.Abs(v) > 1<<40 {
		o.wrong(key, "a whole number")
		return 0, false
	}
	return int(v), true
}

// duration reads a duration; a bare number counts in the unit.
func (o *object) duration(key string, unit time.Duration) time.Duration {
	n := o.node(key)
	if n == nil {
		return 0
	}
	if v, err := strconv.ParseFloat(n.Value, 64); err == nil {
		if v >= 0 && v*float64(unit) < float64(math.MaxInt64/2) {
			return time.Duration(v * float64(unit))
		}
	} else if d, err := check.ParseDuration(n.Value); err == nil && d >= 0 {
		return d
	}
	o.wrong(key, "a duration")
	return 0
}

// rest names the keys that nothing asked for, besides those that say nothing
// about a check.
func (o *object) rest(idle ...string) {
	for _, name := range idle {
		o.used[name] = true
	}
	for _, key := range o.keys {
		name := o.job.key(key.Value)
		n := o.vals[name]
		if o.used[name] || n.Tag == "!!null" || n.Value == "" && n.Kind == yaml.ScalarNode || n.Kind != yaml.ScalarNode && len(n.Content) == 0 {
			continue
		}
		o.job.miss(o.item, key, o.path+clean(key.Value)+" has no equivalent")
	}
}

// interval takes over an interval, at least the shortest that there is.
func (o *object) interval(it *item, key string, d, instead time.Duration) {
	if d == 0 {
		return
	}
	if d < time.Second {
		o.job.miss(it, o.place(key), fmt.Sprintf("an interval of %s becomes 1s, the shortest", duration(d)))
		d = time.Second
	}
	if d != instead {
		it.interval = d
	}
}

// timeout takes over a timeout that is not the default.
func (it *item) limit(d, instead time.Duration) {
	if d > 0 && d != instead {
		it.timeout = d
	}
}
