package config

import (
	"reflect"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// field is one key of a struct of options, as its tags tell.
type field struct {
	name     string
	index    []int
	typ      reflect.Type
	doc      string
	enum     []string
	secret   bool // the value is masked
	path     bool // a file name, relative to the file that names it
	private  bool // the file is a secret
	address  bool // host and port stay readable
	shown    bool // the value is there to be read: never a secret
	single   bool // a list of one may be written without the list
	required bool
	partial  bool          // a block that others begin with: nothing of it is required
	over     string        // the option that the items of the list begin with
	base     reflect.Value // that option, while its list is decoded
}

var fieldCache sync.Map // reflect.Type -> []field

// fieldsOf returns the keys of a struct in the order of the source, with those
// of embedded structs in their place.
func fieldsOf(t reflect.Type) []field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]field)
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.Type.Kind() == reflect.Struct && (f.Anonymous && name == "" || option == "inline") {
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
			continue
		}
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		fields = append(fields, newField(f, name, i))
	}
	for _, f := range fields {
		if base := fieldNamed(fields, f.over); base != nil {
			base.partial = true
		}
	}
	fieldCache.Store(t, fields)
	return fields
}

func newField(f reflect.StructField, name string, i int) field {
	on := func(tag string) bool { return f.Tag.Get(tag) == "true" }
	made := field{
		name: name, index: []int{i}, typ: f.Type, doc: f.Tag.Get("doc"),
		secret: on("secret"), path: on("path"), private: on("private"), address: on("address"), shown: on("shown"),
		single: on("single"), required: on("required"), over: f.Tag.Get("over"),
	}
	if values := f.Tag.Get("enum"); values != "" {
		made.enum = strings.Split(values, ",")
	}
	return made
}

func fieldNamed(fields []field, name string) *field {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

func fieldNames(fields []field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[check.Size]()
	regexpType   = reflect.TypeFor[*regexp.Regexp]()
)

// isScalar reports whether a value of the type is written as one scalar.
func isScalar(t reflect.Type) bool {
	if t == jsonType {
		return false
	}
	switch t.Kind() {
	case reflect.Pointer:
		return t == regexpType || isScalar(t.Elem())
	case reflect.Struct, reflect.Slice, reflect.Map:
		return false
	default:
		return true
	}
}
