package config

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxChain is how deep templates may use templates.
const maxChain = 32

// merge puts over on top of base: maps merge key by key, everything else
// replaces. The nodes keep their places; neither argument is changed.
func merge(base, over *yaml.Node) *yaml.Node {
	switch {
	case base == nil:
		return over
	case over == nil || base.Kind == yaml.MappingNode && isNull(over):
		return base
	case base.Kind != yaml.MappingNode || over.Kind != yaml.MappingNode:
		return over
	}
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: over.Tag, Line: over.Line, Column: over.Column}
	out.Content = slices.Clone(base.Content)
	index := make(map[string]int, len(base.Content)/2)
	for i := 0; i+1 < len(out.Content); i += 2 {
		index[out.Content[i].Value] = i
	}
	for key, value := range pairs(over) {
		if i, both := index[key.Value]; both {
			out.Content[i], out.Content[i+1] = key, merge(out.Content[i+1], value)
		} else {
			out.Content = append(out.Content, key, value)
		}
	}
	return out
}

// without returns the map without some of its keys.
func without(n *yaml.Node, drop func(key string) bool) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return n
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Line: n.Line, Column: n.Column}
	for key, value := range pairs(n) {
		if !drop(key.Value) {
			out.Content = append(out.Content, key, value)
		}
	}
	return out
}

// templateSet is the templates of one file.
type templateSet struct {
	file  *file
	nodes map[string]*yaml.Node // as written
	done  map[string]*yaml.Node // with what they use
}

// resolve returns a block on top of the templates that it uses. The chain
// names the templates that led here.
func (ts *templateSet) resolve(block *yaml.Node, chain []string) *yaml.Node {
	var base *yaml.Node
	for _, item := range useItems(lookup(block, "use")) {
		if t := ts.named(item, chain); t != nil {
			base = merge(base, t)
			ts.file.in.visits += len(base.Content)
		}
	}
	own := without(block, func(key string) bool { return key == "use" })
	merged := merge(base, own)
	ts.file.in.visit()
	return merged
}

// named returns the template that an item of use names, or nil after an error.
func (ts *templateSet) named(item *yaml.Node, chain []string) *yaml.Node {
	name := item.Value
	node, known := ts.nodes[name]
	switch {
	case item.Kind != yaml.ScalarNode || isNull(item):
		return nil // the shape was reported
	case !known:
		hint := "templates stand under templates: in the same file"
		if len(ts.nodes) > 0 {
			hint = suggest(name, keysOf(ts.nodes))
		}
		ts.file.problem(item, fmt.Sprintf("there is no template %q", name), hint)
		return nil
	case slices.Contains(chain, name):
		circle := append(slices.Clone(chain[slices.Index(chain, name):]), name)
		ts.file.problem(item, "templates use each other in a circle: "+strings.Join(circle, " -> "), "")
		return nil
	case len(chain) >= maxChain:
		ts.file.problem(item, fmt.Sprintf("templates use each other more than %d levels deep", maxChain), "")
		return nil
	}
	if done, ok := ts.done[name]; ok {
		return done
	}
	merged := ts.resolve(node, append(slices.Clone(chain), name))
	ts.done[name] = merged
	return merged
}

// useItems returns the items of a use key, which may be one name or a list.
func useItems(n *yaml.Node) []*yaml.Node {
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.ScalarNode:
		return []*yaml.Node{n}
	case n.Kind == yaml.SequenceNode:
		return n.Content
	}
	return nil
}

func keysOf(m map[string]*yaml.Node) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
