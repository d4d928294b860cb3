package check_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

var sampleStart = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// points makes a sample of one letter for each observation: u up, g degraded, d
// down, t down by a timeout that ended the probe, o could not be made. The
// latency of the n-th is n ms.
func points(letters string) *check.Sample {
	s := &check.Sample{Planned: len(letters)}
	for i, letter := range letters {
		p := check.Point{Started: sampleStart.Add(time.Duration(i) * time.Second), Latency: time.Duration(i+1) * time.Millisecond}
		switch letter {
		case 'u':
			p.Verdict = check.Up
		case 'g':
			p.Verdict, p.Reason = check.Degraded, check.Reason{Code: "expect.latency", Message: "latency 4ms, want < 3ms"}
		case 'd':
			p.Verdict, p.Reason = check.Down, check.Reason{Code: check.HTTPStatus, Message: "status 503, want 200"}
		case 't':
			p.Verdict, p.Failed, p.Reason = check.Down, true, check.Reason{Code: check.ConnectTimeout, Message: fmt.Sprintf("no answer, try %d", i+1)}
		case 'o':
			p.Reason = check.Reason{Code: check.LocalOverload, Message: "too busy"}
		}
		s.Points = append(s.Points, p)
	}
	return s
}

func TestJudgeSample(t *testing.T) {
	up30, half := strings.Repeat("u", 30), strings.Repeat("u", 15)
	for _, tc := range []struct {
		name    string
		seen    string
		pass    float64
		early   bool
		lines   []line
		verdict check.Verdict
		code    check.Code
		message string
	}{
		{name: "all up", seen: up30, pass: 1, verdict: check.Up},
		{name: "one down of all", seen: up30[1:] + "d", pass: 1, verdict: check.Down, code: check.HTTPStatus,
			message: "29 of 30 passed (96.6%), want 100%; 1 http.status: status 503, want 200"},
		{name: "as many as may fail", seen: strings.Repeat("u", 19) + "d", pass: 0.95, verdict: check.Up},
		{name: "one more than may fail", seen: strings.Repeat("u", 27) + "dtt", pass: 0.95, verdict: check.Down, code: check.ConnectTimeout,
			message: "27 of 30 passed (90%), want 95%; 1 http.status, 2 connect.timeout: no answer, try 30"},
		{name: "of two that are as frequent the first", seen: "uudt", pass: 0.9, verdict: check.Down, code: check.HTTPStatus,
			message: "2 of 4 passed (50%), want 90%; 1 connect.timeout, 1 http.status: status 503, want 200"},
		{name: "enough are up beside the degraded", seen: up30[1:] + "g", pass: 0.95, verdict: check.Up},
		{name: "enough passed and too few are up", seen: up30[4:] + "gggg", pass: 0.95, verdict: check.Degraded, code: "expect.latency",
			message: "26 of 30 met every preference (86.6%), want 95%; 4 expect.latency: latency 4ms, want < 3ms"},
		{name: "a share with decimals", seen: "dddd", pass: 0.0001, verdict: check.Down, code: check.HTTPStatus,
			message: "0 of 4 passed (0%), want 0.01%; 4 http.status: status 503, want 200"},
		{name: "what could not be made is no failure", seen: up30[1:] + "o", pass: 0.95, verdict: check.Up},
		{name: "what could not be made decides", seen: up30[1:] + "o", pass: 1, verdict: check.Unknown, code: check.LocalOverload,
			message: "29 of 30 could be measured (96.6%), want 100%; 1 local.overload: too busy"},
		{name: "nothing could be made", seen: "oooo", pass: 0.5, verdict: check.Unknown, code: check.LocalOverload,
			message: "0 of 4 could be measured (0%), want 50%; 4 local.overload: too busy"},
		{name: "less than half could be made", seen: "uuuoooo", pass: 0.1, verdict: check.Unknown, code: check.LocalOverload,
			message: "3 of 7 could be measured (42.8%), want 10%; 4 local.overload: too busy"},
		{name: "down whatever could not be made", seen: "ddooo", pass: 0.9, verdict: check.Down, code: check.HTTPStatus,
			message: "0 of 5 passed (0%), want 90%; 2 http.status: status 503, want 200"},
		{name: "ended early", seen: "d", pass: 1, early: true, lines: []line{{text: "latency.max < 1ms"}}, verdict: check.Down, code: check.HTTPStatus,
			message: "0 of 1 passed (0%), want 100% of 30, ended early; 1 http.status: status 503, want 200"},
		{name: "a latency is missed", seen: up30, pass: 1, lines: []line{{text: "latency.p95 < 20ms"}}, verdict: check.Down, code: "expect.latency.p95",
			message: "latency.p95 29ms, want < 20ms"},
		{name: "a latency is not preferred", seen: up30, pass: 1, lines: []line{{text: "latency.p95 < 20ms", prefer: true}}, verdict: check.Degraded, code: "expect.latency.p95",
			message: "latency.p95 29ms, want < 20ms"},
		{name: "a latency of too few", seen: up30, pass: 1, lines: []line{{text: "latency.p99 < 20ms"}}, verdict: check.Down, code: "expect.latency.p99",
			message: "latency.p99 30ms, want < 20ms (latency.p99 of 30 samples is their maximum, it needs at least 100)"},
		{name: "a latency holds", seen: up30, pass: 1, lines: []line{{text: "latency.p50 <= 15ms && latency.jitter == 1ms"}}, verdict: check.Up},
		{name: "expectations of one observation are none of the sample's", seen: up30, pass: 1, lines: []line{{text: "status == 200"}}, verdict: check.Up},
		{name: "the rate instead of pass", seen: half + "ddd", lines: []line{{text: "pass_rate > 0.8"}}, verdict: check.Up},
		{name: "the rate says nothing of preferences", seen: half + "ddg", lines: []line{{text: "pass_rate > 0.8"}}, verdict: check.Degraded, code: "expect.latency",
			message: "15 of 18 met every preference (83.3%); 1 expect.latency: latency 4ms, want < 3ms"},
		{name: "the rate is missed", seen: half + half[:5] + strings.Repeat("d", 10), lines: []line{{text: "pass_rate > 0.8"}}, verdict: check.Down, code: "expect.pass_rate",
			message: "pass_rate 0.6666666666666666, want > 0.8"},
		{name: "no latency and the rate does not care", seen: "tttt", lines: []line{{text: "latency.max < 1s"}}, verdict: check.Down, code: "expect.latency.max",
			message: "latency.max was not observed"},
		{name: "no expectation where it is unknown", seen: "oo", lines: []line{{text: "pass_rate > 0.8"}}, verdict: check.Unknown, code: check.LocalOverload,
			message: "0 of 2 could be measured (0%); 2 local.overload: too busy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := points(tc.seen)
			if s.Early = tc.early; s.Early {
				s.Planned = 30
			}
			c := &check.Check{FactList: factList(), Expectations: expectations(t, tc.lines)}
			c.Samples = check.Samples{Count: s.Planned, Pass: tc.pass}
			for i := range c.Expectations {
				c.Expectations[i].Sample = !strings.Contains(c.Expectations[i].Text, "status")
			}
			j := c.JudgeSample(s)
			if judged := len(j.Findings) > 0; judged && (s.Early || tc.verdict == check.Unknown) {
				t.Errorf("findings of a sample that is not whole: %v", j.Findings)
			}
			if j.Verdict != tc.verdict {
				t.Errorf("verdict %s, want %s", j.Verdict, tc.verdict)
			}
			if diff := cmp.Diff(check.Reason{Code: tc.code, Message: tc.message}, j.Reason); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
		})
	}
}

// TestToleratedIsSafe holds that a sample with as many failures as are
// tolerated reaches the ratio, and with one more does not, for all ratios that
// people write.
func TestToleratedIsSafe(t *testing.T) {
	for count := 2; count <= 200; count++ {
		for tenths := 1; tenths <= 1000; tenths++ {
			s := check.Samples{Count: count, Pass: float64(tenths) / 1000}
			reached := func(failed int) bool { return (count-failed)*1000 >= tenths*count } // in whole numbers
			if may := s.Tolerated(); !reached(may) || may < count && reached(may+1) {
				t.Fatalf("%d of %d may fail with %d tenths of a percent", may, count, tenths)
			}
		}
	}
}

func TestSampleFacts(t *testing.T) {
	ms := func(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
	for _, tc := range []struct {
		seen string
		want map[string]any
	}{
		{strings.Repeat("u", 100), map[string]any{
			"pass_rate": 1.0, "latency.min": ms(1), "latency.mean": ms(50.5), "latency.p50": ms(50), "latency.p90": ms(90),
			"latency.p95": ms(95), "latency.p99": ms(99), "latency.max": ms(100), "latency.jitter": ms(1),
		}},
		// A failure has no latency of an answer, a missed expectation does.
		{"utodg", map[string]any{
			"pass_rate": 0.5, "latency.min": ms(1), "latency.mean": ms(10) / 3, "latency.p50": ms(4), "latency.max": ms(5), "latency.jitter": ms(2),
		}},
		{"u", map[string]any{"pass_rate": 1.0, "latency.min": ms(1), "latency.mean": ms(1), "latency.max": ms(1)}},
		{"t", map[string]any{"pass_rate": 0.0}},
		{"o", map[string]any{}},
		{"", map[string]any{}},
	} {
		if diff := cmp.Diff(tc.want, maps.Collect(points(tc.seen).Facts().All())); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.seen, diff)
		}
	}
}

// The jitter of latencies that go up and down is no sum of signs.
func TestJitter(t *testing.T) {
	s := points("uuuu")
	for i, latency := range []time.Duration{40, 10, 30, 20} {
		s.Points[i].Latency = latency
	}
	if got := s.Facts().Get("latency.jitter"); got != time.Duration(20) {
		t.Errorf("jitter %v, want 20ns", got)
	}
}

// TestPercentilesByDefinition compares with the definition of the nearest rank:
// the smallest latency that at least p percent of all are not above.
func TestPercentilesByDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= 250; n++ {
		s := points(strings.Repeat("u", n))
		for i := range s.Points {
			s.Points[i].Latency = time.Duration(random.IntN(50))
		}
		facts := s.Facts()
		for _, p := range []int{50, 90, 95, 99} {
			want := time.Duration(0)
			for rank(s, want)*100 < p*n {
				want++
			}
			name := fmt.Sprintf("latency.p%d", p)
			got, there := facts.Lookup(name)
			if few := n*(100-p) < 100; few == there || there && got != want {
				t.Fatalf("%s of %d is %v, want %v", name, n, got, want)
			}
		}
		if i, ok := s.Median(); !ok || n > 1 && s.Points[i].Latency != facts.Get("latency.p50") {
			t.Fatalf("the median of %d is at %d", n, i)
		}
	}
}

// rank counts the latencies that are not above d.
func rank(s *check.Sample, d time.Duration) int {
	n := 0
	for _, p := range s.Points {
		if p.Latency <= d {
			n++
		}
	}
	return n
}

func TestSampleResult(t *testing.T) {
	const secret = "canary-7f3a"
	c := &check.Check{ID: "a", Name: "a", Mask: check.NewMask(secret)}
	shown := c.Result(&check.Observation{Latency: time.Hour, Facts: check.FactsOf(map[string]any{"status": 200})},
		check.Judgement{Findings: []check.Finding{{Expect: "status == 200", OK: true}}})
	s := points("ugt")
	s.Points[2].Reason.Message = "<no> answer" // as a browser would not like it
	j := check.Judgement{Verdict: check.Down, Reason: check.Reason{Code: check.ConnectTimeout, Message: "with " + secret},
		Findings: []check.Finding{{Expect: "pass_rate > 0.9 // " + secret, Note: "few"}}}
	r := c.SampleResult(shown, s, j, check.Phases{{Name: check.PhaseWait, Duration: time.Millisecond}})
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"a","name":"a","kind":"","target":"","verdict":"down","reason":{"code":"connect.timeout","message":"with ***"},` +
		`"started":"2026-03-04T05:06:07Z","latency_seconds":0.001,"queued_seconds":0,"attempts":1,"flaky":false,` +
		`"samples":{"planned":3,"taken":3,"passed":2,"pass_rate":0.6666666666666666,"early":false,"points":[` +
		`{"started":"2026-03-04T05:06:07Z","latency_seconds":0.001,"verdict":"up"},` +
		`{"started":"2026-03-04T05:06:08Z","latency_seconds":0.002,"verdict":"degraded","reason":{"code":"expect.latency","message":"latency 4ms, want \u003c 3ms"}},` +
		`{"started":"2026-03-04T05:06:09Z","latency_seconds":0.003,"verdict":"down","reason":{"code":"connect.timeout","message":"\u003cno\u003e answer"},"failed":true}]},` +
		`"phases":{"wait_seconds":0.001},"facts":{"latency":{"jitter_seconds":0.001,"max_seconds":0.002,"mean_seconds":0.0015,"min_seconds":0.001,"p50_seconds":0.001},"pass_rate":0.6666666666666666,"status":200},` +
		`"findings":[{"expect":"status == 200","level":"expect","ok":true,"got":{}},{"expect":"pass_rate \u003e 0.9 // ***","level":"expect","ok":false,"got":{},"note":"few"}],` +
		`"tags":[],"labels":{}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	copied := r.Clone()
	copied.Sample.Points[0].Verdict = check.Down
	if r.Sample.Points[0].Verdict != check.Up {
		t.Error("a clone shares the points")
	}
	if text, err := json.Marshal(c.SampleResult(check.Result{}, points("o"), check.Judgement{}, nil)); err != nil || !strings.Contains(string(text), `"unknown":1,"pass_rate":null`) {
		t.Errorf("%s, %v", text, err)
	}
}
