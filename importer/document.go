package importer

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"
)

// text is a scalar as a file of checks has it, in which ${NAME} is a reference.
type text string

// plain makes a text that stands for s and refers to nothing.
func plain(s string) text { return text(strings.ReplaceAll(s, "${", "$${")) }

// document is a file of checks to write.
type document struct {
	notes     []string // comments at the top
	defaults  fields
	templates []*item
	items     []*item
}

// item is a check or a template. One without a kind is a comment alone, in the
// place of what could not be imported.
type item struct {
	name              string
	notes             []string
	use               string
	each              []text // targets, as ${each.target}
	tags              []string
	labels            fields
	kind              string
	options           fields
	expect, prefer    []text
	interval, timeout time.Duration
	retry             fields
	disabled          bool
}

// fields are keys and values in their order.
type fields []field

// field is a key and its value: text, string (which refers to nothing), int,
// bool, time.Duration, []text, []string, fields or []fields.
type field struct {
	key   string
	value any
}

// set adds a key.
func (f *fields) set(key string, value any) { *f = append(*f, field{key, value}) }

// option sets an option of the kind.
func (it *item) option(key string, value any) { it.options.set(key, value) }

// tls adds to the options' block tls.
func (it *item) tls(key string, value any) {
	for i, f := range it.options {
		if block, ok := f.value.(fields); ok && f.key == "tls" {
			block.set(key, value)
			it.options[i].value = block
			return
		}
	}
	it.option("tls", fields{{key, value}})
}

// wants adds an expectation.
func (it *item) wants(format string, args ...any) {
	it.expect = append(it.expect, plain(fmt.Sprintf(format, args...)))
}

// prefers adds a preference.
func (it *item) prefers(format string, args ...any) {
	it.prefer = append(it.prefer, plain(fmt.Sprintf(format, args...)))
}

// mentions reports whether an expectation has the fact.
func (it *item) mentions(fact string) bool {
	for _, e := range it.expect {
		if strings.Contains(string(e), fact) {
			return true
		}
	}
	return false
}

// fields lists the item's own keys in the order of the documentation.
func (it *item) fields(named bool) fields {
	var f fields
	if named {
		f.set("name", it.name)
	}
	if it.use != "" {
		f.set("use", it.use)
	}
	if len(it.each) > 0 {
		f.set("each", fields{{"target", it.each}})
	}
	if it.disabled {
		f.set("enabled", false)
	}
	if len(it.tags) > 0 {
		f.set("tags", it.tags)
	}
	if len(it.labels) > 0 {
		f.set("labels", it.labels)
	}
	f.set(it.kind, it.options)
	if len(it.expect) > 0 {
		f.set("expect", it.expect)
	}
	if len(it.prefer) > 0 {
		f.set("prefer", it.prefer)
	}
	if it.interval > 0 {
		f.set("interval", it.interval)
	}
	if it.timeout > 0 {
		f.set("timeout", it.timeout)
	}
	if len(it.retry) > 0 {
		f.set("retry", it.retry)
	}
	return f
}

// encode writes the file.
func (d *document) encode() ([]byte, error) {
	root := node(fields{{"version", 1}})
	put := func(key string, value *yaml.Node) { root.Content = append(root.Content, node(key), value) }
	if len(d.defaults) > 0 {
		put("defaults", flow(node(d.defaults)))
	}
	if len(d.templates) > 0 {
		templates := &yaml.Node{Kind: yaml.MappingNode}
		for _, it := range d.templates {
			key := node(it.name)
			key.HeadComment = comment(it.notes)
			templates.Content = append(templates.Content, key, node(it.fields(false)))
		}
		put("templates", templates)
	}
	checks := &yaml.Node{Kind: yaml.SequenceNode}
	var pending []string // of items that are comments alone
	for _, it := range d.items {
		pending = append(pending, it.notes...)
		if it.kind == "" {
			continue
		}
		n := node(it.fields(true))
		n.HeadComment, pending = comment(pending), nil
		checks.Content = append(checks.Content, n)
	}
	put("checks", flowIfEmpty(checks))
	document := &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}, HeadComment: comment(d.notes)}
	if document.HeadComment != "" {
		document.HeadComment += "\n" // or the comment would belong to the first key
	}
	root.FootComment = comment(pending)
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(document); err != nil {
		return nil, err
	}
	return b.Bytes(), encoder.Close()
}

func flow(n *yaml.Node) *yaml.Node {
	n.Style = yaml.FlowStyle
	return n
}

func flowIfEmpty(n *yaml.Node) *yaml.Node {
	if len(n.Content) == 0 {
		return flow(n)
	}
	return n
}

// node makes the YAML of a value.
func node(value any) *yaml.Node {
	switch v := value.(type) {
	case text:
		return scalar("!!str", string(v))
	case string:
		return scalar("!!str", string(plain(v)))
	case int:
		return scalar("!!int", strconv.Itoa(v))
	case bool:
		return scalar("!!bool", strconv.FormatBool(v))
	case time.Duration:
		return scalar("!!str", duration(v))
	case []text:
		return list(v)
	case []string:
		return flow(list(v))
	case []fields:
		return list(v)
	case fields:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range v {
			n.Content = append(n.Content, node(f.key), node(f.value))
		}
		return flowIfEmpty(n)
	}
	return scalar("!!null", "null") // no value has another type
}

func list[T any](values []T) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, v := range values {
		n.Content = append(n.Content, node(v))
	}
	return flowIfEmpty(n)
}

func scalar(tag, value string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: strings.ToValidUTF8(value, "\uFFFD")}
	unprintable := strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) })
	apostrophes := strings.Contains(value, "'") && strings.ContainsAny(value, "#:") && !strings.ContainsAny(value, `"\\`)
	if tag == "!!str" && (unprintable || apostrophes) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// duration writes a duration exactly.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// maxNote is the longest comment, in characters.
const maxNote = 300

// clean makes a text fit for one line of a comment or a message.
func clean(s string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
	if len(runes) > maxNote {
		runes = append(runes[:maxNote], '…')
	}
	return string(runes)
}

// comment makes a comment of lines; "" for none.
func comment(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "# " + strings.Join(lines, "\n# ")
}

// quoted writes a text as a literal of an expectation.
func quoted(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '\'' || r == '\\' || !unicode.IsPrint(r) }) {
		return "'" + s + "'"
	}
	return strconv.Quote(s)
}
