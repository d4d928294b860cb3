package expect

import (
	"fmt"
	"strconv"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/sonde-cli/sonde/check"
)

// fits checks that the fact can be compared with the literal.
func (b *builder) fits(c *comparison, literal any, at ast.Node) *Error {
	t := c.path.valueType()
	if fitting(t, c.op, literal) {
		return nil
	}
	written := b.src.slice(at)
	if c.op >= contains {
		err := errorf(b.src.offset(at.Location().From), "%s (%s) cannot be searched for %s", c.path.text, factWord(t), written)
		if t == check.Strings {
			return err.hint("write any(%s, # contains %s)", c.path.text, written)
		}
		if _, ok := literal.(string); !ok {
			return err.hint("write '%s' in quotes", written)
		}
		return err
	}
	err := errorf(b.src.offset(at.Location().From), "cannot compare %s (%s) with %s (%s)", c.path.text, factWord(t), written, typeWord(literal))
	err.Hint = fitHint(c.path, t, literal, written)
	return err
}

func fitting(t check.Type, op operator, literal any) bool {
	if op >= contains {
		_, ok := literal.(string)
		return ok && (t == check.String || t == check.Any)
	}
	switch literal.(type) {
	case bool:
		return (t == check.Bool || t == check.Any) && !op.ordered()
	case class:
		return (t == check.Int || t == check.Float || t == check.Any) && !op.ordered()
	case int, float64:
		return t == check.Int || t == check.Float || t == check.Any
	case string:
		return t == check.String || t == check.Any
	case time.Duration:
		return t == check.Duration
	}
	return false
}

// fitHint tells how the comparison was probably meant.
func fitHint(p *path, t check.Type, literal any, written string) string {
	text, isText := literal.(string)
	_, isDuration := literal.(time.Duration)
	_, isNumber := number(literal)
	switch {
	case t == check.Duration && isNumber:
		return "write it with a unit, such as " + written + "ms or " + written + "s"
	case t == check.Any && isDuration:
		return "JSON has no durations, compare with a number"
	case t == check.String && !isText:
		return "write '" + written + "' in quotes"
	case t == check.Strings && isText:
		return fmt.Sprintf("write %s in %s, or any(%s, # == %s)", written, p.text, p.text, written)
	case t == check.Map:
		return fmt.Sprintf("name one of its members, such as %s['name']", p.text)
	case t == check.Time:
		return "compare with now() or date('2030-01-31')"
	case isText && readsAs(t, text):
		return "write " + text + " without quotes"
	}
	return ""
}

// readsAs reports whether the text is a literal of the type.
func readsAs(t check.Type, text string) bool {
	var err error
	switch t {
	case check.Bool:
		return text == "true" || text == "false"
	case check.Int, check.Float:
		_, err = strconv.ParseFloat(text, 64)
	case check.Duration:
		_, err = check.ParseDuration(text)
	default:
		return false
	}
	return err == nil
}

// example returns a comparison that the fact could stand in.
func example(p *path) string {
	switch p.valueType() {
	case check.Duration:
		return p.text + " < 800ms"
	case check.Int, check.Float:
		return p.text + " > 0"
	case check.String:
		return p.text + " == 'ok'"
	case check.Time:
		return p.text + " > now()"
	case check.Strings:
		return "any(" + p.text + ", # contains 'ok')"
	case check.Map:
		return p.text + "['name'] == 'ok'"
	}
	return p.text
}
