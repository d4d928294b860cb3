package check

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestClip(t *testing.T) {
	for _, tc := range []struct {
		in   string
		n    int
		want string
	}{
		{"short", 5, "short"}, {"longer", 5, "longe…"}, {"aé", 2, "a…"}, {"a€b", 3, "a…"}, {"a😀", 4, "a…"}, {"😀😀", 4, "😀…"},
		{strings.Repeat("\x80", 20), 10, strings.Repeat("\x80", 10) + "…"}, {"é", 1, "…"},
	} {
		if got := clip(tc.in, tc.n); got != tc.want {
			t.Errorf("clip(%q, %d) = %q, want %q", tc.in, tc.n, got, tc.want)
		}
	}
}

func TestNest(t *testing.T) {
	when := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	object := map[string]any{"a": 1}
	got := nest(FactsOf(map[string]any{
		"status": 200, "tls": "yes", "tls.version": "1.3", "tls.alpn.first": "h2", "cert.expires_in": 90 * time.Second,
		"cert.not_after": when, "json": object, "json.x": 2, "loss": math.NaN(), "dns.a.b": 1, "dns.a": []string{"x"},
	}))
	want := group{
		"status": 200, "tls": "yes", "tls.version": "1.3", "tls.alpn.first": "h2",
		"cert": group{"expires_in_seconds": 90.0, "not_after": "2030-01-02T02:04:05Z"},
		"json": object, "json.x": 2, "loss": nil, "dns": group{"a": []string{"x"}, "a.b": 1},
	}
	if diff := cmp.Diff(map[string]any(want), got); diff != "" {
		t.Errorf("nest (-want +got):\n%s", diff)
	}
	if len(object) != 1 {
		t.Error("nest changed a fact's value")
	}
}

func TestResultIsBounded(t *testing.T) {
	long := strings.Repeat("é", 5000)
	list, table := make([]string, 500), map[string]string{}
	for i := range list {
		list[i] = long
		table[strings.Repeat("k", i+1)] = long
	}
	tree := any("leaf")
	for range 500 {
		tree = []any{tree, long}
	}
	c := &Check{FactList: []Fact{{Name: "body", Hidden: true}}}
	o := &Observation{Facts: FactsOf(map[string]any{"title": long, "answers": list, "headers": table, "json": tree, "body": long})}
	j := Judgement{Verdict: Down, Reason: Reason{Code: "x", Message: long}, Findings: []Finding{{Got: map[string]any{"body": long}}}}
	r := c.Result(o, j)
	if _, ok := r.Facts.Lookup("body"); ok {
		t.Error("a hidden fact is in the result")
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if limit := 3*maxFactItems*(maxFactBytes+20) + 10*maxFactBytes; len(text) > limit {
		t.Errorf("%d bytes, want at most %d", len(text), limit)
	}
	if !utf8.ValidString(r.Reason.Message) || len(r.Reason.Message) > maxMessageBytes+len(ellipsis) {
		t.Errorf("message of %d bytes", len(r.Reason.Message))
	}
	if len(list[0]) != len(long) || len(table) != 500 {
		t.Error("the target's data was changed in place")
	}
}

func TestResultTakesOverWhatIsFine(t *testing.T) {
	facts := FactsOf(map[string]any{"status": 200, "title": "fine", "answers": []string{"a"}, "headers": map[string]string{"k": "v"}})
	o := &Observation{Facts: facts, Latency: time.Second}
	c := &Check{ID: "a", Name: "a", Kind: "http", Tags: []string{"t"}}
	got := testing.AllocsPerRun(100, func() { c.Result(o, Judgement{Verdict: Up}) })
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestResultHasNoSecret(t *testing.T) {
	const secret = "canary-7f3a"
	c := &Check{
		ID: "a[" + secret + "]", Name: "a " + secret, Target: "https://u:" + secret + "@host/", Mask: NewMask(secret),
		Tags: []string{secret}, Labels: map[string]string{"token": secret}, Optional: true,
	}
	long := strings.Repeat("x", maxFactBytes-5) + secret // the cut falls into it
	o := &Observation{
		Facts: FactsOf(map[string]any{
			"title": long, "answers": []string{"ok", secret}, "headers": map[string]string{secret: secret},
			"json": map[string]any{"echo": []any{secret}},
		}),
		Reproduce: func() string { return "curl -H '" + secret + "'" },
	}
	j := Judgement{Verdict: Down, Reason: Reason{Code: "x", Message: "got " + long}, Findings: []Finding{
		{Expect: "title == '" + secret + "'", Got: map[string]any{"title": secret}},
	}}
	text, err := json.Marshal(c.Result(o, j))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "canary") {
		t.Errorf("the secret is in %s", text)
	}
	if c.Tags[0] != secret || c.Labels["token"] != secret {
		t.Error("the check itself was masked")
	}
}

// The example of DESIGN.md, section 4, field by field.
func TestResultJSON(t *testing.T) {
	r := Result{
		ID: "orders[eu.example.com]", Name: "orders", Kind: "http", Target: "https://eu.example.com/health", Verdict: Down,
		Reason:  Reason{Code: HTTPStatus, Message: "status 503, want 200"},
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 7200)), Latency: 31200 * time.Microsecond, Queued: 100 * time.Microsecond,
		Attempts: 2,
		Phases: Phases{
			{PhaseResolve, 2 * time.Millisecond}, {PhaseConnect, 11 * time.Millisecond}, {PhaseTLS, 14 * time.Millisecond},
			{PhaseWait, 3 * time.Millisecond}, {PhaseTransfer, time.Millisecond},
		},
		Facts:    FactsOf(map[string]any{"status": 503, "ip": "203.0.113.7"}),
		Findings: []Finding{{Expect: "status == 200", Got: map[string]any{"status": 503}, File: "checks.yaml", Line: 9}},
		Tags:     []string{"api"},
	}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"orders[eu.example.com]","name":"orders","kind":"http","target":"https://eu.example.com/health","verdict":"down",` +
		`"reason":{"code":"http.status","message":"status 503, want 200"},"started":"2026-01-02T01:04:05Z","latency_seconds":0.0312,` +
		`"queued_seconds":0.0001,"attempts":2,"flaky":false,"phases":{"connect_seconds":0.011,"resolve_seconds":0.002,"tls_seconds":0.014,` +
		`"transfer_seconds":0.001,"wait_seconds":0.003},"facts":{"ip":"203.0.113.7","status":503},"findings":[{"expect":"status == 200",` +
		`"level":"expect","ok":false,"got":{"status":503},"file":"checks.yaml","line":9}],"tags":["api"],"labels":{}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

func TestJSONOfTheEmptyResult(t *testing.T) {
	got, err := json.Marshal(Result{Facts: FactsOf(map[string]any{"loss": math.Inf(1)})})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"verdict":"unknown"`, `"phases":{}`, `"facts":{"loss":null}`, `"findings":[]`, `"tags":[]`, `"labels":{}`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r := Result{
		Tags: []string{"a"}, Labels: map[string]string{"k": "v"}, Facts: FactsOf(map[string]any{"f": 1}), Phases: Phases{{"tls", 1}},
		Failed: []Attempt{{Reason: Reason{Code: "x"}}}, Findings: []Finding{{Got: map[string]any{"f": 1}}},
	}
	c := r.Clone()
	c.Tags[0], c.Labels["k"], c.Facts[0].Value, c.Phases[0].Duration = "b", "w", 2, 2
	c.Failed[0].Code, c.Findings[0].Got["f"], c.Findings[0].OK = "y", 2, true
	want := Result{
		Tags: []string{"a"}, Labels: map[string]string{"k": "v"}, Facts: FactsOf(map[string]any{"f": 1}), Phases: Phases{{"tls", 1}},
		Failed: []Attempt{{Reason: Reason{Code: "x"}}}, Findings: []Finding{{Got: map[string]any{"f": 1}}},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("the original changed (-want +got):\n%s", diff)
	}
}

func TestRetryDelay(t *testing.T) {
	for _, tc := range []struct {
		retry Retry
		n     int
		want  time.Duration
	}{
		{Retry{Wait: time.Second}, 1, time.Second},
		{Retry{Wait: time.Second}, 5, time.Second},
		{Retry{Wait: time.Second, Factor: 2}, 4, 8 * time.Second},
		{Retry{Wait: time.Second, Factor: 2, MaxWait: 5 * time.Second}, 9, 5 * time.Second},
		{Retry{Wait: time.Hour, Factor: 10}, 1000, math.MaxInt64/2 + 1},
	} {
		if got := tc.retry.Delay(tc.n); got != tc.want {
			t.Errorf("%+v.Delay(%d) = %v, want %v", tc.retry, tc.n, got, tc.want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	order := []Verdict{Up, Degraded, Unknown, Down}
	for i, v := range order {
		for k, w := range order {
			if v.Worse(w) != (i > k) {
				t.Errorf("%s.Worse(%s) = %t", v, w, v.Worse(w))
			}
		}
		text, err := v.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Verdict
		if err := back.UnmarshalText(text); err != nil || back != v {
			t.Errorf("%s came back as %s, %v", v, back, err)
		}
	}
	if err := new(Verdict).UnmarshalText([]byte("fine")); err == nil {
		t.Error("no error for an unknown verdict")
	}
	if (Result{}).Verdict != Unknown {
		t.Error("a forgotten verdict is not unknown")
	}
}

func TestCodesAreUniqueAndSafeAsLabels(t *testing.T) {
	seen := map[Code]bool{}
	for _, d := range Codes() {
		if seen[d.Code] || d.Doc == "" || strings.Trim(string(d.Code), "abcdefghijklmnopqrstuvwxyz_.") != "" {
			t.Errorf("%q: twice, without doc or no label", d.Code)
		}
		seen[d.Code] = true
	}
}
