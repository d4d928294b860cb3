package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(o Options, checks ...*check.Check) *Server {
	if o.Engine == nil {
		o.Engine = func() scheduler.Stats { return scheduler.Stats{Checks: len(checks)} }
	}
	s := New(o)
	s.SetChecks(checks)
	return s
}

func toy(id string) *check.Check {
	return &check.Check{ID: id, Name: id, Kind: "toy", Target: "toy://" + id, Interval: time.Second, Timeout: time.Second}
}

func result(id string, v check.Verdict) check.Result {
	r := check.Result{ID: id, Name: id, Kind: "toy", Target: "toy://" + id, Verdict: v, Attempts: 1, Started: time.Unix(1000, 0), Latency: 30 * time.Millisecond}
	if v == check.Down {
		r.Reason = check.Reason{Code: check.ConnectRefused, Message: "nobody <b>is</b> at home"}
	}
	return r
}

// get returns the code and the body of an answer.
func get(s *Server, url string, header ...string) (int, string) {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func demand(t *testing.T, s *Server, url string, code int, parts ...string) string {
	t.Helper()
	got, body := get(s, url)
	if got != code {
		t.Errorf("%s: code %d, want %d: %s", url, got, code, body)
	}
	for _, part := range parts {
		without := strings.HasPrefix(part, "!")
		if strings.Contains(body, strings.TrimPrefix(part, "!")) == without {
			t.Errorf("%s: want %q in\n%s", url, part, body)
		}
	}
	return body
}

func TestMetricsOfChecks(t *testing.T) {
	masked := toy("b")
	masked.Labels = map[string]string{"te-am": "s3cret"}
	masked.Mask = check.NewMask("s3cret")
	s := newServer(Options{Version: "1.2.3"}, toy("a"), masked)
	for _, v := range []check.Verdict{check.Up, check.Up, check.Degraded, check.Down, check.Unknown} {
		s.Put(result("a", v))
	}
	demand(t, s, "/metrics", 200,
		`sonde_results_total{check="a",kind="toy",verdict="up"} 2`, `sonde_results_total{check="a",kind="toy",verdict="down"} 1`,
		`sonde_reasons_total{check="a",code="connect.refused",kind="toy"} 1`, `sonde_latency_seconds_count{check="a",kind="toy"} 3`,
		`sonde_latency_seconds_bucket{check="a",kind="toy",le="0.025"} 0`, `sonde_latency_seconds_bucket{check="a",kind="toy",le="0.05"} 3`,
		`sonde_check_info{check="b",kind="toy",label_te_am="***",target="toy://b"} 1`, "!sonde_up{", "!s3cret", "sonde_checks 2")
	s.Put(result("a", check.Down))
	demand(t, s, "/metrics", 200, `sonde_up{check="a",kind="toy"} 0`, "!sonde_parts")
	parted := result("a", check.Down)
	parted.Parts = []check.Part{{Name: "192.0.2.1", Verdict: check.Up}, {Name: "192.0.2.2", Verdict: check.Down}, {Name: "192.0.2.3", Verdict: check.Up}}
	s.Put(parted)
	demand(t, s, "/metrics", 200, `sonde_parts{check="a",kind="toy",verdict="up"} 2`, `sonde_parts{check="a",kind="toy",verdict="down"} 1`,
		`sonde_parts{check="a",kind="toy",verdict="unknown"} 0`, "!192.0.2.")
	s.SetChecks([]*check.Check{masked})
	demand(t, s, "/metrics", 200, `!check="a"`, `check="b"`)
	// The run in flight of a check that is gone counts among its kind.
	s.Put(result("a", check.Up))
	demand(t, s, "/metrics", 200, `sonde_results_total{check="",kind="toy",verdict="up"} 1`, `!check="a"`)
}

// TestDetailIsBounded sums up the checks beyond the limit by kind, and gives
// one that moves below the limit metrics of its own.
func TestDetailIsBounded(t *testing.T) {
	s := newServer(Options{Detail: 2}, toy("a"), toy("b"), toy("c"), toy("d"))
	for _, id := range []string{"a", "b", "c", "d", "d"} {
		s.Put(result(id, check.Up))
	}
	demand(t, s, "/metrics", 200, `verdict="up"} 3`, `{check="",kind="toy",verdict="up"} 3`, `!check="c"`, "sonde_checks_summed 2")
	demand(t, s, "/api/v1/results", 200, `"id":"a"`, `"id":"b"`, `!"id":"c"`)
	demand(t, s, "/api/v1/checks", 200, `"id":"c"`, `"verdict":"up"`)
	s.SetChecks([]*check.Check{toy("c"), toy("d"), toy("a")})
	s.Put(result("c", check.Up))
	demand(t, s, "/metrics", 200, `{check="c",kind="toy",verdict="up"} 1`, `!check="a"`, "sonde_checks_summed 1")
}

func TestHistogramsAreNativeToo(t *testing.T) {
	s := newServer(Options{}, toy("a"))
	s.Put(result("a", check.Up))
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		if name := f.GetName(); name == "sonde_latency_seconds" || name == "sonde_queue_seconds" {
			seen++
			if h := f.GetMetric()[0].GetHistogram(); h.Schema == nil || len(h.GetBucket()) == 0 {
				t.Errorf("%s is not native and classic: %v", name, h)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d histograms", seen)
	}
}

func TestEngineMetrics(t *testing.T) {
	var stats scheduler.Stats
	stats.Checks, stats.Missed, stats.InFlight = 7, 3, 2
	stats.Lateness[0], stats.Lateness[1], stats.Lateness[len(stats.Lateness)-1] = 5, 4, 1
	stats.LatenessSum = 20 * time.Second
	s := newServer(Options{Engine: func() scheduler.Stats { return stats }})
	demand(t, s, "/metrics", 200, "sonde_checks 7", "sonde_missed_total 3", "sonde_in_flight 2",
		`sonde_lateness_seconds_bucket{le="0.001"} 5`, `sonde_lateness_seconds_bucket{le="0.002"} 9`,
		`sonde_lateness_seconds_bucket{le="10"} 9`, `sonde_lateness_seconds_bucket{le="+Inf"} 10`, "sonde_lateness_seconds_sum 20")
}

func TestResultsAreThoseOfTheReport(t *testing.T) {
	s := newServer(Options{}, toy("b"), toy("a"), toy("never"))
	s.Put(result("a", check.Down))
	s.Put(result("b", check.Up))
	s.Put(result("b", check.Degraded))
	body := demand(t, s, "/api/v1/results", 200)
	var document struct {
		Schema  int
		Results []struct {
			Schema  int
			ID      string
			Verdict check.Verdict
			Latency float64 `json:"latency_seconds"`
		}
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	if r := document.Results; len(r) != 2 || r[0].ID != "b" || r[0].Verdict != check.Degraded || r[0].Schema != check.Schema || r[1].ID != "a" || r[1].Latency != 0.03 {
		t.Errorf("%+v", document)
	}
	if _, lines := get(s, "/api/v1/results", "Accept", "application/x-ndjson"); strings.Count(lines, "\n") != 2 || !json.Valid([]byte(strings.SplitN(lines, "\n", 2)[0])) {
		t.Errorf("lines %q", lines)
	}
	if empty := demand(t, s, "/api/v1/results?verdict=unknown", 200); !json.Valid([]byte(empty)) || strings.Contains(empty, `"id"`) {
		t.Errorf("nothing: %s", empty)
	}
}

func TestPageEscapes(t *testing.T) {
	s := newServer(Options{}, toy("<script>x</script>"))
	s.Put(result("<script>x</script>", check.Down))
	demand(t, s, "/", 200, "&lt;script&gt;", "!<script>", "&lt;b&gt;", "1 down")
	if code, _ := get(s, "/nothing"); code != 404 {
		t.Errorf("code %d", code)
	}
}

func TestReadinessAndReload(t *testing.T) {
	fail := errors.New("checks.yaml:1:2: wrong")
	s := newServer(Options{Reload: func(context.Context) error { return fail }})
	demand(t, s, "/-/healthy", 200)
	demand(t, s, "/-/ready", 503)
	s.SetReady(true)
	demand(t, s, "/-/ready", 200)
	demand(t, s, "/-/reload", 405)
	post := func(headers ...string) (int, string) {
		r := httptest.NewRequest(http.MethodPost, "http://sonde.example/-/reload", nil)
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if code, body := post(); code != 500 || !strings.Contains(body, "the old configuration stays: checks.yaml:1:2: wrong") {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := post("Sec-Fetch-Site", "cross-site"); code != 403 {
		t.Errorf("from another site: %d", code)
	}
	fail = nil
	if code, _ := post(); code != 200 {
		t.Errorf("%d", code)
	}
}

func TestChangesAreLogged(t *testing.T) {
	var log bytes.Buffer
	s := newServer(Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, toy("a"))
	for _, v := range []check.Verdict{check.Up, check.Up, check.Down, check.Down, check.Up} {
		s.Put(result("a", v))
	}
	if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != 2 ||
		!strings.Contains(lines[0], `level=WARN msg="check is down" check=a kind=toy target=toy://a was=up for=0s reason=connect.refused`) ||
		!strings.Contains(lines[1], `level=INFO msg="check is up"`) {
		t.Errorf("log:\n%s", &log)
	}
}

// TestStream reads results as they come, of one check and of all.
func TestStream(t *testing.T) {
	s := newServer(Options{}, toy("a"), toy("b"))
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	defer s.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	open := func(query string) *bufio.Reader {
		response, err := client.Get(server.URL + "/api/v1/results?stream" + query)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		lines := bufio.NewReader(response.Body)
		if first, err := lines.ReadString('\n'); first != ": sonde\n" {
			t.Fatalf("%q, %v", first, err)
		}
		return lines
	}
	next := func(lines *bufio.Reader) string {
		for {
			line, err := lines.ReadString('\n')
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				return data
			}
			if err != nil {
				return err.Error()
			}
		}
	}
	all, one, down, tagged := open(""), open("&check=b"), open("&verdict=unknown&verdict=down"), open("&tag=x&tag=y")
	s.Put(result("a", check.Up))
	b := result("b", check.Down)
	b.Tags = []string{"y", "z"}
	s.Put(b)
	for name, lines := range map[string]*bufio.Reader{"of a verdict": down, "with a tag": tagged} {
		if got := next(lines); !strings.Contains(got, `"id":"b"`) {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := next(all) + next(all); !strings.Contains(got, `"id":"a"`) || !strings.Contains(got, `"id":"b"`) {
		t.Errorf("all: %s", got)
	}
	if got := next(one); !strings.Contains(got, `"id":"b"`) || !json.Valid([]byte(got)) {
		t.Errorf("one: %s", got)
	}
	s.Close()
	if got := next(all); !strings.Contains(got, "ending") {
		t.Errorf("end: %s", got)
	}
	if code, _ := get(s, "/api/v1/results?stream"); code != 503 {
		t.Errorf("after the end: %d", code)
	}
}

// TestSlowStreamIsDropped never makes the measuring wait for a client.
func TestSlowStreamIsDropped(t *testing.T) {
	var h hub
	slow, _ := h.subscribe(filter{})
	quick, _ := h.subscribe(filter{})
	r := result("a", check.Up)
	for range streamBuffer + 10 {
		h.publish(&r)
		<-quick.lines
	}
	for range streamBuffer {
		if _, open := <-slow.lines; !open {
			t.Fatal("dropped too early")
		}
	}
	if _, open := <-slow.lines; open || h.count.Load() != 1 {
		t.Errorf("open %v, %d streams", open, h.count.Load())
	}
	h.leave(slow)
	h.leave(quick)
	for range maxStreams {
		if _, ok := h.subscribe(filter{}); !ok {
			t.Fatal("refused too early")
		}
	}
	if _, ok := h.subscribe(filter{}); ok {
		t.Error("more streams than allowed")
	}
}

// flushes is a response writer that can flush and forgets what it gets.
type flushes struct{ *httptest.ResponseRecorder }

func TestStreamShowsThatItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 3*heartbeat+time.Second)
		defer cancel()
		w := flushes{httptest.NewRecorder()}
		s.events(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx), filter{})
		if n := strings.Count(w.Body.String(), ": alive\n\n"); n != 3 {
			t.Errorf("%d signs of life", n)
		}
		if s.hub.count.Load() != 0 {
			t.Error("the stream is still there")
		}
	})
}

func TestProbe(t *testing.T) {
	outcomes := map[string]check.Result{
		"up": result("up", check.Up), "down": result("down", check.Down),
		"unknown": {Verdict: check.Unknown, Reason: check.Reason{Code: check.LocalFD, Message: "out of file descriptors"}},
		"denied":  {Verdict: check.Unknown, Reason: check.Reason{Code: check.LocalPermission, Message: "not there"}},
	}
	var budget time.Duration
	s := newServer(Options{Probe: func(ctx context.Context, module, target string) (check.Result, error) {
		deadline, _ := ctx.Deadline()
		budget = time.Until(deadline)
		switch target {
		case "forbidden":
			return check.Result{}, fmt.Errorf("%w: x", ErrDenied)
		case "bad":
			return check.Result{}, fmt.Errorf("%w: x", ErrBadProbe)
		}
		return outcomes[target], nil
	}})
	demand(t, s, "/probe?module=m&target=up", 200, "probe_success 1", "probe_duration_seconds 0.03", "probe_dns_lookup_time_seconds 0")
	demand(t, s, "/probe?module=m&target=down", 200, "probe_success 0")
	demand(t, s, "/probe?module=m&target=unknown", 503, "could not measure: local.fd", "!probe_success")
	demand(t, s, "/probe?module=m&target=denied", 403, "local.permission")
	demand(t, s, "/probe?module=m&target=forbidden", 403)
	demand(t, s, "/probe?module=m&target=bad", 400)
	demand(t, s, "/probe?module=m", 400)
	demand(t, s, "/probe?target=up", 400)
	if get(s, "/probe?module=m&target=up", "X-Prometheus-Scrape-Timeout-Seconds", "10"); budget > 9500*time.Millisecond {
		t.Errorf("the probe may take %v of 10s", budget)
	}
	for _, bad := range []string{"x", "-1", "0", "NaN", "1e99"} {
		if code, _ := get(s, "/probe?module=m&target=up", "X-Prometheus-Scrape-Timeout-Seconds", bad); code != 400 {
			t.Errorf("a timeout of %s: %d", bad, code)
		}
	}
	for range maxProbes {
		s.probing <- struct{}{}
	}
	demand(t, s, "/probe?module=m&target=up", 503, "too many")
	demand(t, newServer(Options{}), "/probe?module=m&target=up", 404)
}

// TestBlackboxNames compares the metrics with the list of blackbox_exporter's.
func TestBlackboxNames(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tls := check.FactsOf(map[string]any{"tls.version": "1.3", "tls.cipher": "TLS_AES_128_GCM_SHA256", "cert.not_after": now.Add(time.Hour), "cert.chain_expires_in": time.Minute,
		"cert.sha256": "ab", "cert.subject": "CN=a", "cert.issuer": "CN=b", "cert.serial": "1f", "cert.names": []string{"a", "b"}})
	for kind, tt := range map[string]struct {
		facts check.Facts
		want  []string
	}{
		"http": {check.FactsOf(map[string]any{"status": 200, "version": "1.1", "size": 5, "encoding": "", "truncated": false, "redirects": 2, "url": "https://a/", "family": 6, "ip": "::1"}), []string{
			`probe_http_duration_seconds{phase="connect"} 0.002`, `probe_http_duration_seconds{phase="processing"} 0.007`, `probe_http_duration_seconds{phase="resolve"} 0.001`,
			`probe_http_duration_seconds{phase="tls"} 0`, `probe_http_duration_seconds{phase="transfer"} 0`, "probe_http_status_code 200", "probe_http_version 1.1",
			"probe_http_redirects 2", "probe_http_ssl 1", "probe_http_content_length 5", "probe_http_uncompressed_body_length 5", "probe_ip_protocol 6", "probe_failed_due_to_regex 0",
			`probe_tls_version_info{version="TLS 1.3"} 1`, "probe_ssl_earliest_cert_expiry 1.80000006e+09", "probe_ssl_last_chain_expiry_timestamp_seconds 1.80000006e+09",
			`probe_ssl_last_chain_info{fingerprint_sha256="ab",issuer="CN=b",serialnumber="1f",subject="CN=a",subjectalternative="a,b"} 1`,
			`probe_tls_cipher_info{cipher="TLS_AES_128_GCM_SHA256"} 1`, "probe_dns_lookup_time_seconds 0.001"}},
		"dns": {check.FactsOf(map[string]any{"rcode": "NOERROR", "answers": []string{"ns.example. host.example. 2026010203 7200 3600 1209600 3600"}, "answer_count": 1, "cnames": []string{"c"}}), []string{
			"probe_dns_answer_rrs 2", "probe_dns_authority_rrs 0", "probe_dns_additional_rrs 0", "probe_dns_serial 2.026010203e+09", "probe_dns_query_succeeded 1",
			`probe_dns_duration_seconds{phase="request"} 0.007`}},
		"icmp": {check.FactsOf(map[string]any{"rtt.avg": time.Millisecond, "ttl": 64}), []string{
			`probe_icmp_duration_seconds{phase="resolve"} 0.001`, `probe_icmp_duration_seconds{phase="setup"} 0`, `probe_icmp_duration_seconds{phase="rtt"} 0.001`, "probe_icmp_reply_hop_limit 64"}},
		"tcp": {check.Facts{}, []string{"probe_failed_due_to_regex 0", "probe_success 1"}},
	} {
		r := result("x", check.Up)
		r.Kind, r.Facts, r.Started = kind, tt.facts, now
		r.Phases = check.Phases{{Name: check.PhaseResolve, Duration: time.Millisecond}, {Name: check.PhaseConnect, Duration: 2 * time.Millisecond},
			{Name: check.PhaseSend, Duration: 3 * time.Millisecond}, {Name: check.PhaseWait, Duration: 4 * time.Millisecond}}
		if kind == "http" {
			for name, v := range tls.All() {
				r.Facts.Set(name, v)
			}
		}
		s := newServer(Options{Probe: func(context.Context, string, string) (check.Result, error) { return r, nil }})
		demand(t, s, "/probe?module=m&target=x", 200, tt.want...)
	}
}

// TestConcurrentUse scrapes, reads and replaces while results come.
func TestConcurrentUse(t *testing.T) {
	checks := []*check.Check{toy("a"), toy("b"), toy("c")}
	s := newServer(Options{Detail: 2}, checks...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 500 {
			s.Put(result(checks[i%3].ID, check.Verdict(i%4)))
			if i%50 == 0 {
				s.SetChecks(checks[i/50%2:])
			}
		}
	}()
	for {
		for _, url := range []string{"/metrics", "/", "/api/v1/checks", "/api/v1/results"} {
			if code, body := get(s, url); code != 200 {
				t.Fatalf("%s: %d %s", url, code, body)
			}
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// brokenClient is a response writer whose client is gone.
type brokenClient struct{ http.ResponseWriter }

func (brokenClient) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestClientThatIsGone(t *testing.T) {
	s := newServer(Options{}, toy("a"))
	s.Put(result("a", check.Up))
	for _, url := range []string{"/", "/metrics", "/api/v1/checks", "/api/v1/results", "/api/v1/results?stream"} {
		s.Handler().ServeHTTP(brokenClient{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, url, nil))
	}
	if s.hub.count.Load() != 0 {
		t.Error("a stream is left")
	}
}
