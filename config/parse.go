package config

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Limits of what a file may blow up to.
const (
	maxAliased = 100_000 // nodes that aliases repeat, in one file
	maxDepth   = 1_000   // levels of lists and maps
)

// parse reads the file's YAML into s.root: one document, a tree or, where
// aliases were, a graph without circles. Nodes keep their places.
func (s *source) parse(report func(Problem), full func() bool) {
	if strings.TrimSpace(s.text) == "" {
		report(Problem{File: s.name, Line: 1, Column: 1, Message: "the file is empty", Hint: emptyHint})
		return
	}
	first, second, err := decodeYAML(s.text)
	if err != nil {
		report(s.syntaxProblem(err))
		return
	}
	if first == nil || len(first.Content) == 0 || first.Content[0].Kind == 0 {
		report(Problem{File: s.name, Line: 1, Column: 1, Message: "the file has nothing but comments", Hint: emptyHint})
		return
	}
	s.root = first.Content[0]
	if second != nil {
		report(s.problem(max(second.Line, 1), max(second.Column, 1), "the file holds more than one YAML document",
			"put each document into a file of its own"))
	}
	n := normaliser{src: s, report: report, full: full, sizes: make(map[*yaml.Node]int)}
	n.root()
}

const emptyHint = "a file of checks begins with version: 1 and has a list under checks:"

// decodeYAML returns the first document and, when there is one, the second.
func decodeYAML(text string) (first, second *yaml.Node, err error) {
	defer func() { // the library is not ours, and a file may be hostile
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	d := yaml.NewDecoder(strings.NewReader(text))
	first, second = new(yaml.Node), new(yaml.Node)
	if err := d.Decode(first); errors.Is(err, io.EOF) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	if err := d.Decode(second); errors.Is(err, io.EOF) {
		return first, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	return first, second, nil
}

// syntaxProblem gives a syntax error of the library its place. The library
// names no column, and often the line where the surrounding block began.
func (s *source) syntaxProblem(err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, message, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, text = n, message
		}
	}
	line = s.failingLine(err, line)
	message, hint := wording(text)
	for _, at := range []int{line, line - 1, line + 1} {
		if tab := indentTab(s.line(at)); tab > 0 && !strings.Contains(text, "anchor") {
			return s.problem(at, tab, "a tab indents this line", "YAML allows only spaces here; replace the tab")
		}
	}
	content := s.line(line)
	column := utf8.RuneCountInString(content) - utf8.RuneCountInString(strings.TrimLeft(content, " \t")) + 1
	return s.problem(line, column, message, hint)
}

// indentTab returns the column of a tab in a line's indentation, 0 for none.
func indentTab(line string) int {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t-"))]
	return strings.IndexByte(indent, '\t') + 1
}

// failingLine finds the first line with which the text fails in this way: all
// longer beginnings of it fail alike.
func (s *source) failingLine(err error, guess int) int {
	s.line(1)
	const large = 20_000 // lines, from which on finding it would take long
	low, high := 1, len(s.lines)
	if high > large || len(s.text) > 1<<20 {
		return min(guess, high)
	}
	for low < high {
		middle := (low + high) / 2
		if _, _, e := decodeYAML(strings.Join(s.lines[:middle], "\n") + "\n"); e != nil && e.Error() == err.Error() {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// wording says in our words what the library says in its own.
func wording(text string) (message, hint string) {
	switch {
	case strings.Contains(text, "mapping values are not allowed"):
		return "a key cannot stand here", "check the indentation, or quote a value that contains ': '"
	case strings.Contains(text, "cannot start any token"):
		return "a value cannot begin with this character", "quote the value"
	case strings.Contains(text, "expected ',' or ']'"):
		return "the list in [ ] is not closed or lacks a comma", ""
	case strings.Contains(text, "expected ',' or '}'"):
		return "the map in { } is not closed or lacks a comma", `quote a value that contains { or }, as in "${NAME}"`
	case strings.Contains(text, "did not find expected key"), strings.Contains(text, "expected '-' indicator"):
		return "the indentation does not fit the lines above", ""
	case strings.Contains(text, "could not find expected ':'"):
		return "a key without its ':'", "check the indentation, or quote a text of several lines"
	case strings.Contains(text, "unexpected end of stream"):
		return "a quote is not closed", ""
	case strings.Contains(text, "unknown escape"):
		return `an unknown escape after \ in "..."`, `write \\ for a backslash, or use '...', where it stands for itself`
	case strings.Contains(text, "unknown anchor"):
		return strings.ReplaceAll(text, "'", `"`), "an alias *name needs an anchor &name above it"
	case strings.Contains(text, "control characters"):
		return "the text has control characters", ""
	case strings.Contains(text, "incompatible YAML document"):
		return "YAML of this version is not supported", "remove the line %YAML"
	case strings.Contains(text, "max depth"):
		return "lists and maps are nested too deep", ""
	}
	return "this is not valid YAML: " + text, ""
}

// normaliser checks what YAML leaves open and the decoder relies on: keys are
// plain and unique, nothing is tagged, aliases are resolved and bounded.
type normaliser struct {
	src     *source
	report  func(Problem)
	full    func() bool        // more problems are not wanted
	sizes   map[*yaml.Node]int // nodes below an anchored node; -1 while it is being walked
	aliased int
	failed  bool
}

func (n *normaliser) root() {
	n.walk(n.src.root, 0)
	if n.failed {
		n.src.root.Content = nil // what follows would repeat the complaint
	}
}

func (n *normaliser) problem(at *yaml.Node, message, hint string) {
	n.report(n.src.problem(at.Line, at.Column, message, hint))
}

// walk returns the number of nodes of the subtree with aliases followed.
func (n *normaliser) walk(at *yaml.Node, depth int) int {
	if depth > maxDepth {
		n.abort(at, "lists and maps are nested too deep")
	}
	if n.failed = n.failed || n.full(); n.failed {
		return 0
	}
	if at.Anchor != "" {
		n.sizes[at] = -1
	}
	n.tag(at)
	if at.Kind == yaml.MappingNode {
		n.keys(at)
	}
	size := 1
	for i, child := range at.Content {
		if child.Kind == yaml.AliasNode {
			size += n.follow(at, i)
		} else {
			size += n.walk(child, depth+1)
		}
	}
	if at.Anchor != "" {
		n.sizes[at] = size
	}
	return size
}

// follow puts the alias's target in the place of the alias.
func (n *normaliser) follow(parent *yaml.Node, i int) int {
	alias := parent.Content[i]
	size := n.sizes[alias.Alias]
	if size < 0 {
		n.abort(alias, fmt.Sprintf("the alias *%s stands inside of what it repeats", alias.Value))
		return 0
	}
	parent.Content[i] = alias.Alias
	if n.aliased += size; n.aliased > maxAliased {
		n.abort(alias, fmt.Sprintf("aliases make the file larger than the limit of %d values", maxAliased))
	}
	return size
}

func (n *normaliser) abort(at *yaml.Node, message string) {
	if !n.failed {
		n.problem(at, message, "")
	}
	n.failed = true
}

func (n *normaliser) tag(at *yaml.Node) {
	if at.Style&yaml.TaggedStyle != 0 {
		n.problem(at, fmt.Sprintf("YAML tags such as %s are not supported", at.Tag), "write the value without it")
		at.Style &^= yaml.TaggedStyle
	}
}

func (n *normaliser) keys(at *yaml.Node) {
	first := make(map[string]*yaml.Node, len(at.Content)/2)
	kept := at.Content[:0]
	for i := 0; i+1 < len(at.Content); i += 2 {
		key := at.Content[i]
		switch before := first[key.Value]; {
		case key.Kind == yaml.ScalarNode && key.Tag == "!!merge":
			n.src.mergeKeys = true
			n.problem(key, "merge keys (<<) are not supported", "write a template under templates: and use: it")
			continue
		case key.Kind != yaml.ScalarNode:
			n.problem(key, "a key must be plain text", "quote a text that begins with {, [, * or ?")
			continue
		case before != nil:
			n.problem(key, fmt.Sprintf("the key %q stands here twice, first in line %d", key.Value, before.Line), "")
			continue
		}
		first[key.Value] = key
		kept = append(kept, key, at.Content[i+1])
	}
	at.Content = kept
}
