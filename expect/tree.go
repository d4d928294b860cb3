package expect

import (
	"strings"

	"github.com/expr-lang/expr/ast"
)

// node is a part of an expression that is true or false. eval returns nil when
// it holds and else the reason; it gets what was seen of each path by the
// path's index.
type node interface {
	eval(seen []sight) *fault
}

// all holds when every side does; the first that does not is to blame.
type all []node

func (a all) eval(seen []sight) *fault {
	for _, n := range a {
		if f := n.eval(seen); f != nil {
			return f
		}
	}
	return nil
}

// some holds when one side does.
type some []node

func (s some) eval(seen []sight) *fault {
	faults := make([]*fault, 0, len(s))
	for _, n := range s {
		f := n.eval(seen)
		if f == nil {
			return nil
		}
		faults = append(faults, f)
	}
	return joinFaults(faults)
}

// constant is a side that names no fact: true or false as it stands.
type constant bool

func (c constant) eval([]sight) *fault {
	if c {
		return nil
	}
	return &fault{message: "the expression says false"}
}

// builder makes the tree of a resolved expression. Negations are pushed down
// to the comparisons, so that one of a missing fact never holds.
type builder struct {
	src   *source
	paths []*path
	sides int
}

func (b *builder) build(n ast.Node, negate bool) (node, *Error) {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "!" || n.Operator == "not" {
			return b.build(n.Node, !negate)
		}
	case *ast.BinaryNode:
		and := n.Operator == "and" || n.Operator == "&&"
		if and || n.Operator == "or" || n.Operator == "||" {
			return b.join(n, and != negate, negate)
		}
	case *ast.BoolNode:
		return constant(n.Value != negate), nil
	}
	if b.sides++; b.sides > maxSides {
		return nil, errorf(b.src.offset(n.Location().From), "the expression has more than %d sides", maxSides)
	}
	if c, err := b.comparison(n, negate); c != nil || err != nil {
		return c, err
	}
	return b.program(n, negate)
}

// join builds both sides of an and (every) or an or, flattening a chain of the
// same operator.
func (b *builder) join(n *ast.BinaryNode, every, negate bool) (node, *Error) {
	left, err := b.build(n.Left, negate)
	if err != nil {
		return nil, err
	}
	right, err := b.build(n.Right, negate)
	if err != nil {
		return nil, err
	}
	if every {
		if l, ok := left.(all); ok {
			return append(l, right), nil
		}
		return all{left, right}, nil
	}
	if l, ok := left.(some); ok {
		return append(l, right), nil
	}
	return some{left, right}, nil
}

// path returns the path that n stands for, or nil.
func (b *builder) path(n ast.Node) *path {
	if id, ok := n.(*ast.IdentifierNode); ok {
		for _, p := range b.paths {
			if p.text == id.Value {
				return p
			}
		}
	}
	return nil
}

// reach collects the positions that a node covers, in runes.
type reach struct{ from, to int }

// Visit implements ast.Visitor.
func (r *reach) Visit(n *ast.Node) {
	if _, ok := (*n).(*ast.ConditionalNode); ok { // its position lies behind it
		return
	}
	loc := (*n).Location()
	if loc.To > 0 {
		r.from, r.to = min(r.from, loc.From), max(r.to, loc.To)
	}
}

// slice returns the text of a node, with the brackets that belong to it.
func (s *source) slice(n ast.Node) string {
	r := reach{from: len(s.text)}
	ast.Walk(&n, &r)
	from, to := s.offset(r.from), s.offset(r.to)
	if from >= to {
		return s.text
	}
	for range s.brackets { // each round puts one bracket right
		depth, unopened := 0, false
		for _, b := range s.brackets {
			switch {
			case b.offset < from || b.offset >= to:
			case b.open:
				depth++
			case depth == 0:
				unopened = true
			default:
				depth--
			}
		}
		switch {
		case unopened:
			from = s.bracketBefore(from)
		case depth > 0:
			to = s.bracketAfter(to)
		default:
			return strings.TrimSpace(s.text[from:to])
		}
	}
	return strings.TrimSpace(s.text[from:to])
}

func (s *source) bracketBefore(at int) int {
	before := 0
	for _, b := range s.brackets {
		if b.offset < at && b.open {
			before = b.offset
		}
	}
	return before
}

func (s *source) bracketAfter(at int) int {
	for _, b := range s.brackets {
		if b.offset >= at && !b.open {
			return b.offset + 1
		}
	}
	return len(s.text)
}
