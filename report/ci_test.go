package report

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// in writes results in the named format.
func in(t *testing.T, format string, results []check.Result) string {
	t.Helper()
	return write(t, formatOf(t, format).New, options(results), results)
}

func formatOf(t *testing.T, name string) Format {
	t.Helper()
	for _, f := range Formats() {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no format %s", name)
	return Format{}
}

func failed(r check.Result) bool { return r.Verdict == check.Down || r.Verdict == check.Unknown }

// slices of results that every format must bear.
func variety() map[string][]check.Result {
	return map[string][]check.Result{"sample": sample(), "hostile": hostile(), "none": nil, "many": many(300), "parts": withParts()}
}

func TestJUnit(t *testing.T) {
	for name, results := range variety() {
		var doc struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Suites   []struct {
				Case struct {
					Failure *struct{} `xml:"failure"`
					Error   *struct{} `xml:"error"`
					Skipped *struct{} `xml:"skipped"`
					Flaky   []struct {
						Type string `xml:"type,attr"`
					} `xml:"flakyFailure"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal([]byte(in(t, "junit", results)), &doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if doc.Tests != len(results) || len(doc.Suites) != len(results) {
			t.Errorf("%s: tests=%d, %d suites, want %d", name, doc.Tests, len(doc.Suites), len(results))
		}
		failures, errors := 0, 0
		for i, r := range results {
			c := doc.Suites[i].Case
			got := fmt.Sprint(c.Failure != nil, c.Error != nil, c.Skipped != nil, len(c.Flaky) > 0)
			skipped := failed(r) && (r.Optional || r.Attempts == 0)
			down, unknown := r.Verdict == check.Down && !skipped, r.Verdict == check.Unknown && !skipped
			want := fmt.Sprint(down, unknown, skipped, r.Flaky)
			if got != want {
				t.Errorf("%s: %q: failure, error, skipped, flaky are %s, want %s", name, r.ID, got, want)
			}
			failures, errors = failures+int(truth(down)), errors+int(truth(unknown))
		}
		if doc.Failures != failures || doc.Errors != errors {
			t.Errorf("%s: %d failures and %d errors, want %d and %d", name, doc.Failures, doc.Errors, failures, errors)
		}
	}
}

// TestTAP holds that what the plan says comes, and nothing else looks like a
// test line or a directive.
func TestTAP(t *testing.T) {
	for name, results := range variety() {
		oks, notOKs, skips := 0, 0, 0
		for l := range strings.Lines(in(t, "tap", results)) {
			directive := strings.Contains(l, " # ")
			switch {
			case strings.HasPrefix(l, "ok "):
				oks++
			case strings.HasPrefix(l, "not ok "):
				notOKs++
			default:
				continue
			}
			if directive {
				skips++
			}
		}
		wantNot, wantSkip := 0, 0
		for _, r := range results {
			wantNot += int(truth(failed(r) && !r.Optional))
			wantSkip += int(truth(failed(r) && r.Optional))
		}
		got, want := []int{oks + notOKs, notOKs, skips}, []int{len(results), wantNot, wantSkip}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: tests, not ok, skipped (-want +got):\n%s", name, diff)
		}
	}
}

func TestTAPEscapesDirectives(t *testing.T) {
	text := in(t, "tap", []check.Result{{ID: `a # SKIP b \# c`, Verdict: check.Down}})
	if want := `not ok 1 - a \# SKIP b \\\# c` + "\n"; !strings.Contains(text, want) {
		t.Errorf("want %q in %q", want, text)
	}
}

func TestGitHubLimit(t *testing.T) {
	for name, results := range variety() {
		counts := make(map[string]int)
		for l := range strings.Lines(in(t, "github", results)) {
			if level, ok := strings.CutPrefix(l, "::"); ok {
				counts[level[:strings.IndexByte(level, ' ')]]++
			}
			if strings.Count(l, "::") < 2 && strings.HasPrefix(l, "::") {
				t.Errorf("%s: no message: %.200q", name, l)
			}
		}
		for level, n := range counts {
			if n > githubLimit {
				t.Errorf("%s: %d annotations of kind %s, want at most %d", name, n, level, githubLimit)
			}
		}
		if name == "many" && (counts["error"] != githubLimit || counts["warning"] != githubLimit || counts["notice"] != githubLimit) {
			t.Errorf("annotations %v, want %d of each kind", counts, githubLimit)
		}
	}
}

func TestGitHubEscapes(t *testing.T) {
	text := in(t, "github", []check.Result{{ID: "a,b:c%d::", Target: "100%0A::error::", Verdict: check.Down, File: "x,y.yaml", Line: 4}})
	want := "::error file=x%2Cy.yaml,line=4,title=a%2Cb%3Ac%25d%3A%3A is down::100%250A::error::%0Adefined at x,y.yaml:4\n"
	if !strings.HasPrefix(text, want) {
		t.Errorf("got %q, want it to begin with %q", text, want)
	}
}

func TestGitLab(t *testing.T) {
	for name, results := range variety() {
		var issues []gitlabIssue
		if err := json.Unmarshal([]byte(in(t, "gitlab", append(results, results...))), &issues); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := 0
		for _, r := range results {
			want += 2 * int(truth(r.Verdict != check.Up || r.Flaky))
		}
		seen := make(map[string]bool)
		for _, i := range issues {
			if seen[i.Fingerprint] || i.Location.Path == "" || i.Location.Lines.Begin < 1 || i.Severity == "" {
				t.Errorf("%s: bad or repeated issue %+v", name, i)
			}
			seen[i.Fingerprint] = true
		}
		if len(issues) != want {
			t.Errorf("%s: %d issues, want %d", name, len(issues), want)
		}
	}
}

// TestNagios holds the guidelines' form: a status, one bar, and no more than
// Nagios reads.
func TestNagios(t *testing.T) {
	want := map[string]string{"sample": "CRITICAL", "hostile": "CRITICAL", "none": "UNKNOWN", "many": "CRITICAL", "parts": "CRITICAL"}
	for name, results := range variety() {
		text := in(t, "nagios", results)
		first, _, _ := strings.Cut(text, "\n")
		if !strings.HasPrefix(first, "SONDE "+want[name]+" - ") || strings.Count(text, "|") != 1 || len(text) > 8192 {
			t.Errorf("%s: %d bytes, %d bars: %.300q", name, len(text), strings.Count(text, "|"), first)
		}
	}
	for _, tt := range []struct {
		results []check.Result
		want    string
	}{
		{[]check.Result{{ID: "a", Verdict: check.Up, Flaky: true}}, "WARNING"},
		{[]check.Result{{ID: "a", Verdict: check.Up}, {ID: "b", Verdict: check.Down, Optional: true}}, "OK"},
		{[]check.Result{{ID: "a", Verdict: check.Up}, {ID: "b", Verdict: check.Degraded}}, "WARNING"},
		{[]check.Result{{ID: "a"}, {ID: "b", Verdict: check.Degraded}}, "UNKNOWN"},
		{[]check.Result{{ID: "a"}, {ID: "b", Verdict: check.Down}}, "CRITICAL"},
	} {
		if text := in(t, "nagios", tt.results); !strings.HasPrefix(text, "SONDE "+tt.want+" - ") {
			t.Errorf("%v: %q, want %s", tt.results, text, tt.want)
		}
	}
}

// TestPrometheus holds the text format's rules: families together with HELP
// and TYPE before them, no series twice, values that are numbers.
func TestPrometheus(t *testing.T) {
	for name, results := range variety() {
		series, families, current := make(map[string]bool), make(map[string]bool), ""
		for l := range strings.Lines(in(t, "prometheus", append(results, results...))) {
			l = strings.TrimSuffix(l, "\n")
			if help, ok := strings.CutPrefix(l, "# HELP "); ok {
				current, _, _ = strings.Cut(help, " ")
				if families[current] {
					t.Errorf("%s: family %s comes twice", name, current)
				}
				families[current] = true
				continue
			}
			if l == "# TYPE "+current+" gauge" {
				continue
			}
			i := strings.LastIndexByte(l, ' ')
			if !strings.HasPrefix(l, current) || series[l[:i]] {
				t.Errorf("%s: out of place or twice: %.200q", name, l)
			}
			series[l[:i]] = true
			if _, err := strconv.ParseFloat(l[i+1:], 64); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(results) > 0 && !families["probe_success"] {
			t.Errorf("%s: no probe_success among %v", name, families)
		}
	}
}

// TestPrometheusIDs holds that ids which masking or cleaning makes equal, or that
// look like a numbered one, do not make a series come twice.
func TestPrometheusIDs(t *testing.T) {
	seen := make(map[string]bool)
	for l := range strings.Lines(in(t, "prometheus", []check.Result{{ID: "a\n"}, {ID: `a\n`}, {ID: "b"}, {ID: "b #2"}, {ID: "b"}, {ID: "b"}})) {
		if seen[l] {
			t.Errorf("twice: %s", l)
		}
		seen[l] = true
	}
}

// TestPrometheusUnknown holds that what could not be measured does not look
// like a target that failed.
func TestPrometheusUnknown(t *testing.T) {
	text := in(t, "prometheus", []check.Result{{ID: "a"}})
	if strings.Contains(text, "probe_success") || !strings.Contains(text, `verdict="unknown"} 1`) {
		t.Errorf("got:\n%s", text)
	}
}

func TestMarkdown(t *testing.T) {
	big := many(10_000)
	for i := range big {
		big[i].Verdict, big[i].Flaky = check.Verdict(i%4), false
	}
	all := variety()
	all["big"] = big
	for name, results := range all {
		text := in(t, "markdown", results)
		if len(text) > 1<<20 {
			t.Errorf("%s: %d bytes, want less than 1 MiB", name, len(text))
		}
		if opened, closed := strings.Count(text, "<details>"), strings.Count(text, "</details>"); opened != closed {
			t.Errorf("%s: %d details opened, %d closed", name, opened, closed)
		}
		for l := range strings.Lines(text) {
			if strings.HasPrefix(l, "| ") && strings.Count(l, "|") != 8 {
				t.Errorf("%s: a row of %d bars: %.300q", name, strings.Count(l, "|"), l)
			}
			if strings.Contains(l, "<script") && !strings.HasPrefix(l, "    ") {
				t.Errorf("%s: raw HTML: %.300q", name, l)
			}
		}
	}
}

// TestFormatsHaveDocs holds that each format has a name of its own and says
// what it is for.
func TestFormatsHaveDocs(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range Formats() {
		if f.Name == "" || f.Doc == "" || seen[f.Name] || f.New(io.Discard, Options{}) == nil {
			t.Errorf("format %+v", f)
		}
		seen[f.Name] = true
	}
}
