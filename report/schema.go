package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// object is a JSON object of the schema.
type object = map[string]any

// Schema returns the JSON schema (draft 2020-12) of the report json, indented;
// its $defs/result is that of a line of ndjson. The kinds say what facts there
// can be. It allows more fields than it lists, because later versions may add
// some.
func Schema(kinds []check.Kind) ([]byte, error) {
	root := fields(object{
		"schema":           schemaNumber(),
		"started":          stamp("when the run began"),
		"duration_seconds": number0("how long the run took"),
		"exit_code":        object{"type": "integer", "description": "what the process exits with"},
		"summary":          summarySchema(),
		"results":          object{"type": "array", "items": object{"$ref": "#/$defs/result"}, "description": "in the order of the file"},
		"comparison":       object{"$ref": "#/$defs/comparison"},
	}, "schema", "started", "duration_seconds", "exit_code", "summary", "results")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = fmt.Sprintf("https://github.com/sonde-cli/sonde/schema/results/%d", check.Schema)
	root["title"] = "sonde results"
	root["description"] = "the report json of sonde"
	defs := object{
		"result":  resultSchema(kinds),
		"reason":  fields(reasonFields(), "code", "message"),
		"verdict": object{"enum": []string{"up", "degraded", "down", "unknown"}},
		"finding": findingSchema(),
		"samples": samplesSchema(),
		"part":    partSchema(),
	}
	maps.Copy(defs, comparisonSchemas())
	attempt := reasonFields()
	attempt["latency_seconds"] = number0("how long the attempt took; 0 when nothing was measured")
	defs["attempt"] = fields(attempt, "code", "message", "latency_seconds")
	for _, k := range kinds {
		defs["facts."+k.Name] = factsSchema(k)
	}
	root["$defs"] = defs
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema of results: %w", err)
	}
	return append(text, '\n'), nil
}

// fields is the schema of an object with at least the required properties.
func fields(properties object, required ...string) object {
	return object{"type": "object", "properties": properties, "required": required}
}

func typed(name, doc string) object { return object{"type": name, "description": doc} }

func stamp(doc string) object {
	return object{"type": "string", "format": "date-time", "description": doc}
}

func number0(doc string) object {
	return object{"type": "number", "minimum": 0, "description": doc}
}

func count0(doc string) object {
	return object{"type": "integer", "minimum": 0, "description": doc}
}

func list(items object, doc string) object {
	return object{"type": "array", "items": items, "description": doc}
}

func schemaNumber() object {
	return object{"const": check.Schema, "description": "version of the format"}
}

func summarySchema() object {
	return fields(object{
		"total": count0("all checks"), "up": count0("with the verdict up"), "degraded": count0("with the verdict degraded"),
		"down": count0("with the verdict down"), "unknown": count0("with the verdict unknown"),
		"flaky": count0("up or degraded only after a failed attempt"),
	}, "total", "up", "degraded", "down", "unknown", "flaky")
}

func reasonFields() object {
	var codes []string
	for _, c := range check.Codes() {
		codes = append(codes, string(c.Code))
	}
	return object{
		"code":    object{"anyOf": []object{{"enum": codes}, {"type": "string", "pattern": `^expect\.`}}, "description": "from a closed list, or expect.<fact>"},
		"message": typed("string", "a sentence for people"),
	}
}

func findingSchema() object {
	return fields(object{
		"expect": typed("string", "the expectation"),
		"level":  object{"enum": []string{"expect", "prefer"}, "description": "a miss is down or degraded"},
		"ok":     typed("boolean", "whether it was met"),
		"got":    typed("object", "values of the facts that it names"),
		"note":   typed("string", "what a reader must know of the values"),
		"file":   typed("string", "where it stands"),
		"line":   count0("where it stands"),
	}, "expect", "level", "ok", "got")
}

func resultSchema(kinds []check.Kind) object {
	text := object{"type": "string"}
	result := fields(object{
		"schema": schemaNumber(), "origin": typed("string", "the node"), "seq": count0("counts the runs of the check"),
		"id": typed("string", "of the check, once in a run"), "name": typed("string", "as in the file"),
		"kind": typed("string", "of probe"), "target": typed("string", "as people read it"),
		"verdict": object{"$ref": "#/$defs/verdict"}, "reason": object{"$ref": "#/$defs/reason"},
		"optional":  typed("boolean", "the check does not change the exit code"),
		"scheduled": stamp("when it was due"), "started": stamp("of the attempt that is reported"),
		"latency_seconds": number0("of the attempt, without waiting for a free place"),
		"queued_seconds":  number0("wait for a free place"), "missed": count0("runs skipped since the result before"),
		"attempts": count0("how many were made"), "flaky": typed("boolean", "up or degraded, but only after a failed attempt"),
		"failed_attempts": list(object{"$ref": "#/$defs/attempt"}, "those before the last"),
		"samples":         object{"$ref": "#/$defs/samples"},
		"parts":           list(object{"$ref": "#/$defs/part"}, "outcomes of the parts, such as each address of a name; only where a check asks for them"),
		"phases":          phasesSchema(),
		"facts":           typed("object", "what was observed, nested at the dots"),
		"findings":        list(object{"$ref": "#/$defs/finding"}, "the expectations that were evaluated"),
		"reproduce":       typed("string", "a shell line that shows the same"),
		"tags":            list(text, "of the check"),
		"labels":          object{"type": "object", "additionalProperties": text, "description": "of the check"},
		"file":            typed("string", "where the check is defined"), "line": count0("where the check is defined"),
	}, "id", "name", "kind", "target", "verdict", "started", "latency_seconds", "queued_seconds", "attempts", "flaky", "phases", "facts", "findings", "tags", "labels")
	var byKind []object
	for _, k := range kinds {
		byKind = append(byKind, object{
			"if":   object{"properties": object{"kind": object{"const": k.Name}}},
			"then": object{"properties": object{"facts": object{"$ref": "#/$defs/facts." + k.Name}}},
		})
	}
	if byKind != nil {
		result["allOf"] = byKind
	}
	return result
}

func phasesSchema() object {
	phases := object{}
	for _, name := range check.PhaseNames() {
		phases[name+"_seconds"] = object{"type": "number"}
	}
	return object{"type": "object", "properties": phases, "description": "times of the phases that took place"}
}

func partSchema() object {
	return fields(object{
		"name":    typed("string", "of the part: an address, v4 or v6"),
		"verdict": object{"$ref": "#/$defs/verdict"}, "reason": object{"$ref": "#/$defs/reason"},
		"latency_seconds": number0("of the part, with what finding the parts took"),
		"phases":          phasesSchema(),
		"facts":           typed("object", "what was observed, nested at the dots; of the kind's facts"),
		"findings":        list(object{"$ref": "#/$defs/finding"}, "the expectations that were evaluated"),
	}, "name", "verdict", "latency_seconds", "phases", "facts", "findings")
}

// factsSchema nests the declared facts as results do. Where a fact's name is
// also the beginning of another's, both ways of writing it are there.
func factsSchema(k check.Kind) object {
	root := object{"type": "object", "properties": object{}, "description": k.Doc}
	for _, f := range k.Facts {
		if f.Hidden {
			continue
		}
		name := f.Name
		if f.Type == check.Duration {
			name += "_seconds"
		}
		put(root["properties"].(object), name, factSchema(f))
	}
	return root
}

func put(properties object, name string, fact object) {
	first, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		properties[name] = fact
		return
	}
	group, ok := properties[first].(object)
	if !ok {
		group = object{"type": "object", "properties": object{}}
		properties[first] = group
	}
	inner, ok := group["properties"].(object)
	if !ok { // a fact of its own
		properties[name] = fact
		return
	}
	put(inner, rest, fact)
}

func factSchema(f check.Fact) object {
	doc := f.Doc
	if f.Unit != "" {
		doc += ", in " + f.Unit
	}
	s := object{"description": doc}
	switch f.Type {
	case check.Bool:
		s["type"] = "boolean"
	case check.Int:
		s["type"] = "integer"
	case check.Float, check.Duration:
		s["type"] = []string{"number", "null"} // JSON has no NaN
	case check.String:
		s["type"] = "string"
	case check.Time:
		s["type"], s["format"] = "string", "date-time"
	case check.Strings:
		s["type"], s["items"] = "array", object{"type": "string"}
	case check.Map:
		s["type"], s["additionalProperties"] = "object", object{"type": "string"}
	}
	return s
}
