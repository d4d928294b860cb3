package config

import (
	"encoding/json"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

var jsonType = reflect.TypeFor[check.JSON]()

// document decodes a value of any shape into its JSON text.
func (d *decoder) document(n *yaml.Node, v reflect.Value, f *field) {
	if isNull(n) {
		d.errorf(n, "", "%s has no value", f.name)
		return
	}
	var text strings.Builder
	if d.writeJSON(&text, n, *f) {
		v.SetString(text.String())
	}
}

// writeJSON writes a node as JSON. It reports whether all of it could be
// expanded and has an equivalent. What stands under the key of a secret is one.
func (d *decoder) writeJSON(out *strings.Builder, n *yaml.Node, f field) bool {
	if !d.load.visit() {
		d.failed = true
		return false
	}
	ok := true
	switch n.Kind {
	case yaml.MappingNode:
		out.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				out.WriteByte(',')
			}
			key := n.Content[i].Value
			inner := f
			inner.name, inner.secret = f.name+"."+key, f.secret || IsSecretKey(key)
			writeText(out, key)
			out.WriteByte(':')
			ok = d.writeJSON(out, n.Content[i+1], inner) && ok
		}
		out.WriteByte('}')
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			ok = d.writeJSON(out, item, f) && ok
		}
		out.WriteByte(']')
	default:
		return d.writeScalar(out, n, f)
	}
	return ok
}

// writeScalar writes a scalar. One without quotes that holds a reference means
// what it would mean if the value stood there itself: ${N} can be a number.
func (d *decoder) writeScalar(out *strings.Builder, n *yaml.Node, f field) bool {
	e, _, ok := d.text(n)
	if !ok {
		return false
	}
	tag, quoted := n.Tag, n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if !quoted && len(e.spans) > 0 {
		tag = (&yaml.Node{Kind: yaml.ScalarNode, Value: e.text}).ShortTag()
		if tag != "!!bool" && !isJSONNumber(e.text) {
			tag = "!!str"
		}
	}
	switch tag {
	case "!!null":
		out.WriteString("null")
		return true
	case "!!bool":
		out.WriteString(strings.ToLower(e.text))
		return true
	case "!!int", "!!float":
		if !isJSONNumber(e.text) {
			d.errorf(n, "write a decimal number, or put it in quotes", "%s: %q is no number of JSON", f.name, n.Value)
			return false
		}
		out.WriteString(e.text)
		d.noteSecret(e, f)
		return true
	}
	writeText(out, e.text)
	d.noteSecret(e, f)
	return true
}

// noteSecret keeps what came from a variable, or stands under a secret's key,
// out of the outputs.
func (d *decoder) noteSecret(e expansion, f field) {
	text := ""
	d.hide(e, reflect.ValueOf(&text).Elem(), &f)
}

func isJSONNumber(s string) bool {
	return s != "" && strings.Trim(s[:1], "-0123456789") == "" && json.Valid([]byte(s))
}

// writeText writes a JSON string, without the escapes that only HTML needs.
func writeText(out *strings.Builder, s string) {
	var quoted strings.Builder
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always can be, and the builder takes it
	out.WriteString(strings.TrimSuffix(quoted.String(), "\n"))
}
