package probes

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// http3Mux is a good site.
func http3Mux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello "+r.Proto) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/hello", http.StatusFound) })
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/", http.StatusFound)
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, "squeezed")
		z.Close()
	})
	mux.HandleFunc("/trailer", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "body")
		w.Header().Set(http.TrailerPrefix+"Sum", "1")
	})
	return mux
}

func TestHTTP3(t *testing.T) {
	t.Parallel()
	site := http3Site(t, quicTLS(t, "h3"), http3Mux())
	large := strings.Repeat("0123456789abcdef", 40<<10) // more than any window at first
	for name, tt := range map[string]struct {
		path, body, method string
		status             int
		want               string
	}{
		"get":       {path: "/hello", status: 200, want: "hello HTTP/3.0"},
		"post":      {path: "/echo", body: "ping", status: 200, want: "ping"},
		"large":     {path: "/echo", body: large, status: 200, want: large},
		"redirect":  {path: "/away", status: 200, want: "hello HTTP/3.0"},
		"early":     {path: "/early", body: strings.Repeat(large, 4), status: 413},
		"no body":   {path: "/empty", status: 204},
		"head":      {path: "/hello", method: "HEAD", status: 200},
		"gzip":      {path: "/gzip", status: 200, want: "squeezed"},
		"trailers":  {path: "/trailer", status: 200, want: "body"},
		"not found": {path: "/none", status: 404, want: "404 page not found\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trust := h3(t)
			probe := buildHTTP(t, site+tt.path, func(o *httpOptions) {
				trust(o)
				o.Body, o.Method, o.MaxBody = tt.body, tt.method, 4<<20
			}, "body", "headers").Probe
			o := probe.Observe(timeout(t, patience))
			if !o.Failure.IsZero() || o.Facts.Get("status") != tt.status || o.Facts.Get("version") != "3" {
				t.Fatalf("%v: %v", o.Failure, o.Facts)
			}
			if got, _ := o.Facts.Get("body").(string); got != tt.want {
				t.Errorf("body of %d bytes, want %d: %.40q", len(got), len(tt.want), got)
			}
		})
	}
}

// TestHTTP3Observation looks at what the handshake gives.
func TestHTTP3Observation(t *testing.T) {
	t.Parallel()
	site := http3Site(t, quicTLS(t, "h3"), http3Mux())
	o := buildHTTP(t, site+"/hello", h3(t)).Probe.Observe(timeout(t, patience))
	if !o.Failure.IsZero() {
		t.Fatal(o.Failure)
	}
	for fact, want := range map[string]any{
		"ip": "127.0.0.1", "family": 4, "tls.version": "1.3", "tls.alpn": "h3", "cert.trusted": true, "cert.hostname_ok": true, "connection": "fresh",
	} {
		if got := o.Facts.Get(fact); got != want {
			t.Errorf("%s is %v, want %v", fact, got, want)
		}
	}
	var sum time.Duration
	for _, phase := range []string{check.PhaseConnect, check.PhaseTLS, check.PhaseSend, check.PhaseWait, check.PhaseTransfer} {
		d, ok := o.Phases.Get(phase)
		if !ok {
			t.Errorf("no phase %s", phase)
		}
		sum += d
	}
	if sum > o.Latency {
		t.Errorf("the phases take %v of %v", sum, o.Latency)
	}
	if line := o.Reproduce(); !strings.Contains(line, "--http3-only") {
		t.Errorf("reproduce: %s", line)
	}
}

// TestHTTP3Certificates has the facts where the certificate is not good, and
// nothing sent.
func TestHTTP3Certificates(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cert testnet.CertOptions
		code check.Code
	}{
		"expired":     {testnet.CertOptions{Names: []string{"127.0.0.1"}, NotAfter: time.Now().AddDate(0, 0, -1)}, check.TLSExpired},
		"hostname":    {testnet.CertOptions{Names: []string{"other.test"}}, check.TLSHostname},
		"self-signed": {testnet.CertOptions{Names: []string{"127.0.0.1"}, SelfSigned: true}, check.TLSSelfSigned},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := serverConfig(t, tt.cert)
			config.NextProtos = []string{"h3"}
			site := http3Site(t, config, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request came") }))
			o := buildHTTP(t, site, h3(t)).Probe.Observe(timeout(t, patience))
			wantFailure(t, o, tt.code, "")
			if _, ok := o.Facts.Lookup("cert.sha256"); !ok {
				t.Errorf("facts %v", o.Facts)
			}
		})
	}
}

func TestHTTP3ClientCertificate(t *testing.T) {
	t.Parallel()
	config := quicTLS(t, "h3")
	config.ClientAuth = 2 // tls.RequireAnyClientCert
	site := http3Site(t, config, http3Mux())
	o := buildHTTP(t, site+"/hello", h3(t)).Probe.Observe(timeout(t, patience))
	wantFailure(t, o, check.TLSClientCert, "demands a client certificate")
	if o.Facts.Get("cert.trusted") != true {
		t.Errorf("facts %v", o.Facts)
	}
}

// TestHTTP3NotOffered has a QUIC server of another protocol.
func TestHTTP3NotOffered(t *testing.T) {
	t.Parallel()
	addr := quicServer(t, quicTLS(t, "doq"), nil, func(c *quic.Conn) { <-c.Context().Done() })
	o := buildHTTP(t, "https://"+addr, h3(t)).Probe.Observe(timeout(t, patience))
	wantFailure(t, o, check.TLSAlert, `does not offer "h3"`)
}

// udpPeer answers each datagram as reply says; nil stays silent.
func udpPeer(t *testing.T, reply func(got []byte) []byte) (addr string) {
	t.Helper()
	host, port := listenUDP(t, func(got []byte, answer func([]byte)) {
		if out := reply(got); out != nil {
			answer(out)
		}
	})
	return net.JoinHostPort(host, port)
}

func TestD10NoQUIC(t *testing.T) {
	t.Parallel()
	silent := udpPeer(t, func([]byte) []byte { return nil })
	garbage := udpPeer(t, func([]byte) []byte { return []byte("no idea what you want\n") })
	echo := udpPeer(t, bytes.Clone)
	other := udpPeer(t, testnet.QUICVersions)
	closed := net.JoinHostPort(refused(t))
	for name, tt := range map[string]struct {
		addr string
		d    time.Duration
		code check.Code
		says string
	}{
		"black hole":    {silent, brief, check.ConnectTimeout, "hint: a firewall that drops UDP"},
		"closed port":   {closed, patience, check.ConnectRefused, "refused the connection over UDP"},
		"garbage":       {garbage, brief, check.TLSPlaintext, "does not speak QUIC, it sent \"no idea"},
		"echo":          {echo, brief, check.TLSHandshakeTimeout, "QUIC handshake did not finish"},
		"other version": {other, patience, check.TLSVersion, "does not speak QUIC version 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			probe := buildHTTP(t, "https://"+tt.addr, h3(t)).Probe
			var o check.Observation
			if tt.d == brief {
				o = patiently(t, probe, brief, tt.code, tt.says)
			} else {
				o = probe.Observe(timeout(t, tt.d))
			}
			wantFailure(t, o, tt.code, tt.says)
		})
	}
}

// TestHTTP3Hostile has servers that break the rules once QUIC stands.
func TestHTTP3Hostile(t *testing.T) {
	t.Parallel()
	ok := h3Section(":status", "200")
	body := func(text string) []byte { return h3FrameOf(h3Data, []byte(text)) }
	for name, tt := range map[string]struct {
		control []byte
		say     func(*quic.Conn, *quic.Stream)
		brief   bool
		code    check.Code
		says    string
	}{
		"silence":       {h3Hello, sayAndStall(), true, check.HTTPHeaderTimeout, ""},
		"stalled body":  {h3Hello, sayAndStall(ok, body("hel")), true, check.HTTPBodyTimeout, "3 bytes came"},
		"stalled frame": {h3Hello, sayAndStall(ok, []byte{h3Data, 9, 'x'}), true, check.HTTPBodyTimeout, "1 bytes came"},
		"empty":         {h3Hello, sayAndEnd(), false, check.HTTPTruncated, "before the response"},
		"cut frame":     {h3Hello, sayAndEnd(ok, []byte{h3Data, 9, 'x'}), false, check.HTTPTruncated, "after 1 bytes"},
		"short":         {h3Hello, sayAndEnd(h3Section(":status", "200", "content-length", "9"), body("x")), false, check.HTTPMalformed, "content-length says 9"},
		"long":          {h3Hello, sayAndEnd(h3Section(":status", "200", "content-length", "2"), body("xyz")), false, check.HTTPMalformed, "content-length says 2"},
		"long, unended": {h3Hello, sayAndStall(h3Section(":status", "200", "content-length", "2"), body("xyz")), false, check.HTTPMalformed, "content-length says 2"},
		"two lengths":   {h3Hello, sayAndEnd(h3Section(":status", "200", "content-length", "1", "content-length", "2"), body("x")), false, check.HTTPMalformed, "content-length"},
		"closed in the body": {h3Hello, func(c *quic.Conn, s *quic.Stream) {
			_, _ = s.Write(bytes.Join([][]byte{ok, body("hel")}, nil))
			_ = c.CloseWithError(h3NoError, "")
		}, false, check.HTTPTruncated, "connection was closed"},
		"reset in the body": {h3Hello, resetBehind(ok, body("hel")), false, check.HTTPStreamReset, "H3_INTERNAL_ERROR"},
		"endless frame":     {h3Hello, sayAndStall(ok, append([]byte{0x21}, quicvarint.Append(nil, 1<<40)...)), false, check.HTTPMalformed, "carry nothing"},
		"endless head":      {h3Hello, sayAndStall(append([]byte{h3Headers}, quicvarint.Append(nil, 1<<61)...)), false, check.HTTPHeaderTooLarge, ""},
		"endless data":      {h3Hello, sayAndEnd(ok, append([]byte{h3Data}, quicvarint.Append(nil, 1<<61)...), []byte("x")), false, check.HTTPTruncated, "after 1 bytes"},
		"switch":            {h3Hello, sayAndEnd(h3Section(":status", "101")), false, check.HTTPMalformed, "status"},
		"pseudo field":      {h3Hello, sayAndEnd(h3Section(":status", "200", ":path", "/")), false, check.HTTPMalformed, ":path"},
		"two controls": {h3Hello, func(c *quic.Conn, s *quic.Stream) {
			_, _ = s.Write(ok)
			onUni(c, h3Hello...)
			<-c.Context().Done()
		}, false, check.HTTPMalformed, "second HTTP/3 control stream"},
		"control stream ends": {nil, func(c *quic.Conn, _ *quic.Stream) {
			if uni, err := c.OpenUniStream(); err == nil {
				_, _ = uni.Write(h3Hello)
				_ = uni.Close()
			}
			<-c.Context().Done()
		}, false, check.HTTPMalformed, "closed the HTTP/3 control stream"},
		"reset":             {h3Hello, func(_ *quic.Conn, s *quic.Stream) { s.CancelWrite(0x102) }, false, check.HTTPStreamReset, "H3_INTERNAL_ERROR"},
		"unknown reset":     {h3Hello, func(_ *quic.Conn, s *quic.Stream) { s.CancelWrite(0x999) }, false, check.HTTPStreamReset, "error 0x999"},
		"connection error":  {h3Hello, func(c *quic.Conn, _ *quic.Stream) { _ = c.CloseWithError(0x107, "too much") }, false, check.HTTPGoAway, `H3_EXCESSIVE_LOAD "too much"`},
		"connection closed": {h3Hello, func(c *quic.Conn, _ *quic.Stream) { _ = c.CloseWithError(h3NoError, "") }, false, check.HTTPTruncated, "connection was closed before the response"},
		"goaway":            {append(bytes.Clone(h3Hello), h3GoAway, 1, 0), sayAndStall(), false, check.HTTPGoAway, "without looking"},
		"bad goaway":        {append(bytes.Clone(h3Hello), h3GoAway, 2, 0, 0), sayAndStall(), false, check.HTTPMalformed, "GOAWAY"},
		"no settings":       {[]byte{h3ControlStream, h3GoAway, 1, 4}, sayAndStall(), false, check.HTTPMalformed, "begin with SETTINGS"},
		"settings twice":    {[]byte{h3ControlStream, h3Settings, 0, h3Settings, 0}, sayAndStall(), false, check.HTTPMalformed, "SETTINGS"},
		"data on control":   {append(bytes.Clone(h3Hello), h3Data, 0), sayAndStall(), false, check.HTTPMalformed, "control stream"},
		"push":              {[]byte{h3PushStream, 0}, sayAndStall(), false, check.HTTPMalformed, "push"},
		"push promise":      {h3Hello, sayAndEnd(h3FrameOf(h3Push, []byte{0})), false, check.HTTPMalformed, "type 0x5"},
		"data first":        {h3Hello, sayAndEnd(body("x"), ok), false, check.HTTPMalformed, "before the response's head"},
		"no status":         {h3Hello, sayAndEnd(h3Section("a", "b")), false, check.HTTPMalformed, "status"},
		"odd status":        {h3Hello, sayAndEnd(h3Section(":status", "2e2")), false, check.HTTPMalformed, "status"},
		"two statuses":      {h3Hello, sayAndEnd(h3Section(":status", "200", ":status", "500")), false, check.HTTPMalformed, ":status"},
		"upper case":        {h3Hello, sayAndEnd(h3Section(":status", "200", "Server", "x")), false, check.HTTPMalformed, "Server"},
		"hop by hop":        {h3Hello, sayAndEnd(h3Section(":status", "200", "transfer-encoding", "chunked")), false, check.HTTPMalformed, "transfer-encoding"},
		"line break":        {h3Hello, sayAndEnd(h3Section(":status", "200", "x", "a\r\nb")), false, check.HTTPMalformed, "control characters"},
		"huge head":         {h3Hello, sayAndEnd(h3Section(":status", "200", "x", strings.Repeat("~", 70<<10))), false, check.HTTPHeaderTooLarge, ""},
		"many headers":      {h3Hello, sayAndEnd(h3Section(append([]string{":status", "200"}, manyFields(501)...)...)), false, check.HTTPHeaderTooLarge, ""},
		"interim flood":     {h3Hello, sayAndEnd(bytes.Repeat(h3Section(":status", "103"), 20)), false, check.HTTPMalformed, "interim"},
		"empty frames":      {h3Hello, sayAndEnd(ok, bytes.Repeat(body(""), h2MaxIdle+1)), false, check.HTTPMalformed, "carry nothing"},
		"extension flood":   {h3Hello, sayAndEnd(h3FrameOf(0x21, make([]byte, 300<<10))), false, check.HTTPHeaderTooLarge, ""},
		"dynamic table":     {h3Hello, sayAndEnd(h3FrameOf(h3Headers, []byte{2, 0, 0x80})), false, check.HTTPMalformed, "compression"},
		"control flood":     {append(bytes.Clone(h3Hello), h3FrameOf(0x21, make([]byte, 70<<10))...), sayAndStall(), false, check.HTTPMalformed, "64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			probe := buildHTTP(t, h3Raw(t, tt.control, tt.say), h3(t), "body", "headers").Probe
			var o check.Observation
			if tt.brief {
				o = patiently(t, probe, brief, tt.code, tt.says)
			} else {
				o = probe.Observe(timeout(t, patience))
			}
			wantFailure(t, o, tt.code, tt.says)
		})
	}
}

// resetBehind writes the parts and resets the stream.
func resetBehind(parts ...[]byte) func(*quic.Conn, *quic.Stream) {
	return func(c *quic.Conn, s *quic.Stream) {
		_, _ = s.Write(bytes.Join(parts, nil))
		s.CancelWrite(0x102)
	}
}

func manyFields(n int) (pairs []string) {
	for range n {
		pairs = append(pairs, "a", "b")
	}
	return pairs
}

// TestHTTP3EndlessBody reads no more than max_body of it.
func TestHTTP3EndlessBody(t *testing.T) {
	t.Parallel()
	site := h3Raw(t, h3Hello, func(_ *quic.Conn, s *quic.Stream) {
		_, _ = s.Write(h3Section(":status", "200"))
		for {
			if _, err := s.Write(h3FrameOf(h3Data, make([]byte, 16<<10))); err != nil {
				return
			}
		}
	})
	o := buildHTTP(t, site, h3(t), "body").Probe.Observe(timeout(t, patience))
	if !o.Failure.IsZero() || o.Facts.Get("truncated") != true {
		t.Errorf("%v %v", o.Failure, o.Facts)
	}
}

// TestHTTP3RedirectToPlain does not leave HTTP/3.
func TestHTTP3RedirectToPlain(t *testing.T) {
	t.Parallel()
	o := buildHTTP(t, http3Site(t, quicTLS(t, "h3"), http3Mux())+"/plain", h3(t)).Probe.Observe(timeout(t, patience))
	if o.Facts.Get("status") != 302 || !strings.Contains(o.Because["status"].Message, "version: 3 cannot go") {
		t.Errorf("%v because %v", o.Facts, o.Because)
	}
}

// TestHTTP3Cancelled is our own doing.
func TestHTTP3Cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := contextWithCancel(t)
	site := h3Raw(t, h3Hello, func(c *quic.Conn, _ *quic.Stream) {
		cancel()
		<-c.Context().Done()
	})
	wantFailure(t, buildHTTP(t, site, h3(t)).Probe.Observe(ctx), check.LocalShutdown, "")
}

func TestHTTP3Options(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		url    string
		change func(*httpOptions)
		says   string
	}{
		"http":    {"http://a.test", func(*httpOptions) {}, "version: HTTP/3 is for https:// URLs only"},
		"proxy":   {"https://a.test", func(o *httpOptions) { o.Proxy = "http://p.test:1" }, "proxy: goes with TCP"},
		"reuse":   {"https://a.test", func(o *httpOptions) { o.Connection = "reuse" }, "connection: version: 3 keeps no connection"},
		"reset":   {"https://a.test", func(o *httpOptions) { o.Close = "reset" }, "close: reset is for TCP"},
		"TLS 1.2": {"https://a.test", func(o *httpOptions) { o.TLS.MaxVersion = "1.2" }, "tls.max_version: version: 3 needs TLS 1.3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newHTTPOptions()
			o.URL, o.Version = tt.url, "3"
			tt.change(o)
			if _, err := o.Build(needs()); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// TestHTTP3HeldMemory looks at the live heap while servers hold many probes at
// their fullest: a body that is all but complete.
func TestHTTP3HeldMemory(t *testing.T) {
	const probes = 6
	arrived := make(chan struct{}, probes)
	site := h3Raw(t, h3Hello, func(c *quic.Conn, s *quic.Stream) {
		_, _ = s.Write(h3Section(":status", "200", "x", strings.Repeat("y", 60<<10)))
		_, _ = s.Write(append(h3FrameOf(h3Data, make([]byte, 1<<20-4096)), h3Data, 9))
		arrived <- struct{}{}
		<-c.Context().Done()
	})
	probe := buildHTTP(t, site, h3(t), "body", "headers").Probe
	ctx, cancel := contextWithCancel(t)
	before := liveHeap()
	ended := make(chan check.Observation, probes)
	for range probes {
		go func() { ended <- probe.Observe(ctx) }()
	}
	for range probes {
		<-arrived
	}
	var most uint64
	for range 5 {
		most = max(most, liveHeap())
	}
	cancel()
	for range probes {
		wantFailure(t, <-ended, check.LocalShutdown, "")
	}
	// The server's side counts in this process, too.
	if each := (int64(most) - int64(before)) / probes; each > heapPerProbe {
		t.Errorf("%d KiB of heap per probe, promised are %d", each>>10, heapPerProbe>>10)
	} else {
		t.Logf("%d KiB of heap per probe", each>>10)
	}
}
