package report

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// element is an element of a page with the text in it.
type element struct {
	name string
	attr map[string]string
	text string
}

// elements reads a page as XML, which it is as well, and returns the elements
// in the order in which they begin. The text is that of the elements within,
// too.
func elements(t *testing.T, page string) []element {
	t.Helper()
	var all []element
	var texts []*strings.Builder
	var open []int
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attr: make(map[string]string)}
			for _, a := range token.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			open = append(open, len(all))
			all, texts = append(all, e), append(texts, &strings.Builder{})
		case xml.CharData:
			for _, i := range open {
				texts[i].Write(token)
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
	for i := range all {
		all[i].text = texts[i].String()
	}
	return all
}

// count returns how many elements there are of a name.
func count(all []element, name string) int {
	n := 0
	for _, e := range all {
		n += int(truth(e.name == name))
	}
	return n
}

// withSamples is the sample with what was observed several times: few, so that
// each has a mark, and many.
func withSamples() []check.Result {
	results := sample()
	for _, tt := range []struct {
		result, points, middle int
	}{{0, 30, 31}, {1, 400, 41}} {
		s := &check.Sample{Planned: tt.points + 10, Early: true}
		for i := range tt.points {
			p := check.Point{Verdict: check.Up, Latency: time.Duration((float64(tt.middle) + 9*math.Sin(float64(i*i))) * 1e6)}
			switch i % 13 {
			case 5:
				p.Verdict, p.Reason = check.Down, check.Reason{Code: check.HTTPStatus, Message: "status 502, want 200"}
			case 11:
				p.Verdict, p.Failed, p.Latency = check.Down, true, time.Second
				p.Reason = check.Reason{Code: check.ConnectTimeout, Message: "no answer within 1s"}
			case 12:
				p.Verdict, p.Reason = check.Unknown, check.Reason{Code: check.LocalFD, Message: "out of descriptors"}
			}
			s.Points = append(s.Points, p)
		}
		results[tt.result].Sample = s
	}
	return results
}

func TestHTMLSamples(t *testing.T) {
	golden(t, "html-samples.golden", in(t, "html", withSamples()))
}

// TestHTML holds that a page is well-formed, tells all results, and needs and
// allows nothing but its own style.
func TestHTML(t *testing.T) {
	all := variety()
	all["samples"] = withSamples()
	for name, results := range all {
		page := elements(t, in(t, "html", results))
		if got := count(page, "details"); got != len(results) {
			t.Errorf("%s: %d details, want %d", name, got, len(results))
		}
		rows := 0
		var policy, style string
		ids := make(map[string]bool)
		var links []string
		for _, e := range page {
			rows += int(truth(e.name == "tr" && slices.Contains(htmlClasses(), e.attr["class"]))) // parts have rows, too
			if e.attr["http-equiv"] == "Content-Security-Policy" {
				policy = e.attr["content"]
			}
			if e.name == "style" {
				style = e.text
			}
			ids[e.attr["id"]] = true
			if href, ok := e.attr["href"]; ok {
				links = append(links, href)
			}
			_, source := e.attr["src"]
			_, inline := e.attr["style"]
			if source || inline || slices.Contains([]string{"script", "link", "img", "iframe", "object", "form", "base"}, e.name) {
				t.Errorf("%s: %s %v", name, e.name, e.attr)
			}
		}
		for _, r := range results {
			rows -= len(r.Parts)
		}
		if rows != len(results) {
			t.Errorf("%s: %d rows, want %d", name, rows, len(results))
		}
		hash := sha256.Sum256([]byte(style))
		want := "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
		if policy != want {
			t.Errorf("%s: policy %q, want %q", name, policy, want)
		}
		for _, l := range links {
			if id, ok := strings.CutPrefix(l, "#"); !ok || !ids[id] {
				t.Errorf("%s: a link to %q, which is not on the page", name, l)
			}
		}
	}
}

// TestHTMLBounds holds that a page of many results stays small, keeps what is
// not up, and says what it leaves out.
func TestHTMLBounds(t *testing.T) {
	results := many(5_000)
	for i := range results {
		down := i%10 == 0
		results[i] = sample()[int(truth(!down))]
		results[i].ID = fmt.Sprintf("check %d", i)
		results[i].Facts = sample()[0].Facts
	}
	text := in(t, "html", results)
	if len(text) > 2*htmlLimit+50_000 {
		t.Errorf("%d bytes", len(text))
	}
	page := elements(t, text)
	details, open, notes := 0, 0, ""
	for _, e := range page {
		details += int(truth(e.name == "details"))
		open += int(truth(e.attr["open"] != ""))
		if e.attr["class"] == "note" {
			notes += e.text
		}
	}
	if details <= 500 || details >= 5_000 || open != htmlOpen {
		t.Errorf("%d details, %d open, want more than the 500 of what is down and fewer than all, %d open", details, open, htmlOpen)
	}
	if want := fmt.Sprintf("Details of %d checks more are left out", 5_000-details); !strings.Contains(notes, want) {
		t.Errorf("want %q in %q", want, notes)
	}
	for i := range results {
		results[i] = check.Result{ID: strings.Repeat("<&", 125), Target: strings.Repeat("<&", 125)}
	}
	text = in(t, "html", results)
	if len(text) > 2*htmlLimit+50_000 || !strings.Contains(text, "checks more are left out, to keep this page small") {
		t.Errorf("hostile: %d bytes, want the rows bounded and told", len(text))
	}
}

func TestHTMLHeading(t *testing.T) {
	up, down, optional := check.Result{Verdict: check.Up}, check.Result{Verdict: check.Down}, check.Result{Verdict: check.Down, Optional: true}
	flaky, degraded := check.Result{Verdict: check.Up, Flaky: true}, check.Result{Verdict: check.Degraded}
	for _, tt := range []struct {
		results []check.Result
		want    string
	}{
		{nil, "? No checks ran"},
		{[]check.Result{up}, "✓ The check is up"},
		{[]check.Result{up, up}, "✓ All 2 checks are up"},
		{[]check.Result{up, down, degraded}, "✗ 1 of 3 checks is down"},
		{[]check.Result{down, optional, up}, "✗ 2 of 3 checks are down"},
		{[]check.Result{optional, up}, "✗ 1 of 2 checks is down, but optional"},
		{[]check.Result{down}, "✗ The check is down"},
		{[]check.Result{degraded, up}, "! 1 of 2 checks is degraded"},
		{[]check.Result{{}, degraded}, "? 1 of 2 checks is unknown"},
		{[]check.Result{flaky, up}, "~ All is up, but 1 of 2 checks is flaky"},
		{[]check.Result{flaky}, "~ The check is up, but flaky"},
		{[]check.Result{flaky, flaky}, "~ All 2 checks are up, but flaky"},
	} {
		for _, e := range elements(t, in(t, "html", tt.results)) {
			if got := strings.TrimSuffix(e.text, " – sonde"); e.name == "title" && got != tt.want && strings.HasSuffix(e.text, "sonde") {
				t.Errorf("%q, want %q", got, tt.want)
			}
		}
	}
}

// TestHTMLOrder holds that the worst comes first, else the file's order.
func TestHTMLOrder(t *testing.T) {
	var got []string
	for _, e := range elements(t, in(t, "html", sample())) {
		if e.name == "h3" {
			got = append(got, e.text)
		}
	}
	want := []string{"Verdicts", "Latency of all checks", "orders[eu.example.com]", "blog", "motd", "gateway", "odd", "last", "mx", "cache", "db", "web"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headings (-want +got):\n%s", diff)
	}
}

// TestLogAxis holds that a distribution's scale has a few labels at round
// durations, whatever the latencies are.
func TestLogAxis(t *testing.T) {
	ms := time.Millisecond
	for _, tt := range []struct {
		least, most time.Duration
		want        string
	}{
		{30 * ms, 30 * ms, "28ms 30ms 32ms"},
		{30 * ms, 60 * ms, "30ms 40ms 50ms 60ms"},
		{20 * ms, 1000 * ms, "20ms 50ms 100ms 200ms 500ms 1s"},
		{1 * ms, 5000 * ms, "1ms 10ms 100ms 1s"},
		{-5, math.MaxInt64, "1µs 10ms 100s 11.6d"},
	} {
		var got []string
		for _, m := range newLogAxis(tt.least, tt.most).ticks() {
			got = append(got, m.Label)
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s to %s (-want +got):\n%s", tt.least, tt.most, diff)
		}
	}
}

// TestDistribution holds that a plot shows each observation that was made
// once, and that percentiles are only of those that were answered.
func TestDistribution(t *testing.T) {
	for i, want := range []string{
		"28 latencies from 22ms to 1s, p50 27.4ms, p95 39.4ms, 4 failed",
		"370 latencies from 32ms to 1s, p50 41.6ms, p95 49.9ms, 61 failed",
	} {
		p := distribution(withSamples()[i].Sample)
		if p.Label != want {
			t.Errorf("%q, want %q", p.Label, want)
		}
		if dots, bars := i == 0, i == 1; (len(p.Dots) == 28) != dots || (len(p.Bars) > 0) != bars {
			t.Errorf("%d: %d dots, %d bars", i, len(p.Dots), len(p.Bars))
		}
	}
	if p := distribution(&check.Sample{Points: []check.Point{{Verdict: check.Up, Latency: 1}, {Latency: 5}}}); p != nil {
		t.Errorf("a plot of one latency: %+v", p)
	}
}
