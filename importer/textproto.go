package importer

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/protocolbuffers/txtpbfmt/ast"
	"github.com/protocolbuffers/txtpbfmt/parser"
	"github.com/protocolbuffers/txtpbfmt/unquote"
	"gopkg.in/yaml.v3"
)

// protoBlock is how a configuration of Cloudprober looks.
var protoBlock = regexp.MustCompile(`(?m)^\s*(probe|shared_targets)\s*:?\s*\{`)

func looksLikeProto(source string) bool { return protoBlock.MatchString(source) }

// parseProto reads text protobuf, whose types only Cloudprober knows, as the
// tree that YAML of the same content has. A field that is repeated is a list.
func parseProto(source string) (n *yaml.Node, err error) {
	defer func() { // the library is not ours, and a file may be hostile
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	if depth(source) > maxDepth {
		return nil, fmt.Errorf("messages are nested more than %d deep", maxDepth)
	}
	nodes, err := parser.Parse([]byte(source))
	if err != nil {
		return nil, err
	}
	return protoMessage(nodes, 1), nil
}

// maxDepth is how deep messages may be nested; the parser has no limit.
const maxDepth = 500

// depth tells how deep brackets are nested at most, those in texts included.
func depth(source string) (deepest int) {
	now := 0
	for i := range len(source) {
		switch source[i] {
		case '{', '<', '[':
			now++
			deepest = max(deepest, now)
		case '}', '>', ']':
			now = max(now-1, 0)
		}
	}
	return deepest
}

// protoLine finds the line in an error of the parser.
func protoLine(err error) int {
	if m := regexp.MustCompile(`Line:(\d+)`).FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return 1
}

func protoMessage(nodes []*ast.Node, line int) *yaml.Node {
	message := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: line, Column: 1}
	places := make(map[string]int)
	for _, n := range nodes {
		if n.Name == "" {
			continue // a comment
		}
		value := protoValue(n)
		at, again := places[n.Name]
		if !again {
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: n.Name, Line: value.Line, Column: value.Column}
			message.Content = append(message.Content, key, value)
			places[n.Name] = len(message.Content) - 1
			continue
		}
		first := message.Content[at]
		if first.Kind != yaml.SequenceNode {
			first = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: first.Line, Column: first.Column, Content: []*yaml.Node{first}}
			message.Content[at] = first
		}
		if value.Kind == yaml.SequenceNode {
			first.Content = append(first.Content, value.Content...)
		} else {
			first.Content = append(first.Content, value)
		}
	}
	return message
}

func protoValue(n *ast.Node) *yaml.Node {
	line, column := int(n.Start.Line)+len(n.PreComments), int(n.Start.Column)
	switch {
	case n.ChildrenAsList:
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: line, Column: column}
		for _, child := range n.Children {
			list.Content = append(list.Content, protoMessage(child.Children, int(child.Start.Line)))
		}
		return list
	case len(n.Values) == 0:
		m := protoMessage(n.Children, line)
		m.Column = column
		return m
	case n.ValuesAsList:
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: line, Column: column}
		for _, v := range n.Values {
			list.Content = append(list.Content, protoScalar(&ast.Node{Values: []*ast.Value{v}}, line, column))
		}
		return list
	}
	return protoScalar(n, line, column)
}

// protoScalar joins the parts of a text; anything else stands as it is written.
func protoScalar(n *ast.Node, line, column int) *yaml.Node {
	value, _, err := unquote.Unquote(n)
	if err != nil {
		value = n.Values[0].Value
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Line: line, Column: column}
}
