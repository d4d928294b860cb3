package check

import (
	"encoding/json"
	"maps"
	"slices"
)

// maxPartsBytes bounds what the facts and findings of all parts of a result hold
// of a target's words: 64 servers may each send headers of 64 KiB.
const maxPartsBytes = 512 << 10

// fitInto leaves out facts, and what findings got, that do not fit into so many
// bytes together. Small ones fit, whatever stands before them.
func (r *Result) fitInto(room int) {
	r.Facts = slices.DeleteFunc(slices.Clone(r.Facts), func(f NamedValue) bool { return !take(&room, f.Value) })
	r.Findings = slices.Clone(r.Findings)
	for i := range r.Findings {
		f := &r.Findings[i]
		f.Got = maps.Clone(f.Got)
		maps.DeleteFunc(f.Got, func(_ string, v any) bool { return !take(&room, v) })
	}
}

// take takes the room that a value needs, if there is as much.
func take(room *int, v any) bool {
	n := sizeOf(v)
	if n > *room {
		return false
	}
	*room -= n
	return true
}

// sizeOf returns about how many bytes a fact's value has; those that are small in
// any case have none.
func sizeOf(v any) int {
	n := 0
	switch v := v.(type) {
	case string:
		n = len(v)
	case []string:
		for _, s := range v {
			n += len(s)
		}
	case map[string]string:
		for k, s := range v {
			n += len(k) + len(s)
		}
	case []any, map[string]any:
		text, _ := json.Marshal(v) // what cannot be written has no size
		n = len(text)
	}
	return n
}
