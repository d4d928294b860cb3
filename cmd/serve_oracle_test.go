//go:build oracle

package cmd

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/internal/testnet"
)

const oracleChecks = `version: 1
defaults: {interval: 1s, timeout: 5s}
templates:
  page: {http: {}}
checks:
  - {name: well, use: page, http: {url: "http://TARGET/"}, labels: {team: blue}}
  - {name: closed, tcp: {host: 127.0.0.1, port: 1}}
`

const oraclePrometheus = `global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: sonde
    static_configs: [{targets: ["SONDE"]}]
  - job_name: blackbox
    metrics_path: /probe
    params: {module: [page]}
    static_configs: [{targets: ["TARGET"]}]
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__param_target], target_label: instance}
      - {target_label: __address__, replacement: "SONDE"}
`

// background is a program that runs until the test ends.
type background struct{ err safeBuffer }

// start starts the program and returns what the pattern finds in its log.
func start(t *testing.T, cmd *exec.Cmd, pattern string) string {
	t.Helper()
	var b background
	cmd.Stderr = &b.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("log of %s:\n%s", cmd.Args[0], &b.err)
		}
	})
	find := regexp.MustCompile(pattern)
	var found []string
	eventually(t, cmd.Args[0]+" begins", func() bool { found = find.FindStringSubmatch(b.err.String()); return found != nil })
	return found[1]
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("waited for nothing: %s", what)
		}
		<-tick.C
	}
}

// TestOraclePrometheus lets a real Prometheus scrape the daemon: its metrics
// with classic and native histograms, and a probe on demand.
func TestOraclePrometheus(t *testing.T) {
	target, err := testnet.ListenHTTP(nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	sonde := startSonde(t, target.Addr())
	lint(t, "http://"+sonde+"/metrics")
	lint(t, "http://"+sonde+"/probe?module=page&target="+target.Addr())

	prometheus := startPrometheus(t, sonde, target.Addr())
	for query, want := range map[string]float64{
		`up{job="sonde"}`:                                  1,
		`sonde_up{check="well"}`:                           1,
		`sonde_up{check="closed"}`:                         0,
		`sonde_check_info{check="well",label_team="blue"}`: 1,
		`sonde_missed_total >= bool 0`:                     1, // a busy machine misses some
		`sonde_checks`:                                     2,
		`sonde_reasons_total{check="closed",code="connect.refused"} > bool 1`:    1,
		`increase(sonde_results_total{check="well",verdict="up"}[1m]) > bool 1`:  1,
		`histogram_count(sonde_latency_seconds{check="well"}) > bool 1`:          1,
		`histogram_quantile(0.5, sonde_latency_seconds{check="well"}) < bool 60`: 1,
		`up{job="blackbox"}`:                                 1,
		`probe_success{job="blackbox"}`:                      1,
		`probe_http_status_code{job="blackbox"}`:             200,
		`count(probe_http_duration_seconds{job="blackbox"})`: 5,
	} {
		var last string
		eventually(t, query, func() bool {
			var value float64
			value, last = ask(t, prometheus, query)
			return last == "" && value == want
		})
	}
}

// startSonde starts the daemon and returns its address.
func startSonde(t *testing.T, target string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "checks.yaml"), strings.ReplaceAll(oracleChecks, "TARGET", target))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self) // the test binary goes by the name that it is called
	cmd.Args = []string{"sonde", "serve", "checks.yaml", "--listen", "127.0.0.1:0", "--probe-endpoint", "--probe-allow", "127.0.0.1"}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SONDE_EXAMPLE="+filepath.Join(dir, "checks.yaml"))
	return start(t, cmd, `msg=serving address=([0-9.:]+)`)
}

// startPrometheus starts a Prometheus that scrapes the daemon, and returns its
// address.
func startPrometheus(t *testing.T, sonde, target string) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	write(t, config, strings.NewReplacer("SONDE", sonde, "TARGET", target).Replace(oraclePrometheus))
	return start(t, exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--enable-feature=native-histograms"), `[Ll]istening on" address=(127[0-9.:]+)`)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lint lets promtool look at what a URL answers, once there is a result.
func lint(t *testing.T, url string) {
	t.Helper()
	var body []byte
	eventually(t, url, func() bool {
		response, err := http.Get(url)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err = io.ReadAll(response.Body)
		return err == nil && (strings.Contains(string(body), "sonde_up") || strings.Contains(string(body), "probe_success"))
	})
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(string(body))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool of %s: %v\n%s", url, err, out)
	}
}

// ask returns the value of a query with one series, or why there is none.
func ask(t *testing.T, prometheus, query string) (float64, string) {
	t.Helper()
	response, err := http.Get("http://" + prometheus + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err.Error()
	}
	if answer.Error != "" || len(answer.Data.Result) != 1 {
		return 0, answer.Error + " not one series"
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, err.Error()
	}
	return value, ""
}
