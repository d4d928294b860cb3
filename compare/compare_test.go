package compare

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// spread returns n latencies around the middle, up to a tenth away.
func spread(n int, middle time.Duration) []time.Duration {
	out := make([]time.Duration, n)
	for i := range out {
		out[i] = middle + time.Duration(float64(middle)*0.2*(float64(i)/float64(n)-0.5))
	}
	return out
}

func TestOutcomes(t *testing.T) {
	o := Options{Alpha: DefaultAlpha, MinEffect: DefaultMinEffect}
	up := func(latencies []time.Duration) Side { return Side{Verdict: check.Up, Latencies: latencies} }
	wide := make([]time.Duration, 40)
	for i := range wide {
		wide[i] = time.Duration(1+i) * time.Millisecond
	}
	ms := time.Millisecond
	for _, c := range []struct {
		name string
		a, b Side
		want Outcome
	}{
		{"the same", up(spread(40, 100*ms)), up(spread(40, 101*ms)), Same},
		{"a change that does not matter", up(spread(40, 100*ms)), up(spread(40, 109*ms)), Unclear},
		{"slower", up(spread(40, 100*ms)), up(spread(40, 130*ms)), Slower},
		{"faster", up(spread(40, 100*ms)), up(spread(40, 70*ms)), Faster},
		{"five are enough for what is plain", up(spread(5, 100*ms)), up(spread(5, 200*ms)), Slower},
		{"four are not", up(spread(4, 100*ms)), up(spread(40, 200*ms)), TooFew},
		{"none", up(nil), up(nil), TooFew},
		{"all over the place", up(wide), up(wide), Unclear},
		{"equal to the nanosecond", up(make([]time.Duration, 40)), up(make([]time.Duration, 40)), Same},
		{"down", up(spread(40, 100*ms)), Side{Verdict: check.Down, Failed: 1}, Failing},
		{"down on both sides", Side{Verdict: check.Down, Failed: 1}, Side{Verdict: check.Down, Failed: 1}, TooFew},
		{"down before", Side{Verdict: check.Down, Failed: 1}, up(spread(40, 100*ms)), TooFew},
		{"unknown", up(spread(40, 100*ms)), Side{Verdict: check.Unknown}, TooFew},
	} {
		if got := Compare([]Pair{{A: c.a, B: c.b}}, o)[0]; got.Outcome != c.want {
			t.Errorf("%s: %s, want %s: %+v", c.name, got.Outcome, c.want, got)
		}
	}
}

// TestCorrection shows that what is slower alone may not be so among many.
func TestCorrection(t *testing.T) {
	o := Options{Alpha: DefaultAlpha, MinEffect: DefaultMinEffect}
	plain := Pair{A: Side{Latencies: spread(5, 100)}, B: Side{Latencies: spread(5, 200)}}
	pairs := []Pair{plain, plain, plain}
	if got := Compare(pairs[:1], o)[0]; got.Outcome != Slower || got.P > 0.01 {
		t.Errorf("alone: %s, p %g", got.Outcome, got.P)
	}
	if got := Compare(pairs, o)[2]; got.Outcome != TooFew || got.Needed != 6 || got.P < 0.01 {
		t.Errorf("among three: %s, p %g, needs %d", got.Outcome, got.P, got.Needed)
	}
}

func TestNeeded(t *testing.T) {
	wide := func(n int) Side {
		s := Side{}
		r := rand.New(rand.NewPCG(4, 2))
		for range n {
			s.Latencies = append(s.Latencies, time.Duration(1e7*math.Exp(0.3*r.NormFloat64())))
		}
		return s
	}
	o := Options{Alpha: DefaultAlpha, MinEffect: DefaultMinEffect}
	few := Compare([]Pair{{A: wide(40), B: wide(40)}}, o)[0]
	if few.Outcome != Unclear || few.Needed <= 40 || few.Needed > 1000 {
		t.Fatalf("40 samples: %s, needs %d", few.Outcome, few.Needed)
	}
	if enough := Compare([]Pair{{A: wide(2 * few.Needed), B: wide(2 * few.Needed)}}, o)[0]; enough.Outcome != Same || enough.Needed != 0 {
		t.Errorf("%d samples: %s, needs %d", 2*few.Needed, enough.Outcome, enough.Needed)
	}
}

func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 2, 7, 40} {
		order := Order(n, r)
		if len(order) != 2*n {
			t.Fatalf("%d turns for %d a side", len(order), n)
		}
		first := 0 // pairs that begin with B
		for i := 0; i < len(order); i += 2 {
			if order[i] == order[i+1] {
				t.Fatalf("one side has both turns of a pair: %v", order)
			}
			if order[i] {
				first++
			}
		}
		if first != n/2 && first != n-n/2 {
			t.Errorf("B begins %d of %d pairs", first, n)
		}
	}
}

func TestDifferences(t *testing.T) {
	a := FactsOf(check.FactsOf(map[string]any{
		"status": 200, "latency.p50": time.Second, "answers": []string{"b", "a"}, "tls.version": "1.2", "cert.trusted": true,
		"cert.not_after": time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), "headers": map[string]string{"server": "x", "date": "1"},
		"ratio": 0.25, "json": map[string]any{"a": 1.0},
	}))
	b := FactsOf(check.FactsOf(map[string]any{
		"status": 200, "latency.p50": time.Minute, "answers": []string{"a", "b"}, "tls.version": "1.3", "cert.trusted": false,
		"cert.not_after": time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC), "headers": map[string]string{"server": "y", "date": "2"},
		"new": 1, "ratio": 0.25, "json": map[string]any{"a": 2.0},
	}))
	got := Differences(a, b, func(fact string) bool { return fact != "headers.date" })
	want := []Change{
		{"cert.trusted", "true", "false"}, {"headers.server", "x", "y"}, {"json", `{"a":1}`, `{"a":2}`}, {"new", "", "1"}, {"tls.version", "1.2", "1.3"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := Differences(nil, b, func(fact string) bool { return fact == "new" }); len(got) != 1 {
		t.Errorf("without facts of A: %v", got)
	}
}

func TestJSON(t *testing.T) {
	r := Report{Options: Options{Alpha: 0.01, MinEffect: 0.1}, Checks: Compare([]Pair{{ID: "a"}}, Options{Alpha: 0.01})}
	text, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"ratio":null`, `"ratio_high":null`, `"only_a":[]`, `"changes":[]`, `"too_few":1`, `"outcome":"too_few"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}
