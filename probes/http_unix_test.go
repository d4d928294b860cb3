//go:build !windows

package probes

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// socketPath returns a path that is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sonde") //nolint:usetesting // the path of t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// socketSite serves the handler at a Unix socket.
func socketSite(t *testing.T, handler http.Handler) string {
	t.Helper()
	path := socketPath(t)
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	closeLater(t, server)
	go func() { _ = server.Serve(listener) }()
	return path
}

func TestHTTPOverUnixSocket(t *testing.T) {
	t.Parallel()
	path := socketSite(t, testnet.Site())
	for _, version := range []string{"1.1", "2"} {
		o := observeHTTP(t, "http://docker.example/echo?a", patience, func(o *httpOptions) { o.Unix, o.Version = path, version }, "json")
		_, _, _, all := echoed(t, o)
		if all["host"] != "docker.example" || all["path"] != "/echo?a" {
			t.Errorf("sent %v", all)
		}
		wantFacts(t, o, check.FactsOf(map[string]any{"unix": path, "ip": nil, "family": nil, "version": version, "connection": "fresh"}))
		if _, resolved := o.Phases.Get(check.PhaseResolve); resolved {
			t.Errorf("phases %v", o.Phases)
		}
	}
	probe := reusing(t, "http://docker.example/", func(o *httpOptions) { o.Unix = path })
	for _, want := range []string{"fresh", "reused"} {
		wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": want, "unix": path, "ip": nil, "status": 200}))
	}
}

// TestHTTPUnixSocketIsOneHost leads redirects to the same host and port over the
// socket, and all others to where they say.
func TestHTTPUnixSocketIsOneHost(t *testing.T) {
	t.Parallel()
	other := httpSite(t, nil, testnet.Site())
	path := socketSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/same":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/other":
			http.Redirect(w, r, other+"/json", http.StatusFound)
		}
	}))
	over := func(o *httpOptions) { o.Unix = path }
	wantFacts(t, observeHTTP(t, "http://127.0.0.1/same", patience, over), check.FactsOf(map[string]any{"status": 200, "url": "http://127.0.0.1/", "size": 0}))
	wantFacts(t, observeHTTP(t, "http://127.0.0.1/other", patience, over), check.FactsOf(map[string]any{"status": 200, "url": other + "/json", "ip": "127.0.0.1", "size": 63}))
}

// TestHTTPUnixSocketFailures tells a server that is down from what we may not do.
func TestHTTPUnixSocketFailures(t *testing.T) {
	t.Parallel()
	dead := socketPath(t)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	missing := socketPath(t)
	for path, want := range map[string]string{
		dead: "nothing listens on the socket " + dead, missing: "there is no socket " + missing, tempFile(t, "f", nil): "",
	} {
		wantFailure(t, observeHTTP(t, "http://x.test/", patience, func(o *httpOptions) { o.Unix = path }), check.ConnectRefused, want)
	}
	silent := socketPath(t)
	l, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, l)
	o := patiently(t, buildHTTP(t, "http://x.test/", func(o *httpOptions) { o.Unix = silent }).Probe, brief, check.HTTPHeaderTimeout)
	wantFailure(t, o, check.HTTPHeaderTimeout, "no response in time")
}

// TestSocketReasons tells what the system says of a socket.
func TestSocketReasons(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]check.Code{
		syscall.EACCES: check.LocalPermission, syscall.EPERM: check.LocalPermission, syscall.EMFILE: check.LocalFD,
		syscall.ENOENT: check.ConnectRefused, syscall.ECONNREFUSED: check.ConnectRefused, syscall.ENOTSOCK: check.ConnectRefused,
		syscall.EAGAIN: check.ConnectRefused, syscall.ECONNRESET: check.ConnectReset,
		context.DeadlineExceeded: check.ConnectTimeout, context.Canceled: check.LocalShutdown,
	} {
		got := socketReason(&net.OpError{Op: "dial", Net: "unix", Err: err}, "/run/x", time.Second)
		if got.Code != want || want != check.LocalShutdown && !strings.Contains(got.Message, "/run/x") {
			t.Errorf("%v: %v, want %s", err, got, want)
		}
	}
}

func TestHTTPUnixOptionErrors(t *testing.T) {
	t.Parallel()
	wantOptionError(t, "unix: the path has 200 bytes, that of a Unix socket at most", func(o *httpOptions) { o.Unix = "/" + strings.Repeat("x", 199) })
	for option, change := range map[string]func(*httpOptions){
		"proxy":    func(o *httpOptions) { o.Proxy = "http://p:1" },
		"address":  func(o *httpOptions) { o.Address = "127.0.0.1" },
		"source":   func(o *httpOptions) { o.Source = []string{"127.0.0.1"} },
		"resolver": func(o *httpOptions) { o.Resolver = "127.0.0.1" },
		"family":   func(o *httpOptions) { o.Family = "4" },
	} {
		wantOptionError(t, option+": goes with no unix", func(o *httpOptions) { o.Unix = "/run/x"; change(o) })
	}
}
