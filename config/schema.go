package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// object is a JSON object of the schema.
type object = map[string]any

// reference is the pattern of values that hold a reference such as ${VAR},
// whose type is known only when it is expanded.
const reference = `\$\{`

// Schema returns the JSON schema (draft 2020-12) of files of checks, indented.
// It is made from the structs and facts that the loader itself uses. A file
// that loads is valid by it; not all that is valid loads.
func Schema(kinds []check.Kind) ([]byte, error) {
	s := schemer{kinds: kinds}
	root := object{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"$id":                  "https://github.com/sonde-cli/sonde/schema/1",
		"title":                "sonde checks",
		"description":          "a file of checks for sonde",
		"type":                 "object",
		"additionalProperties": false,
		"required":             []string{"version", "checks"},
		"properties": object{
			"version":   object{"const": 1, "description": "version of the file's format"},
			"limits":    s.limitsSchema(),
			"defaults":  orNull(object{"$ref": "#/$defs/defaults"}),
			"templates": orNull(object{"type": "object", "additionalProperties": object{"$ref": "#/$defs/template"}, "description": "blocks of keys by name, for checks to use"}),
			"checks":    object{"type": "array", "minItems": 1, "items": object{"$ref": "#/$defs/check"}, "description": "what to measure"},
		},
		"$defs": s.defs(),
		// What a check must have can come from defaults and templates; where
		// neither is in play it must be in the check.
		"if":   object{"not": object{"required": []string{"defaults"}}},
		"then": object{"properties": object{"checks": object{"items": s.complete()}}},
	}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return append(text, '\n'), nil
}

type schemer struct{ kinds []check.Kind }

func (s schemer) defs() object {
	defs := object{
		"check":    s.block(nil),
		"template": s.block([]string{"name"}),
		"defaults": s.block([]string{"name", "use", "each"}),
		"each":     eachSchema(),
	}
	for _, k := range s.kinds {
		kind := structSchema(reflect.TypeOf(k.New()).Elem())
		kind["description"] = k.Doc
		defs["kind."+k.Name] = orNull(kind)
	}
	return defs
}

// block is the schema of a check, a template or the defaults.
func (s schemer) block(misplaced []string) object {
	block := structSchema(reflect.TypeFor[spec]())
	properties := block["properties"].(object)
	properties["each"] = object{"$ref": "#/$defs/each"}
	for _, name := range []string{"expect", "prefer"} {
		p := properties[name].(object)
		p["description"] = fmt.Sprint(p["description"], ". ", s.factDoc())
	}
	window := object{"type": "string", "pattern": windowPattern}
	properties["schedule"].(object)["anyOf"] = []object{window, {"type": "array", "items": window}}
	for _, k := range s.kinds {
		properties[k.Name] = object{"$ref": "#/$defs/kind." + k.Name}
	}
	for _, name := range misplaced {
		delete(properties, name)
	}
	if misplaced == nil {
		block["if"] = object{"not": object{"required": []string{"use"}}}
		block["then"] = object{"required": []string{"name"}, "oneOf": s.oneKind()}
	}
	return block
}

func (s schemer) oneKind() []object {
	var one []object
	for _, k := range s.kinds {
		one = append(one, object{"required": []string{k.Name}})
	}
	return one
}

// complete asks for the required options of kinds where no template is used.
func (s schemer) complete() object {
	kinds := object{}
	for _, k := range s.kinds {
		if required := requiredOf(reflect.TypeOf(k.New()).Elem(), reflect.ValueOf(k.New()).Elem()); len(required) > 0 {
			kinds[k.Name] = object{"required": required, "type": "object"}
		}
	}
	return object{"if": object{"not": object{"required": []string{"use"}}}, "then": object{"properties": kinds}}
}

func requiredOf(t reflect.Type, defaults reflect.Value) []string {
	var names []string
	for _, f := range fieldsOf(t) {
		if f.required && defaults.FieldByIndex(f.index).IsZero() {
			names = append(names, f.name)
		}
	}
	return names
}

// factDoc lists the facts that expressions can name.
func (s schemer) factDoc() string {
	var common []string
	for _, f := range check.CommonFacts() {
		common = append(common, f.Name)
	}
	lines := []string{"facts of all kinds: " + strings.Join(common, ", ")}
	for _, k := range s.kinds {
		var names []string
		for _, f := range k.Facts {
			names = append(names, f.Name)
		}
		lines = append(lines, fmt.Sprintf("of %s: %s", k.Name, strings.Join(names, ", ")))
	}
	return strings.Join(lines, "; ")
}

func structSchema(t reflect.Type) object {
	properties := object{}
	for _, f := range fieldsOf(t) {
		p := typeSchema(f.typ, &f)
		if f.doc != "" {
			p["description"] = f.doc
		}
		properties[f.name] = p
	}
	return object{"type": "object", "additionalProperties": false, "properties": properties}
}

func typeSchema(t reflect.Type, f *field) object {
	switch {
	case t == jsonType:
		return object{} // any value
	case isScalar(t):
		return scalarSchema(t, f)
	case t.Kind() == reflect.Pointer:
		return typeSchema(t.Elem(), f)
	case t.Kind() == reflect.Slice:
		list := object{"type": "array", "items": typeSchema(t.Elem(), f)}
		if f.single {
			return object{"anyOf": []object{typeSchema(t.Elem(), f), list}}
		}
		return list
	case t.Kind() == reflect.Map:
		return object{"type": "object", "additionalProperties": typeSchema(t.Elem(), f)}
	default:
		inner := structSchema(t)
		if len(inner["properties"].(object)) == 0 {
			return object{} // each, which has a schema of its own
		}
		return orNull(inner)
	}
}

// scalarSchema describes a scalar as a YAML reader sees it: a text may also
// look like a number.
func scalarSchema(t reflect.Type, f *field) object {
	for t.Kind() == reflect.Pointer && t != regexpType {
		t = t.Elem()
	}
	switch {
	case t == durationType:
		return object{"anyOf": []object{{"type": "string", "pattern": durationPattern()}, {"const": 0}}}
	case t == sizeType:
		return object{"anyOf": []object{{"type": "string", "pattern": `^[0-9.]+(B|KB|MB|GB|KiB|MiB|GiB)?$|` + reference}, {"type": "number", "minimum": 0}}}
	case t == rateType:
		return object{"type": "string", "pattern": ratePattern + "|" + reference}
	case t == ratioType:
		return object{"anyOf": []object{{"type": "string", "pattern": ratioPattern + "|" + reference}, {"type": "number", "minimum": 0, "maximum": 1}}}
	case len(f.enum) > 0:
		return object{"anyOf": []object{{"enum": enumValues(f.enum)}, {"type": "string", "pattern": reference}}}
	}
	switch t.Kind() {
	case reflect.Bool:
		return orReference("boolean")
	case reflect.Int, reflect.Int64:
		return orReference("integer")
	case reflect.Float64:
		return orReference("number")
	default:
		return object{"type": []string{"string", "number", "boolean"}}
	}
}

func orReference(name string) object {
	return object{"anyOf": []object{{"type": name}, {"type": "string", "pattern": reference}}}
}

// durationPattern describes what check.ParseDuration reads.
func durationPattern() string {
	return `^-?(0|([0-9.]+(ns|us|µs|ms|s|m|h|d|w))+)$|` + reference
}

// enumValues returns the words of an option, and as numbers and booleans those
// which a YAML reader takes for such when they stand without quotes.
func enumValues(words []string) []any {
	var values []any
	for _, word := range words {
		values = append(values, word)
		if n, err := strconv.ParseFloat(word, 64); err == nil {
			values = append(values, n)
		} else if word == "true" || word == "false" {
			values = append(values, word == "true")
		}
	}
	return values
}

// orNull allows a key with nothing behind it where that means an empty map.
func orNull(schema object) object {
	if doc, ok := schema["description"]; ok {
		delete(schema, "description")
		return object{"anyOf": []object{schema, {"type": "null"}}, "description": doc}
	}
	return object{"anyOf": []object{schema, {"type": "null"}}}
}

// windowPattern describes what check.ParseWindow reads.
const windowPattern = `^([A-Za-z]{3}(-[A-Za-z]{3})?(,[A-Za-z]{3}(-[A-Za-z]{3})?)* )?[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9] [A-Za-z][A-Za-z0-9_+/-]*$|` + reference

func (s schemer) limitsSchema() object {
	limits := structSchema(reflect.TypeFor[limitsSpec]())
	byKind := limits["properties"].(object)["kinds"].(object)
	one, kinds := byKind["additionalProperties"], object{}
	for _, k := range s.kinds {
		kinds[k.Name] = one
	}
	byKind["properties"], byKind["additionalProperties"] = kinds, false
	limits["description"] = "what a loop has under way at most"
	return orNull(limits)
}

func eachSchema() object {
	scalar := object{"type": []string{"string", "number", "boolean"}}
	file := object{
		"type": "object", "additionalProperties": false, "required": []string{"file"},
		"properties": object{"file": object{"type": "string", "description": "file with one value a line; lines that begin with # are left out"}},
	}
	prefix := object{"type": "string", "description": "addresses of a network, as in 192.0.2.0/28"}
	cidr := object{
		"type": "object", "additionalProperties": false, "required": []string{"cidr"},
		"properties": object{"cidr": object{"anyOf": []object{prefix, {"type": "array", "minItems": 1, "items": prefix}}}},
	}
	values := object{"type": "array", "minItems": 1, "items": object{"anyOf": []object{scalar, file, cidr}}}
	return object{
		"description": "makes one check for each value of a list (${each}), or for each combination of several lists (${each.key})",
		"anyOf": []object{values, {
			"type": "object", "minProperties": 1,
			"propertyNames":        object{"pattern": "^[A-Za-z0-9_-]+$"},
			"additionalProperties": object{"anyOf": []object{values, file, cidr}},
		}},
	}
}
