package report

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

var update = flag.Bool("update", false, "write the golden files")

var began = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// options returns what every golden file is made with: a run of 1.2 seconds.
func options(results []check.Result) Options {
	o := Options{
		Started:  began,
		Now:      func() time.Time { return began.Add(1200 * time.Millisecond) },
		ExitCode: func(s check.Summary) int { return min(1, s.Down) },
		Flaky:    check.Degraded,
	}
	for _, r := range results {
		o.Checks = append(o.Checks, &check.Check{ID: r.ID, Name: r.Name, Kind: r.Kind, FactList: []check.Fact{{Name: "status", Doc: "status code of the final response"}}})
	}
	return o
}

// sample returns one result of each sort, in file order.
func sample() []check.Result {
	ms := func(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
	orders := check.Result{
		ID: "orders[eu.example.com]", Name: "orders", Kind: "http", Target: "https://eu.example.com/health",
		Verdict: check.Down, Reason: check.Reason{Code: check.HTTPStatus, Message: "status 503, want 200"},
		Findings: []check.Finding{
			{Expect: "status == 200", Level: check.Expect, Got: map[string]any{"status": 503}, File: "checks.yaml", Line: 9},
			{Expect: "latency < 800ms", Level: check.Expect, OK: true, Got: map[string]any{"latency": ms(31.2)}, File: "checks.yaml", Line: 10},
		},
		Latency: ms(31.2), Queued: ms(0.1), Attempts: 2,
		Failed: []check.Attempt{{Reason: check.Reason{Code: check.ConnectRefused, Message: "connection refused by 203.0.113.7:443"}, Latency: ms(1.3)}},
		Phases: check.Phases{{Name: "resolve", Duration: ms(2)}, {Name: "connect", Duration: ms(11)},
			{Name: "tls", Duration: ms(14)}, {Name: "send", Duration: ms(0.05)}, {Name: "wait", Duration: ms(3)}, {Name: "transfer", Duration: ms(1)}},
		Facts: check.FactsOf(map[string]any{
			"status": 503, "ip": "203.0.113.7", "proto": "HTTP/2.0", "cert.expires_in": 41 * 24 * time.Hour, "cert.trusted": true,
			"cert.names": []string{"eu.example.com", "us.example.com"}, "headers": map[string]string{"server": "nginx", "retry-after": "120"},
			"cert.not_after": time.Date(2026, 4, 14, 0, 0, 0, 0, time.UTC), "cert.chain_expires_in": 41 * 24 * time.Hour,
		}),
		Tags: []string{"api"}, Labels: map[string]string{"team": "shop"}, File: "checks.yaml", Line: 6,
		Reproduce: "curl --resolve eu.example.com:443:203.0.113.7 -sv https://eu.example.com/health",
	}
	results := []check.Result{
		orders,
		{ID: "web", Name: "web", Kind: "http", Target: "https://example.com/", Verdict: check.Up, Latency: ms(41),
			Phases: check.Phases{{Name: "connect", Duration: ms(20)}, {Name: "wait", Duration: ms(21)}}, Attempts: 1,
			Facts: check.FactsOf(map[string]any{"status": 200}), File: "checks.yaml", Line: 12,
			Findings: []check.Finding{{Expect: "status in 200..299", OK: true, Got: map[string]any{"status": 200}}}},
		{ID: "db", Name: "db", Kind: "tcp", Target: "db.example.com:5432", Verdict: check.Up, Latency: ms(1.5), Attempts: 2, Flaky: true,
			Failed: []check.Attempt{{Reason: check.Reason{Code: check.ConnectTimeout, Message: "no answer from 192.0.2.9:5432 within 5s"}, Latency: 5 * time.Second}}, File: "checks.yaml", Line: 15},
		{ID: "mx", Name: "mx", Kind: "dns", Target: "example.com MX @1.1.1.1", Verdict: check.Degraded, Latency: ms(340), Attempts: 1,
			Reason: check.Reason{Code: "expect.latency", Message: "latency 340ms, want < 300ms"}, File: "checks.yaml", Line: 19,
			Facts:     check.FactsOf(map[string]any{"rcode": "NOERROR", "answer_count": 2, "answers": []string{"10 mx1.example.com.", "20 mx2.example.com."}}),
			Findings:  []check.Finding{{Expect: "latency < 300ms", Level: check.Prefer, Got: map[string]any{"latency": ms(340)}, File: "checks.yaml", Line: 21}},
			Reproduce: "dig @1.1.1.1 example.com MX"},
		{ID: "gateway", Name: "gateway", Kind: "icmp", Target: "192.0.2.1", Verdict: check.Unknown, Attempts: 1, File: "more/net.yaml", Line: 3,
			Reason: check.Reason{Code: check.LocalPermission, Message: "no permission to open an ICMP socket"}},
		{ID: "blog", Name: "blog", Kind: "http", Target: "https://blog.example.com/", Verdict: check.Down, Optional: true, Latency: 5 * time.Second, Attempts: 1,
			Reason: check.Reason{Code: check.ConnectTimeout, Message: "no answer from 198.51.100.4:443 within 5s"}, File: "checks.yaml", Line: 25},
		{ID: "cache", Name: "cache", Kind: "tcp", Target: "cache.example.com:6379", Verdict: check.Degraded, Latency: ms(410), Attempts: 3, Flaky: true,
			Reason: check.Reason{Code: "expect.latency", Message: "latency 410ms, want < 100ms"}, File: "more/net.yaml", Line: 9, Labels: map[string]string{"team": "shop", "tier-1": "yes"},
			Failed: []check.Attempt{{Reason: check.Reason{Code: check.ConnectReset, Message: "reset by 192.0.2.11:6379"}, Latency: ms(2)},
				{Reason: check.Reason{Code: check.LocalFD, Message: "too many open files\nhint: raise it with ulimit -n"}}},
			Findings: []check.Finding{{Expect: "latency < 100ms", Level: check.Prefer, Got: map[string]any{"latency": ms(410)}, File: "more/net.yaml", Line: 11}}},
		{ID: "motd", Name: "motd", Kind: "tcp", Target: "motd.example.com:7", Verdict: check.Down, Latency: ms(3), Attempts: 1, File: "more/net.yaml", Line: 14,
			Reason:   check.Reason{Code: "expect.banner", Message: "banner \"one\ntwo | 100% ]]>\", want it to contain 'three'"},
			Findings: []check.Finding{{Expect: "banner contains 'three'", Got: map[string]any{"banner": "one\ntwo | 100% ]]>"}, File: "more/net.yaml", Line: 16}}},
		{ID: "odd", Name: "odd", Kind: "dns", Target: "odd.example.com A", Verdict: check.Unknown, Attempts: 1, File: "more/net.yaml", Line: 20,
			Reason: check.Reason{Code: check.LocalPanic, Message: "sonde has a defect, please report it: panic: index out of range"}},
		{ID: "last", Name: "last", Kind: "http", Target: "https://example.com/" + strings.Repeat("long/", 60), Verdict: check.Unknown, File: "more/net.yaml", Line: 24,
			Reason: check.Reason{Code: check.LocalShutdown, Message: "did not begin: interrupted"}},
	}
	for i := range results {
		results[i].Started = began.Add(time.Duration(i) * 10 * time.Millisecond)
	}
	return results
}

// nasty is text that a hostile target could send.
const nasty = "\x1b[2J\x1b]0;owned\x07 a\nb\rc\td\x00 \u202edcba\u2066 \xff\xfe \u009b31m \u2028 ]]> %0A::error:: <script>& | ` 日本 👩‍👩‍👧 \U000e0041\u200b --> '\"\\"

// hostile returns a result with nasty text wherever a target or a file has a
// say, and much of it.
func hostile() []check.Result {
	long := strings.Repeat("é\x1b[31m", 2_000)
	r := sample()[0]
	r.ID, r.Name, r.Target, r.Kind = "id "+nasty, "name "+nasty, "target "+nasty, "http"
	r.Reason.Message = nasty + strings.Repeat("é\x1b[31m", 1<<20/6)
	r.Failed = []check.Attempt{{Reason: check.Reason{Code: check.HTTPMalformed, Message: nasty + long}}}
	r.Findings = []check.Finding{
		{Expect: nasty, Got: map[string]any{nasty: nasty + long, "nan": math.NaN()}, File: nasty, Line: 3},
		{Expect: nasty, OK: true, Got: map[string]any{nasty: nasty}},
	}
	r.Facts = check.FactsOf(map[string]any{
		"s": nasty + long, nasty: nasty, "list": []string{nasty, long}, "map": map[string]string{nasty: nasty},
		"nan": math.NaN(), "inf": math.Inf(1), "json": map[string]any{nasty: []any{nasty}}, "nil": nil,
	})
	r.Phases = append(r.Phases, check.Phase{Name: nasty, Duration: -time.Second}, check.Phase{Name: "wait", Duration: math.MaxInt64 / 4})
	r.Tags, r.Labels, r.File, r.Reproduce = []string{nasty}, map[string]string{nasty: nasty}, nasty, "curl "+nasty
	flaky := r.Clone()
	flaky.Failed[0].Message = nasty + long
	flaky.ID, flaky.Verdict, flaky.Flaky, flaky.Reason, flaky.Optional = "flaky "+nasty, check.Up, true, check.Reason{}, true
	unknown := r.Clone()
	unknown.Reason.Message = long
	unknown.ID, unknown.Verdict = "unknown "+nasty, check.Unknown
	return []check.Result{r, flaky, unknown}
}

// write puts results into a format and returns what was written.
func write(t *testing.T, open func(io.Writer, Options) check.Sink, o Options, results []check.Result) string {
	t.Helper()
	var b bytes.Buffer
	sink := open(&b, o)
	for _, r := range results {
		if err := sink.Put(r); err != nil {
			t.Fatalf("Put: %v", err)
		}
	}
	if err := sink.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got), -update accepts it:\n%s", path, diff)
	}
}

// everySink returns all that writes results, the card included.
func everySink() []Format {
	return append(Formats(),
		Format{Name: "card", New: Card},
		Format{Name: "card-verbose", New: func(w io.Writer, o Options) check.Sink {
			o.Verbose = true
			return Card(w, o)
		}})
}

func TestGolden(t *testing.T) {
	results := sample()
	// The first check ends last: order is the report's job.
	arrival := append(append([]check.Result{}, results[1:]...), results[0])
	for _, f := range everySink() {
		t.Run(f.Name, func(t *testing.T) {
			golden(t, f.Name+".golden", write(t, f.New, options(results), arrival))
		})
	}
	for _, tt := range []struct {
		name  string
		width int
		color bool
	}{{"80", 80, false}, {"40", 40, false}, {"color", 100, true}} {
		o := options(results)
		o.Width, o.Color = tt.width, tt.color
		t.Run("table-"+tt.name, func(t *testing.T) { golden(t, "table-"+tt.name+".golden", write(t, Formats()[0].New, o, arrival)) })
		t.Run("card-"+tt.name, func(t *testing.T) { golden(t, "card-"+tt.name+".golden", write(t, Card, o, arrival)) })
	}
}

// TestHostile holds that nothing of a target reaches a terminal raw, that a
// line is a line, that output is bounded, and that a terminal's lines fit.
func TestHostile(t *testing.T) {
	results := hostile()
	for _, f := range everySink() {
		t.Run(f.Name, func(t *testing.T) {
			widths := []int{0}
			if isTerminalFormat(f.Name) {
				widths = []int{0, 1, 40, 80}
			}
			for _, w := range widths {
				o := options(results)
				o.Width = w
				text := write(t, f.New, o, results)
				if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unsafe(r) }); i >= 0 {
					t.Errorf("raw character %q at width %d: %q", text[i], w, text[max(0, i-20):min(len(text), i+20)])
				}
				if !utf8.ValidString(text) {
					t.Errorf("width %d: not UTF-8", w)
				}
				if w >= 40 {
					checkWidths(t, text, w)
				}
				if !strings.Contains(f.Name, "json") && len(text) > 1_000_000 {
					t.Errorf("width %d: %d bytes", w, len(text))
				}
			}
		})
	}
}

func isTerminalFormat(name string) bool { return name == "table" || strings.HasPrefix(name, "card") }

// checkWidths holds that every line fits, but for the command to copy.
func checkWidths(t *testing.T, text string, w int) {
	t.Helper()
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if width(l) > w && !strings.Contains(l, "reproduce: ") {
			t.Errorf("line of %d columns, want at most %d: %.200q", width(l), w, l)
		}
	}
}

// TestColorOnlyAdds holds that a report with colour reads the same without it.
func TestColorOnlyAdds(t *testing.T) {
	for _, f := range everySink() {
		o := options(sample())
		o.Width = 80
		plain := write(t, f.New, o, sample())
		o.Color = true
		colored := write(t, f.New, o, sample())
		if diff := cmp.Diff(plain, stripSGR(colored)); diff != "" {
			t.Errorf("%s: colour changes the text (-without +with):\n%s", f.Name, diff)
		}
		if isTerminalFormat(f.Name) == (plain == colored) {
			t.Errorf("%s: coloured %v", f.Name, plain != colored)
		}
	}
}

// stripSGR removes colour sequences, written without the code under test.
func stripSGR(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, s, _ = strings.Cut(after, "m")
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestWriteErrors(t *testing.T) {
	for _, f := range everySink() {
		s := f.New(brokenPipe{}, Options{})
		err := errors.Join(s.Put(sample()[0]), s.Close())
		if !errors.Is(err, syscall.EPIPE) || !strings.Contains(err.Error(), "write the ") {
			t.Errorf("%s: error %v, want a wrapped EPIPE", f.Name, err)
		}
	}
}

// TestNothing holds that each format has a well-formed document of no results.
func TestNothing(t *testing.T) {
	want := map[string]string{
		"table": "no checks ran\n", "quiet": "", "ndjson": "", "card": "", "card-verbose": "",
		"json": `{"schema":1,"started":"2026-03-04T05:06:07Z","duration_seconds":1.2,"exit_code":0,` +
			`"summary":{"total":0,"up":0,"degraded":0,"down":0,"unknown":0,"flaky":0},"results":[]}` + "\n",
	}
	for _, f := range everySink() {
		text := write(t, f.New, options(nil), nil)
		if w, ok := want[f.Name]; ok {
			if diff := cmp.Diff(w, text); diff != "" {
				t.Errorf("%s (-want +got):\n%s", f.Name, diff)
			}
		}
	}
}

// TestAdvice shows what to do about our own side's fault line by line, and
// keeps what a target says on one.
func TestAdvice(t *testing.T) {
	show := func(code check.Code, message string) string {
		var b bytes.Buffer
		o := Options{}
		sink := Formats()[0].New(&b, o)
		r := check.Result{ID: "gw", Verdict: check.Unknown, Reason: check.Reason{Code: code, Message: message}}
		if err := errors.Join(sink.Put(r), sink.Close()); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const several, one = "may not\nhint: sysctl -w a=1\nor be root", "self-signed\nhint: set tls.ca"
	ours := show(check.LocalPermission, several)
	if !strings.Contains(ours, "\n  local.permission: may not\n  hint: sysctl -w a=1\n  or be root\n") || strings.Contains(ours, `\n`) {
		t.Errorf("advice:\n%s", ours)
	}
	if hint := show(check.TLSSelfSigned, one); !strings.Contains(hint, "\n  tls.self_signed: self-signed\n  hint: set tls.ca\n") {
		t.Errorf("a hint at the end:\n%s", hint)
	}
	if theirs := show(check.HTTPMalformed, several); !strings.Contains(theirs, `may not\nhint: sysctl`) {
		t.Errorf("a target's text:\n%s", theirs)
	}
	if theirs := show(check.ExpectCode("body"), one); !strings.Contains(theirs, `self-signed\nhint: set`) {
		t.Errorf("a target's text in an expectation:\n%s", theirs)
	}
}
