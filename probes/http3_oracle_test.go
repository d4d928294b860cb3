//go:build oracle

package probes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// ngtcp2Text is what the server of ngtcp2 serves as text.
const ngtcp2Text = "hello from ngtcp2\n"

// startNgtcp2 runs the HTTP/3 server of Debian's ngtcp2 on loopback until the test
// ends: ngtcp2, nghttp3 and GnuTLS share no line with what sonde is made of.
func startNgtcp2(t *testing.T, large []byte, options ...string) (site string) {
	t.Helper()
	program, err := exec.LookPath("/usr/sbin/gtlsserver")
	if err != nil {
		t.Fatal("gtlsserver is missing: install ngtcp2-server")
	}
	cert, err := authority(t).Issue(testnet.CertOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), freePort(t)
	for name, text := range map[string][]byte{
		"cert.pem": chain, "key.pem": key, "mime": []byte("text/plain txt\n"), "hello.txt": []byte(ngtcp2Text), "large": large,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := append(options, "-q", "-d", dir, "--mime-types-file="+filepath.Join(dir, "mime"), "127.0.0.1", port, filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem"))
	cmd := exec.Command(program, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("gtlsserver: %s", log.String())
		}
	})
	site = "https://127.0.0.1:" + port
	awaitHTTP3(t, site)
	return site
}

// awaitHTTP3 waits until the port is no longer closed.
func awaitHTTP3(t *testing.T, site string) {
	t.Helper()
	probe := buildHTTP(t, site, h3(t)).Probe
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if o := probe.Observe(timeout(t, patience)); o.Failure.Code != check.ConnectRefused {
			return
		}
	}
	t.Fatal("gtlsserver does not listen")
}

// gtlsclient is what ngtcp2's own client says of a response.
func gtlsclient(t *testing.T, site, path string) (log string, body []byte) {
	t.Helper()
	_, port := split(t, strings.TrimPrefix(site, "https://"))
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "gtlsclient", "--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close", "--download="+dir, "127.0.0.1", port, site+path).CombinedOutput()
	if err != nil {
		t.Fatalf("gtlsclient (of ngtcp2-client): %v %s", err, out)
	}
	body, err = os.ReadFile(filepath.Join(dir, filepath.Base(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(out), body
}

// TestOracleNgtcp2 asks a server of other people's QUIC, TLS and HTTP/3.
func TestOracleNgtcp2(t *testing.T) {
	large := bytes.Repeat([]byte("all work and no play makes a dull probe\n"), 8_000)
	sum := sha256.Sum256(large)
	trust := h3(t)
	for name, tt := range map[string]struct {
		options []string
		cipher  string
	}{
		"plain":                     {nil, ""},
		"Retry":                     {[]string{"-V"}, ""},
		"trailers":                  {[]string{"--send-trailers"}, ""},
		"a bad line":                {[]string{"-t", "0.1", "-r", "0.1"}, ""},
		"AES-256":                   {[]string{"--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-256-GCM"}, "TLS_AES_256_GCM_SHA384"},
		"ChaCha20":                  {[]string{"--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305"}, "TLS_CHACHA20_POLY1305_SHA256"},
		"another group":             {[]string{"--groups=-GROUP-ALL:+GROUP-SECP384R1"}, ""},
		"stops reading the request": {[]string{"--early-response"}, ""},
		"small windows":             {[]string{"--max-data=4K", "--max-stream-data-bidi-remote=1K", "--max-streams-bidi=1", "--max-window=8K", "--max-stream-window=4K"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := startNgtcp2(t, large, tt.options...)
			ask := func(path, body string) check.Observation {
				t.Helper()
				o := buildHTTP(t, site+path, func(o *httpOptions) { trust(o); o.Body = body }, "body", "headers", "sha256").Probe.Observe(timeout(t, patience))
				if wantFailure(t, o, ""); o.Facts.Get("version") != "3" || o.Facts.Get("tls.alpn") != "h3" || o.Facts.Get("tls.version") != "1.3" || o.Facts.Get("cert.trusted") != true {
					t.Errorf("%s: %v", path, o.Facts)
				}
				return o
			}
			o := ask("/hello.txt", "")
			if o.Facts.Get("status") != 200 || o.Facts.Get("body") != ngtcp2Text || o.Facts.Get("content_type") != "text/plain" {
				t.Errorf("%v", o.Facts)
			}
			if got := o.Facts.Get("tls.cipher"); tt.cipher != "" && got != tt.cipher {
				t.Errorf("tls.cipher is %v, want %s", got, tt.cipher)
			}
			if o := ask("/large", ""); o.Facts.Get("size") != len(large) || o.Facts.Get("sha256") != hex.EncodeToString(sum[:]) {
				t.Errorf("%v bytes, sha256 %v", o.Facts.Get("size"), o.Facts.Get("sha256"))
			}
			if o := ask("/none", ""); o.Facts.Get("status") != 404 {
				t.Errorf("status %v", o.Facts.Get("status"))
			}
			if o := ask("/hello.txt", strings.Repeat("x", 300<<10)); o.Facts.Get("status") != 200 || o.Facts.Get("body") != ngtcp2Text {
				t.Errorf("post: %v", o.Facts)
			}
		})
	}
}

// TestOracleNgtcp2Certificate has a server that demands a client's certificate.
func TestOracleNgtcp2Certificate(t *testing.T) {
	site := startNgtcp2(t, nil, "--verify-client")
	cert, err := authority(t).Issue(testnet.CertOptions{Names: []string{"client.test"}})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	trust, certFile, keyFile := h3(t), tempFile(t, "client.pem", chain), tempFile(t, "client.key", key)
	wantFailure(t, buildHTTP(t, site+"/hello.txt", trust).Probe.Observe(timeout(t, patience)), check.TLSClientCert, "")
	o := buildHTTP(t, site+"/hello.txt", func(o *httpOptions) {
		trust(o)
		o.TLS.Cert, o.TLS.Key = certFile, keyFile
	}, "body").Probe.Observe(timeout(t, patience))
	if wantFailure(t, o, ""); o.Facts.Get("body") != ngtcp2Text {
		t.Errorf("%v", o.Facts)
	}
}

// TestOracleNgtcp2Client has sonde and another client ask the same server.
func TestOracleNgtcp2Client(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	site := startNgtcp2(t, large)
	for _, path := range []string{"/hello.txt", "/large"} {
		log, body := gtlsclient(t, site, path)
		o := buildHTTP(t, site+path, h3(t), "body", "headers").Probe.Observe(timeout(t, patience))
		wantFailure(t, o, "")
		if o.Facts.Get("body") != string(body) {
			t.Errorf("%s: %v bytes of body, gtlsclient has %d", path, o.Facts.Get("size"), len(body))
		}
		said := map[string]string{}
		_, response, _ := strings.Cut(log, "response headers started")
		for _, m := range regexp.MustCompile(`(?m)^http: stream 0x0 \[(:?[a-z-]+): (.*)\]$`).FindAllStringSubmatch(response, -1) {
			said[m[1]] = m[2]
		}
		headers, _ := o.Facts.Get("headers").(map[string]string)
		if len(said) != len(headers)+1 || said[":status"] != strconv.Itoa(o.Facts.Get("status").(int)) {
			t.Errorf("%s: gtlsclient has %v, sonde %v %v", path, said, o.Facts.Get("status"), headers)
		}
		for name, value := range headers {
			if said[name] != value {
				t.Errorf("%s: header %s is %q, gtlsclient has %q", path, name, value, said[name])
			}
		}
	}
}
