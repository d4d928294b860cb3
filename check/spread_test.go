package check_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/expect"
)

// deaf is a probe that is never asked.
type deaf struct{}

func (deaf) Observe(context.Context) check.Observation { panic("asked") }

// spreadOf makes the results of parts of one letter each: u up, g degraded, d
// down, a down with the code absent, o could not be made. The latency of the
// n-th is n ms.
func spreadOf(c *check.Check, letters string, names []string, need int, whole check.Probe) (*check.Spread, []check.Result) {
	s := &check.Spread{Need: need, Whole: whole, Absent: check.DNSNoData, Found: check.Observation{Latency: time.Millisecond}}
	s.Found.Phases.Add(check.PhaseResolve, time.Millisecond)
	s.Found.Set("addresses.found", len(letters))
	parts := make([]check.Result, len(letters))
	for i := range letters {
		s.Parts = append(s.Parts, check.SpreadPart{Name: names[i], Probe: deaf{}})
	}
	for i, letter := range letters {
		o := check.Observation{Latency: time.Duration(i+1) * time.Millisecond}
		o.Set("status", 200)
		switch letter {
		case 'g':
			o.Set("status", 299)
		case 'd':
			o.Failure = check.Reason{Code: check.ConnectRefused, Message: names[i] + " refused\nhint: look there"}
		case 'a':
			o.Failure = check.Reason{Code: check.DNSNoData, Message: "none"}
		case 'o':
			o.Failure = check.Reason{Code: check.LocalRoute, Message: "no route"}
		}
		parts[i] = c.PartResult(s, o)
	}
	return s, parts
}

func spreadCheck(t *testing.T, more ...string) *check.Check {
	t.Helper()
	c := &check.Check{ID: "a", Name: "a"}
	c.FactList = append(factList(),
		check.Fact{Name: "addresses.found", Type: check.Int}, check.Fact{Name: "v4.up", Type: check.Bool}, check.Fact{Name: "v6.up", Type: check.Bool},
		check.Fact{Name: "v6.latency", Type: check.Duration})
	lines := []line{{text: "status < 299", prefer: true}, {text: "addresses.found > 0", whenSeen: true}}
	for _, text := range more {
		lines = append(lines, line{text: text})
	}
	for _, l := range lines {
		test, err := expect.Compile(l.text, c.FactList)
		if err != nil {
			t.Fatal(err)
		}
		e := check.Expectation{Text: l.text, Test: test, WhenSeen: l.whenSeen}
		if l.prefer {
			e.Level = check.Prefer
		}
		c.Expectations = append(c.Expectations, e)
	}
	return c
}

func TestSpreadNeeds(t *testing.T) {
	names := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}
	for _, tc := range []struct {
		parts   string
		need    int
		verdict check.Verdict
		code    check.Code
		message string
		latency time.Duration // of the parts; one millisecond is for finding them
	}{
		{"uuu", 3, check.Up, "", "", 3},
		{"udu", 1, check.Up, "", "", 1},
		{"udu", 2, check.Up, "", "", 3},
		{"duo", 1, check.Up, "", "", 2},
		{"udu", 3, check.Down, check.ConnectRefused, "2 of 3 passed, 3 needed; 192.0.2.2: 192.0.2.2 refused\nhint: look there", 3},
		{"ddd", 1, check.Down, check.ConnectRefused, "0 of 3 passed, 1 needed; 192.0.2.1: 192.0.2.1 refused; also 192.0.2.2: connect.refused, 192.0.2.3: connect.refused\nhint: look there", 3},
		{"ugu", 3, check.Degraded, check.HTTPStatus, "2 of 3 met every preference, 3 needed; 192.0.2.2: status 299, want < 299", 3},
		{"ugu", 2, check.Up, "", "", 2},
		{"uou", 3, check.Unknown, check.LocalRoute, "2 of 3 passed for sure, 3 needed; 192.0.2.2: no route", 3},
		{"udo", 2, check.Unknown, check.LocalRoute, "1 of 3 passed for sure, 2 needed; 192.0.2.3: no route", 3},
		{"udo", 3, check.Down, check.ConnectRefused, "1 of 3 passed, 3 needed; 192.0.2.2: 192.0.2.2 refused\nhint: look there", 3},
		{"uuu", 4, check.Down, "expect.addresses.found", "3 of 3 passed, 4 needed", 0},
	} {
		c := spreadCheck(t)
		s, parts := spreadOf(c, tc.parts, names, tc.need, nil)
		r := c.SpreadResult(s, parts, nil)
		got := check.Reason{Code: tc.code, Message: tc.message}
		if r.Verdict != tc.verdict || r.Reason != got || r.Latency != (tc.latency+1)*time.Millisecond {
			t.Errorf("%s, %d needed: %s %v %v", tc.parts, tc.need, r.Verdict, r.Reason, r.Latency)
		}
		if len(r.Parts) != 3 || r.Parts[1].Name != names[1] || r.Parts[1].Latency != 3*time.Millisecond || r.Parts[1].Facts.Get("addresses.found") != 3 {
			t.Errorf("%s: parts %+v", tc.parts, r.Parts)
		}
		if d, ok := r.Parts[0].Phases.Get(check.PhaseResolve); !ok || d != time.Millisecond {
			t.Errorf("%s: a part without what finding it took: %v", tc.parts, r.Parts[0].Phases)
		}
	}
}

func TestSpreadWhole(t *testing.T) {
	names := []string{"v4", "v6"}
	for _, tc := range []struct {
		parts, whole string
		more         []string
		verdict      check.Verdict
		code         check.Code
		message      string
	}{
		{"uu", "u", nil, check.Up, "", ""},
		{"ud", "u", nil, check.Degraded, check.ConnectRefused, "v6: v6 refused\nhint: look there"},
		{"du", "u", nil, check.Degraded, check.ConnectRefused, "v4: v4 refused\nhint: look there"},
		{"od", "u", nil, check.Degraded, check.ConnectRefused, "v6: v6 refused\nhint: look there"},
		{"ua", "u", nil, check.Up, "", ""}, // there is no IPv6 at all
		{"uo", "u", nil, check.Unknown, check.LocalRoute, "v6: no route"},
		{"dd", "d", nil, check.Down, check.ConnectRefused, "whole refused"},
		{"uu", "o", nil, check.Unknown, check.LocalRoute, "no route"},
		{"ug", "u", nil, check.Degraded, check.HTTPStatus, "v6: status 299, want < 299"},
		{"uu", "u", []string{"v6.up", "v6.latency < 1s"}, check.Up, "", ""},
		{"ud", "u", []string{"v6.up"}, check.Down, check.ConnectRefused, "v6: v6 refused\nhint: look there"},
		{"ua", "u", []string{"v6.up"}, check.Down, check.DNSNoData, "v6: none"},
		{"uo", "u", []string{"v6.up"}, check.Unknown, check.LocalRoute, "v6: no route"},
	} {
		c := spreadCheck(t, tc.more...)
		s, parts := spreadOf(c, tc.parts, names, 0, deaf{})
		whole := check.Observation{Latency: 5 * time.Millisecond}
		whole.Set("status", 200)
		switch tc.whole {
		case "d":
			whole.Failure = check.Reason{Code: check.ConnectRefused, Message: "whole refused"}
		case "o":
			whole.Failure = check.Reason{Code: check.LocalRoute, Message: "no route"}
		}
		r := c.SpreadResult(s, parts, &whole)
		if r.Verdict != tc.verdict || r.Reason != (check.Reason{Code: tc.code, Message: tc.message}) || r.Latency != 5*time.Millisecond {
			t.Errorf("%s in %s, %v: %s %q %v", tc.parts, tc.whole, tc.more, r.Verdict, r.Reason, r.Latency)
		}
		if want := tc.parts[0] == 'u'; want && r.Facts.Get("v4.up") != true {
			t.Errorf("%s: facts %v", tc.parts, r.Facts)
		}
	}
}

// TestSpreadBounded names few of many parts, and a secret in none.
func TestSpreadBounded(t *testing.T) {
	c := spreadCheck(t)
	c.Mask = check.NewMask("s3cret-name")
	names := make([]string, 64)
	for i := range names {
		names[i] = "s3cret-name"
	}
	s, parts := spreadOf(c, strings.Repeat("d", 64), names, 64, nil)
	r := c.SpreadResult(s, parts, nil)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "s3cret") || !strings.Contains(r.Reason.Message, "and 55 more") {
		t.Errorf("%s", r.Reason.Message)
	}
	clone := r.Clone()
	clone.Parts[0].Facts.Set("status", 1)
	if r.Parts[0].Facts.Get("status") != 200 {
		t.Error("a clone shares its parts' facts")
	}
	var wire struct {
		Parts []struct {
			Name, Verdict string
			Latency       float64 `json:"latency_seconds"`
			Reason        check.Reason
			Facts         struct{ Addresses struct{ Found int } }
		}
	}
	if err := json.Unmarshal(text, &wire); err != nil || len(wire.Parts) != 64 {
		t.Fatal(err, len(wire.Parts))
	}
	first := wire.Parts[0]
	if diff := cmp.Diff([]any{"down", 0.002, check.ConnectRefused, 64}, []any{first.Verdict, first.Latency, first.Reason.Code, first.Facts.Addresses.Found}); diff != "" {
		t.Error(diff)
	}
}
