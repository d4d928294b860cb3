package expect

import (
	"errors"
	"math"
	"time"
)

// errType stops an evaluation whose values have types that do not fit.
var errType = errors.New("the type does not fit")

// need returns its value, or an error when it is absent. What the machine reads
// counts as steps, so that reading a large fact over and over is bounded.
func need(args ...any) (any, error) {
	r, v := args[0].(*run), args[2]
	if v == nil {
		if i := args[1].(int); i >= 0 {
			p := r.paths[i]
			return nil, &faultError{p.absent(r.seen[p.index])}
		}
		return nil, errMember
	}
	return v, r.count(weight(v))
}

// known returns its value, absent or not, or an error when the fact that it is
// looked for in was not observed.
func known(args ...any) (any, error) {
	r := args[0].(*run)
	p := r.paths[args[1].(int)]
	if s := r.seen[p.index]; !s.fact {
		return nil, &faultError{p.absent(s)}
	}
	return args[2], nil
}

// get returns a member of a value by a name or position that is computed, or of
// a list's element; nil when there is none.
func get(args ...any) (any, error) {
	if f, ok := args[1].(float64); ok && f == math.Trunc(f) { // a number of JSON
		return step(args[0], int(f)), nil
	}
	return step(args[0], args[1]), nil
}

// note keeps a side of the comparison at the top and returns it.
func note(args ...any) (any, error) {
	r, side := args[0].(*run), args[1].(int)
	r.sides[side], r.known[side] = args[2], true
	return args[2], nil
}

// countStep counts one round of a predicate and returns its value.
func countStep(args ...any) (any, error) { return args[1], args[0].(*run).count(1) }

func (r *run) count(n int) error {
	if r.steps += n; r.steps > maxSteps {
		return errSteps
	}
	return nil
}

// weight estimates what it costs to look through a value, in steps.
func weight(v any) int {
	switch v := v.(type) {
	case string:
		return len(v) / 16
	case []any:
		return len(v)
	case []string:
		return len(v)
	case map[string]any:
		return len(v)
	case map[string]string:
		return len(v)
	}
	return 0
}

// add adds two values of types that only show when they are there. Texts are
// not joined: a chain of joins could build a huge one.
func add(args ...any) (any, error) {
	switch a := args[0].(type) {
	case int:
		if b, ok := args[1].(int); ok {
			return a + b, nil
		}
	case time.Duration:
		switch b := args[1].(type) {
		case time.Duration:
			return a + b, nil
		case time.Time:
			return b.Add(a), nil
		}
	case time.Time:
		if b, ok := args[1].(time.Duration); ok {
			return a.Add(b), nil
		}
	}
	a, ok1 := number(args[0])
	b, ok2 := number(args[1])
	if !ok1 || !ok2 {
		return nil, errType
	}
	return a + b, nil
}

// inClass reports whether a number is of a status class.
func inClass(args ...any) (any, error) {
	t := same(args[0], class(args[1].(int)))
	if t == unfit {
		return nil, errType
	}
	return t == yes, nil
}
