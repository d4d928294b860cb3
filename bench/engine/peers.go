package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// slower is the part of the rate that the programs get which would fill the
// machine at the whole rate.
const slower = 4

// wrk measures HTTP as fast as it can, over connections that it keeps or, when
// fresh, over one for each request. With one at a time it sleeps and wakes up
// for each request, with more it hardly ever sleeps.
func (b *bench) wrk(url string, fresh bool, connections int, goal float64) *side {
	argv := []string{"wrk", "-t", "1", "-c", strconv.Itoa(connections), "-d", strconv.Itoa(max(int(b.span.Seconds()), 1))}
	if fresh {
		argv = append(argv, "-H", "Connection: close")
	}
	argv = append(argv, url)
	s := &side{name: fmt.Sprintf("wrk, %d at once", connections), missing: needs("wrk"), unpaced: true, goal: goal, command: strings.Join(argv, " ")}
	if s.missing == "" {
		s.version = b.version("wrk", "-v")
	}
	s.measure = func() (measure, error) {
		return b.oneShot(argv, regexp.MustCompile(`(\d+) requests in`), regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`))
	}
	return s
}

func (b *bench) dnsperf(l *lab) *side {
	queries := filepath.Join(b.dir, "queries.txt")
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "host%d.bench.test A\n", i)
	}
	argv := []string{"dnsperf", "-s", "127.0.0.1", "-p", strconv.Itoa(l.dnsPort), "-d", queries, "-l", strconv.Itoa(max(int(b.span.Seconds()), 1)), "-c", strconv.Itoa(workers)}
	s := &side{name: "dnsperf", missing: needs("dnsperf"), unpaced: true, command: strings.Join(argv, " ")}
	if err := write(queries, text.String()); err != nil {
		s.missing = err.Error()
	}
	if s.missing == "" {
		out, _, _ := b.complete("dnsperf", "-h")
		if v := regexp.MustCompile(`Version \S+`).FindString(out); v != "" {
			s.version = "dnsperf " + v
		}
	}
	s.measure = func() (measure, error) {
		return b.oneShot(argv, regexp.MustCompile(`Queries completed:\s+(\d+)`), regexp.MustCompile(`Queries lost:\s+(\d+)`))
	}
	return s
}

// oneShot runs a program that measures for a while and counts by itself.
func (b *bench) oneShot(argv []string, probes, failed *regexp.Regexp) (measure, error) {
	began := time.Now()
	out, cpu, err := b.complete(argv...)
	if err != nil {
		return measure{}, err
	}
	m := measure{cpu: cpu, window: time.Since(began)}
	if m.probes = number(probes, out); m.probes == 0 {
		return m, fmt.Errorf("%s does not say how much it did:\n%s", argv[0], out)
	}
	m.failed = number(failed, out)
	return m, nil
}

func number(pattern *regexp.Regexp, text string) uint64 {
	found := pattern.FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, _ := strconv.ParseUint(found[1], 10, 64) // the pattern matches digits
	return n
}

// daemon measures a program that probes nginx by itself, whose requests nginx
// counts.
func (b *bench) daemon(l *lab, warmup time.Duration, env []string, argv ...string) func() (measure, error) {
	return func() (m measure, err error) {
		p, err := b.launch(env, argv...)
		if err != nil {
			return m, err
		}
		defer p.stop()
		if err := pause(b.ctx, warmup); err != nil {
			return m, err
		}
		before, err := l.requests()
		if err != nil {
			return m, err
		}
		began := time.Now()
		if m.cpu, err = p.window(func() error { return pause(b.ctx, b.span) }); err != nil {
			return m, err
		}
		m.window = time.Since(began)
		after, err := l.requests()
		m.probes = uint64(after - before - 1) // the one that asked
		return m, err
	}
}

// built returns the version of a program in Go, or the commit it was built from.
func built(program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return program + ", version unknown"
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			version += ", commit " + s.Value[:min(len(s.Value), 12)]
		}
	}
	return fmt.Sprintf("%s %s, built with %s", program, version, info.GoVersion)
}

// cloudprober probes a tenth as many targets ten times a second.
func (b *bench) cloudprober(l *lab, kind string, goal float64) *side {
	s := &side{name: "cloudprober", missing: needs("cloudprober"), goal: goal}
	if s.missing != "" {
		return s
	}
	http := map[string]string{
		"fresh":  fmt.Sprintf("port: %d", l.httpPort),
		"reused": fmt.Sprintf("port: %d keep_alive: true max_idle_conns: 10000", l.httpPort),
		"https":  fmt.Sprintf("port: %d scheme: HTTPS disable_http2: true tls_config { ca_cert_file: %q server_name: %q }", l.httpsPort, l.ca, certName),
	}[kind]
	var hosts []string
	rate := b.rate / slower
	if kind == "https" {
		rate = b.rate / tlsSlower
	}
	for i := range max(rate/10, 1) {
		hosts = append(hosts, loopback(32, i))
	}
	port, err := freePort()
	if err != nil {
		s.missing = err.Error()
	}
	file := filepath.Join(b.dir, "cloudprober-"+kind+".cfg")
	text := fmt.Sprintf(`host: "127.0.0.1" port: %d
probe { name: "bench" type: HTTP targets { host_names: %q } interval_msec: 100 timeout_msec: 95
  http_probe { interval_between_targets_msec: 1 %s } }
surfacer { type: PROMETHEUS }
`, port, strings.Join(hosts, ","), http)
	if err := write(file, text); err != nil {
		s.missing = err.Error()
	}
	s.version = built("cloudprober")
	s.command = fmt.Sprintf("cloudprober --config_file (%d targets, interval 100ms, %s)", len(hosts), http)
	s.measure = b.daemon(l, 4*time.Second, nil, "cloudprober", "--config_file", file)
	return s
}

// gatus probes few endpoints very often, because it begins with a further one
// only every 0.8 seconds.
func (b *bench) gatus(l *lab) *side {
	s := &side{name: "gatus", missing: needs("gatus"), version: built("gatus")}
	if s.missing != "" {
		return s
	}
	port, err := freePort()
	if err != nil {
		s.missing = err.Error()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "web: {address: 127.0.0.1, port: %d}\nconcurrency: 0\nendpoints:\n", port)
	const count, interval = 8, 16 * time.Millisecond
	for i := range count {
		fmt.Fprintf(&text, "  - {name: e%d, url: 'http://%s:%d/', interval: %v, conditions: ['[STATUS] == 200']}\n", i, loopback(32, i), l.httpPort, interval)
	}
	file := filepath.Join(b.dir, "gatus.yaml")
	if err := write(file, text.String()); err != nil {
		s.missing = err.Error()
	}
	s.command = fmt.Sprintf("gatus (%d endpoints, interval %v, concurrency 0)", count, interval)
	s.measure = b.daemon(l, 8*time.Second, []string{"GATUS_CONFIG_PATH=" + file, "GATUS_LOG_LEVEL=ERROR"}, "gatus")
	return s
}

// blackbox is asked for one probe after the other by four clients; its own part
// of answering them is in its CPU time, as it is when Prometheus asks.
func (b *bench) blackbox(l *lab) *side {
	const program = "prometheus-blackbox-exporter"
	s := &side{name: "blackbox_exporter", missing: needs(program), unpaced: true}
	if s.missing != "" {
		return s
	}
	port, err := freePort()
	if err != nil {
		s.missing = err.Error()
	}
	file := filepath.Join(b.dir, "blackbox.yml")
	if err := write(file, "modules: {http_2xx: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}}\n"); err != nil {
		s.missing = err.Error()
	}
	argv := []string{program, "--config.file", file, "--web.listen-address", local(port), "--log.level", "error"}
	s.version, s.command = b.version(program, "--version"), strings.Join(argv, " ")+" (4 clients)"
	s.measure = func() (m measure, err error) {
		p, err := b.launch(nil, argv...)
		if err != nil {
			return m, err
		}
		defer p.stop()
		if err := waitFor(b.ctx, []string{local(port)}); err != nil {
			return m, err
		}
		began := time.Now()
		m.cpu, err = p.window(func() error {
			url := fmt.Sprintf("http://%s/probe?module=http_2xx&target=http://127.0.0.1:%d/", local(port), l.httpPort)
			m.probes, m.failed = b.ask(url, 4)
			return nil
		})
		m.window = time.Since(began)
		return m, err
	}
	return s
}

// ask requests the url again and again for the span and counts the answers in
// which a probe succeeded.
func (b *bench) ask(url string, clients int) (probes, failed uint64) {
	ctx, cancel := context.WithTimeout(b.ctx, b.span)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				if !succeeded(client, url) {
					atomic.AddUint64(&failed, 1)
				}
				atomic.AddUint64(&probes, 1)
			}
		})
	}
	all.Wait()
	return probes, failed
}

func succeeded(client *http.Client, url string) bool {
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return err == nil && strings.Contains(string(body), "\nprobe_success 1\n")
}
