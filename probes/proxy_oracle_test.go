//go:build oracle && linux

package probes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// startServer runs a program until the test ends and waits for its port.
func startServer(t *testing.T, port, dir string, cmd *exec.Cmd) {
	t.Helper()
	log := filepath.Join(dir, "log")
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	awaitPort(t, port, log)
}

// startDante runs a SOCKS server that does not lead to the port closed. With a
// password it demands the login of the user prober, who is of a private mount
// namespace's own /etc/passwd.
func startDante(t *testing.T, closed, password string) (port string) {
	t.Helper()
	program, dir, port := need(t, "/usr/sbin/danted", "dante-server"), t.TempDir(), freePort(t)
	method, users := "none", ""
	if password != "" {
		method, users = "username", "user.privileged: root\nuser.unprivileged: nobody\n"
	}
	conf := filepath.Join(dir, "danted.conf")
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(conf, fmt.Sprintf(`logoutput: stderr
internal: 127.0.0.1 port = %s
external: 127.0.0.1
socksmethod: %s
clientmethod: none
%sclient pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks block { from: 127.0.0.0/8 to: 0.0.0.0/0 port = %s }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
`, port, method, users, closed))
	if password == "" {
		startServer(t, port, dir, exec.Command(program, "-N", "1", "-f", conf, "-p", filepath.Join(dir, "pid")))
		return port
	}
	hash := strings.TrimSpace(oracle(t, "openssl", "passwd", "-6", password))
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(dir, "passwd"), string(passwd)+"prober:x:64123:65534::/nonexistent:/usr/sbin/nologin\n")
	write(filepath.Join(dir, "shadow"), "root:*:19000:0:99999:7:::\nprober:"+hash+":19000:0:99999:7:::\n")
	line := fmt.Sprintf("mount --bind %[1]s/passwd /etc/passwd && mount --bind %[1]s/shadow /etc/shadow && exec %[2]s -N 1 -f %[3]s -p %[1]s/pid", dir, program, conf)
	startServer(t, port, dir, exec.Command("unshare", "-m", "sh", "-c", line))
	return port
}

// startTinyproxy runs an HTTP proxy with Basic authentication.
func startTinyproxy(t *testing.T, user, password string) (port string) {
	t.Helper()
	program, dir, port := need(t, "tinyproxy", "tinyproxy"), t.TempDir(), freePort(t)
	conf := filepath.Join(dir, "conf")
	text := fmt.Sprintf("Port %s\nListen 127.0.0.1\nTimeout 30\nBasicAuth %s %s\n", port, user, password)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startServer(t, port, dir, exec.Command(program, "-d", "-c", conf))
	return port
}

// TestOracleProxy goes through real proxies and compares with curl.
func TestOracleProxy(t *testing.T) {
	n := startNginx(t)
	closed := freePort(t) // nobody listens, and the rules of dante forbid it
	dead := freePort(t)
	open, locked := "127.0.0.1:"+startDante(t, closed, ""), "127.0.0.1:"+startDante(t, closed, "s3cret")
	tiny := "127.0.0.1:" + startTinyproxy(t, "prober", "s3cret")
	for _, c := range []struct {
		proxy, url string
		exit       int // of curl
		code       check.Code
		words      string
	}{
		{"socks5://" + open, n.http + "/teapot", 0, "", ""},
		{"socks5h://" + open, strings.Replace(n.https, "127.0.0.1", "localhost", 1) + "/hop/abc", 0, "", ""},
		{"socks5://" + open, strings.Replace(n.http, "127.0.0.1", "localhost", 1) + "/", 0, "", ""},
		{"socks5h://" + open, "http://127.0.0.1:" + dead, 97, check.ConnectRefused, "connection refused"},
		{"socks5h://" + open, "http://127.0.0.1:" + closed, 97, check.ConnectUnreachable, "not allowed by its rules"},
		{"socks5h://prober:s3cret@" + locked, n.http + "/", 0, "", ""},
		{"socks5h://prober:wrong@" + locked, n.http + "/", 97, check.ConnectUnreachable, "does not accept the user and the password"},
		{"socks5h://" + locked, n.http + "/", 97, check.ConnectUnreachable, "demands a user and a password"},
		{"http://prober:s3cret@" + tiny, n.http + "/teapot", 0, "", ""},
		{"http://prober:s3cret@" + tiny, n.https + "/", 0, "", ""},
		{"http://prober:wrong@" + tiny, n.https + "/", 56, check.HTTPStatus, "it does not accept the user and the password"},
		{"http://" + tiny, n.https + "/", 56, check.HTTPStatus, "it demands a user and a password"},
		{"http://prober:s3cret@" + tiny, "https://127.0.0.1:" + dead, 56, check.HTTPStatus, "CONNECT 127.0.0.1:" + dead},
	} {
		out, exit := curl(t, "-sS", "-L", "-o", "/dev/null", "-k", "--noproxy", "", "-x", c.proxy, "-w", "%{http_code} %{num_redirects}", c.url)
		if exit != c.exit {
			t.Errorf("%s through %s: curl ends with %d, want %d", c.url, c.proxy, exit, c.exit)
		}
		o := observeHTTP(t, c.url, patience, func(o *httpOptions) { o.Proxy, o.TLS.Insecure = c.proxy, true })
		switch {
		case exit == 0:
			if got := fmt.Sprint(o.Facts.Get("status"), " ", o.Facts.Get("redirects")); got != out || o.Failure.Code != "" {
				t.Errorf("%s through %s: %q, curl sees %q; %+v", c.url, c.proxy, got, out, o.Failure)
			}
		case o.Failure.Code != c.code, !strings.Contains(o.Failure.Message, c.words):
			t.Errorf("%s through %s: %+v, want %s %s", c.url, c.proxy, o.Failure, c.code, c.words)
		}
	}
	_, port := split(t, strings.TrimPrefix(n.http, "http://"))
	o := observeTCP(t, tcpOptions{Proxied: Proxied{Proxy: "socks5h://" + open}, Steps: steps("GET / HTTP/1.0\r\n\r\n", "^HTTP/1.1 200")}, "127.0.0.1", port, patience)
	if o.Facts.Get("dialogue") != true {
		t.Errorf("tcp: %+v %v", o.Failure, o.Facts)
	}
	o = observeTCP(t, tcpOptions{Proxied: Proxied{Proxy: "socks5h://" + open}}, "127.0.0.1", dead, patience)
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", o.Reproduce()).CombinedOutput(); err == nil || !strings.Contains(string(out), "(97)") {
		t.Errorf("%s gives %v\n%s", o.Reproduce(), err, out)
	}
}
