package check_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/expect"
)

func factList() []check.Fact {
	return append(check.CommonFacts(),
		check.Fact{Name: "status", Type: check.Int, Code: check.HTTPStatus},
		check.Fact{Name: "json", Type: check.Any, Hidden: true},
		check.Fact{Name: "cert.trusted", Type: check.Bool, Code: check.TLSUntrusted},
		check.Fact{Name: "loss", Type: check.Float},
	)
}

type line struct {
	text     string
	prefer   bool
	whenSeen bool
}

func expectations(t *testing.T, lines []line) []check.Expectation {
	t.Helper()
	var all []check.Expectation
	for _, l := range lines {
		test, err := expect.Compile(l.text, factList())
		if err != nil {
			t.Fatalf("%s: %v", l.text, err)
		}
		e := check.Expectation{Text: l.text, Test: test, WhenSeen: l.whenSeen}
		if l.prefer {
			e.Level = check.Prefer
		}
		all = append(all, e)
	}
	return all
}

func TestJudge(t *testing.T) {
	refused := check.Reason{Code: check.ConnectRefused, Message: "connection refused"}
	for _, tc := range []struct {
		name     string
		seen     check.Observation
		lines    []line
		verdict  check.Verdict
		code     check.Code
		message  string
		findings int
	}{
		{"all hold", check.Observation{Facts: check.FactsOf(map[string]any{"status": 200})}, []line{{text: "status == 200"}, {text: "latency < 1s", prefer: true}}, check.Up, "", "", 2},
		{"nothing expected", check.Observation{}, nil, check.Up, "", "", 0},
		{"an expectation is missed", check.Observation{Facts: check.FactsOf(map[string]any{"status": 503})}, []line{{text: "status == 200"}}, check.Down, check.HTTPStatus, "status 503, want 200", 1},
		{"a preference is missed", check.Observation{Latency: 2 * time.Second}, []line{{text: "latency < 1s", prefer: true}}, check.Degraded, "expect.latency", "latency 2s, want < 1s", 1},
		{"a miss explained by our own side", check.Observation{Because: map[string]check.Reason{"cert.trusted": {Code: check.LocalPermission, Message: "no roots"}}},
			[]line{{text: "cert.trusted"}}, check.Unknown, check.LocalPermission, "no roots", 1},
		{"the first miss is the reason", check.Observation{Facts: check.FactsOf(map[string]any{"status": 503, "loss": 0.5})}, []line{{text: "loss == 0"}, {text: "status == 200"}}, check.Down, "expect.loss", "loss 0.5, want 0", 2},
		{"down after degraded", check.Observation{Facts: check.FactsOf(map[string]any{"status": 503, "loss": 0.5})}, []line{{text: "loss == 0", prefer: true}, {text: "status == 200"}}, check.Down, check.HTTPStatus, "status 503, want 200", 2},
		{"degraded after down", check.Observation{Facts: check.FactsOf(map[string]any{"status": 503, "loss": 0.5})}, []line{{text: "status == 200"}, {text: "loss == 0", prefer: true}}, check.Down, check.HTTPStatus, "status 503, want 200", 2},
		{"an absent fact is a miss", check.Observation{}, []line{{text: "status == 200"}}, check.Down, check.HTTPStatus, "status was not observed", 1},
		{"an absent fact that need not be seen", check.Observation{}, []line{{text: "cert.trusted", whenSeen: true}}, check.Up, "", "", 0},
		{"a fact that is seen counts", check.Observation{Facts: check.FactsOf(map[string]any{"cert.trusted": false})}, []line{{text: "cert.trusted", whenSeen: true}}, check.Down, check.TLSUntrusted, "cert.trusted false, want true", 1},
		{"a failure is down", check.Observation{Failure: refused}, []line{{text: "status == 200"}, {text: "latency < 1s"}}, check.Down, check.ConnectRefused, "connection refused", 1},
		{"a failure of our own is unknown", check.Observation{Failure: check.Reason{Code: check.LocalFD, Message: "too many open files"}}, []line{{text: "status == 200"}}, check.Unknown, check.LocalFD, "too many open files", 0},
		{"our own even when error is expected", check.Observation{Failure: check.Reason{Code: check.LocalFD}}, []line{{text: "error == 'local.fd'"}}, check.Unknown, check.LocalFD, "", 0},
		{"an expected failure", check.Observation{Failure: refused}, []line{{text: "error == 'connect.refused'"}}, check.Up, "", "", 1},
		{"an expected failure and what the kind expects", check.Observation{Failure: refused}, []line{{text: "status == 2xx", whenSeen: true}, {text: "error == 'connect.refused'"}}, check.Up, "", "", 1},
		{"another failure than expected", check.Observation{Failure: check.Reason{Code: check.ConnectTimeout, Message: "no answer"}}, []line{{text: "error == 'connect.refused'"}}, check.Down, check.ConnectTimeout, "error 'connect.timeout', want 'connect.refused'", 1},
		{"no failure where one is expected", check.Observation{}, []line{{text: "error == 'connect.refused'"}}, check.Down, "expect.error", "error '', want 'connect.refused'", 1},
		{"a failure is not taken over by a preference", check.Observation{Failure: refused}, []line{{text: "error != ''", prefer: true}}, check.Down, check.ConnectRefused, "connection refused", 1},
		{"the probe explains the fact", check.Observation{Facts: check.FactsOf(map[string]any{"cert.trusted": false}), Because: map[string]check.Reason{"cert.trusted": {Code: check.TLSExpired, Message: "expired on 2 January"}}}, []line{{text: "cert.trusted"}}, check.Down, check.TLSExpired, "expired on 2 January", 1},
		{"the probe explains an absent fact", check.Observation{Because: map[string]check.Reason{"json": {Code: check.HTTPDecode, Message: "no JSON"}}}, []line{{text: "json.ok"}}, check.Down, check.HTTPDecode, "no JSON", 1},
		{"a constant that is false", check.Observation{Facts: check.FactsOf(map[string]any{"status": 200})}, []line{{text: "status == 200 && false"}}, check.Down, check.HTTPStatus, "the expression says false", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &check.Check{Expectations: expectations(t, tc.lines), FactList: factList()}
			j := c.Judge(&tc.seen)
			if j.Verdict != tc.verdict || j.Reason.Code != tc.code || j.Reason.Message != tc.message || len(j.Findings) != tc.findings {
				t.Errorf("got %s %+v with %d findings, want %s %s %q with %d",
					j.Verdict, j.Reason, len(j.Findings), tc.verdict, tc.code, tc.message, tc.findings)
			}
			again := c.Judge(&tc.seen)
			if diff := cmp.Diff(j, again); diff != "" {
				t.Errorf("judged differently the second time:\n%s", diff)
			}
		})
	}
}

func TestFindingsTellWhatWasSeen(t *testing.T) {
	c := &check.Check{Expectations: expectations(t, []line{{text: "status == 200 && json.ok"}}), FactList: factList()}
	c.Expectations[0].File, c.Expectations[0].Line = "checks.yaml", 7
	j := c.Judge(&check.Observation{Facts: check.FactsOf(map[string]any{"status": 200, "json": map[string]any{"ok": false}})})
	want := []check.Finding{{
		Expect: "status == 200 && json.ok", Got: map[string]any{"status": 200, "json.ok": false}, File: "checks.yaml", Line: 7,
	}}
	if diff := cmp.Diff(want, j.Findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestOptionErrorsFlattens(t *testing.T) {
	err := check.OptionErrorf("tls.ca", "no such file")
	if got := check.OptionErrors(err); len(got) != 1 || got[0].Option != "tls.ca" {
		t.Errorf("got %v", got)
	}
	if got := check.OptionErrors(nil); got != nil {
		t.Errorf("got %v of nil", got)
	}
}

func TestFactTypesAccept(t *testing.T) {
	for typ, v := range map[check.Type]any{
		check.Bool: true, check.Int: 1, check.Float: 1.5, check.String: "", check.Duration: time.Second, check.Time: time.Time{},
		check.Strings: []string{}, check.Map: map[string]string{}, check.Any: map[string]any{},
	} {
		for other := check.Bool; other <= check.Any; other++ {
			_, isAny := v.(map[string]any)
			basic := typ <= check.String
			want := other == typ || other == check.Any && (basic || isAny)
			if other.Accepts(v) != want {
				t.Errorf("%s accepts %T: %t, want %t", other, v, !want, want)
			}
		}
	}
}

func TestSummary(t *testing.T) {
	var s check.Summary
	for _, v := range []check.Verdict{check.Up, check.Up, check.Degraded, check.Down, check.Unknown} {
		s.Add(check.Result{Verdict: v, Flaky: v == check.Degraded})
	}
	if want := (check.Summary{Total: 5, Up: 2, Degraded: 1, Down: 1, Unknown: 1, Flaky: 1}); s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
}
