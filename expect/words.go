package expect

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// maxShown is the longest text that a message quotes, in bytes. A longer one is
// not quoted at all: a cut could leave half a secret, which no mask finds.
const maxShown = 256

// show writes a value as the language would.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return quote(v)
	case time.Duration:
		return check.FormatDuration(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case class:
		return strconv.Itoa(int(v)) + "xx"
	case span:
		return fmt.Sprintf("%d to %d", v.from, v.to)
	case []string:
		return showList(len(v), func(i int) string { return quote(v[i]) })
	case []any:
		return showList(len(v), func(i int) string { return show(v[i]) })
	case map[string]any, map[string]string:
		text, err := json.Marshal(v)
		if err != nil || len(text) > maxShown {
			return "{…}"
		}
		return string(text)
	}
	return fmt.Sprint(v)
}

// showList writes a list, or only its length when that would be long.
func showList(n int, item func(int) string) string {
	if n > 16 {
		return fmt.Sprintf("[%d items]", n)
	}
	items, size := make([]string, n), 0
	for i := range n {
		items[i] = item(i)
		size += len(items[i])
	}
	if size > maxShown {
		return fmt.Sprintf("[%d items]", n)
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// quote writes a text in quotes, or its length when it is long.
func quote(s string) string {
	if len(s) > maxShown {
		return fmt.Sprintf("(a text of %d bytes)", len(s))
	}
	return literalText(s)
}

// literalText writes a text as a literal of the language.
func literalText(s string) string {
	if !strings.ContainsAny(s, `'\`) {
		return "'" + s + "'"
	}
	return strconv.Quote(s)
}

// seen words what was seen of a fact: "status 503". The value of a hidden fact
// is left out.
func (p *path) seen(v any) string {
	if p.fact.Hidden && len(p.steps) == 0 {
		if s, ok := v.(string); ok {
			return fmt.Sprintf("%s of %d bytes", p.text, len(s))
		}
		return p.text
	}
	return p.text + " " + show(v)
}

// typeWord names a value's type: "a number".
func typeWord(v any) string {
	switch v.(type) {
	case bool:
		return "true or false"
	case int, float64, check.Size, class:
		return "a number"
	case string:
		return "a text"
	case time.Duration:
		return "a duration"
	case time.Time:
		return "a time"
	case []string, []any:
		return "a list"
	case nil:
		return "nil"
	}
	return "an object"
}

// factWord names the type of a declared fact.
func factWord(t check.Type) string {
	switch t {
	case check.Bool:
		return "true or false"
	case check.Int, check.Float:
		return "a number"
	case check.String:
		return "a text"
	case check.Duration:
		return "a duration"
	case check.Time:
		return "a time"
	case check.Strings:
		return "a list of texts"
	case check.Map:
		return "a map of texts"
	}
	return "of any type"
}
