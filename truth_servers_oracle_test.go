//go:build oracle

package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sonde-cli/sonde/internal/testnet"
)

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// tunnel is a proxy that leads to one server: it takes the turns, says the last
// word, and copies.
func tunnel(last, to string, turns ...testnet.Turn) func(net.Conn) {
	return testnet.Converse(turns, func(conn net.Conn) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer server.Close()
		if _, err := io.WriteString(conn, last); err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(server, conn)
			server.Close()
		}()
		_, _ = io.Copy(conn, server)
	})
}

// quicTransport is a UDP port of loopback that ends with the test, and all of
// its connections with it.
func quicTransport(t *testing.T) *quic.Transport {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: conn}
	t.Cleanup(func() {
		_ = transport.Close()
		conn.Close()
	})
	return transport
}

// http3Site is quic-go's own server.
func http3Site(t *testing.T, config *tls.Config) (addr string) {
	t.Helper()
	listener, err := quicTransport(t).ListenEarly(http3.ConfigureTLSConfig(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: testnet.Site()}
	go func() { _ = server.ServeListener(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// doqServer answers from the zone over QUIC (RFC 9250).
func doqServer(t *testing.T, config *tls.Config, zone *testnet.Zone) (addr string) {
	t.Helper()
	config.NextProtos = []string{"doq"}
	listener, err := quicTransport(t).Listen(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go answerDoQ(conn, zone)
		}
	}()
	return listener.Addr().String()
}

func answerDoQ(conn *quic.Conn, zone *testnet.Zone) {
	for {
		stream, err := conn.AcceptStream(conn.Context())
		if err != nil {
			return
		}
		raw, err := io.ReadAll(stream) // the client ends its side behind the query
		query := new(dns.Msg)
		if err != nil || len(raw) < 2 || query.Unpack(raw[2:]) != nil {
			return
		}
		if answer, err := zone.Reply(&testnet.DNSQuery{Msg: query}).Pack(); err == nil {
			_, _ = stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			_ = stream.Close()
		}
	}
}
