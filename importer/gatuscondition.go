package importer

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// comparison is a condition of Gatus: VALUE OPERATOR VALUE, with a placeholder
// on the left.
type comparison struct {
	left     operand
	operator string
	right    string
}

// operand is a placeholder, with a function around it or not.
type operand struct {
	function string // len, has or none
	name     string // BODY, STATUS, ... in upper case; empty for a literal
	path     string // behind the placeholder, such as .items[0].id
}

// operators are those of Gatus, in the order in which it looks for them.
var operators = []string{"==", "!=", "<=", ">=", ">", "<"}

// parseCondition takes a condition apart.
func parseCondition(s string) (comparison, error) {
	for _, op := range operators {
		left, right, ok := strings.Cut(s, " "+op+" ")
		if !ok {
			continue
		}
		if strings.Contains(right, " "+op+" ") {
			return comparison{}, fmt.Errorf("it has %s twice", op)
		}
		c := comparison{left: parseOperand(left), operator: op, right: strings.TrimSpace(right)}
		if c.left.name == "" {
			c = comparison{left: parseOperand(right), operator: mirrored(op), right: strings.TrimSpace(left)}
		}
		if c.left.name == "" {
			return comparison{}, fmt.Errorf("it has no placeholder")
		}
		return c, nil
	}
	return comparison{}, fmt.Errorf("it is no comparison")
}

func mirrored(op string) string {
	switch op[0] {
	case '<':
		return ">" + op[1:]
	case '>':
		return "<" + op[1:]
	}
	return op
}

var placeholder = regexp.MustCompile(`^\[([A-Za-z_]+)\](.*)$`)

func parseOperand(s string) operand {
	s = strings.TrimSpace(s)
	var o operand
	for _, f := range []string{"len", "has"} {
		if inner, ok := strings.CutPrefix(s, f+"("); ok && strings.HasSuffix(inner, ")") {
			o.function, s = f, strings.TrimSuffix(inner, ")")
		}
	}
	if m := placeholder.FindStringSubmatch(s); m != nil {
		o.name, o.path = strings.ToUpper(m[1]), m[2]
	}
	return o
}

// expression translates the comparison for a kind. It is empty when the kind
// demands as much by itself.
func (c comparison) expression(kind string) (string, error) {
	switch {
	case c.left.function == "has":
		return c.has(kind)
	case c.left.function == "len" && c.left.name != "BODY":
		return "", fmt.Errorf("len() of another than the body")
	}
	switch name := c.left.name; {
	case name == "BODY" && kind == "dns":
		return c.answers()
	case name == "BODY" && kind == "http":
		return c.body()
	case name == "BODY" && kind == "tcp":
		return "", fmt.Errorf("what a TCP connection answers")
	case name == "BODY" && kind == "udp" && c.left.path == "" && c.left.function == "":
		return c.texts("answer")
	case name == "STATUS" && kind == "http":
		return c.status()
	case name == "STATUS" && kind == "ssh" && c.operator == "==" && c.right == "0":
		return "", nil // there was a banner
	case name == "RESPONSE_TIME":
		return c.time("latency")
	case name == "CERTIFICATE_EXPIRATION" && (kind == "http" || kind == "tls"):
		return c.time("cert.expires_in")
	case name == "IP":
		return c.texts("ip")
	case name == "DNS_RCODE" && kind == "dns":
		return c.texts("rcode")
	case name == "CONNECTED":
		return c.connected(kind)
	}
	return "", fmt.Errorf("[%s] is not known for the kind %s", c.left.name, kind)
}

func (c comparison) connected(kind string) (string, error) {
	want := (c.right == "true") == (c.operator == "==")
	switch {
	case c.operator != "==" && c.operator != "!=" || c.right != "true" && c.right != "false":
		return "", fmt.Errorf("[CONNECTED] is true or false")
	case want:
		return "", nil
	case kind == "icmp":
		return "received == 0", nil
	}
	return "error != ''", nil
}

func (c comparison) has(kind string) (string, error) {
	want := (c.right == "true") == (c.operator == "==")
	switch {
	case kind != "http":
		return "", fmt.Errorf("has() is not known for the kind %s", kind)
	case c.left.name != "BODY" || c.operator != "==" && c.operator != "!=" || c.right != "true" && c.right != "false":
		return "", fmt.Errorf("has() is known for the body, and is true or false")
	case c.left.path == "" && want:
		return "len(trim(body)) > 0", nil
	case c.left.path == "":
		return "len(trim(body)) == 0", nil
	}
	path, err := jsonPath(c.left.path)
	if err != nil {
		return "", err
	}
	return path + map[bool]string{true: " != nil", false: " == nil"}[want], nil
}

// classPattern is a pattern for statuses of one class.
var classPattern = regexp.MustCompile(`^pat\(([1-5])(\*|\?\?)\)$`)

func (c comparison) status() (string, error) {
	if m := classPattern.FindStringSubmatch(c.right); m != nil && (c.operator == "==" || c.operator == "!=") {
		return fmt.Sprintf("status %s %sxx", c.operator, m[1]), nil
	}
	if options, ok := function("any", c.right); ok && (c.operator == "==" || c.operator == "!=") {
		numbers := strings.Split(options, ",")
		for i, n := range numbers {
			v, err := strconv.ParseInt(strings.TrimSpace(n), 0, 64)
			if err != nil {
				return "", fmt.Errorf("a status is a number")
			}
			numbers[i] = strconv.FormatInt(v, 10)
		}
		return fmt.Sprintf("status %s [%s]", map[string]string{"==": "in", "!=": "not in"}[c.operator], strings.Join(numbers, ", ")), nil
	}
	v, err := strconv.ParseInt(c.right, 0, 64)
	if err != nil {
		return "", fmt.Errorf("a status is a number")
	}
	return fmt.Sprintf("status %s %d", c.operator, v), nil
}

// time compares a duration; Gatus counts bare numbers in milliseconds.
func (c comparison) time(fact string) (string, error) {
	d, err := time.ParseDuration(c.right)
	if n, e := strconv.ParseInt(c.right, 0, 64); e == nil {
		if n < 0 || n > int64(1<<40) {
			return "", fmt.Errorf("the time is out of range")
		}
		d, err = time.Duration(n)*time.Millisecond, nil
	}
	if err != nil {
		if d, err = check.ParseDuration(c.right); err != nil {
			return "", fmt.Errorf("what it is compared with is no time")
		}
	}
	return fmt.Sprintf("%s %s %s", fact, c.operator, duration(d)), nil
}

// texts compares a fact that is a text.
func (c comparison) texts(fact string) (string, error) {
	if c.operator != "==" && c.operator != "!=" {
		return "", fmt.Errorf("a text is compared with == and !=")
	}
	if pattern, ok := function("pat", c.right); ok {
		expression, err := like(fact, pattern)
		return negated(expression, c.operator == "!="), err
	}
	if options, ok := function("any", c.right); ok {
		return fmt.Sprintf("%s %s %s", fact, map[string]string{"==": "in", "!=": "not in"}[c.operator], texts(options)), nil
	}
	return fmt.Sprintf("%s %s %s", fact, c.operator, quoted(c.right)), nil
}

func texts(options string) string {
	all := strings.Split(options, ",")
	for i, o := range all {
		all[i] = quoted(strings.TrimSpace(o))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func negated(expression string, yes bool) string {
	if yes && expression != "" {
		return "not (" + expression + ")"
	}
	return expression
}

// answers compares the answers of a name server, of which Gatus sees one.
func (c comparison) answers() (string, error) {
	switch {
	case c.left.path != "":
		return "", fmt.Errorf("an answer of DNS has no members")
	case c.left.function == "len":
		return "", fmt.Errorf("len() of an answer of DNS")
	}
	expression, err := comparison{operator: "==", right: c.right}.texts("#")
	if err != nil || c.operator != "==" && c.operator != "!=" {
		return "", fmt.Errorf("answers of DNS are compared with == and !=")
	}
	return map[string]string{"==": "any", "!=": "none"}[c.operator] + "(answers, " + expression + ")", nil
}

// body compares the body or a member of it.
func (c comparison) body() (string, error) {
	if c.left.path == "" {
		return c.wholeBody()
	}
	path, err := jsonPath(c.left.path)
	if err != nil {
		return "", err
	}
	if c.left.function == "len" {
		path = "len(" + path + ")"
	}
	if other := parseOperand(c.right); other.name == "BODY" && other.function == "" {
		right, err := jsonPath(other.path)
		return fmt.Sprintf("%s %s %s", path, c.operator, right), err
	} else if other.name != "" {
		return "", fmt.Errorf("it compares two placeholders")
	}
	if number.MatchString(c.right) {
		return fmt.Sprintf("%s %s %s", path, c.operator, decimal(c.right)), nil
	}
	if n, err := strconv.ParseInt(c.right, 0, 64); err == nil {
		return fmt.Sprintf("%s %s %d", path, c.operator, n), nil
	}
	switch {
	case c.left.function == "len":
		return "", fmt.Errorf("a length is a number")
	case (c.right == "true" || c.right == "false") && (c.operator == "==" || c.operator == "!="):
		return fmt.Sprintf("%s %s %s", path, c.operator, c.right), nil
	}
	return c.texts(path)
}

// number is one that is written in digits.
var number = regexp.MustCompile(`^-?\d{1,15}(\.\d{1,15})?$`)

// decimal writes a number as the language of expectations reads it.
func decimal(s string) string {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func (c comparison) wholeBody() (string, error) {
	if c.left.function == "len" {
		n, err := strconv.ParseUint(c.right, 0, 31)
		if err != nil {
			return "", fmt.Errorf("a length is a number")
		}
		return fmt.Sprintf("len((json ?? trim(body))) %s %d", c.operator, n), nil
	}
	if pattern, ok := function("pat", c.right); ok {
		inner := strings.TrimSuffix(strings.TrimPrefix(pattern, "*"), "*")
		if len(inner) == len(pattern)-2 && inner != "" && !strings.ContainsAny(inner, `*?[\`) && (c.operator == "==" || c.operator == "!=") {
			return negated("body contains "+quoted(inner), c.operator == "!="), nil
		}
	}
	if parseOperand(c.right).name != "" {
		return "", fmt.Errorf("it compares two placeholders")
	}
	return c.texts("trim(body)")
}

// function takes the argument out of name(argument).
func function(name, s string) (string, bool) {
	inner, ok := strings.CutPrefix(s, name+"(")
	if !ok || !strings.HasSuffix(inner, ")") {
		return "", false
	}
	return strings.TrimSuffix(inner, ")"), true
}

// like makes an expression of a pattern with * and ?.
func like(fact, pattern string) (string, error) {
	if strings.ContainsAny(pattern, `[\`) {
		return "", fmt.Errorf("a pattern with [ or \\")
	}
	var b strings.Builder
	for _, r := range pattern {
		switch r {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteByte('.')
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return fmt.Sprintf("%s matches %s", fact, quoted("(?s)^"+b.String()+"$")), nil
}

// pathStep is one step into JSON: .name or [number].
var pathStep = regexp.MustCompile(`^(?:\.?([^.\[\]]+)|\[(\d{1,9})\])`)

// plainName is a member's name that needs no quotes in an expectation.
var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// jsonPath makes json.items[0].id of .items[0].id.
func jsonPath(path string) (string, error) {
	out := "json"
	for rest := path; rest != ""; {
		m := pathStep.FindStringSubmatch(rest)
		switch {
		case m == nil:
			return "", fmt.Errorf("the path %s is not understood", path)
		case m[2] != "":
			n, err := strconv.Atoi(m[2])
			if err != nil {
				return "", err
			}
			out += fmt.Sprintf("[%d]", n)
		case plainName.MatchString(m[1]):
			out += "." + m[1]
		default:
			out += "[" + quoted(m[1]) + "]"
		}
		rest = rest[len(m[0]):]
	}
	return out, nil
}
