package probes

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"github.com/sonde-cli/sonde/check"
)

// doqServer serves DNS over QUIC; answer gets each query with its stream.
func doqServer(t *testing.T, answer func(*quic.Conn, *quic.Stream, *dns.Msg)) (addr string) {
	t.Helper()
	return quicServer(t, quicTLS(t, doqProtocol), nil, func(conn *quic.Conn) {
		for {
			stream, err := conn.AcceptStream(conn.Context())
			if err != nil {
				return
			}
			raw, err := io.ReadAll(stream) // the client ends its side behind the query
			query := new(dns.Msg)
			if err != nil || len(raw) < 2 || int(binary.BigEndian.Uint16(raw)) != len(raw)-2 || query.Unpack(raw[2:]) != nil || query.Id != 0 {
				_ = conn.CloseWithError(2, "bad query")
				return
			}
			answer(conn, stream, query)
		}
	})
}

// web is the answer to a question for web.test.
func web(t *testing.T, query *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(query)
	if query.Question[0].Qtype == dns.TypeA {
		rr, err := dns.NewRR("web.test. 60 IN A 192.0.2.1")
		if err != nil {
			t.Error(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

// withLength is the message as a stream has it.
func withLength(t *testing.T, m *dns.Msg) []byte {
	raw, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)
}

func sayWeb(t *testing.T) func(*quic.Conn, *quic.Stream, *dns.Msg) {
	return func(_ *quic.Conn, s *quic.Stream, query *dns.Msg) {
		_, _ = s.Write(withLength(t, web(t, query)))
		_ = s.Close()
	}
}

// overDoQ makes a check of DNS over QUIC that trusts the test authority.
func overDoQ(t *testing.T) func(*dnsOptions) {
	ca := caFile(t)
	return func(o *dnsOptions) { o.Transport, o.TLS.CA = transportQUIC, ca }
}

func TestDNSOverQUIC(t *testing.T) {
	t.Parallel()
	addr := doqServer(t, sayWeb(t))
	p := buildDNS(t, addr, overDoQ(t))
	o := observeDNS(t, p, patience)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{
		"answers": []string{"192.0.2.1"}, "transport": "quic", "server": addr, "tls.alpn": "doq", "cert.trusted": true, "rcode": "NOERROR", "family": 4,
	}))
	for _, phase := range []string{check.PhaseConnect, check.PhaseTLS, check.PhaseSend, check.PhaseWait} {
		if _, ok := o.Phases.Get(phase); !ok {
			t.Errorf("no phase %s", phase)
		}
	}
	if line := o.Reproduce(); !strings.HasPrefix(line, "kdig @127.0.0.1 -p ") || !strings.Contains(line, " +quic ") {
		t.Errorf("reproduce: %s", line)
	}
}

// TestDNSOverQUICOpen has a server that does not end the stream: the answer counts, and
// how long its end was awaited is no part of the latency.
func TestDNSOverQUICOpen(t *testing.T) {
	t.Parallel()
	addr := doqServer(t, func(c *quic.Conn, s *quic.Stream, query *dns.Msg) {
		_, _ = s.Write(withLength(t, web(t, query)))
		<-c.Context().Done()
	})
	start := time.Now()
	o := observeDNS(t, buildDNS(t, addr, overDoQ(t)), patience)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{"192.0.2.1"}}))
	if rest := time.Since(start) - o.Latency; rest < stagger {
		t.Errorf("latency %v has all but %v of the time", o.Latency, rest)
	}
}

// TestDNSOverQUICUntrusted tells of the certificate and judges later.
func TestDNSOverQUICUntrusted(t *testing.T) {
	t.Parallel()
	o := observeDNS(t, buildDNS(t, doqServer(t, sayWeb(t)), func(o *dnsOptions) { o.Transport = transportQUIC }), patience)
	wantFailure(t, o, "")
	if o.Facts.Get("cert.trusted") != false || o.Because["cert.trusted"].Code == "" {
		t.Errorf("%v because %v", o.Facts, o.Because)
	}
}

func TestDNSOverQUICHostile(t *testing.T) {
	t.Parallel()
	silent := udpPeer(t, func([]byte) []byte { return nil })
	for name, tt := range map[string]struct {
		addr  string
		brief bool
		code  check.Code
		says  string
	}{
		"black hole": {silent, true, check.ConnectTimeout, "over UDP"},
		"h3 only":    {quicServer(t, quicTLS(t, "h3"), nil, func(c *quic.Conn) { <-c.Context().Done() }), false, check.TLSAlert, `does not offer "doq"`},
		"silence": {doqServer(t, func(c *quic.Conn, _ *quic.Stream, _ *dns.Msg) { <-c.Context().Done() }), true,
			check.DNSTimeout, "over quic"},
		"reset": {doqServer(t, func(_ *quic.Conn, s *quic.Stream, _ *dns.Msg) { s.CancelWrite(1) }), false,
			check.ConnectReset, "DOQ_INTERNAL_ERROR"},
		"closed": {doqServer(t, func(c *quic.Conn, _ *quic.Stream, _ *dns.Msg) { _ = c.CloseWithError(4, "busy") }), false,
			check.ConnectReset, `DOQ_EXCESSIVE_LOAD "busy"`},
		"no answer": {doqServer(t, func(_ *quic.Conn, s *quic.Stream, _ *dns.Msg) { _ = s.Close() }), false,
			check.DNSMalformed, "after 0 bytes"},
		"cut": {doqServer(t, func(_ *quic.Conn, s *quic.Stream, q *dns.Msg) {
			_, _ = s.Write(withLength(t, web(t, q))[:20])
			_ = s.Close()
		}), false, check.DNSMalformed, "after 20 bytes"},
		"another ID": {doqServer(t, func(_ *quic.Conn, s *quic.Stream, q *dns.Msg) {
			m := web(t, q)
			m.Id = 7
			_, _ = s.Write(withLength(t, m))
		}), false, check.DNSMalformed, "its ID is not 0"},
		"two answers": {doqServer(t, func(_ *quic.Conn, s *quic.Stream, q *dns.Msg) {
			_, _ = s.Write(append(withLength(t, web(t, q)), withLength(t, web(t, q))...))
			_ = s.Close()
		}), false, check.DNSMalformed, "more follows it"},
		"a byte too many": {doqServer(t, func(c *quic.Conn, s *quic.Stream, q *dns.Msg) {
			_, _ = s.Write(append(withLength(t, web(t, q)), 0))
			<-c.Context().Done()
		}), false, check.DNSMalformed, "more follows it"},
		"garbage": {doqServer(t, func(_ *quic.Conn, s *quic.Stream, _ *dns.Msg) {
			_, _ = s.Write(append([]byte{0, 40}, make([]byte, 40)...))
		}), false, check.DNSMalformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, d := buildDNS(t, tt.addr, overDoQ(t)), patience
			if tt.brief {
				d = brief
			}
			o := inTime(d, func(d time.Duration) check.Observation { return observeDNS(t, p, d) }, endsAs(tt.code, tt.says))
			wantFailure(t, o, tt.code, tt.says)
		})
	}
}
