package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// samplesOf makes a sample of verdicts; the n-th point took n ms, and those
// that are down were stopped.
func samplesOf(planned int, early bool, verdicts ...check.Verdict) *check.Sample {
	s := &check.Sample{Planned: planned, Early: early}
	for i, v := range verdicts {
		p := check.Point{Started: began.Add(time.Duration(i) * 100 * time.Millisecond), Latency: time.Duration(i+1) * time.Millisecond, Verdict: v}
		switch v {
		case check.Down:
			p.Failed, p.Reason = true, check.Reason{Code: check.ConnectTimeout, Message: "no answer from 192.0.2.9:5432 within 5s"}
		case check.Degraded:
			p.Reason = check.Reason{Code: "expect.latency", Message: "latency 3ms, want < 2ms"}
		case check.Unknown:
			p.Reason = check.Reason{Code: check.LocalOverload, Message: "too busy"}
		}
		s.Points = append(s.Points, p)
	}
	return s
}

func repeated(v check.Verdict, n int) []check.Verdict {
	all := make([]check.Verdict, n)
	for i := range all {
		all[i] = v
	}
	return all
}

// sampled returns results with samples, and one without.
func sampled() []check.Result {
	c := &check.Check{}
	result := func(id string, s *check.Sample, j check.Judgement) check.Result {
		shown := check.Result{ID: id, Name: id, Kind: "tcp", Target: "db.example.com:5432", Attempts: 1, File: "checks.yaml", Line: 3, Facts: check.FactsOf(map[string]any{"ip": "192.0.2.9"})}
		return c.SampleResult(shown, s, j, check.Phases{{Name: check.PhaseConnect, Duration: time.Millisecond}})
	}
	some := append(repeated(check.Up, 28), check.Down, check.Unknown)
	few := "latency.p99 of 5 samples is their maximum, it needs at least 100"
	return []check.Result{
		result("whole", samplesOf(30, false, some...), check.Judgement{Verdict: check.Up}),
		result("ended early", samplesOf(30, true, check.Up, check.Degraded, check.Down, check.Down), check.Judgement{Verdict: check.Down, Reason: check.Reason{
			Code: check.ConnectTimeout, Message: "2 of 4 passed (50%), want 95% of 30, ended early; 2 connect.timeout: no answer from 192.0.2.9:5432 within 5s"}}),
		result("too slow", samplesOf(5, false, repeated(check.Up, 5)...), check.Judgement{Verdict: check.Degraded,
			Reason: check.Reason{Code: "expect.latency.p99", Message: "latency.p99 5ms, want < 3ms (" + few + ")"},
			Findings: []check.Finding{
				{Expect: "latency.p99 < 3ms", Level: check.Prefer, Got: map[string]any{"latency.p99": 5 * time.Millisecond}, Note: few, File: "checks.yaml", Line: 7},
				{Expect: "latency.p99 < 9ms", OK: true, Got: map[string]any{"latency.p99": 5 * time.Millisecond}, Note: few, File: "checks.yaml", Line: 8},
			}}),
		result("cut short", samplesOf(30, false, check.Up), check.Judgement{Reason: check.Reason{
			Code: check.LocalShutdown, Message: "cut short after 1 of 30 observations: interrupted; 1 passed"}}),
		{ID: "once", Name: "once", Kind: "tcp", Target: "db.example.com:5432", Verdict: check.Up, Latency: time.Millisecond, Attempts: 1, Started: began},
	}
}

func TestGoldenSamples(t *testing.T) {
	results := sampled()
	for _, f := range everySink() {
		switch f.Name {
		case "table", "card", "json", "junit":
			golden(t, f.Name+"-samples.golden", write(t, f.New, options(results), results))
		}
	}
	o := options(results)
	o.Width, o.Verbose = 80, true
	golden(t, "table-samples-verbose.golden", write(t, Formats()[0].New, o, results))
}

// TestHostileSamples holds that the points' words reach no terminal raw, and
// that output stays bounded however many there are.
func TestHostileSamples(t *testing.T) {
	r := hostile()[0]
	r.Sample = samplesOf(10_000, false, repeated(check.Down, 10_000)...)
	for i := range r.Sample.Points {
		r.Sample.Points[i].Reason.Message = nasty + fmt.Sprint(i)
	}
	r.Findings[0].Note = nasty
	for _, f := range everySink() {
		for _, width := range []int{0, 40, 80} {
			o := options([]check.Result{r})
			o.Width, o.Verbose = width, true
			text := write(t, f.New, o, []check.Result{r})
			if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unsafe(r) }); i >= 0 {
				t.Errorf("%s: raw character %q at width %d", f.Name, text[i], width)
			}
			if isTerminalFormat(f.Name) && width > 0 {
				checkWidths(t, text, width)
			}
			if !strings.Contains(f.Name, "json") && len(text) > 1_000_000 {
				t.Errorf("%s: %d bytes", f.Name, len(text))
			}
		}
	}
}
