//go:build oracle

package probes

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

const caddyConfig = `
{
	admin off
	auto_https off
	storage file_system %[1]s/data
	servers {
		protocols h1 h2 h3
	}
}
https://127.0.0.1:%[2]s, https://localhost:%[2]s {
	tls %[1]s/cert.pem %[1]s/key.pem
	respond /hello "hello from caddy"
	respond /teapot "short and stout" 418
	redir /away /hello 302
	respond /post "{method} {http.request.body}"
	handle /large {
		root * %[1]s
		file_server
	}
	encode /large gzip
}
`

// startCaddy runs Debian's caddy on loopback until the test ends: another QUIC
// than curl's is not in Debian 12, so it is the one server of HTTP/3 there.
func startCaddy(t *testing.T) (site string) {
	t.Helper()
	program, err := exec.LookPath("caddy")
	if err != nil {
		t.Fatal("caddy is missing: install caddy")
	}
	cert, err := authority(t).Issue(testnet.CertOptions{Names: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), freePort(t)
	for name, text := range map[string][]byte{
		"cert.pem": chain, "key.pem": key, "large": []byte(strings.Repeat("all work and no play\n", 20_000)),
		"Caddyfile": fmt.Appendf(nil, caddyConfig, dir, port),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("caddy: %s", log.String())
		}
	})
	awaitPort(t, port, filepath.Join(dir, "none"))
	return "https://127.0.0.1:" + port
}

// TestOracleHTTP3 asks caddy over HTTP/3, and curl asks it over HTTP/2: they
// agree on everything but the version.
func TestOracleHTTP3(t *testing.T) {
	site, ca := startCaddy(t), caFile(t)
	trust := func(o *httpOptions) { // this caddy takes no QUIC without a server name
		o.Version, o.TLS.CA, o.TLS.ServerName = "3", ca, "localhost"
	}
	for _, path := range []string{"/hello", "/teapot", "/large", "/none"} {
		out, err := exec.Command("curl", "-s", "--http2", "--cacert", ca, "-w", "\n%{http_code} %{http_version} %{content_type}", site+path).Output()
		if err != nil {
			t.Fatal(err)
		}
		cut := bytes.LastIndexByte(out, '\n')
		body, rest := string(out[:cut]), string(out[cut+1:])
		o := buildHTTP(t, site+path, trust, "body").Probe.Observe(timeout(t, patience))
		if !o.Failure.IsZero() {
			t.Fatalf("%s: %v", path, o.Failure)
		}
		got := fmt.Sprintf("%v 2 %v", o.Facts.Get("status"), o.Facts.Get("content_type"))
		if strings.TrimSpace(got) != strings.TrimSpace(rest) || o.Facts.Get("body") != body || o.Facts.Get("version") != "3" {
			t.Errorf("%s: sonde %s, version %v and %d bytes; curl %s and %d bytes", path, got, o.Facts.Get("version"), o.Facts.Get("size"), rest, len(body))
		}
	}
	o := buildHTTP(t, site+"/away", trust).Probe.Observe(timeout(t, patience))
	if !o.Failure.IsZero() || o.Facts.Get("redirects") != 1 || o.Facts.Get("url") != site+"/hello" {
		t.Errorf("redirect: %v %v", o.Failure, o.Facts)
	}
	for _, size := range []int{4, 300 << 10} {
		text := strings.Repeat("x", size)
		o := buildHTTP(t, site+"/post", func(o *httpOptions) { trust(o); o.Body = text }, "body").Probe.Observe(timeout(t, patience))
		if body, _ := o.Facts.Get("body").(string); !o.Failure.IsZero() || body != "POST "+text {
			t.Errorf("post of %d bytes: %v, %d bytes of body", size, o.Failure, len(body))
		}
	}
	wantFailure(t, buildHTTP(t, site, func(o *httpOptions) { trust(o); o.TLS.CA = "" }).Probe.Observe(timeout(t, patience)), check.TLSUntrusted, "")
	for _, version := range []string{"1.1", "2", "3"} {
		o := buildHTTP(t, site+"/hello", func(o *httpOptions) { trust(o); both(o); o.Version = version }).Probe.Observe(timeout(t, patience))
		cold, _ := o.Facts.Get("cold.latency").(time.Duration)
		if warm, _ := o.Facts.Get("warm.latency").(time.Duration); !o.Failure.IsZero() || o.Facts.Get("warm.status") != http.StatusOK || warm <= 0 || warm > cold {
			t.Errorf("both over %s: %v, cold %v warm %v", version, o.Failure, cold, warm)
		}
	}
}

// TestOracleDoQ has kdig ask the server that the tests of DNS over QUIC use, by
// the very command that sonde gives to reproduce: what sonde says of that server
// is said by another implementation, too. Debian 12 has no name server with QUIC.
func TestOracleDoQ(t *testing.T) {
	addr := doqServer(t, sayWeb(t))
	o := observeDNS(t, buildDNS(t, addr, overDoQ(t)), patience)
	wantFailure(t, o, "")
	line := o.Reproduce()
	_, port, _ := net.SplitHostPort(addr)
	out, err := exec.Command("kdig", "@127.0.0.1", "-p", port, "+quic", "-t", "A", "-q", "web.test", "+short").CombinedOutput()
	if answers := o.Facts.Get("answers").([]string); err != nil || strings.TrimSpace(string(out)) != answers[0] {
		t.Errorf("kdig: %v %s, sonde %v", err, out, answers)
	}
	out, err = exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "192.0.2.1") {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}
