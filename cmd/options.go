package cmd

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// option documents one option of a kind.
type option struct {
	Path     string // in the kind's block: method, tls.min_version, steps[].send
	Type     string
	Default  string // empty when there is none
	Values   string // the closed list, comma separated; empty when it is open
	Required bool
	Doc      string
}

// optionsOf reads the options of a kind from the struct that holds its
// defaults, so that there is no second list to keep right.
func optionsOf(k check.Kind) []option {
	return walkOptions("", reflect.ValueOf(k.New()).Elem())
}

func walkOptions(prefix string, v reflect.Value) []option {
	var all []option
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !field.IsExported() && !field.Anonymous:
		case field.Anonymous && name == "":
			all = append(all, walkOptions(prefix, value)...)
		case name != "":
			options := walkOption(prefix+name, field, value)
			if isBegin(v.Type(), name) {
				for i := range options {
					options[i].Required = false
				}
			}
			all = append(all, options...)
		}
	}
	return all
}

// isBegin reports whether the items of a list begin with the option's value. They
// must have what is required; it need not.
func isBegin(t reflect.Type, name string) bool {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("over") == name {
			return true
		}
	}
	return false
}

func walkOption(path string, field reflect.StructField, value reflect.Value) []option {
	o := option{
		Path: path, Type: typeName(field.Type), Default: defaultText(value),
		Values: strings.ReplaceAll(field.Tag.Get("enum"), ",", ", "), Required: field.Tag.Get("required") == "true", Doc: field.Tag.Get("doc"),
	}
	inner, suffix := innerStruct(field.Type)
	if inner == nil {
		return []option{o}
	}
	sub := reflect.New(inner).Elem()
	if value.Kind() == reflect.Struct {
		sub = value
	}
	var all []option
	if o.Doc != "" {
		o.Default = ""
		all = append(all, o)
	}
	return append(all, walkOptions(path+suffix+".", sub)...)
}

// innerStruct returns the struct that an option holds, if any, and what its
// path gets in between.
func innerStruct(t reflect.Type) (inner reflect.Type, suffix string) {
	if t == reflect.TypeFor[*regexp.Regexp]() {
		return nil, ""
	}
	switch t.Kind() {
	case reflect.Struct:
		return t, ""
	case reflect.Pointer:
		return innerStruct(t.Elem())
	case reflect.Slice:
		inner, _ := innerStruct(t.Elem())
		return inner, "[]"
	default:
		return nil, ""
	}
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[check.Size]():
		return "size"
	case reflect.TypeFor[*regexp.Regexp]():
		return "regexp"
	case reflect.TypeFor[check.JSON]():
		return "any"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "map of " + typeName(t.Elem())
	case reflect.Struct:
		return "block"
	case reflect.Float64:
		return "float"
	default:
		return t.Kind().String()
	}
}

func defaultText(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return check.FormatDuration(x)
	case fmt.Stringer:
		return x.String()
	}
	switch v.Kind() {
	case reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, fmt.Sprint(v.Index(i).Interface()))
		}
		return strings.Join(items, ", ")
	case reflect.Map, reflect.Struct:
		return ""
	case reflect.Pointer:
		return defaultText(v.Elem())
	default:
		return fmt.Sprint(v.Interface())
	}
}
