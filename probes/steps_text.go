package probes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// optionText is a text of some options.
type optionText struct {
	option string // its path, such as headers.Authorization or multipart[0].value
	text   string
	secret bool // tagged so
}

// mapTexts returns a copy of the options with every text replaced by what f makes
// of it. It knows no option by name, so that all of http's can hold references.
func mapTexts(o *httpOptions, f func(optionText) string) *httpOptions {
	made := *o
	mapStruct(reflect.ValueOf(&made).Elem(), "", f)
	return &made
}

func mapStruct(v reflect.Value, prefix string, f func(optionText) string) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case option == "inline" && field.Type.Kind() == reflect.Struct:
			mapStruct(v.Field(i), prefix, f)
		case name != "" && field.IsExported():
			mapValue(v.Field(i), optionText{option: prefix + name, secret: field.Tag.Get("secret") == "true"}, f)
		}
	}
}

func mapValue(v reflect.Value, at optionText, f func(optionText) string) {
	switch v.Kind() {
	case reflect.String:
		at.text = v.String()
		v.SetString(f(at))
	case reflect.Struct:
		mapStruct(v, at.option+".", f)
	case reflect.Pointer:
		if !v.IsNil() && v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem().NumField() > 0 && v.Type().Elem().Field(0).IsExported() {
			made := reflect.New(v.Type().Elem())
			made.Elem().Set(v.Elem())
			v.Set(made)
			mapStruct(made.Elem(), at.option+".", f)
		}
	case reflect.Slice:
		made := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(made, v)
		for i := range made.Len() {
			item := at
			item.option = fmt.Sprintf("%s[%d]", at.option, i)
			mapValue(made.Index(i), item, f)
		}
		if !v.IsNil() {
			v.Set(made)
		}
	case reflect.Map:
		if v.IsNil() {
			return
		}
		made := reflect.MakeMapWithSize(v.Type(), v.Len())
		keys := v.MapKeys() // in order, so that errors are
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			item := reflect.New(v.Type().Elem()).Elem()
			item.Set(v.MapIndex(key))
			inner := at
			inner.option = at.option + "." + key.String()
			mapValue(item, inner, f)
			made.SetMapIndex(key, item)
		}
		v.Set(made)
	}
}

// asWritten returns a text with its references as the file has them, and where the
// one of the number begins.
func asWritten(text string, reference int) (written string, offset int) {
	var b strings.Builder
	for i, part := range check.Deferred(text) {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		if i/2 == reference {
			offset = b.Len()
		}
		b.WriteString("${" + part + "}")
	}
	return b.String(), offset
}

// mayRefer reports whether the option is of the request itself, so that its text
// can differ from run to run. Where the request goes and how must be known before
// the run, or a target could send its secrets elsewhere.
func (at optionText) mayRefer() bool {
	first := at.option
	if end := strings.IndexAny(first, ".["); end >= 0 {
		first = first[:end]
	}
	switch first {
	case "url", "method", "headers", "body", "json", "form", "multipart":
		return true
	}
	return first == "auth" && !strings.HasPrefix(at.option, "auth.oauth2.")
}

// references returns the names of the references in the text.
func (at optionText) references() []string {
	var names []string
	for i, part := range check.Deferred(at.text) {
		if i%2 == 0 {
			continue
		}
		if at.option == "json" { // where the text is one of JSON, and so is the name
			_ = json.Unmarshal([]byte(`"`+part+`"`), &part) // as the decoder wrote it
		}
		names = append(names, part)
	}
	return names
}

// fill puts values into a text in the place of its references, each escaped as the
// place demands, so that what a target says stays one value. In the option json, a
// reference that is all of a value keeps its type.
func fill(at optionText, form bool, lookup func() value) string {
	parts := check.Deferred(at.text)
	if len(parts) == 1 {
		return at.text
	}
	isJSON := at.option == "json" || at.option == "body" && !form && strings.IndexAny(strings.TrimSpace(parts[0]), `{["`) == 0
	var text []byte
	for i, part := range parts {
		if i%2 == 0 {
			text = append(text, part...)
			continue
		}
		v := lookup()
		switch {
		case at.option == "url" && i == 1 && parts[0] == "": // the URL as a whole, which was resolved
			text = append(text, v.text...)
		case at.option == "url" && bytes.ContainsRune(text, '?'), at.option == "body" && form:
			text = append(text, url.QueryEscape(v.text)...)
		case at.option == "url":
			text = append(text, url.PathEscape(v.text)...)
		case at.option == "json" && !v.isText && opensString(text) && strings.HasPrefix(parts[i+1], `"`):
			text, parts[i+1] = append(text[:len(text)-1], v.text...), parts[i+1][1:]
		case isJSON && (v.isText || endsInString(text)):
			text = append(text, insideJSON(v.text)...)
		default:
			text = append(text, v.text...)
		}
	}
	return string(text)
}

// endsInString reports whether a text of JSON ends inside of a string.
func endsInString(text []byte) bool {
	inside, escaped := false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case inside && c == '\\':
			escaped = true
		case c == '"':
			inside = !inside
		}
	}
	return inside
}

// opensString reports whether a text of JSON ends with the quote that opens a string.
func opensString(text []byte) bool {
	return endsInString(text) && text[len(text)-1] == '"' && !endsInString(text[:len(text)-1])
}

// insideJSON writes a text as it stands between the quotes of JSON.
func insideJSON(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil { // cannot happen for a string
		return ""
	}
	return string(quoted[1 : len(quoted)-1])
}

// isForm reports whether the body of the options is a form in a URL's spelling.
func isForm(o *httpOptions) bool {
	for name, text := range o.Headers {
		if strings.EqualFold(name, "Content-Type") && strings.HasPrefix(strings.ToLower(text), "application/x-www-form-urlencoded") {
			return true
		}
	}
	return false
}
