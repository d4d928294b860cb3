package probes

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"github.com/sonde-cli/sonde/check"
)

// corkConn is the socket of a server that can hold its packets back, to send them
// all at once. wrote says that there is one more.
type corkConn struct {
	net.PacketConn
	wrote chan struct{}

	mu     sync.Mutex
	corked bool
	held   [][]byte
	id     [4]byte // quic-go's are as long
	peer   net.Addr
}

func newCorkConn(t *testing.T) *corkConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &corkConn{PacketConn: conn, wrote: make(chan struct{}, 1)}
}

// SetReadBuffer and SetWriteBuffer are for quic-go, which else complains.
func (c *corkConn) SetReadBuffer(int) error  { return nil }
func (c *corkConn) SetWriteBuffer(int) error { return nil }

func (c *corkConn) WriteTo(b []byte, peer net.Addr) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.corked {
		return c.PacketConn.WriteTo(b, peer)
	}
	c.held, c.peer = append(c.held, bytes.Clone(b)), peer
	select {
	case c.wrote <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (c *corkConn) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
}

func (c *corkConn) uncork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.held {
		_, _ = c.PacketConn.WriteTo(b, c.peer)
	}
	c.corked, c.held = false, nil
}

// sayAndClose writes the parts, ends the stream and the connection, and lets all of
// that arrive at the same time.
func (c *corkConn) sayAndClose(conn *quic.Conn, s *quic.Stream, code quic.ApplicationErrorCode, parts ...[]byte) {
	c.say(s, parts...)
	defer c.uncork()
	_ = conn.CloseWithError(code, "")
}

// say writes the parts and ends the stream, and holds all of that back.
func (c *corkConn) say(s *quic.Stream, parts ...[]byte) {
	c.cork()
	for _, part := range parts {
		select {
		case <-c.wrote:
		default:
		}
		_, _ = s.Write(part)
		<-c.wrote // else quic-go forgets it
	}
	select {
	case <-c.wrote:
	default:
	}
	_ = s.Close()
	<-c.wrote
}

// ReadFrom remembers by which ID the peer last knew the connection.
func (c *corkConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, peer, err := c.PacketConn.ReadFrom(b)
	if err == nil && n > len(c.id) && b[0]&0x80 == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		copy(c.id[:], b[1:])
	}
	return n, peer, err
}

// reset is a stateless reset for the connection, as quic-go makes it.
func (c *corkConn) reset(key quic.StatelessResetKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	token := hmac.New(sha256.New, key[:])
	_, _ = token.Write(c.id[:])
	return append(append([]byte{0x40}, make([]byte, 30)...), token.Sum(nil)[:16]...)
}

// closings is how often a server answers and closes at once: without care some of the
// answers are lost.
const closings = 30

func TestHTTP3AnswerAndClose(t *testing.T) {
	t.Parallel()
	port := newCorkConn(t)
	addr := quicServerOn(t, quicTransportOf(t, port), quicTLS(t, "h3"), nil, func(conn *quic.Conn) {
		uni, err := conn.OpenUniStream()
		if err != nil {
			return
		}
		_, _ = uni.Write(h3Hello)
		stream, err := conn.AcceptStream(conn.Context())
		if err != nil {
			return
		}
		_, _ = io.ReadAll(stream)
		port.sayAndClose(conn, stream, h3NoError, h3Section(":status", "200"), h3FrameOf(h3Data, []byte("hello ")), h3FrameOf(h3Data, []byte("world")))
	})
	probe := buildHTTP(t, "https://"+addr, h3(t), "body").Probe
	for range closings {
		o := probe.Observe(timeout(t, patience))
		if wantFailure(t, o, ""); o.Facts.Get("body") != "hello world" {
			t.Fatalf("body %v", o.Facts.Get("body"))
		}
	}
}

func TestDNSOverQUICAnswerAndClose(t *testing.T) {
	t.Parallel()
	port := newCorkConn(t)
	addr := quicServerOn(t, quicTransportOf(t, port), quicTLS(t, doqProtocol), nil, func(conn *quic.Conn) {
		stream, err := conn.AcceptStream(conn.Context())
		if err != nil {
			return
		}
		raw, _ := io.ReadAll(stream)
		query := new(dns.Msg)
		if len(raw) < 2 || query.Unpack(raw[2:]) != nil {
			return
		}
		answer := withLength(t, web(t, query))
		port.sayAndClose(conn, stream, 0, answer[:2], answer[2:])
	})
	probe := buildDNS(t, addr, overDoQ(t))
	for range closings {
		o := observeDNS(t, probe, patience)
		if wantFailure(t, o, ""); t.Failed() {
			return
		}
		wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{"192.0.2.1"}}))
	}
}

// TestQUICAnswerAndGone has servers that answer and are gone: their port is closed, or
// they have forgotten the connection (a stateless reset, RFC 9000, section 10.3). What
// they said is the answer all the same.
func TestQUICAnswerAndGone(t *testing.T) {
	t.Parallel()
	key := quic.StatelessResetKey{1, 2, 3}
	for name, goes := range map[string]func(*corkConn){
		"port closed":     func(port *corkConn) { port.Close() },
		"stateless reset": func(port *corkConn) { _, _ = port.PacketConn.WriteTo(port.reset(key), port.peer) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range closings {
				port := newCorkConn(t)
				transport := quicTransportOf(t, port)
				transport.StatelessResetKey = &key
				addr := quicServerOn(t, transport, quicTLS(t, doqProtocol), nil, func(conn *quic.Conn) {
					stream, err := conn.AcceptStream(conn.Context())
					if err != nil {
						return
					}
					raw, _ := io.ReadAll(stream)
					query := new(dns.Msg)
					if len(raw) < 2 || query.Unpack(raw[2:]) != nil {
						return
					}
					answer := withLength(t, web(t, query))
					port.say(stream, answer[:2], answer[2:])
					port.uncork()
					goes(port)
					<-conn.Context().Done()
				})
				o := observeDNS(t, buildDNS(t, addr, overDoQ(t)), patience)
				_ = transport.Close()
				if wantFailure(t, o, ""); t.Failed() {
					return
				}
			}
		})
	}
}

// TestQUICUnreadClose has a server that answers and closes while nobody reads the
// answer. That ends with us, and not when the settling time is over.
func TestQUICUnreadClose(t *testing.T) {
	t.Parallel()
	port := newCorkConn(t)
	addr := quicServerOn(t, quicTransportOf(t, port), quicTLS(t, "h3"), nil, func(conn *quic.Conn) {
		if stream, err := conn.AcceptStream(conn.Context()); err == nil {
			port.sayAndClose(conn, stream, h3NoError, []byte("unread"))
		}
	})
	ctx := timeout(t, patience)
	q, err := quicAim{plan: &tlsPlan{}, host: "127.0.0.1", protocol: "h3"}.open(ctx, "", netip.Addr{}, netip.MustParseAddrPort(addr))
	if err != nil || q.failed != nil {
		t.Fatal(err, q.failed)
	}
	stream, err := q.conn.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	q.ledger.Reader(stream.StreamID(), stream)
	_, _ = stream.Write([]byte("go"))
	owes := func() bool {
		_, readable := q.ledger.Held(stream.StreamID())
		return readable > 0
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !owes() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the answer did not come")
		}
	}
	q.Close()
	if owes() && q.conn.Context().Err() == nil {
		t.Error("the connection has not ended")
	}
}

// TestHTTP3PortCloses has a peer whose port closes in the middle of the handshake.
func TestHTTP3PortCloses(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	go func() {
		buf := make([]byte, 2048)
		if n, peer, err := conn.ReadFrom(buf); err == nil {
			_, _ = conn.WriteTo(buf[:n], peer) // none that the handshake can use
		}
		conn.Close()
	}()
	o := buildHTTP(t, "https://"+conn.LocalAddr().String(), h3(t)).Probe.Observe(timeout(t, patience))
	wantFailure(t, o, check.ConnectRefused, "")
}
