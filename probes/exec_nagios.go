package probes

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// Bounds of what is made of a plugin's performance data.
const (
	maxMetrics = 1000
	maxLabel   = 255 // bytes
)

// pluginStates are the states by exit code (Monitoring Plugins Development
// Guidelines, "Plugin Return Codes"). Any other code is unknown.
var pluginStates = [...]string{"ok", "warning", "critical", "unknown"}

// recordPlugin sets the facts of a plugin. The reason is not nil when the plugin
// says that it could not measure, and when it was ended by a signal.
func (p *execProbe) recordPlugin(obs *check.Observation, done *execDone) *check.Reason {
	p.recordPerf(obs, done)
	state := "unknown"
	if done.signal == "" && done.code >= 0 && done.code < len(pluginStates) {
		state = pluginStates[done.code]
	}
	obs.Set("state", state)
	line, _, _ := strings.Cut(string(done.stdout), "\n")
	line, _, _ = strings.Cut(line, "|")
	said := done.said()
	if line = strings.TrimSpace(line); line != "" {
		said = ": " + excerpt([]byte(line))
	}
	switch {
	case done.signal != "":
		return &check.Reason{Code: check.LocalProgram, Message: "the plugin was ended by " + done.signal + said}
	case state == "unknown":
		return &check.Reason{Code: check.LocalProgram, Message: fmt.Sprintf("the plugin says UNKNOWN (exit code %d)%s", done.code, said)}
	}
	obs.Explain("state", check.ExpectCode("state"), "the plugin says "+strings.ToUpper(state)+said)
	return nil
}

// recordPerf sets perf and perfdata.
func (p *execProbe) recordPerf(obs *check.Observation, done *execDone) {
	out := done.stdout
	if done.cut {
		out = out[:bytes.LastIndexAny(out, " \t\n")+1] // not half a number
	}
	metrics, bad := parsePerf(perfText(out))
	if done.cut {
		bad = "the output is larger than max_output, " + check.Size(p.max).String()
	}
	values, all := make(map[string]any, len(metrics)), make(map[string]any, len(metrics))
	for _, m := range metrics {
		if m.value != nil {
			values[m.label] = *m.value
		}
		all[m.label] = m.tree()
	}
	obs.Set("perf", values)
	obs.Set("perfdata", all)
	if bad != "" {
		obs.Explain("perf", check.ExpectCode("perf"), "not all performance data could be read: "+bad)
		obs.Explain("perfdata", check.ExpectCode("perfdata"), "not all performance data could be read: "+bad)
	}
}

// perfText returns the performance data of a plugin's output: what follows the
// first | of the first line, and all that follows the next one, in later lines.
func perfText(out []byte) string {
	first, rest, _ := bytes.Cut(out, []byte("\n"))
	_, perf, _ := bytes.Cut(first, []byte("|"))
	_, more, _ := bytes.Cut(rest, []byte("|"))
	return string(perf) + " " + string(more)
}

// metric is one item of performance data, in the base unit.
type metric struct {
	label      string
	value      *float64 // nil: the plugin says that it does not know (U)
	unit       string   // s, B, %, c, another one as it is, or none
	warn, crit *alertRange
	min, max   *float64
}

// tree is the metric as a fact that expressions look into.
func (m *metric) tree() map[string]any {
	t := map[string]any{"unit": m.unit}
	for name, v := range map[string]*float64{"value": m.value, "min": m.min, "max": m.max} {
		if v != nil {
			t[name] = *v
		}
	}
	for name, r := range map[string]*alertRange{"warn": m.warn, "crit": m.crit} {
		if r != nil {
			t[name] = r.tree()
		}
	}
	return t
}

// alertRange is a threshold: alert outside of start and end, or with inside set
// within them, both included (Guidelines, "Threshold and Ranges").
type alertRange struct {
	text       string
	start, end float64 // may be infinite
	inside     bool
}

func (r *alertRange) tree() map[string]any {
	t := map[string]any{"text": r.text, "inside": r.inside}
	if !math.IsInf(r.start, 0) {
		t["start"] = r.start
	}
	if !math.IsInf(r.end, 0) {
		t["end"] = r.end
	}
	return t
}

// parsePerf reads 'label'=value[unit];[warn];[crit];[min];[max] items with white
// space between them. What is malformed is left out, and bad tells of the first.
func parsePerf(text string) (metrics []metric, bad string) {
	for {
		text = strings.TrimLeft(text, " \t\r\n")
		if text == "" {
			return metrics, bad
		}
		if len(metrics) == maxMetrics {
			return metrics, fmt.Sprintf("there are more than %d values", maxMetrics)
		}
		label, fields, rest, ok := cutMetric(text)
		m, good := metric{}, false
		if ok {
			m, good = parseMetric(label, fields)
		}
		switch {
		case good:
			metrics = append(metrics, m)
		case bad == "":
			bad = excerpt([]byte(text[:len(text)-len(rest)])) + " is malformed"
		}
		text = rest
	}
}

// cutMetric takes the first item off. In a quoted label two quotes are one.
func cutMetric(text string) (label, fields, rest string, ok bool) {
	if text[0] != '\'' {
		item := text[:wordLen(text)]
		label, fields, ok = strings.Cut(item, "=")
		return label, fields, text[len(item):], ok
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != '\'':
		case strings.HasPrefix(text[i:], "''"):
			i++
		default:
			label = strings.ReplaceAll(text[1:i], "''", "'")
			item := text[i+1:]
			n := wordLen(item)
			fields, ok = strings.CutPrefix(item[:n], "=")
			return label, fields, item[n:], ok
		}
	}
	return "", "", "", false // the quote is not closed
}

// wordLen is the length up to white space.
func wordLen(s string) int {
	if i := strings.IndexAny(s, " \t\r\n"); i >= 0 {
		return i
	}
	return len(s)
}

func parseMetric(label, fields string) (metric, bool) {
	m := metric{label: cleanLine(label)}
	if m.label == "" || len(label) > maxLabel {
		return m, false
	}
	parts := strings.Split(fields, ";")
	if len(parts) > 5 {
		return m, false
	}
	scale := 1.0
	if parts[0] != "U" {
		n := numberLen(parts[0])
		value, ok := parseNumber(parts[0][:n])
		if !ok || len(parts[0])-n > maxUnit || strings.ContainsAny(parts[0][n:], "0123456789") {
			return m, false
		}
		m.unit, scale = baseUnit(cleanLine(parts[0][n:]))
		if m.value = scaled(value, scale); m.value == nil {
			return m, false
		}
	}
	parts = append(parts, "", "", "", "")
	m.warn, m.crit = parseRange(parts[1], scale), parseRange(parts[2], scale)
	for i, to := range []**float64{&m.min, &m.max} {
		if value, ok := parseNumber(parts[3+i]); ok {
			*to = scaled(value, scale)
		}
	}
	return m, true
}

// scaled multiplies; nil when that is no number any more.
func scaled(value, scale float64) *float64 {
	if value *= scale; math.IsInf(value, 0) {
		return nil
	}
	return &value
}

// maxUnit is the length of a unit, in bytes.
const maxUnit = 16

// baseUnit returns the unit of a value once it is multiplied by scale. Plugins
// mean powers of 1024 by KB, MB, GB, TB and PB, as check_swap and older versions
// of check_disk do; Mb and the like are bits and stay as they are.
func baseUnit(unit string) (base string, scale float64) {
	switch unit {
	case "s":
		return "s", 1
	case "ms":
		return "s", 1e-3
	case "us", "µs":
		return "s", 1e-6
	case "ns":
		return "s", 1e-9
	case "B":
		return "B", 1
	case "KB", "kB", "KiB":
		return "B", 1 << 10
	case "MB", "MiB":
		return "B", 1 << 20
	case "GB", "GiB":
		return "B", 1 << 30
	case "TB", "TiB":
		return "B", 1 << 40
	case "PB", "PiB":
		return "B", 1 << 50
	}
	return unit, 1
}

// parseRange reads [@][start:][end]; nil when there is none or it is malformed.
// No start is 0, ~ is without bound, and so is no end.
func parseRange(text string, scale float64) *alertRange {
	if text == "" {
		return nil
	}
	r := &alertRange{text: cleanLine(text), end: math.Inf(1)}
	rest, inside := strings.CutPrefix(text, "@")
	r.inside = inside
	start, end, both := strings.Cut(rest, ":")
	if !both {
		start, end = "", rest
	}
	if rest == "" || rest == ":" {
		return nil
	}
	for _, bound := range []struct {
		text string
		to   *float64
	}{{start, &r.start}, {end, &r.end}} {
		switch {
		case bound.text == "":
		case bound.text == "~" && bound.to == &r.start:
			r.start = math.Inf(-1)
		default:
			value, ok := parseNumber(bound.text)
			if !ok || math.IsInf(value*scale, 0) {
				return nil
			}
			*bound.to = value * scale
		}
	}
	if r.start > r.end {
		return nil
	}
	return r
}

// numberLen is the length of the number that s begins with. An e counts only
// with its digits, so that a unit may begin with one.
func numberLen(s string) int {
	digits := func(i int) int {
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i
	}
	sign := func(i int) int {
		if i < len(s) && (s[i] == '-' || s[i] == '+') {
			i++
		}
		return i
	}
	i := digits(sign(0))
	if i < len(s) && (s[i] == '.' || s[i] == ',') {
		i = digits(i + 1)
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if start := sign(i + 1); digits(start) > start {
			i = digits(start)
		}
	}
	return i
}

// parseNumber reads a number, with a decimal comma too, as plugins of some
// locales write it.
func parseNumber(s string) (float64, bool) {
	if s == "" || numberLen(s) != len(s) {
		return 0, false
	}
	value, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64)
	return value, err == nil
}
