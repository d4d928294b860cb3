package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// value writes a fact's value for people. The text is not clean yet.
func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "absent"
	case string:
		return v
	case time.Duration:
		return check.FormatDuration(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case float64:
		return strconv.FormatFloat(v, 'g', 6, 64)
	case []string:
		return strings.Join(v, ", ")
	case map[string]string:
		parts := make([]string, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+"="+v[k])
		}
		return strings.Join(parts, ", ")
	case []any, map[string]any:
		if text, err := json.Marshal(v); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v)
}

// got lists the values that an expectation looked at: `status 503, body "no"`.
func got(f check.Finding) string {
	parts := make([]string, 0, len(f.Got))
	for _, name := range slices.Sorted(maps.Keys(f.Got)) {
		text := value(f.Got[name])
		if _, ok := f.Got[name].(string); ok {
			text = `"` + text + `"`
		}
		parts = append(parts, name+" "+text)
	}
	return strings.Join(parts, ", ")
}

// place returns file:line of a definition, or nothing for the command line.
func place(file string, line int) string {
	switch {
	case file == "":
		return ""
	case line <= 0:
		return file
	default:
		return file + ":" + strconv.Itoa(line)
	}
}

// reason returns code and sentence of a reason: "http.status: status 503".
func reason(r check.Reason) string {
	sentence, _ := sentences(r)
	if sentence == "" {
		return string(r.Code)
	}
	return string(r.Code) + ": " + sentence
}

// unbegun reports whether the run ended before the check was measured at all.
func unbegun(r check.Result) bool {
	return r.Attempts == 0 && r.Reason.Code == check.LocalShutdown
}

// attempts returns a line for each attempt before the reported one: which it
// was, how long it took and why it failed. It is clean.
func attempts(r check.Result) []string {
	lines := make([]string, 0, len(r.Failed))
	for i, a := range r.Failed {
		lines = append(lines, fmt.Sprintf("attempt %d of %d: %s", i+1, r.Attempts, attempt(a)))
	}
	return lines
}

// attempt words one that failed: "connect.timeout: no answer, after 5s".
func attempt(a check.Attempt) string {
	text := clean(reason(a.Reason))
	if a.Latency > 0 {
		text += ", after " + check.FormatDuration(a.Latency)
	}
	return text
}

// sentences separates what happened from the lines of advice below it. What
// blames our own side may have several. Elsewhere there is one hint at most, at
// the end: any other line's end may be the target's and stays an escape, as all
// do where an expectation shows the target's own words.
func sentences(r check.Reason) (what string, advice []string) {
	if r.Code.Local() {
		lines := strings.Split(r.Message, "\n")
		return lines[0], lines[1:]
	}
	if i := strings.LastIndex(r.Message, "\n") + 1; strings.HasPrefix(r.Message[i:], "hint: ") && !strings.HasPrefix(string(r.Code), "expect.") {
		return strings.TrimSuffix(r.Message[:i], "\n"), []string{r.Message[i:]}
	}
	return r.Message, nil
}

// remarks returns what a reader must know beside the verdict: that the check
// is optional, flaky, and why it is not up. Empty for a plain up.
func remarks(r check.Result) string {
	var parts []string
	if r.Optional {
		parts = append(parts, "optional")
	}
	if r.Flaky {
		parts = append(parts, "flaky ("+plural(r.Attempts, "attempt")+")")
	}
	switch {
	case !r.Reason.IsZero():
		parts = append(parts, reason(r.Reason))
	case r.Flaky && len(r.Failed) > 0:
		parts = append(parts, "before: "+reason(r.Failed[len(r.Failed)-1].Reason))
	}
	return strings.Join(parts, ", ")
}
