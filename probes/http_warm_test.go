package probes

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// both makes a check that asks twice.
func both(o *httpOptions) { o.Connection = connectionBoth }

// TestBoth asks twice over one connection, in each version of HTTP.
func TestBoth(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Peer", r.RemoteAddr)
		_, _ = w.Write([]byte("hello"))
	})
	config := quicTLS(t, "http/1.1")
	config.NextProtos = []string{"h2", "http/1.1"}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: config}
	go func() { _ = server.ServeTLS(tcp, "", "") }()
	closeLater(t, server)
	sites := map[string]string{"3": http3Site(t, quicTLS(t, "h3"), handler)}
	sites["1.1"], sites["2"] = "https://"+tcp.Addr().String(), "https://"+tcp.Addr().String()
	for version, site := range sites {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			t.Run(version+" "+method, func(t *testing.T) {
				t.Parallel()
				trust := h3(t)
				plan := buildHTTP(t, site, func(o *httpOptions) {
					trust(o)
					both(o)
					o.Version, o.Method = version, method
					if method == "POST" {
						o.Body = "a body"
					}
				}, "body")
				for range 2 {
					start := time.Now()
					o := plan.Probe.Observe(timeout(t, patience))
					whole := time.Since(start)
					cold, _ := o.Facts.Get("cold.latency").(time.Duration)
					warm, _ := o.Facts.Get("warm.latency").(time.Duration)
					if !o.Failure.IsZero() || o.Facts.Get("warm.possible") != true || o.Facts.Get("warm.status") != 200 || cold <= 0 || warm <= 0 {
						t.Fatalf("%v: %v", o.Failure, o.Facts)
					}
					if o.Facts.Get("connection") != "fresh" || o.Facts.Get("version") != version {
						t.Errorf("%v", o.Facts)
					}
					if o.Latency < cold || o.Latency+warm > whole {
						t.Errorf("latency %v, cold %v, warm %v of %v", o.Latency, cold, warm, whole)
					}
				}
			})
		}
	}
}

// TestBothOneConnection has a server that takes one connection, ever.
func TestBothOneConnection(t *testing.T) {
	t.Parallel()
	conns := make(chan struct{}, 9)
	site := rawSite(t, func(conn net.Conn) {
		conns <- struct{}{}
		replies(conn, okHead+"Content-Length: 2\r\n\r\nok", "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
	})
	plan := buildHTTP(t, site, both)
	o := plan.Probe.Observe(timeout(t, patience))
	if !o.Failure.IsZero() || o.Facts.Get("status") != 200 || o.Facts.Get("warm.status") != 503 || len(conns) != 1 {
		t.Errorf("%v: %v over %d connections", o.Failure, o.Facts, len(conns))
	}
	found := false
	for _, d := range plan.Defaults {
		found = found || d.Expect == "warm.status == status" && d.WhenSeen
	}
	if !found {
		t.Errorf("nothing judges the second response: %v", plan.Defaults)
	}
}

// TestBothNotKept has servers that end the connection after the first response,
// announced or not. That is no failure.
func TestBothNotKept(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(net.Conn){
		"announced":  func(c net.Conn) { replies(c, okHead+"Connection: close\r\nContent-Length: 2\r\n\r\nok") },
		"not":        func(c net.Conn) { replies(c, okHead+"Content-Length: 2\r\n\r\nok") },
		"until end":  func(c net.Conn) { replies(c, okHead+"\r\nok") },
		"extra byte": func(c net.Conn) { replies(c, okHead+"Content-Length: 2\r\n\r\nok!") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			notKept(t, buildHTTP(t, rawSite(t, handler), both))
		})
	}
	t.Run("HTTP/3", func(t *testing.T) {
		t.Parallel()
		trust := h3(t)
		goaway := append(append([]byte(nil), h3Hello...), h3GoAway, 1, 4)
		answer := sayAndEnd(h3Section(":status", "200"), h3FrameOf(h3Data, []byte("ok")))
		site := h3Raw(t, goaway, func(conn *quic.Conn, stream *quic.Stream) {
			if stream.StreamID() == 0 {
				answer(conn, stream)
			} else { // was on its way before the GOAWAY was read
				stream.CancelWrite(h3RequestRejected)
			}
		})
		notKept(t, buildHTTP(t, site, func(o *httpOptions) { trust(o); both(o) }))
	})
}

func notKept(t *testing.T, plan check.Plan) {
	t.Helper()
	o := plan.Probe.Observe(timeout(t, patience))
	if !o.Failure.IsZero() || o.Facts.Get("warm.possible") != false || o.Facts.Get("cold.latency") == nil {
		t.Errorf("%v: %v", o.Failure, o.Facts)
	}
	if why := o.Because["warm.latency"]; why.Code != "expect.warm.latency" || !strings.Contains(why.Message, "connection") {
		t.Errorf("because %v", o.Because)
	}
}

// TestBothFails names what went wrong with the second request.
func TestBothFails(t *testing.T) {
	t.Parallel()
	const first = okHead + "Content-Length: 2\r\n\r\nok"
	for name, tt := range map[string]struct {
		second string
		code   check.Code
	}{
		"malformed": {"nonsense\r\n\r\n", check.HTTPMalformed},
		"cut":       {okHead + "Content-Length: 9\r\n\r\nok", check.HTTPTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := rawSite(t, func(c net.Conn) { replies(c, first, tt.second) })
			o := buildHTTP(t, site, both).Probe.Observe(timeout(t, patience))
			wantFailure(t, o, tt.code, "the second request, over the same connection: ")
			if o.Facts.Get("status") != 200 || o.Facts.Get("warm.possible") != true {
				t.Errorf("%v", o.Facts)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		site := rawSite(t, func(c net.Conn) { replies(c, first); testnet.Silence(c) })
		o := patiently(t, buildHTTP(t, site, both).Probe, brief, check.HTTPHeaderTimeout, "the second request")
		wantFailure(t, o, check.HTTPHeaderTimeout, "the second request")
	})
	t.Run("HTTP/3", func(t *testing.T) {
		t.Parallel()
		trust := h3(t)
		site := h3Raw(t, h3Hello, func(c *quic.Conn, s *quic.Stream) {
			if s.StreamID() > 0 {
				s.CancelWrite(0x102)
				return
			}
			sayAndEnd(h3Section(":status", "200"))(c, s)
		})
		o := buildHTTP(t, site, func(o *httpOptions) { trust(o); both(o) }).Probe.Observe(timeout(t, patience))
		wantFailure(t, o, check.HTTPStreamReset, "the second request")
	})
}

// TestBothTruncated cannot ask again where the first response was not read out.
func TestBothTruncated(t *testing.T) {
	t.Parallel()
	site := rawSite(t, func(c net.Conn) { replies(c, okHead+"Content-Length: 20\r\n\r\n01234567890123456789") })
	o := buildHTTP(t, site, func(o *httpOptions) { both(o); o.MaxBody = 10 }).Probe.Observe(timeout(t, patience))
	if !o.Failure.IsZero() || o.Facts.Get("warm.possible") != false || !strings.Contains(o.Because["warm.latency"].Message, "max_body") {
		t.Errorf("%v %v", o.Failure, o.Because)
	}
}

// TestPromise7QUIC runs alone, because it counts the process's descriptors and
// goroutines.
func TestPromise7QUIC(t *testing.T) {
	before, ignore := descriptors(t), goleak.IgnoreCurrent()
	t.Run("probes", func(t *testing.T) { // and their servers, which end with it
		site := http3Site(t, quicTLS(t, "h3"), http3Mux())
		silent := udpPeer(t, func([]byte) []byte { return nil })
		trust := h3(t)
		plans := []check.Plan{
			buildHTTP(t, site+"/hello", trust),
			buildHTTP(t, site+"/hello", func(o *httpOptions) { trust(o); both(o) }),
			buildHTTP(t, site+"/hello", func(o *httpOptions) { o.Version = "3" }), // not trusted
			buildHTTP(t, "https://"+silent, trust),
			buildHTTP(t, h3Raw(t, h3Hello, sayAndStall()), trust),
			buildHTTP(t, h3Raw(t, h3Hello, sayAndStall()), func(o *httpOptions) { trust(o); o.Body = strings.Repeat("x", 1<<20) }),
		}
		for i := range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			plans[i%len(plans)].Probe.Observe(ctx)
			cancel()
		}
	})
	noneLeft(t, ignore)
	if after := descriptors(t); after > before+8 { // a few are the runtime's own
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// replies answers one request after the other, and closes.
func replies(conn net.Conn, texts ...string) {
	in := bufio.NewReader(conn)
	for _, text := range texts {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}
