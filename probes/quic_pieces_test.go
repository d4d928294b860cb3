package probes

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"github.com/sonde-cli/sonde/check"
)

// pieceConn is the socket of a server that can wait for its own packets, which quic-go
// else makes of several writes. A bad line loses one packet of seven that the server
// sends, and swaps one of five with the next; it loses one of eleven of the client's.
type pieceConn struct {
	net.PacketConn
	wrote chan struct{}
	bad   bool

	mu        sync.Mutex
	out, in   int
	postponed []byte
}

func newPieceConn(t *testing.T, bad bool) *pieceConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &pieceConn{PacketConn: conn, wrote: make(chan struct{}, 1), bad: bad}
}

// SetReadBuffer and SetWriteBuffer are for quic-go, which else complains.
func (c *pieceConn) SetReadBuffer(int) error  { return nil }
func (c *pieceConn) SetWriteBuffer(int) error { return nil }

func (c *pieceConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, peer, err := c.PacketConn.ReadFrom(b)
		c.mu.Lock()
		c.in++
		lost := c.bad && err == nil && c.in%11 == 0
		c.mu.Unlock()
		if !lost {
			return n, peer, err
		}
	}
}

func (c *pieceConn) WriteTo(b []byte, peer net.Addr) (int, error) {
	defer func() {
		select {
		case c.wrote <- struct{}{}:
		default:
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out++
	late := c.postponed
	c.postponed = nil
	var err error
	switch {
	case c.bad && c.out%7 == 0:
	case c.bad && c.out%5 == 0 && late == nil:
		c.postponed = bytes.Clone(b)
	default:
		_, err = c.PacketConn.WriteTo(b, peer)
	}
	if late != nil {
		_, _ = c.PacketConn.WriteTo(late, peer)
	}
	return len(b), err
}

// write writes data, each piece in a packet of its own.
func (c *pieceConn) write(s *quic.Stream, data []byte, size func(i int) int) {
	for i := 0; len(data) > 0; i++ {
		select {
		case <-c.wrote:
		default:
		}
		n := min(size(i), len(data))
		if _, err := s.Write(data[:n]); err != nil {
			return
		}
		data = data[n:]
		select {
		case <-c.wrote:
		case <-s.Context().Done():
			return
		}
	}
}

func pieceSize(n int) func(int) int { return func(int) int { return n } }

// mixedSize is 1 to 50 bytes.
func mixedSize(i int) int { return 1 + i*7%50 }

// TestHTTP3SmallPieces has a good server that sends a response in many small pieces.
func TestHTTP3SmallPieces(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes int
		size  func(int) int
		bad   bool
	}{
		"5000 of 1 byte":              {5000, pieceSize(1), false},
		"5000 of 1 to 50":             {5000 * 51 / 2, mixedSize, false},
		"5000 of 1 to 50, a bad line": {5000 * 51 / 2, mixedSize, true},
		"1 MiB of 100":                {1<<20 - 4096, pieceSize(100), false},
		"1 byte, a bad line":          {2000, pieceSize(1), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := newPieceConn(t, c.bad)
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
				response := append(h3Section(":status", "200"), h3FrameOf(h3Data, bytes.Repeat([]byte("x"), c.bytes))...)
				port.write(stream, response, c.size)
				_ = stream.Close()
				<-conn.Context().Done()
			})
			probe := buildHTTP(t, "https://"+addr, h3(t), "body").Probe
			o := probe.Observe(timeout(t, patience))
			wantFailure(t, o, "")
			if got, _ := o.Facts.Get("body").(string); got != strings.Repeat("x", c.bytes) {
				t.Errorf("%d bytes of %d", len(got), c.bytes)
			}
		})
	}
}

// TestQUICSlowReader reads nothing before the server has sent many pieces. Those that
// go beyond the bound are lost, and come again. Two pieces may share a packet, so what
// is waited for is what they hold, and not their number.
func TestQUICSlowReader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pieces int
		full   bool
	}{
		"within the bound": {1500, false},
		"beyond the bound": {9000, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := newPieceConn(t, false)
			addr := quicServerOn(t, quicTransportOf(t, port), quicTLS(t, "h3"), nil, func(conn *quic.Conn) {
				stream, err := conn.AcceptStream(conn.Context())
				if err != nil {
					return
				}
				port.write(stream, make([]byte, c.pieces), pieceSize(1))
				_ = stream.Close()
				<-conn.Context().Done()
			})
			ctx := timeout(t, patience)
			q, err := quicAim{plan: &tlsPlan{}, host: "127.0.0.1", protocol: "h3"}.open(ctx, "", netip.Addr{}, netip.MustParseAddrPort(addr))
			if err != nil || q.failed != nil {
				t.Fatal(err, q.failed)
			}
			defer q.Close()
			stream, err := q.conn.OpenStreamSync(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer bindStream(ctx, stream)()
			_, _ = stream.Write([]byte("go"))
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				memory, readable := q.ledger.Held(stream.StreamID())
				if q.full() || readable == int64(c.pieces) {
					break
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					t.Fatalf("%d bytes are held, %d can be read", memory, readable)
				}
			}
			if full := q.full(); full != c.full {
				t.Errorf("full is %v", full)
			}
			got, err := io.ReadAll(q.ledger.Reader(stream.StreamID(), stream))
			if err != nil || len(got) != c.pieces || q.flooded.Load() {
				t.Errorf("%d bytes of %d, %v, ended for the pieces: %v", len(got), c.pieces, err, q.flooded.Load())
			}
			if memory, _ := q.ledger.Held(stream.StreamID()); memory != 0 {
				t.Errorf("%d bytes are held of what was read", memory)
			}
		})
	}
}

func TestDNSOverQUICSmallPieces(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]bool{"good line": false, "bad line": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := newPieceConn(t, bad)
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
				answer := web(t, query)
				for range 40 {
					answer.Extra = append(answer.Extra, &dns.TXT{
						Hdr: dns.RR_Header{Name: "web.test.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{strings.Repeat("t", 60)},
					})
				}
				port.write(stream, withLength(t, answer), pieceSize(1))
				_ = stream.Close()
				<-conn.Context().Done()
			})
			o := observeDNS(t, buildDNS(t, addr, overDoQ(t)), patience)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{"192.0.2.1"}}))
		})
	}
}
