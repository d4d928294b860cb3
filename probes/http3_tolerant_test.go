package probes

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// onUni sends data on a stream of the server's own.
func onUni(conn *quic.Conn, data ...byte) {
	if uni, err := conn.OpenUniStream(); err == nil {
		_, _ = uni.Write(data)
	}
}

// TestHTTP3Tolerates has good servers that do what RFC 9114 and RFC 9204 allow and
// clients seldom see. Each answers 200 with the body "hello".
func TestHTTP3Tolerates(t *testing.T) {
	t.Parallel()
	ok, trailers := h3Section(":status", "200"), h3Section("sum", "1")
	hello, grease := h3FrameOf(h3Data, []byte("hello")), h3FrameOf(0x1f*7+0x21, []byte("of no meaning"))
	answer := sayAndEnd(ok, hello)
	for name, tt := range map[string]struct {
		control []byte
		say     func(*quic.Conn, *quic.Stream)
	}{
		"reserved frames":                       {h3Hello, sayAndEnd(grease, ok, grease, h3FrameOf(h3Data, []byte("hel")), grease, h3FrameOf(h3Data, []byte("lo")), grease)},
		"reserved frames on the control stream": {slices.Concat(h3Hello, grease, grease), answer},
		"settings": {slices.Concat([]byte{h3ControlStream}, h3FrameOf(h3Settings, slices.Concat(
			quicvarint.Append([]byte{0x01}, 4096), quicvarint.Append([]byte{0x07}, 100), quicvarint.Append(quicvarint.Append(nil, 0x1f*9+0x21), 7),
		))), answer},
		"reserved streams": {h3Hello, func(c *quic.Conn, s *quic.Stream) {
			onUni(c, append(quicvarint.Append(nil, 0x1f*3+0x21), "of no meaning"...)...)
			onUni(c)
			answer(c, s)
		}},
		"streams of QPACK": {h3Hello, func(c *quic.Conn, s *quic.Stream) {
			onUni(c, h3EncoderStream, 0x20) // a dynamic table of no bytes
			onUni(c, h3DecoderStream)
			answer(c, s)
		}},
		"settings come late": {nil, func(c *quic.Conn, s *quic.Stream) {
			_, _ = s.Write(ok)
			onUni(c, h3Hello...)
			_, _ = s.Write(hello)
			_ = s.Close()
		}},
		"interim responses":         {h3Hello, sayAndEnd(h3Section(":status", "100"), h3Section(":status", "103", "link", "</a>"), ok, hello)},
		"trailers":                  {h3Hello, sayAndEnd(ok, hello, trailers, grease)},
		"empty frames":              {h3Hello, sayAndEnd(ok, h3FrameOf(h3Data, nil), hello, h3FrameOf(h3Data, nil))},
		"GOAWAY behind the request": {slices.Concat(h3Hello, []byte{h3GoAway, 1, 4}), answer},
		"length":                    {h3Hello, sayAndEnd(h3Section(":status", "200", "content-length", "5"), hello)},
		"two frames and a length":   {h3Hello, sayAndEnd(h3Section(":status", "200", "content-length", "5"), h3FrameOf(h3Data, []byte("he")), h3FrameOf(h3Data, []byte("llo")))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := buildHTTP(t, h3Raw(t, tt.control, tt.say), h3(t), "body").Probe.Observe(timeout(t, patience))
			if wantFailure(t, o, ""); o.Facts.Get("status") != 200 || o.Facts.Get("body") != "hello" {
				t.Errorf("%v", o.Facts)
			}
		})
	}
}

// TestHTTP3StopSending has a server that answers without the request's body, which it
// does not want (RFC 9114, section 4.1).
func TestHTTP3StopSending(t *testing.T) {
	t.Parallel()
	addr := quicServer(t, quicTLS(t, "h3"), &quic.Config{InitialStreamReceiveWindow: 1 << 10, MaxStreamReceiveWindow: 1 << 10}, func(c *quic.Conn) {
		onUni(c, h3Hello...)
		stream, err := c.AcceptStream(c.Context())
		if err != nil {
			return
		}
		stream.CancelRead(h3NoError)
		sayAndEnd(h3Section(":status", "200"), h3FrameOf(h3Data, []byte("hello")))(c, stream)
		<-c.Context().Done()
	})
	trust := h3(t)
	o := buildHTTP(t, "https://"+addr, func(o *httpOptions) { trust(o); o.Body = strings.Repeat("x", 100<<10) }, "body").Probe.Observe(timeout(t, patience))
	if wantFailure(t, o, ""); o.Facts.Get("body") != "hello" {
		t.Errorf("%v", o.Facts)
	}
}

// TestHTTP3NoBody has answers that have none, whatever length they tell.
func TestHTTP3NoBody(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method, status string
	}{"HEAD": {"HEAD", "200"}, "204": {"GET", "204"}, "304": {"GET", "304"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trust := h3(t)
			o := buildHTTP(t, h3Raw(t, h3Hello, sayAndEnd(h3Section(":status", tt.status, "content-length", "9"))), func(o *httpOptions) {
				trust(o)
				o.Method = tt.method
			}, "body").Probe.Observe(timeout(t, patience))
			if wantFailure(t, o, ""); o.Facts.Get("body") != "" || o.Facts.Get("size") != 0 {
				t.Errorf("%v", o.Facts)
			}
		})
	}
}

// TestHTTP3Retry has a server that lets the client prove its address first, and no
// session to go on with (RFC 9000, section 8.1.2).
func TestHTTP3Retry(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	port := quicTransportOf(t, conn)
	asked := make(chan struct{}, 8)
	port.VerifySourceAddress = func(net.Addr) bool {
		asked <- struct{}{}
		return true
	}
	early := make(chan bool, 2)
	addr := quicServerOn(t, port, quicTLS(t, "h3"), &quic.Config{Allow0RTT: true}, func(c *quic.Conn) {
		state := c.ConnectionState()
		early <- state.Used0RTT || state.TLS.DidResume
		onUni(c, h3Hello...)
		if stream, err := c.AcceptStream(c.Context()); err == nil {
			_, _ = io.ReadAll(stream)
			sayAndEnd(h3Section(":status", "200"))(c, stream)
		}
		<-c.Context().Done()
	})
	probe := buildHTTP(t, "https://"+addr, h3(t)).Probe
	for range 2 {
		o := probe.Observe(timeout(t, patience))
		if wantFailure(t, o, ""); o.Facts.Get("status") != http.StatusOK {
			t.Errorf("%v", o.Facts)
		}
		if <-early {
			t.Error("a session was resumed")
		}
	}
	if len(asked) < 2 {
		t.Errorf("%d connections had to prove their address", len(asked))
	}
}

// TestHTTP3Forgotten has a server that loses its memory in the middle of an exchange:
// its port is served by another that knows nothing of the connection.
func TestHTTP3Forgotten(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, conn)
	key := &quic.StatelessResetKey{1}
	before := &quic.Transport{Conn: conn, StatelessResetKey: key}
	after := &quic.Transport{Conn: conn, StatelessResetKey: key}
	t.Cleanup(func() { _ = after.Close() })
	addr := quicServerOn(t, before, quicTLS(t, "h3"), nil, func(c *quic.Conn) {
		onUni(c, h3Hello...)
		if stream, err := c.AcceptStream(c.Context()); err == nil {
			_, _ = io.ReadFull(stream, make([]byte, 100<<10)) // most of the body: the rest is on its way
		}
		_ = before.Close() // which tells the client nothing
		if _, err := after.Listen(quicTLS(t, "h3"), nil); err != nil {
			t.Error(err)
		}
	})
	trust := h3(t)
	o := buildHTTP(t, "https://"+addr, func(o *httpOptions) { trust(o); o.Body = strings.Repeat("x", 2<<20) }).Probe.Observe(timeout(t, patience))
	wantFailure(t, o, check.ConnectReset, "stateless reset")
}

func TestHTTP3IPv6(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	config := serverConfig(t, testnet.CertOptions{Names: []string{"::1"}})
	config.NextProtos = []string{"h3"}
	addr := quicServerOn(t, quicTransportOf(t, conn), config, nil, func(c *quic.Conn) {
		onUni(c, h3Hello...)
		if stream, err := c.AcceptStream(c.Context()); err == nil {
			sayAndEnd(h3Section(":status", "204"))(c, stream)
		}
		<-c.Context().Done()
	})
	o := buildHTTP(t, "https://"+addr, h3(t)).Probe.Observe(timeout(t, patience))
	if wantFailure(t, o, ""); o.Facts.Get("ip") != "::1" || o.Facts.Get("family") != 6 || o.Facts.Get("cert.hostname_ok") != true {
		t.Errorf("%v", o.Facts)
	}
}
