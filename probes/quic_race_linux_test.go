package probes

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// quicAt serves HTTP/3 for two.test at an address and a port, 0 for any. It tells of
// each connection that has ended.
func quicAt(t *testing.T, host string, port uint16, ended chan<- string) uint16 {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), port)))
	if err != nil {
		t.Fatal(err)
	}
	config := serverConfig(t, testnet.CertOptions{Names: []string{"two.test"}})
	config.NextProtos = []string{"h3"}
	say := sayAndEnd(h3Section(":status", "200"), h3FrameOf(h3Data, []byte("hello")))
	addr := quicServerOn(t, quicTransportOf(t, conn), config, nil, func(c *quic.Conn) {
		if uni, err := c.OpenUniStream(); err == nil {
			_, _ = uni.Write(h3Hello)
		}
		if stream, err := c.AcceptStream(c.Context()); err == nil {
			say(c, stream)
		}
		<-c.Context().Done()
		ended <- host
	})
	return netip.MustParseAddrPort(addr).Port()
}

// silentAt takes datagrams at an address and answers none.
func silentAt(t *testing.T, host string, port uint16) uint16 {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), port)))
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, conn)
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// TestQUICRace has a name of two addresses, of which one is of no use, or none, or
// both. The port is the same for both.
func TestQUICRace(t *testing.T) {
	t.Parallel()
	const first, second = "127.0.0.2", "127.0.0.1"
	for name, tt := range map[string]struct {
		records []string
		start   func(t *testing.T, ended chan<- string) uint16
		limit   time.Duration
		ip      []string // of which one answers
		slow    bool     // the second waits for the first
		code    check.Code
		says    []string
	}{
		"first refuses": {start: func(t *testing.T, ended chan<- string) uint16 { return quicAt(t, second, 0, ended) }, ip: []string{second}},
		"first is silent": {start: func(t *testing.T, ended chan<- string) uint16 {
			port := quicAt(t, second, 0, ended)
			silentAt(t, first, port)
			return port
		}, ip: []string{second}, slow: true},
		"second is silent": {start: func(t *testing.T, ended chan<- string) uint16 {
			port := quicAt(t, first, 0, ended)
			silentAt(t, second, port)
			return port
		}, ip: []string{first}},
		"both answer": {start: func(t *testing.T, ended chan<- string) uint16 {
			port := quicAt(t, second, 0, ended)
			quicAt(t, first, port, ended)
			return port
		}, ip: []string{first, second}},
		"IPv6 refuses": {
			records: []string{"two.test. 60 IN AAAA ::1", "two.test. 60 IN A 127.0.0.1"},
			start:   func(t *testing.T, ended chan<- string) uint16 { return quicAt(t, second, 0, ended) }, ip: []string{second},
		},
		"both refuse": {start: func(t *testing.T, _ chan<- string) uint16 {
			return netip.MustParseAddrPort(net.JoinHostPort(refused(t))).Port()
		}, records: []string{"two.test. 60 IN A 127.0.0.1", "two.test. 60 IN AAAA ::1"}, code: check.ConnectRefused, says: []string{"over UDP", "1 more"}},
		"both are silent": {start: func(t *testing.T, _ chan<- string) uint16 {
			port := silentAt(t, second, 0)
			silentAt(t, first, port)
			return port
		}, limit: 2 * brief, code: check.ConnectTimeout, says: []string{"1 more", "hint: a firewall"}},
		"one refuses, one is silent": {start: func(t *testing.T, _ chan<- string) uint16 { return silentAt(t, first, 0) },
			limit: 2 * brief, code: check.ConnectRefused, says: []string{second, "over UDP"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan string, 4)
			port := tt.start(t, ended)
			records := tt.records
			if records == nil {
				records = []string{"two.test. 60 IN A " + first, "two.test. 60 IN A " + second}
			}
			trust, resolver := h3(t), dnsServer(t, zone(t, records...).Serve).Addr()
			probe := buildHTTP(t, fmt.Sprintf("https://two.test:%d", port), func(o *httpOptions) {
				trust(o)
				o.Resolver = resolver
			}, "body").Probe
			var o check.Observation
			if tt.limit > 0 {
				o = promptly(t, probe, tt.limit)
			} else {
				o = probe.Observe(timeout(t, patience))
			}
			wantFailure(t, o, tt.code, tt.says...)
			if tt.code != "" {
				return
			}
			ip, _ := o.Facts.Get("ip").(string)
			if !slices.Contains(tt.ip, ip) || o.Facts.Get("family") != 4 || o.Facts.Get("body") != "hello" {
				t.Errorf("%v", o.Facts)
			}
			if took, _ := o.Phases.Get(check.PhaseConnect); tt.slow && took < stagger {
				t.Errorf("the second address had its turn after %v", took)
			}
			select {
			case <-ended: // the winner's too, and a loser's by the test's end
			case <-timeout(t, patience).Done():
				t.Error("a connection was left open")
			}
		})
	}
}

// TestHTTP3ClassicKeys offers the large key exchange, or not.
func TestHTTP3ClassicKeys(t *testing.T) {
	t.Parallel()
	offers := make(chan []tls.CurveID, 1)
	config := quicTLS(t, "h3")
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		select {
		case offers <- hello.SupportedCurves:
		default: // the same one again
		}
		return nil, nil
	}
	addr := quicServer(t, config, nil, func(c *quic.Conn) {
		if stream, err := c.AcceptStream(context.Background()); err == nil {
			sayAndEnd(h3Section(":status", "204"))(c, stream)
		}
		<-c.Context().Done()
	})
	trust := h3(t)
	for _, classic := range []bool{false, true} {
		o := buildHTTP(t, "https://"+addr, func(o *httpOptions) {
			trust(o)
			o.TLS.ClassicKeys = classic
		}).Probe.Observe(timeout(t, patience))
		if wantFailure(t, o, ""); o.Facts.Get("status") != 204 {
			t.Errorf("%v", o.Facts)
		}
		if got := slices.Contains(<-offers, tls.X25519MLKEM768); got == classic {
			t.Errorf("classic %v: the post-quantum key exchange is offered: %v", classic, got)
		}
	}
}
