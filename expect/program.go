package expect

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr/vm"
)

// Limits of one evaluation on the virtual machine.
const (
	maxMemory = 1 << 16 // elements of the lists that it makes, 16 bytes each
	maxSteps  = 1 << 18 // rounds of any, all, filter and the like, and sizes of what they read
)

// program is a part of an expression that is more than a comparison of a fact
// with a literal. It runs on expr's virtual machine.
type program struct {
	code   *vm.Program
	negate bool
	text   string  // as the user wrote it
	paths  []*path // that it names
	op     string  // of a comparison at its top, else empty
	left   string  // text of the comparison's left side
	right  string  // and of its right side, which is a literal when want is set
	want   string
}

// run is the state of one evaluation. The lowered expression passes it to its
// helper functions.
type run struct {
	paths []*path
	seen  []sight
	steps int
	sides [2]any // of the comparison at the top, as far as evaluated
	known [2]bool
}

// faultError carries the fault of a path that has no value through the machine.
type faultError struct{ fault *fault }

func (e *faultError) Error() string { return e.fault.message }

var (
	errSteps  = errors.New("it takes too long to evaluate")
	errMember = errors.New("a member is missing")
)

func (p *program) eval(seen []sight) *fault {
	r := &run{paths: p.paths, seen: seen}
	env := make(map[string]any, len(p.paths)+1)
	env[runName] = r
	for _, path := range p.paths {
		env[path.text] = seen[path.index].value
	}
	machine := vm.VM{MemoryBudget: maxMemory}
	v, err := machine.Run(p.code, env)
	if err != nil {
		return p.failed(r, err)
	}
	holds, ok := v.(bool)
	if !ok {
		return p.fault(fmt.Sprintf("%s is %s, not true or false", p.text, typeWord(v)))
	}
	if holds != p.negate {
		return nil
	}
	return p.fault(p.words(r, holds))
}

// failed words an evaluation that the machine gave up.
func (p *program) failed(r *run, err error) *fault {
	var fe *faultError
	switch {
	case errors.As(err, &fe):
		return fe.fault
	case errors.Is(err, errSteps), strings.Contains(err.Error(), "memory budget"):
		return p.fault(fmt.Sprintf("%s: %s", p.text, errSteps))
	case errors.Is(err, errMember):
		return p.fault(fmt.Sprintf("%s: %s in what was seen", p.text, errMember))
	}
	return p.fault(fmt.Sprintf("%s does not fit what was seen: %s", p.text, p.facts(r)))
}

// fault blames the program's first fact.
func (p *program) fault(message string) *fault {
	f := &fault{message: message}
	if len(p.paths) > 0 {
		f.fact = p.paths[0].fact.Name
	}
	return f
}

// words says what was seen and wanted: "len(answers) 1, want >= 2".
func (p *program) words(r *run, holds bool) string {
	if p.op != "" && r.known[0] && r.known[1] && !p.negate {
		want := p.want
		if want == "" {
			want = fmt.Sprintf("%s (%s)", p.right, show(r.sides[1]))
		}
		op := p.op + " "
		if p.op == "==" {
			op = ""
		}
		is := " "
		if strings.Contains(p.left, " ") {
			is = " is "
		}
		return p.left + is + show(r.sides[0]) + ", want " + op + want
	}
	return fmt.Sprintf("%s is %t: %s", p.text, holds, p.facts(r))
}

// facts lists what was seen of the facts that the program names.
func (p *program) facts(r *run) string {
	words := make([]string, len(p.paths))
	for i, path := range p.paths {
		words[i] = path.seen(r.seen[path.index].value)
	}
	return strings.Join(words, ", ")
}
