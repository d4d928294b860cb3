package expect

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"

	"github.com/sonde-cli/sonde/check"
)

// program compiles n for the virtual machine.
//
// It is checked twice: first as the user wrote it, which finds the mistakes,
// then with helper functions around its parts, which make it fail on absent
// facts and bound its cost.
func (b *builder) program(n ast.Node, negate bool) (_ node, err *Error) {
	at := b.src.offset(n.Location().From)
	defer func() {
		if recover() != nil { // a defect of the compiler must not end the program
			err = errorf(at, "this cannot be compiled")
		}
	}()
	p := &program{negate: negate, text: b.src.slice(n)}
	ast.Walk(&n, visit(func(n *ast.Node) {
		if path := b.path(*n); path != nil && !p.names(path) {
			p.paths = append(p.paths, path)
		}
	}))
	b.describe(p, n)
	ast.Walk(&n, visit(lowerLiterals))
	if err := b.check(p, &n); err != nil {
		return nil, err
	}
	w := &wrapper{program: p}
	w.notes(n)
	ast.Walk(&n, visit(w.wrap))
	ast.Walk(&n, visit(func(n *ast.Node) { (*n).SetType(nil) }))
	config, tree := b.config(p), &parser.Tree{Node: n, Source: file.NewSource(b.src.rewritten)}
	if _, err := checker.Check(tree, config); err != nil {
		return nil, errorf(at, "this cannot be compiled: %s", plainTypes(err))
	}
	code, cerr := compiler.Compile(tree, config)
	if cerr != nil {
		return nil, errorf(at, "this cannot be compiled")
	}
	p.code = code
	return p, nil
}

func (p *program) names(other *path) bool {
	for _, known := range p.paths {
		if known == other {
			return true
		}
	}
	return false
}

// describe keeps the words for a comparison at the top.
func (b *builder) describe(p *program, n ast.Node) {
	bin, ok := n.(*ast.BinaryNode)
	if !ok {
		return
	}
	if _, _, ok := operatorOf(bin.Operator); !ok {
		return
	}
	if _, ok := literalOf(bin.Left); ok {
		return // the facts say more
	}
	for _, side := range []ast.Node{bin.Left, bin.Right} {
		if v, ok := literalOf(side); ok {
			if _, isClass := v.(class); isClass {
				return // lowered to a function
			}
		}
		if _, ok := side.(*ast.NilNode); ok {
			return
		}
	}
	p.op, p.left, p.right = bin.Operator, b.src.slice(bin.Left), b.src.slice(bin.Right)
	if v, ok := literalOf(bin.Right); ok {
		p.want = show(v)
	}
	if _, ok := bin.Right.(*ast.ArrayNode); ok {
		p.want = p.right
	}
}

// visit makes a visitor of a function.
type visit func(*ast.Node)

// Visit implements ast.Visitor.
func (v visit) Visit(n *ast.Node) { v(n) }

// Names that no expression can contain.
const (
	runName    = "$run"
	needName   = "$need"
	knownName  = "$known"
	getName    = "$get"
	noteName   = "$note"
	stepName   = "$step"
	addName    = "$add"
	absentName = "$absent"
	className  = "$class"
)

// lowerLiterals replaces what only our language has: comparisons with nil,
// which may meet an absent fact, and with status classes.
func lowerLiterals(n *ast.Node) {
	bin, ok := (*n).(*ast.BinaryNode)
	if !ok {
		return
	}
	switch bin.Operator {
	case "==", "!=":
		for _, sides := range [][2]ast.Node{{bin.Left, bin.Right}, {bin.Right, bin.Left}} {
			if lowered := compareLiteral(sides[0], sides[1]); lowered != nil {
				if bin.Operator == "!=" {
					lowered.SetLocation(bin.Location())
					lowered = &ast.UnaryNode{Operator: "not", Node: lowered}
				}
				ast.Patch(n, lowered)
				return
			}
		}
	case "in":
		if list, ok := bin.Right.(*ast.ArrayNode); ok {
			lowerClasses(n, bin, list)
		}
	}
}

func compareLiteral(side, literal ast.Node) ast.Node {
	switch l := literal.(type) {
	case *ast.NilNode:
		return call(absentName, side)
	case *ast.ConstantNode:
		if c, ok := l.Value.(class); ok {
			return call(className, side, &ast.IntegerNode{Value: int(c)})
		}
	}
	return nil
}

// lowerClasses makes `x in [2xx, 301]` to `x is of class 2 or x in [301]`.
func lowerClasses(n *ast.Node, bin *ast.BinaryNode, list *ast.ArrayNode) {
	var rest []ast.Node
	var lowered ast.Node
	or := func(side ast.Node) {
		side.SetLocation(bin.Location())
		if lowered == nil {
			lowered = side
			return
		}
		lowered = &ast.BinaryNode{Operator: "or", Left: lowered, Right: side}
		lowered.SetLocation(bin.Location())
	}
	for _, item := range list.Nodes {
		if side := compareLiteral(bin.Left, item); side != nil {
			or(side)
		} else {
			rest = append(rest, item)
		}
	}
	if lowered == nil {
		return
	}
	if len(rest) > 0 {
		list.Nodes = rest
		or(&ast.BinaryNode{Operator: "in", Left: bin.Left, Right: list})
	}
	ast.Patch(n, lowered)
}

func call(name string, arguments ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: arguments}
}

// config is expr's configuration for a program: its facts and our functions.
func (b *builder) config(p *program) *conf.Config {
	c := conf.CreateNew()
	c.Optimize = false
	env := types.Map{runName: types.Any}
	for _, path := range p.paths {
		env[path.text] = exprType(path.valueType())
	}
	c.WithEnv(env)
	for _, f := range helpers() {
		c.Functions[f.Name] = f
	}
	return c
}

func exprType(t check.Type) types.Type {
	switch t {
	case check.Bool:
		return types.Bool
	case check.Int:
		return types.Int
	case check.Float:
		return types.Float64
	case check.String:
		return types.String
	case check.Duration:
		return types.TypeOf(time.Duration(0))
	case check.Time:
		return types.TypeOf(time.Time{})
	case check.Strings:
		return types.TypeOf([]string(nil))
	case check.Map:
		return types.TypeOf(map[string]string(nil))
	}
	return types.Any
}

// check finds the mistakes of types.
func (b *builder) check(p *program, n *ast.Node) *Error {
	c := b.config(p)
	_, cerr := checker.Check(&parser.Tree{Node: *n, Source: file.NewSource(b.src.rewritten)}, c)
	var fe *file.Error
	if errors.As(cerr, &fe) {
		return b.typeError(*n, fe)
	}
	if cerr != nil {
		return errorf(b.src.offset((*n).Location().From), "%s", plainTypes(cerr))
	}
	var err *Error
	ast.Walk(n, visit(func(n *ast.Node) {
		if err == nil {
			err = b.refused(*n)
		}
	}))
	if err != nil {
		return err
	}
	if t := (*n).Nature(); t.Nil || t.Type != nil && t.Kind != reflect.Bool && t.Kind != reflect.Interface {
		return errorf(b.src.offset((*n).Location().From), "the expression gives %s, not true or false", natureWord(*n)).
			hint("compare it with what you want")
	}
	return nil
}

// refused finds what the types allow and the language does not.
func (b *builder) refused(n ast.Node) *Error {
	at := b.src.offset(n.Location().From)
	switch n := n.(type) {
	case *ast.ConstantNode:
		if _, ok := n.Value.(class); ok {
			return errorf(at, "a status class can only be compared with ==, != or in")
		}
	case *ast.BinaryNode:
		text := n.Left.Nature().Kind == reflect.String || n.Right.Nature().Kind == reflect.String
		if n.Operator == "+" && text {
			return errorf(at, "texts cannot be joined").hint("compare the parts one by one")
		}
		if n.Operator == "*" && (isDuration(n.Left) && !isWhole(n.Right) || isDuration(n.Right) && !isWhole(n.Left)) {
			return errorf(at, "a duration can only be multiplied by a whole number").hint("multiply the other side instead")
		}
	}
	return nil
}

func isDuration(n ast.Node) bool { return n.Nature().Type == reflect.TypeFor[time.Duration]() }

func isWhole(n ast.Node) bool {
	return !isDuration(n) && (n.Nature().Kind == reflect.Int || n.Nature().Kind == reflect.Int64)
}

// typeError words an error of the type checker.
func (b *builder) typeError(root ast.Node, fe *file.Error) *Error {
	var at *ast.BinaryNode
	ast.Walk(&root, visit(func(n *ast.Node) {
		bin, ok := (*n).(*ast.BinaryNode)
		if ok && at == nil && bin.Location().From == fe.From {
			at = bin
		}
	}))
	offset := b.src.offset(fe.From)
	if at == nil || !strings.Contains(fe.Message, "mismatched types") {
		return errorf(offset, "%s", plainTypes(errors.New(fe.Message)))
	}
	err := errorf(offset, "%s cannot stand between %s (%s) and %s (%s)", at.Operator,
		b.src.slice(at.Left), natureWord(at.Left), b.src.slice(at.Right), natureWord(at.Right))
	for _, sides := range [][2]ast.Node{{at.Left, at.Right}, {at.Right, at.Left}} {
		if natureWord(sides[0]) == "a duration" && natureWord(sides[1]) == "a number" {
			number := b.src.slice(sides[1])
			if _, ok := literalOf(sides[1]); ok {
				return err.hint("write it with a unit, such as %sms or %ss", number, number)
			}
		}
	}
	return err
}

func natureWord(n ast.Node) string {
	t := n.Nature()
	if t.Nil {
		return "nil"
	}
	if t.Type == nil || t.Kind == reflect.Interface {
		return "of any type"
	}
	switch t.Kind {
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map:
		return "a map"
	}
	return typeWord(reflect.Zero(t.Type).Interface())
}

// plainTypes writes Go's names of types in the language's words.
func plainTypes(err error) string {
	return lowerFirst(strings.NewReplacer(
		"time.Duration", "duration", "time.Time", "time", "[]string", "list", "[]interface {}", "list",
		"map[string]string", "map", "float64", "number", "int", "number", "string", "text", "interface {}", "any",
	).Replace(err.Error()))
}

// wrapper puts the helper functions into a checked expression.
type wrapper struct{ program *program }

// notes records the sides of the comparison at the top, for the message.
func (w *wrapper) notes(n ast.Node) {
	bin, ok := n.(*ast.BinaryNode)
	if !ok || w.program.op == "" {
		return
	}
	bin.Left = call(noteName, &ast.IdentifierNode{Value: runName}, &ast.IntegerNode{Value: 0}, bin.Left)
	if bin.Operator != "matches" { // whose right side must stay a literal
		bin.Right = call(noteName, &ast.IdentifierNode{Value: runName}, &ast.IntegerNode{Value: 1}, bin.Right)
	}
}

// wrap is called for each node after the nodes below it.
func (w *wrapper) wrap(n *ast.Node) {
	switch x := (*n).(type) {
	case *ast.IdentifierNode:
		for i, p := range w.program.paths {
			if p.text == x.Value {
				w.need(n, i)
			}
		}
	case *ast.MemberNode:
		if x.Optional {
			x.Node = bare(x.Node)
		}
		ast.Patch(n, call(getName, x.Node, x.Property))
		w.need(n, -1)
	case *ast.ChainNode: // get leads on from nil to nil by itself
		*n = x.Node
	case *ast.PredicateNode:
		x.Node = call(stepName, &ast.IdentifierNode{Value: runName}, x.Node)
	case *ast.CallNode:
		if id, ok := x.Callee.(*ast.IdentifierNode); ok && id.Value == absentName {
			x.Arguments[0] = w.member(bare(x.Arguments[0]), false)
		}
	case *ast.BinaryNode:
		switch {
		case x.Operator == "??":
			x.Left = bare(x.Left)
		case x.Operator == "+" && x.Nature().Type == nil:
			ast.Patch(n, call(addName, x.Left, x.Right))
		}
	}
}

// need makes the program fail when the value is absent.
func (w *wrapper) need(n *ast.Node, path int) {
	value := *n
	ast.Patch(n, call(needName, &ast.IdentifierNode{Value: runName}, &ast.IntegerNode{Value: path}, value))
}

// member makes the program fail when n leads into a fact that was not observed:
// inside tells that n is what a member is looked for in.
func (w *wrapper) member(n ast.Node, inside bool) ast.Node {
	switch x := n.(type) {
	case *ast.IdentifierNode:
		for i, p := range w.program.paths {
			if p.text == x.Value && (inside || len(p.steps) > 0) {
				return call(knownName, &ast.IdentifierNode{Value: runName}, &ast.IntegerNode{Value: i}, x)
			}
		}
	case *ast.CallNode:
		if id, ok := x.Callee.(*ast.IdentifierNode); ok && id.Value == getName {
			x.Arguments[0] = w.member(x.Arguments[0], true)
		}
	}
	return n
}

// bare takes need away, where an absent value is allowed.
func bare(n ast.Node) ast.Node {
	if c, ok := n.(*ast.CallNode); ok {
		if id, ok := c.Callee.(*ast.IdentifierNode); ok && id.Value == needName {
			return c.Arguments[2]
		}
	}
	return n
}

// helpers returns the functions behind the lowered expression.
func helpers() []*builtin.Function {
	function := func(name string, f func(args ...any) (any, error), typed ...any) *builtin.Function {
		fn := &builtin.Function{Name: name, Func: f}
		for _, t := range typed {
			fn.Types = append(fn.Types, reflect.TypeOf(t))
		}
		return fn
	}
	return []*builtin.Function{
		function(needName, need), function(knownName, known), function(getName, get), function(noteName, note), function(stepName, countStep), function(addName, add),
		function(absentName, func(args ...any) (any, error) { return args[0] == nil, nil }, func(any) bool { return false }),
		function(className, inClass, func(any, int) bool { return false }),
	}
}
