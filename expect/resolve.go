package expect

import (
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/nearest"
)

// maxRange is the longest range of numbers (1..100) that may be written.
const maxRange = 10_000

// builtins returns the functions of the language: those of expr that cost no
// more than their arguments.
func builtins() []string {
	return []string{
		"all", "any", "none", "one", "filter", "map", "count", "find", "findIndex", "findLast",
		"len", "sum", "mean", "median", "min", "max", "abs", "ceil", "floor", "round", "int", "float", "string",
		"lower", "upper", "trim", "trimPrefix", "trimSuffix", "hasPrefix", "hasSuffix", "indexOf", "lastIndexOf",
		"first", "last", "keys", "values", "sort", "reverse", "now", "date", "duration", "type",
	}
}

// resolver puts facts and literals into a parsed expression and refuses what
// the language does not have.
type resolver struct {
	src   *source
	facts []check.Fact
	paths []*path
}

// node returns n with its names resolved. A fact becomes an identifier that
// carries its path's text, a literal a constant.
func (r *resolver) node(n ast.Node) (ast.Node, *Error) {
	switch n := n.(type) {
	case *ast.IdentifierNode, *ast.MemberNode, *ast.ChainNode:
		return r.name(n)
	case *ast.UnaryNode:
		return r.unary(n)
	case *ast.BinaryNode:
		return r.binary(n)
	case *ast.BuiltinNode:
		if !slices.Contains(builtins(), n.Name) {
			return nil, r.noFunction(n, n.Name)
		}
		return n, r.each(n.Arguments)
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok {
			return nil, r.noFunction(n, id.Value)
		}
		return nil, errorf(r.at(n), "a value has no functions").hint("the functions are %s", strings.Join(builtins(), ", "))
	case *ast.PredicateNode:
		return n, r.into(&n.Node)
	case *ast.SliceNode:
		return n, r.into(&n.Node, &n.From, &n.To)
	case *ast.ConditionalNode:
		return n, r.into(&n.Cond, &n.Exp1, &n.Exp2)
	case *ast.ArrayNode:
		return n, r.each(n.Nodes)
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.StringNode, *ast.NilNode, *ast.PointerNode:
		return n, nil
	case nil:
		return nil, errorf(0, "the expression is incomplete")
	}
	return nil, errorf(r.at(n), "this is not part of the language").
		hint("an expectation is one expression, without let, semicolons, maps and byte strings")
}

func (r *resolver) into(nodes ...*ast.Node) *Error {
	for _, n := range nodes {
		if *n == nil { // a slice without one end
			continue
		}
		resolved, err := r.node(*n)
		if err != nil {
			return err
		}
		*n = resolved
	}
	return nil
}

func (r *resolver) each(nodes []ast.Node) *Error {
	for i := range nodes {
		if err := r.into(&nodes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *resolver) unary(n *ast.UnaryNode) (ast.Node, *Error) {
	if err := r.into(&n.Node); err != nil {
		return nil, err
	}
	if n.Operator != "-" {
		return n, nil
	}
	var negated ast.Node
	switch v := n.Node.(type) {
	case *ast.ConstantNode:
		d, ok := v.Value.(time.Duration)
		if !ok {
			return n, nil
		}
		negated = &ast.ConstantNode{Value: -d}
	case *ast.IntegerNode:
		negated = &ast.IntegerNode{Value: -v.Value}
	case *ast.FloatNode:
		negated = &ast.FloatNode{Value: -v.Value}
	default:
		return n, nil
	}
	negated.SetLocation(file.Location{From: n.Location().From, To: n.Node.Location().To})
	return negated, nil
}

func (r *resolver) binary(n *ast.BinaryNode) (ast.Node, *Error) {
	last, hyphen := n.Right.(*ast.IdentifierNode)
	if err := r.into(&n.Left, &n.Right); err != nil {
		if n.Operator == "-" && hyphen && err.Offset == r.at(last) {
			r.hyphenHint(err, n.Left, last)
		}
		return nil, err
	}
	switch n.Operator {
	case "..":
		from, ok1 := n.Left.(*ast.IntegerNode)
		to, ok2 := n.Right.(*ast.IntegerNode)
		if !ok1 || !ok2 {
			return nil, errorf(r.at(n), "a range needs two whole numbers").hint("write it like 200..299")
		}
		if to.Value < from.Value || uint64(to.Value)-uint64(from.Value) >= maxRange {
			return nil, errorf(r.at(n), "a range has 1 to %d numbers", maxRange).hint("compare with < and > instead")
		}
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			return nil, errorf(r.at(n.Right), "a pattern must be a literal text")
		}
	}
	return n, nil
}

// hyphenHint tells who wrote headers.content-type that this subtracts.
func (r *resolver) hyphenHint(err *Error, left ast.Node, last *ast.IdentifierNode) {
	id, ok := left.(*ast.IdentifierNode)
	if !ok {
		return
	}
	for _, p := range r.paths {
		if n := len(p.steps); p.text == id.Value && n > 0 {
			if name, ok := p.steps[n-1].(string); ok {
				err.Hint = "write " + newPath(p.fact, append(slices.Clone(p.steps[:n-1]), name+"-"+last.Value)).text
			}
		}
	}
}

func (r *resolver) at(n ast.Node) int { return r.src.offset(n.Location().From) }

func (r *resolver) noFunction(n ast.Node, name string) *Error {
	err := errorf(r.at(n), "there is no function %s", name)
	if s := nearest.To(name, builtins()); s != "" && s != name {
		return err.hint("did you mean %s?", s)
	}
	return err.hint("the functions are %s", strings.Join(builtins(), ", "))
}

// link is one step of a chain of members as it was written.
type link struct {
	node *ast.MemberNode
	step any
	dot  bool // written .name, not ['name']
}

// name resolves a chain of members: a literal, a fact with steps into it, or
// steps into some other value.
func (r *resolver) name(n ast.Node) (ast.Node, *Error) {
	root, links, err := r.chain(n)
	if err != nil {
		return nil, err
	}
	id, ok := root.(*ast.IdentifierNode)
	if !ok || len(links) == 0 && n != root { // steps that are computed
		return r.members(n)
	}
	if v, ok := r.src.literals[r.at(id)]; ok {
		if len(links) > 0 {
			return nil, errorf(r.at(links[0].node), "a literal has no members")
		}
		return literalNode(v, id.Location()), nil
	}
	p, err := r.path(id, links)
	if err != nil {
		return nil, err
	}
	loc := id.Location()
	if len(links) > 0 {
		loc.To = max(loc.To, links[len(links)-1].node.Property.Location().To)
	}
	out := &ast.IdentifierNode{Value: p.text}
	out.SetLocation(loc)
	return out, nil
}

func literalNode(v any, loc file.Location) ast.Node {
	var n ast.Node = &ast.ConstantNode{Value: v}
	if size, ok := v.(check.Size); ok {
		n = &ast.IntegerNode{Value: int(size)}
	}
	n.SetLocation(loc)
	return n
}

// chain takes a chain of members apart. The links are nil when one of the
// steps is computed.
func (r *resolver) chain(n ast.Node) (root ast.Node, links []link, err *Error) {
	for {
		switch m := n.(type) {
		case *ast.ChainNode:
			n = m.Node
			continue
		case *ast.MemberNode:
			l := link{node: m}
			at := r.at(m.Property)
			switch p := m.Property.(type) {
			case *ast.StringNode:
				l.step = p.Value
				l.dot = at < len(r.src.text) && strings.IndexByte("'\"`", r.src.text[at]) < 0
				if _, ok := r.src.literals[at]; ok && l.dot {
					return nil, nil, errorf(at, "a name cannot begin with a digit").hint("write ['...']")
				}
			case *ast.IntegerNode:
				l.step = p.Value
			case *ast.UnaryNode:
				i, ok := p.Node.(*ast.IntegerNode)
				if p.Operator != "-" || !ok {
					return m.Node, nil, nil
				}
				l.step = -i.Value
			default:
				return m.Node, nil, nil
			}
			links = append(links, l)
			n = m.Node
			continue
		}
		slices.Reverse(links)
		return n, links, nil
	}
}

// members resolves the parts of a chain that is no fact with fixed steps.
func (r *resolver) members(n ast.Node) (ast.Node, *Error) {
	switch n := n.(type) {
	case *ast.ChainNode:
		return n, r.into(&n.Node)
	case *ast.MemberNode:
		if _, ok := n.Property.(*ast.StringNode); ok {
			return n, r.into(&n.Node)
		}
		return n, r.into(&n.Node, &n.Property)
	}
	return r.node(n)
}

// path finds the declared fact that the chain begins with, the longest one,
// and checks that its type has the steps that are left.
func (r *resolver) path(id *ast.IdentifierNode, links []link) (*path, *Error) {
	names := []string{id.Value}
	for _, l := range links {
		s, ok := l.step.(string)
		if !ok || !l.dot {
			break
		}
		names = append(names, names[len(names)-1]+"."+s)
	}
	for i, name := range slices.Backward(names) {
		j := slices.IndexFunc(r.facts, func(f check.Fact) bool { return f.Name == name })
		if j < 0 {
			continue
		}
		return r.known(r.facts[j], links[i:])
	}
	return nil, r.unknownFact(r.at(id), names)
}

func (r *resolver) known(fact check.Fact, links []link) (*path, *Error) {
	steps := make([]any, len(links))
	for i, l := range links {
		steps[i] = l.step
		_, isName := l.step.(string)
		switch {
		case fact.Type == check.Any:
		case fact.Type == check.Map && isName && i == 0:
		case fact.Type == check.Strings && !isName && i == 0:
		default:
			err := errorf(r.at(l.node.Property), "%s is %s and has no member %v", fact.Name, factWord(fact.Type), l.step)
			if name, ok := l.step.(string); ok && l.dot {
				if s := nearest.To(fact.Name+"."+name, r.names()); s != "" && s != fact.Name {
					err.Hint = "did you mean " + s + "?"
				}
			}
			return nil, err
		}
	}
	p := newPath(fact, steps)
	for _, known := range r.paths {
		if known.text == p.text {
			return known, nil
		}
	}
	p.index = len(r.paths)
	r.paths = append(r.paths, p)
	return p, nil
}

func (r *resolver) names() []string {
	names := make([]string, len(r.facts))
	for i, f := range r.facts {
		names[i] = f.Name
	}
	return names
}

// unknownFact words that none of the names, each one step longer than the one
// before, is a fact.
func (r *resolver) unknownFact(offset int, names []string) *Error {
	name, known := names[len(names)-1], r.names()
	err := errorf(offset, "there is no fact %s", name)
	for _, n := range slices.Backward(names) {
		if s := nearest.To(n, known); s != "" {
			return err.hint("did you mean %s?", s+strings.TrimPrefix(name, n))
		}
	}
	group := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !strings.HasPrefix(k, names[0]+".") })
	inside := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return !strings.HasSuffix(k, "."+name) })
	switch {
	case len(inside) == 1:
		return err.hint("did you mean %s?", inside[0])
	case len(group) > 0:
		known = group
	case slices.Contains(builtins(), name):
		return err.hint("a function is called with brackets, as in %s(...)", name)
	}
	return err.hint("the facts are %s", strings.Join(abridged(known), ", "))
}

// mostNamed is how many facts a hint names one by one.
const mostNamed = 120

// abridged sorts names. Of very many, those that begin with the same two steps, such
// as the facts of one request of a journey, become one: steps.login.*.
func abridged(names []string) []string {
	if len(names) > mostNamed {
		for i, name := range names {
			if steps := strings.SplitN(name, ".", 3); len(steps) == 3 {
				names[i] = steps[0] + "." + steps[1] + ".*"
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
