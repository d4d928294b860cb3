package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// withParts are results that went to several addresses: one that is down, with
// hostile words, and one that is up.
func withParts() []check.Result {
	down := sample()[0]
	down.Parts = []check.Part{{
		Name: "192.0.2.10", Verdict: check.Up, Latency: 12 * time.Millisecond, Phases: down.Phases, Facts: down.Facts, Findings: down.Findings,
	}, {
		Name: "192.0.2.11", Verdict: check.Down, Latency: 5 * time.Second, Facts: down.Facts,
		Reason: check.Reason{Code: check.ConnectTimeout, Message: "no answer " + nasty},
	}}
	up := sample()[1]
	up.ID = "everywhere"
	for i := range 64 {
		up.Parts = append(up.Parts, check.Part{Name: fmt.Sprintf("2001:db8::%x", i+1), Verdict: check.Up, Latency: time.Millisecond})
	}
	return []check.Result{down, up}
}

// TestPartsAreTold finds the part that failed, its reason and its latency in each
// format, where it can have them.
func TestPartsAreTold(t *testing.T) {
	results := withParts()
	for format, want := range map[string][]string{
		"table":      {"\n  192.0.2.11  down      5s  connect.timeout: no answer", "\n  2001:db8::1   up        1ms\n", "and 48 more"},
		"json":       {`"name":"192.0.2.11","verdict":"down","reason":{"code":"connect.timeout"`, `"name":"2001:db8::40"`},
		"ndjson":     {`"name":"192.0.2.11","verdict":"down","reason":{"code":"connect.timeout"`, `"name":"2001:db8::40"`},
		"junit":      {"\n192.0.2.11  down      5s  connect.timeout: no answer", `name="part.192.0.2.11" value="down      5s  connect.timeout: no answer`, `name="part.2001:db8::40" value="up        1ms"`},
		"tap":        {"    - name: \"192.0.2.11\"\n      verdict: \"down\"\n      code: \"connect.timeout\"\n      message: \"no answer"},
		"github":     {"%0A192.0.2.11  down      5s  connect.timeout: no answer"},
		"markdown":   {"\n    192.0.2.11  down      5s  connect.timeout: no answer"},
		"html":       {"<bdi>192.0.2.11</bdi></th><td class=\"number\">5s</td><td><code class=\"code\">connect.timeout</code> no answer", "<bdi>2001:db8::40</bdi>"},
		"prometheus": {`label_team="shop",verdict="down"} 1` + "\n", `target="https://example.com/",verdict="up"} 64` + "\n"},
	} {
		text := in(t, format, results)
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s lacks %q:\n%.3000s", format, w, text)
			}
		}
	}
	var card strings.Builder
	sink := Card(&card, options(results))
	for _, r := range results {
		if err := sink.Put(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []string{"\n  192.0.2.11 down 5s connect.timeout", "\n  2001:db8::1   up        1ms\n"} {
		if !strings.Contains(card.String(), w) {
			t.Errorf("a card lacks %q:\n%s", w, card.String())
		}
	}
}
