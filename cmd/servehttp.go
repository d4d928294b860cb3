package cmd

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/sonde-cli/sonde/web"
)

// Bounds of the HTTP server. Streams and scrapes set their own deadlines for
// what they write.
const (
	headTime  = 10 * time.Second
	readTime  = 30 * time.Second
	writeTime = 3 * time.Minute // longer than the longest probe on demand
	idleTime  = 2 * time.Minute
	headBytes = 64 << 10
)

// httpServer is the running HTTP server.
type httpServer struct {
	*http.Server
	failed chan error // gets an error when serving ends by itself
}

// serveHTTP starts to answer requests.
func (d *server) serveHTTP(listener net.Listener) *httpServer {
	d.warnExposed(listener.Addr())
	s := &httpServer{failed: make(chan error, 1), Server: &http.Server{
		Handler: d.web.Handler(), ReadHeaderTimeout: headTime, ReadTimeout: readTime, WriteTimeout: writeTime,
		IdleTimeout: idleTime, MaxHeaderBytes: headBytes, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}}
	flags := &toolkit.FlagConfig{WebConfigFile: &d.flags.webConfig}
	quiet := slog.New(belowWarn{d.log.Handler()})
	go func() {
		if err := toolkit.Serve(listener, s.Server, flags, quiet); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	return s
}

// hosts returns those that requests may name: any, unless the server listens on
// loopback or is told some.
func (f *serveFlags) hosts(addr net.Addr) []string {
	if !onLoopback(addr) && len(f.allowHosts.values) == 0 {
		return nil
	}
	return web.Hosts(append([]string{f.listen}, f.allowHosts.values...)...)
}

// onLoopback reports whether nobody else can reach the address.
func onLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// warnExposed warns of an address that others can reach, which without users
// and TLS shows them what is measured.
func (d *server) warnExposed(addr net.Addr) {
	if onLoopback(addr) {
		return
	}
	message, hint := "others can reach the HTTP server, and it asks nobody for a password", "--web-config sets up users and TLS"
	if d.flags.webConfig != "" {
		message, hint = "others can reach the HTTP server", "see that "+d.flags.webConfig+" sets up users and TLS"
	}
	d.log.Warn(message, "address", addr.String(), "hint", hint)
}
