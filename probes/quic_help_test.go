package probes

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// quicTLS is the TLS of a server for 127.0.0.1 that speaks the protocol.
func quicTLS(t *testing.T, protocol string) *tls.Config {
	t.Helper()
	config := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}})
	config.NextProtos = []string{protocol}
	return config
}

// quicServer serves QUIC on a port of loopback; handle gets each connection,
// which ends when it returns.
func quicServer(t *testing.T, config *tls.Config, change *quic.Config, handle func(*quic.Conn)) (addr string) {
	t.Helper()
	return quicServerOn(t, quicTransport(t), config, change, handle)
}

// quicServerOn is quicServer on a port of the test's.
func quicServerOn(t *testing.T, port *quic.Transport, config *tls.Config, change *quic.Config, handle func(*quic.Conn)) (addr string) {
	t.Helper()
	listener, err := port.Listen(config, change)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				handle(conn)
				_ = conn.CloseWithError(h3NoError, "")
			}()
		}
	}()
	return listener.Addr().String()
}

// quicTransport is a UDP port of loopback. When the test ends, so do all of its
// connections, those that clients have left half made included.
func quicTransport(t *testing.T) *quic.Transport {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return quicTransportOf(t, conn)
}

// quicTransportOf is quicTransport on a socket of the test's.
func quicTransportOf(t *testing.T, conn net.PacketConn) *quic.Transport {
	t.Helper()
	transport := &quic.Transport{Conn: conn}
	t.Cleanup(func() {
		_ = transport.Close()
		conn.Close()
	})
	return transport
}

// http3Site serves HTTP/3 as quic-go's own server does, and returns its URL.
func http3Site(t *testing.T, config *tls.Config, handler http.Handler) string {
	t.Helper()
	listener, err := quicTransport(t).ListenEarly(http3.ConfigureTLSConfig(config), &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: handler}
	go func() { _ = server.ServeListener(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "https://" + listener.Addr().String()
}

// h3 makes a check one of HTTP/3 that trusts the test authority.
func h3(t *testing.T) func(*httpOptions) {
	ca := caFile(t)
	return func(o *httpOptions) { o.Version, o.TLS.CA = "3", ca }
}

// h3Raw is a server that says what the test wants on the stream of each
// request, after it has read that.
func h3Raw(t *testing.T, control []byte, say func(*quic.Conn, *quic.Stream)) string {
	t.Helper()
	return "https://" + quicServer(t, quicTLS(t, "h3"), nil, func(conn *quic.Conn) {
		if control != nil {
			uni, err := conn.OpenUniStream()
			if err != nil {
				return
			}
			_, _ = uni.Write(control)
		}
		for {
			stream, err := conn.AcceptStream(conn.Context())
			if err != nil {
				return
			}
			_, _ = io.ReadAll(stream)
			say(conn, stream)
		}
	})
}

// h3Hello is a good server's control stream: settings and nothing else.
var h3Hello = []byte{h3ControlStream, h3Settings, 0}

// frame is an HTTP/3 frame.
func h3FrameOf(kind uint64, payload []byte) []byte {
	return append(quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload))), payload...)
}

// h3Section is a HEADERS frame of names and values.
func h3Section(pairs ...string) []byte {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for i := 0; i < len(pairs); i += 2 {
		_ = encoder.WriteField(qpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return h3FrameOf(h3Headers, block.Bytes())
}

// sayAndEnd writes the parts and ends the stream.
func sayAndEnd(parts ...[]byte) func(*quic.Conn, *quic.Stream) {
	return func(_ *quic.Conn, s *quic.Stream) {
		_, _ = s.Write(bytes.Join(parts, nil))
		_ = s.Close()
	}
}

// sayAndStall writes the parts and no more.
func sayAndStall(parts ...[]byte) func(*quic.Conn, *quic.Stream) {
	return func(c *quic.Conn, s *quic.Stream) {
		_, _ = s.Write(bytes.Join(parts, nil))
		<-c.Context().Done()
	}
}
