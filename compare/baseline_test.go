package compare

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

func results() []check.Result {
	sample := &check.Sample{Planned: 4}
	for i := range 4 {
		sample.Points = append(sample.Points, check.Point{Latency: time.Duration(i+1) * 1_234_567, Verdict: check.Up})
	}
	sample.Points[1].Verdict, sample.Points[1].Failed = check.Down, true
	sample.Points[2].Verdict = check.Unknown
	return []check.Result{
		{ID: "a", Target: "https://a/", Verdict: check.Up, Sample: sample, Facts: check.FactsOf(map[string]any{"status": 200, "tls.version": "1.3"})},
		{ID: "b", Target: "tcp://b:1", Verdict: check.Down, Reason: check.Reason{Code: check.ConnectRefused, Message: "nothing \"there\"\n"}},
		{ID: "c", Target: "toy", Verdict: check.Up, Latency: time.Second},
	}
}

func TestBaseline(t *testing.T) {
	origin := Origin{Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Host: "here", Version: "1.2.3"}
	var b bytes.Buffer
	if err := WriteBaseline(&b, origin, results()); err != nil {
		t.Fatal(err)
	}
	got, err := ReadBaseline(&b)
	if err != nil {
		t.Fatal(err)
	}
	origin.Created = origin.Created.Truncate(time.Second)
	want := &Baseline{Origin: origin, Sides: map[string]Side{
		"a": {Target: "https://a/", Verdict: check.Up, Latencies: []time.Duration{1_234_567, 4 * 1_234_567}, Failed: 1, Facts: Facts{"status": "200", "tls.version": "1.3"}},
		"b": {Target: "tcp://b:1", Verdict: check.Down, Reason: check.Reason{Code: check.ConnectRefused, Message: "nothing \"there\"\n"}, Failed: 1, Facts: Facts{}},
		"c": {Target: "toy", Verdict: check.Up, Latencies: []time.Duration{time.Second}, Facts: Facts{}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBadBaseline(t *testing.T) {
	const head = `{"schema":1,"format":"sonde-baseline","checks":[`
	for text, want := range map[string]string{
		"":                                       "no whole JSON",
		head:                                     "no whole JSON",
		`[]`:                                     "no whole JSON",
		`{"schema":1,"results":[]}`:              "no baseline",
		`{"schema":2,"format":"sonde-baseline"}`: "the schema 2, and this sonde reads 1",
		head + `{"id":"a","verdict":"sideways"}]}`:                                              "no sound baseline",
		head + `{"id":"a","verdict":"up","latencies_seconds":[-1]}]}`:                           "a latency of -1s for a",
		head + `{"id":"a","verdict":"up","latencies_seconds":[1e300]}]}`:                        "a latency of 1e+300s",
		head + `{"id":"a","verdict":"up"},{"id":"a","verdict":"up"}]}`:                          "a twice",
		head + `{"id":"a","verdict":"up","latencies_seconds":["quick"]}]}`:                      "no sound baseline",
		head + `{"id":"a","verdict":"up","latencies_seconds":[0.000000]}]}`:                     "a latency of 0s",
		head + `{"id":"a","verdict":"up","facts":{"status":200},"extra":1}]}`:                   "no sound baseline",
		head + `{"id":"a","verdict":"up","failed":-1}]}`:                                        "-1 failures",
		`{"schema":1,"format":"sonde-baseline","checks":{}}`:                                    "checks is no list",
		head + `{"id":"a","latencies_seconds":[` + strings.Repeat("1,", maxLatencies) + `1]}]}`: "more than 10000 latencies",
		head + `{"id":"a","latencies_seconds":[` + strings.Repeat(" ", maxWritten) + `1]}]}`:    "more than 10000 latencies",
		head + strings.Repeat(`{},`, maxKept) + `{}]}`:                                          "more than 1048576 checks",
	} {
		if _, err := ReadBaseline(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: %v, want %q", text, err, want)
		}
	}
}

// TestBaselineOfTheLongestSample keeps as many latencies as a sample can have,
// written as long as they can be.
func TestBaselineOfTheLongestSample(t *testing.T) {
	r := check.Result{ID: "a", Verdict: check.Up, Sample: &check.Sample{}}
	for i := range maxLatencies {
		r.Sample.Points = append(r.Sample.Points, check.Point{Latency: 123456789123456 + time.Duration(i), Verdict: check.Up})
	}
	var b bytes.Buffer
	if err := WriteBaseline(&b, Origin{}, []check.Result{r}); err != nil {
		t.Fatal(err)
	}
	read, err := ReadBaseline(&b)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(read.Sides["a"].Latencies); n != maxLatencies {
		t.Errorf("%d latencies", n)
	}
}

func FuzzBaseline(f *testing.F) {
	var b bytes.Buffer
	if err := WriteBaseline(&b, Origin{}, results()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Fuzz(func(t *testing.T, text string) {
		read, err := ReadBaseline(strings.NewReader(text))
		if err != nil {
			return
		}
		report := read.Against(results(), Options{Alpha: DefaultAlpha, MinEffect: DefaultMinEffect})
		report.Judge(results())
		if _, err := report.MarshalJSON(); err != nil {
			t.Error(err)
		}
	})
}

func TestAgainst(t *testing.T) {
	result := func(id string, median time.Duration, verdict check.Verdict) check.Result {
		r := check.Result{ID: id, Verdict: verdict, Sample: &check.Sample{}}
		for _, d := range spread(40, median) {
			r.Sample.Points = append(r.Sample.Points, check.Point{Latency: d, Verdict: check.Up})
		}
		return r
	}
	side := Side{Verdict: check.Up, Latencies: spread(40, 100*time.Millisecond)}
	b := &Baseline{Sides: map[string]Side{"same": side, "slower": side, "down": side, "gone": side, "few": {}}}
	now := []check.Result{
		result("same", 100*time.Millisecond, check.Up), result("slower", 200*time.Millisecond, check.Up),
		result("down", 200*time.Millisecond, check.Down), result("fresh", 1, check.Up), result("few", 1, check.Up),
	}
	report := b.Against(now, Options{Alpha: DefaultAlpha, MinEffect: DefaultMinEffect})
	report.Judge(now)
	if diff := cmp.Diff([]string{"gone"}, report.OnlyA); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"fresh"}, report.OnlyB); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, r := range now {
		text := r.ID + " " + r.Verdict.String() + " " + string(r.Reason.Code)
		for _, f := range r.Findings {
			text += " " + f.Expect + " " + f.Note
		}
		got = append(got, text)
	}
	want := []string{
		"same up  latency <= 1.1 * baseline same",
		"slower degraded expect.latency latency <= 1.1 * baseline slower",
		"down down ",
		"fresh up ", "few up ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if report.Count(Slower, Failing) != 2 || report.Count(TooFew) != 1 {
		t.Errorf("%d regressed, %d of too few", report.Count(Slower, Failing), report.Count(TooFew))
	}
}
