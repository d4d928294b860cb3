package expect

import (
	"cmp"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/sonde-cli/sonde/check"
)

// operator compares a value with a literal.
type operator uint8

const (
	isTrue operator = iota // the fact by itself
	isNil
	equal
	less
	atMost
	greater
	atLeast
	in
	contains
	startsWith
	endsWith
	matches
)

// operatorOf returns the operator as the expression writes it.
func operatorOf(s string) (op operator, negated, ok bool) {
	switch s {
	case "==":
		return equal, false, true
	case "!=":
		return equal, true, true
	case "<":
		return less, false, true
	case "<=":
		return atMost, false, true
	case ">":
		return greater, false, true
	case ">=":
		return atLeast, false, true
	case "in":
		return in, false, true
	case "contains":
		return contains, false, true
	case "startsWith":
		return startsWith, false, true
	case "endsWith":
		return endsWith, false, true
	case "matches":
		return matches, false, true
	}
	return 0, false, false
}

func (op operator) ordered() bool { return op >= less && op <= atLeast }

// mirrored swaps the sides of a comparison.
func (op operator) mirrored() operator {
	switch op {
	case less:
		return greater
	case atMost:
		return atLeast
	case greater:
		return less
	case atLeast:
		return atMost
	}
	return op
}

// comparison is a fact compared with a literal, the most common expectation.
// Evaluating one that holds allocates nothing.
type comparison struct {
	path   *path
	op     operator
	negate bool
	want   any   // bool, int, float64, string, time.Duration or class
	list   []any // of op in: such values, or a span
	re     *regexp.Regexp
}

// span is a range of whole numbers, ends included.
type span struct{ from, to int }

// truth is what a comparison found.
type truth uint8

const (
	no truth = iota
	yes
	unfit // the value has another type than the literal
)

func truthOf(holds bool) truth {
	if holds {
		return yes
	}
	return no
}

func (c *comparison) eval(seen []sight) *fault { return c.judge(seen[c.path.index]) }

// judge returns nil when the comparison holds for what was seen.
func (c *comparison) judge(s sight) *fault {
	if c.op == isNil {
		if c.path.unknown(s) {
			return c.path.absent(s)
		}
		if (s.value == nil) != c.negate {
			return nil
		}
		if s.value == nil {
			return c.path.absent(s)
		}
		return &fault{fact: c.path.fact.Name, message: c.path.seen(s.value) + ", want none"}
	}
	if s.value == nil {
		return c.path.absent(s)
	}
	t := c.holds(s.value)
	if t == yes && !c.negate || t == no && c.negate {
		return nil
	}
	message := c.path.seen(s.value)
	if t == unfit {
		message += ", which is not " + c.wantedType()
	}
	return &fault{fact: c.path.fact.Name, message: message + ", " + c.wish()}
}

// holds compares a value, without regard to negation.
func (c *comparison) holds(v any) truth {
	switch c.op {
	case isTrue:
		if b, ok := v.(bool); ok {
			return truthOf(b)
		}
		return unfit
	case equal:
		return same(v, c.want)
	case in:
		for _, want := range c.list {
			if same(v, want) == yes {
				return yes
			}
		}
		return no
	case less, atMost, greater, atLeast:
		order, ok := compare(v, c.want)
		if !ok {
			return unfit
		}
		return truthOf(c.op == less && order < 0 || c.op == atMost && order <= 0 ||
			c.op == greater && order > 0 || c.op == atLeast && order >= 0)
	}
	text, ok := v.(string)
	if !ok {
		return unfit
	}
	return truthOf(c.holdsText(text))
}

func (c *comparison) holdsText(text string) bool {
	switch c.op {
	case contains:
		return strings.Contains(text, c.want.(string))
	case startsWith:
		return strings.HasPrefix(text, c.want.(string))
	case endsWith:
		return strings.HasSuffix(text, c.want.(string))
	default:
		return c.re.MatchString(text)
	}
}

// same reports whether a value is the wanted one, of the class or in the span.
func same(v, want any) truth {
	switch want := want.(type) {
	case class:
		f, ok := number(v)
		if !ok {
			return unfit
		}
		return truthOf(f >= float64(want)*100 && f < float64(want+1)*100)
	case span:
		f, ok := number(v)
		return truthOf(ok && f == math.Trunc(f) && f >= float64(want.from) && f <= float64(want.to))
	case bool:
		b, ok := v.(bool)
		if !ok {
			return unfit
		}
		return truthOf(b == want)
	}
	order, ok := compare(v, want)
	if !ok {
		return unfit
	}
	return truthOf(order == 0)
}

// compare orders two values of one type; numbers are one type.
func compare(v, want any) (int, bool) {
	switch want := want.(type) {
	case int:
		if i, ok := v.(int); ok {
			return cmp.Compare(i, want), true
		}
		f, ok := v.(float64)
		return cmp.Compare(f, float64(want)), ok
	case float64:
		f, ok := number(v)
		return cmp.Compare(f, want), ok
	case string:
		s, ok := v.(string)
		return strings.Compare(s, want), ok
	case time.Duration:
		d, ok := v.(time.Duration)
		return cmp.Compare(d, want), ok
	}
	return 0, false
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func (c *comparison) wantedType() string {
	switch {
	case c.op == isTrue:
		return typeWord(true)
	case c.op == matches:
		return typeWord("")
	}
	return typeWord(c.want)
}

// wish words what was wanted: "want < 800ms".
func (c *comparison) wish() string {
	if c.op == isTrue {
		return "want " + show(!c.negate)
	}
	if c.op == in {
		items := make([]string, len(c.list))
		for i, v := range c.list {
			items[i] = show(v)
		}
		return "want " + word(c.negate, "one of ", "none of ") + strings.Join(items, ", ")
	}
	want := show(c.want)
	switch c.op {
	case equal:
		return "want " + word(c.negate, "", "another than ") + want
	case less:
		return "want " + word(c.negate, "< ", ">= ") + want
	case atMost:
		return "want " + word(c.negate, "<= ", "> ") + want
	case greater:
		return "want " + word(c.negate, "> ", "<= ") + want
	case atLeast:
		return "want " + word(c.negate, ">= ", "< ") + want
	case contains:
		return "want " + want + word(c.negate, " in it", " not in it")
	case startsWith:
		return "want it " + word(c.negate, "", "not ") + "to start with " + want
	case endsWith:
		return "want it " + word(c.negate, "", "not ") + "to end with " + want
	default:
		return "want " + word(c.negate, "a", "no") + " match of " + want
	}
}

func word(negate bool, plain, negated string) string {
	if negate {
		return negated
	}
	return plain
}

// comparison makes a comparison of n, when it is a fact compared with a
// literal; else it returns nil.
func (b *builder) comparison(n ast.Node, negate bool) (node, *Error) {
	if p := b.path(n); p != nil {
		if t := p.valueType(); t != check.Bool && t != check.Any {
			return nil, errorf(b.src.offset(n.Location().From), "%s is %s, not true or false", p.text, factWord(t)).
				hint("compare it with what you want, such as %s", example(p))
		}
		return &comparison{path: p, op: isTrue, negate: negate}, nil
	}
	bin, ok := n.(*ast.BinaryNode)
	if !ok {
		return nil, nil
	}
	op, negated, ok := operatorOf(bin.Operator)
	if !ok {
		return nil, nil
	}
	p, other := b.path(bin.Left), bin.Right
	if p == nil && (op == equal || op.ordered()) {
		p, other, op = b.path(bin.Right), bin.Left, op.mirrored()
	}
	if p == nil {
		return nil, nil
	}
	c := &comparison{path: p, op: op, negate: negate != negated}
	return b.withLiteral(c, other)
}

// withLiteral completes the comparison when the other side is a literal.
func (b *builder) withLiteral(c *comparison, other ast.Node) (node, *Error) {
	if array, ok := other.(*ast.ArrayNode); ok && c.op == in {
		return b.withList(c, array)
	}
	if r, ok := rangeOf(other); ok && c.op == in {
		c.list = []any{r}
		return c, b.fits(c, r.from, other)
	}
	if _, ok := other.(*ast.NilNode); ok && c.op == equal {
		c.op = isNil
		return c, nil
	}
	v, ok := literalOf(other)
	if !ok || c.op == in {
		return nil, nil
	}
	c.want = v
	if err := b.fits(c, v, other); err != nil {
		return nil, err
	}
	if c.op == matches {
		re, err := regexp.Compile(v.(string))
		if err != nil {
			return nil, errorf(b.src.offset(other.Location().From), "%s", err).hint("patterns are RE2")
		}
		c.re = re
	}
	return c, nil
}

func (b *builder) withList(c *comparison, array *ast.ArrayNode) (node, *Error) {
	for _, item := range array.Nodes {
		if r, ok := rangeOf(item); ok {
			c.list = append(c.list, r)
			continue
		}
		v, ok := literalOf(item)
		if !ok {
			return nil, nil
		}
		if err := b.fits(c, v, item); err != nil {
			return nil, err
		}
		c.list = append(c.list, v)
	}
	return c, nil
}

func rangeOf(n ast.Node) (span, bool) {
	bin, ok := n.(*ast.BinaryNode)
	if !ok || bin.Operator != ".." {
		return span{}, false
	}
	from, ok1 := bin.Left.(*ast.IntegerNode)
	to, ok2 := bin.Right.(*ast.IntegerNode)
	if !ok1 || !ok2 {
		return span{}, false
	}
	return span{from.Value, to.Value}, true
}

// literalOf returns the value of a literal.
func literalOf(n ast.Node) (any, bool) {
	switch n := n.(type) {
	case *ast.BoolNode:
		return n.Value, true
	case *ast.IntegerNode:
		return n.Value, true
	case *ast.FloatNode:
		return n.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.ConstantNode:
		return n.Value, true
	}
	return nil, false
}
