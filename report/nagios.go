package report

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Limits of a plugin's output, in bytes. Nagios reads 8 KiB (Plugin
// Development Guidelines, "Plugin Output for Nagios") and cuts the rest.
const (
	nagiosStatus   = 400
	nagiosPerfdata = 3500
	nagiosOutput   = 7500
)

// writeNagios writes a plugin's output: a status line, performance data, and a
// line for each check that is not simply up.
func writeNagios(b *bytes.Buffer, r run) {
	state, head := nagiosState(r)
	text := "SONDE " + state + " - " + short(head, nagiosStatus) + " | "
	perf := nagiosCounts(r.sum)
	for _, res := range r.results {
		if p := nagiosLatency(res); len(perf)+len(p)+1 <= nagiosPerfdata {
			perf += " " + p
		}
	}
	text += perf + "\n"
	left := 0
	for _, res := range r.results {
		if res.Verdict == check.Up && !res.Flaky {
			continue
		}
		line := symbol(res) + " " + res.Verdict.String() + " " + short(nagiosText(res.ID), 100) + " " + short(nagiosText(remarks(res)), 300) + "\n"
		if len(text)+len(line) > nagiosOutput {
			left++
			continue
		}
		text += line
	}
	if left > 0 {
		text += fmt.Sprintf("and %d more\n", left)
	}
	b.WriteString(text)
}

// nagiosState returns the plugin's state, made by the checks that are not
// optional, and what the status line says.
func nagiosState(r run) (state, head string) {
	if len(r.results) == 0 {
		return "UNKNOWN", "no checks ran"
	}
	head = nagiosText(plainSummary(r))
	var worst check.Result
	verdict := check.Up
	for _, res := range r.results {
		if v := r.o.counts(res); !res.Optional && v.Worse(verdict) {
			worst, verdict = res, v
		}
	}
	if verdict != check.Up {
		head += ", " + short(nagiosText(worst.ID), 100) + " " + worst.Verdict.String() + " (" + nagiosText(remarks(worst)) + ")"
	}
	switch verdict {
	case check.Up:
		return "OK", head
	case check.Degraded:
		return "WARNING", head
	case check.Down:
		return "CRITICAL", head
	default:
		return "UNKNOWN", head
	}
}

// nagiosText makes text clean and free of the bar, which begins the
// performance data.
func nagiosText(s string) string { return strings.ReplaceAll(clean(s), "|", "¦") }

func nagiosCounts(s check.Summary) string {
	return fmt.Sprintf("up=%d;;;0;%d degraded=%d;;;0;%d down=%d;;;0;%d unknown=%d;;;0;%d flaky=%d;;;0;%d",
		s.Up, s.Total, s.Degraded, s.Total, s.Down, s.Total, s.Unknown, s.Total, s.Flaky, s.Total)
}

// nagiosLatency is 'label'=value[UOM];warn;crit;min;max with the ranges that
// plain expectations of the latency give.
func nagiosLatency(r check.Result) string {
	label := strings.NewReplacer("'", "_", "=", "_").Replace(short(nagiosText(r.ID), 60))
	value := "U" // not measured
	if r.Latency > 0 {
		value = nagiosSeconds(r.Latency) + "s"
	}
	return fmt.Sprintf("'%s'=%s;%s;%s;0;", label, value, nagiosRange(r, check.Prefer), nagiosRange(r, check.Expect))
}

// nagiosRange returns the limit of an expectation such as "latency < 300ms".
func nagiosRange(r check.Result, level check.Level) string {
	for _, f := range r.Findings {
		limit, ok := strings.CutPrefix(f.Expect, "latency <")
		if f.Level != level || !ok {
			continue
		}
		if d, err := check.ParseDuration(strings.TrimSpace(strings.TrimPrefix(limit, "="))); err == nil && d > 0 {
			return nagiosSeconds(d)
		}
	}
	return ""
}

func nagiosSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }
