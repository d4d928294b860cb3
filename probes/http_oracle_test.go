//go:build oracle

package probes

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/internal/testnet"
)

const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	gzip on;
	gzip_min_length 1;
	gzip_types *;
	default_type text/plain;
	ssl_certificate %[1]s/cert.pem;
	ssl_certificate_key %[1]s/key.pem;
	server {
		listen 127.0.0.1:%[2]s;
		listen 127.0.0.1:%[3]s ssl http2;
		server_name nginx.test;
		root %[1]s/root;
		location /hop/ { rewrite ^/hop/(.)(.*)$ /hop/$2 redirect; rewrite ^ /large redirect; }
		location /few { keepalive_requests 2; return 200 "few"; }
		location /loop { return 302 /loop; }
		location /private { auth_basic sonde; auth_basic_user_file %[1]s/users; }
		location /set { add_header Set-Cookie $http_x_set; return 302 $http_x_to; }
		location /show { return 200 "$http_cookie"; }
		location /guard { if ($cookie_session != "s3cr3t-0123456789") { return 302 /guard-login; } return 200 "welcome"; }
		location /guard-login { add_header Set-Cookie "session=s3cr3t-0123456789; Path=/; HttpOnly"; return 302 /guard; }
		location /teapot { return 418 "short and stout"; }
		location /post { client_max_body_size 10k; return 200 "$request_method"; }
	}
}
`

// nginx is a running nginx.
type nginx struct{ http, https, port, securePort string }

// startNginx runs nginx on loopback until the test ends.
func startNginx(t *testing.T) nginx {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatal("nginx is missing: install nginx-light")
		}
	}
	dir := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := authority(t).Issue(testnet.CertOptions{Names: []string{"nginx.test", "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	n := nginx{port: freePort(t), securePort: freePort(t)}
	write("cert.pem", string(chain))
	write("key.pem", string(key))
	write("users", "user:{PLAIN}password\n")
	write("root/index.html", "hello from nginx\n")
	write("root/large", strings.Repeat("all work and no play\n", 20_000))
	write("root/empty", "")
	write("root/private", "welcome\n")
	write("nginx.conf", fmt.Sprintf(nginxConfig, dir, n.port, n.securePort))
	cmd := exec.Command(program, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	n.http, n.https = "http://127.0.0.1:"+n.port, "https://127.0.0.1:"+n.securePort
	awaitPort(t, n.securePort, filepath.Join(dir, "error.log"))
	return n
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port := split(t, l.Addr().String())
	return port
}

func awaitPort(t *testing.T, port, errorLog string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			return
		}
	}
	text, _ := os.ReadFile(errorLog)
	t.Fatalf("nginx does not listen: %s", text)
}

// curl runs curl and returns its output and exit code.
func curl(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "curl", args...)
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal("curl is missing: ", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestOracleHTTPSeesWhatCurlSees(t *testing.T) {
	n := startNginx(t)
	ca := caFile(t)
	for _, c := range []struct {
		url    string
		args   []string
		change func(*httpOptions)
	}{
		{n.http + "/", nil, nil},
		{n.https + "/", nil, nil},
		{n.https + "/large", []string{"--http1.1"}, func(o *httpOptions) { o.Version = "1.1" }},
		{n.https + "/large", []string{"--compressed", "-H", "Accept-Encoding: gzip"}, func(o *httpOptions) { o.Compression = "gzip" }},
		{n.http + "/large", []string{"--compressed", "-H", "Accept-Encoding: gzip"}, func(o *httpOptions) { o.Compression = "gzip" }},
		{n.https + "/empty", nil, nil},
		{n.http + "/missing", nil, nil},
		{n.https + "/teapot", nil, nil},
		{n.https + "/hop/abc", nil, nil},
		{n.http + "/hop/abc", nil, nil},
		{n.https + "/private", nil, nil},
		{n.https + "/private", []string{"-u", "user:password"}, func(o *httpOptions) { o.Auth = httpAuth{Username: "user", Password: "password"} }},
		{n.https + "/", []string{"-I"}, func(o *httpOptions) { o.Method = "HEAD" }},
		{n.https + "/post", []string{"-d", "hello"}, func(o *httpOptions) { o.Body = "hello" }},
		{n.https + "/", []string{"-X", "DELETE"}, func(o *httpOptions) { o.Method = "DELETE" }},
	} {
		body := filepath.Join(t.TempDir(), "body")
		args := append([]string{"-sS", "-L", "--noproxy", "*", "--cacert", ca, "-o", body, "-w", "%{http_code} %{num_redirects} %{http_version} %{url_effective}"}, c.args...)
		want, exit := curl(t, append(args, c.url)...)
		if exit != 0 {
			t.Fatalf("curl %s ended with %d", c.url, exit)
		}
		text, err := os.ReadFile(body)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		o := observeHTTP(t, c.url, patience, func(o *httpOptions) {
			o.TLS.CA = ca
			if c.change != nil {
				c.change(o)
			}
		}, "body")
		wantFailure(t, o, "")
		got := fmt.Sprintf("%v %v %v %v", o.Facts.Get("status"), o.Facts.Get("redirects"), o.Facts.Get("version"), o.Facts.Get("url"))
		if got != want {
			t.Errorf("%s %v: sonde saw %s, curl %s", c.url, c.args, got, want)
		}
		if sent, _ := o.Facts.Get("body").(string); !strings.Contains(strings.Join(c.args, " "), "-I") && sent != string(text) {
			t.Errorf("%s %v: sonde read %d bytes, curl %d", c.url, c.args, len(sent), len(text))
		}
	}
}

// TestOracleHTTPReproduce runs the reproduce line of checks in a shell and
// compares what curl says with what sonde saw.
func TestOracleHTTPReproduce(t *testing.T) {
	n := startNginx(t)
	ca := caFile(t)
	deadHost, deadPort := refused(t)
	body := tempFile(t, "body file", []byte("from a file"))
	site := httpSite(t, nil, testnet.Site())
	named := "https://nginx.test:" + n.securePort
	for name, c := range map[string]struct {
		url    string
		change func(*httpOptions)
		status int
		exit   int // of curl
	}{
		"plain": {n.http + "/", nil, 200, 0},
		"quoting": {site + "/echo?a=1&b='x'%20$HOME", func(o *httpOptions) {
			o.Body = "it's $HOME\n`id` \\ \"x\""
			o.Headers = map[string]string{"X-Odd": "a 'b' $c"}
		}, 200, 0},
		"body file":   {site + "/echo", func(o *httpOptions) { o.BodyFile, o.Method = body, "PUT" }, 200, 0},
		"h2c":         {site + "/echo", func(o *httpOptions) { o.Version = "2" }, 200, 0},
		"pinned":      {named + "/", func(o *httpOptions) { o.Address, o.TLS.CA = "127.0.0.1", ca }, 200, 0},
		"server name": {n.https + "/", func(o *httpOptions) { o.TLS.ServerName, o.TLS.CA = "nginx.test", ca }, 200, 0},
		"insecure":    {n.https + "/teapot", func(o *httpOptions) { o.TLS.Insecure = true }, 418, 0},
		"versions": {n.https + "/", func(o *httpOptions) {
			o.TLS.CA, o.Version, o.TLS.MaxVersion, o.TLS.MinVersion = ca, "1.1", "1.2", "1.2"
		}, 200, 0},
		"patterns":    {site + "/echo?a[]=[1-2]&b={x,y}", nil, 200, 0},
		"space":       {site + "/echo?a b", nil, 200, 0},
		"auth":        {n.https + "/private", func(o *httpOptions) { o.TLS.CA, o.Auth = ca, httpAuth{Username: "user", Password: "password"} }, 200, 0},
		"head":        {n.http + "/", func(o *httpOptions) { o.Method = "HEAD" }, 200, 0},
		"redirects":   {n.http + "/hop/abc", func(o *httpOptions) { o.Compression = "any" }, 200, 0},
		"limit":       {n.http + "/hop/abc", func(o *httpOptions) { o.Redirects = 2 }, 302, 47},
		"never":       {n.http + "/hop/abc", func(o *httpOptions) { o.Redirects = 0 }, 302, 0},
		"untrusted":   {n.https + "/", nil, 0, 60},
		"hostname":    {"https://other.test:" + n.securePort + "/", func(o *httpOptions) { o.Address, o.TLS.CA = "127.0.0.1", ca }, 0, 60},
		"refused":     {"http://" + net.JoinHostPort(deadHost, deadPort), nil, 0, 7},
		"empty reply": {rawSite(t, testnet.Reply("")), nil, 0, 52},
	} {
		t.Run(name, func(t *testing.T) {
			o := observeHTTP(t, c.url, patience, c.change)
			status, _ := o.Facts.Get("status").(int)
			failed := o.Failure.Code != ""
			if status != c.status || failed != (c.exit != 0) {
				t.Fatalf("status %d, failure %v", status, o.Failure)
			}
			line := o.Reproduce()
			cmd := exec.CommandContext(t.Context(), "bash", "-c", line+" -sS -o /dev/null -w '%{http_code}'")
			out, err := cmd.Output()
			if err != nil && cmd.ProcessState == nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("%03d", c.status)
			if got := string(out); got != want || cmd.ProcessState.ExitCode() != c.exit {
				t.Errorf("%s\ngave status %s and exit code %d, want %s and %d", line, got, cmd.ProcessState.ExitCode(), want, c.exit)
			}
		})
	}
	line := observeHTTP(t, rawSite(t, testnet.Silence), brief, nil).Reproduce()
	if !strings.Contains(line, "-m 0.15 ") {
		t.Errorf("no timeout in %s", line)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 28 {
		t.Errorf("%s: %v", line, err)
	}
}

// TestOracleNginxReuse keeps connections to a server that ends them after two
// requests, as it says (h1: Connection: close), and to one that does not.
func TestOracleNginxReuse(t *testing.T) {
	site := startNginx(t)
	for _, c := range []struct{ url, version, want string }{
		{site.http + "/few", "1.1", "fresh reused fresh reused"},
		{site.https + "/few", "1.1", "fresh reused fresh reused"},
		{site.http + "/teapot", "1.1", "fresh reused reused reused"},
		{site.https + "/teapot", "2", "fresh reused reused reused"},
	} {
		probe := reusing(t, c.url, func(o *httpOptions) { o.Version = c.version })
		var got []string
		for range 4 {
			o := once(t, probe)
			if !o.Failure.IsZero() || o.Facts.Get("reconnected") != false {
				t.Errorf("%s: %v, facts %v", c.url, o.Failure, o.Facts)
			}
			got = append(got, fmt.Sprint(o.Facts.Get("connection")))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s over %s: %s, want %s", c.url, c.version, got, c.want)
		}
	}
}
