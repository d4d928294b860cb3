package probes

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// packed is the message on the wire.
func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	raw, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return raw
}

// trusting makes a check over the transport that trusts the test authority.
func trusting(t *testing.T, transport string) func(*dnsOptions) {
	ca := caFile(t)
	return func(o *dnsOptions) { o.Transport, o.TLS.CA = transport, ca }
}

// wantFirst fails unless the observation is that of the answer of web.test, or
// has the failure.
func wantFirst(t *testing.T, o check.Observation, code check.Code, says string) {
	t.Helper()
	if code != "" {
		wantFailure(t, o, code, says)
		return
	}
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{"192.0.2.1"}, "rcode": "NOERROR"}))
}

// E19: what HTTP says of the answer's length is not so.
func TestE19Lengths(t *testing.T) {
	t.Parallel()
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	for name, tt := range map[string]struct {
		answer func(m []byte) (fields string, body []byte)
		code   check.Code
		says   string
	}{
		"right":     {func(m []byte) (string, []byte) { return length(len(m)), m }, "", ""},
		"none":      {func(m []byte) (string, []byte) { return "", m }, "", ""},
		"too long":  {func(m []byte) (string, []byte) { return length(len(m) + 9), m }, check.HTTPTruncated, ""},
		"too short": {func(m []byte) (string, []byte) { return length(len(m) - 5), m }, check.DNSMalformed, "cannot be read"},
		"up to the question": {
			func(m []byte) (string, []byte) { return length(dnsmsg.HeaderSize), m }, check.DNSMalformed, "",
		},
		"zero":           {func(m []byte) (string, []byte) { return length(0), m }, check.DNSMalformed, ""},
		"empty":          {func([]byte) (string, []byte) { return length(0), nil }, check.DNSMalformed, ""},
		"nothing":        {func([]byte) (string, []byte) { return "", nil }, check.DNSMalformed, ""},
		"trailing bytes": {func(m []byte) (string, []byte) { return length(len(m) + 3), append(m, 1, 2, 3) }, "", ""},
		"two messages":   {func(m []byte) (string, []byte) { return length(2 * len(m)), append(m, m...) }, "", ""},
		"beyond it":      {func(m []byte) (string, []byte) { return length(len(m)), append(m, m...) }, "", ""},
		"with a length in front": {func(m []byte) (string, []byte) {
			return length(len(m) + 2), append([]byte{0, byte(len(m))}, m...)
		}, check.DNSMalformed, ""},
		"twice":      {func(m []byte) (string, []byte) { return length(len(m)) + length(len(m)-1), m }, check.HTTPMalformed, ""},
		"negative":   {func(m []byte) (string, []byte) { return length(-1), m }, check.HTTPMalformed, ""},
		"not a size": {func(m []byte) (string, []byte) { return "Content-Length: many\r\n", m }, check.HTTPMalformed, ""},
		"and chunks": {func(m []byte) (string, []byte) {
			return length(len(m)) + "Transfer-Encoding: chunked\r\n", fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(m), m)
		}, check.HTTPMalformed, ""},
		"chunks cut": {func(m []byte) (string, []byte) {
			return "Transfer-Encoding: chunked\r\n", fmt.Appendf(nil, "%x\r\n%s", len(m)+9, m)
		}, check.HTTPTruncated, ""},
		"of 64 KiB": {func(m []byte) (string, []byte) {
			return length(maxDNSMessage), append(m, make([]byte, maxDNSMessage-len(m))...)
		}, "", ""},
		"over 64 KiB": {func(m []byte) (string, []byte) {
			return length(maxDNSMessage + 1), append(m, make([]byte, maxDNSMessage)...)
		}, check.HTTPBodyTooLarge, ""},
		"another type": {func(m []byte) (string, []byte) { return "Content-Type: application/dns-json\r\n" + length(len(m)), m }, check.DNSMalformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}}), func(conn net.Conn) {
				request, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				raw, err := base64.RawURLEncoding.DecodeString(request.URL.Query().Get("dns"))
				query := new(dns.Msg)
				if err != nil || query.Unpack(raw) != nil {
					return
				}
				fields, body := tt.answer(packed(t, web(t, query)))
				if name != "another type" {
					fields += "Content-Type: " + dohType + "\r\n"
				}
				_, _ = conn.Write(append([]byte("HTTP/1.1 200 OK\r\n"+fields+"\r\n"), body...)) // the client may have had enough
			})
			wantFirst(t, observeDNS(t, buildDNS(t, net.JoinHostPort(host, port), trusting(t, transportHTTPS)), patience), tt.code, tt.says)
		})
	}
}

// The length in front of a message over TLS or QUIC is not that of the message.
func TestDNSLengthPrefix(t *testing.T) {
	t.Parallel()
	prefixed := func(n int, m []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(n)), m...) }
	for name, tt := range map[string]struct {
		answer   func(m []byte) []byte
		code     check.Code
		overQUIC check.Code // if another: a stream has one message (RFC 9250, section 4.2)
	}{
		"right":              {func(m []byte) []byte { return prefixed(len(m), m) }, "", ""},
		"too short":          {func(m []byte) []byte { return prefixed(len(m)-5, m) }, check.DNSMalformed, ""},
		"too long":           {func(m []byte) []byte { return prefixed(len(m)+5, m) }, check.DNSMalformed, ""},
		"the longest":        {func(m []byte) []byte { return prefixed(0xFFFF, m) }, check.DNSMalformed, ""},
		"up to the question": {func(m []byte) []byte { return prefixed(dnsmsg.HeaderSize, m) }, check.DNSMalformed, ""},
		"zero":               {func(m []byte) []byte { return prefixed(0, m) }, check.DNSMalformed, ""},
		"without":            {func(m []byte) []byte { return m }, check.DNSMalformed, ""},
		"half of it":         {func([]byte) []byte { return []byte{0} }, check.DNSMalformed, ""},
		"trailing bytes":     {func(m []byte) []byte { return prefixed(len(m)+3, append(m, 1, 2, 3)) }, "", ""},
		"two messages":       {func(m []byte) []byte { return append(prefixed(len(m), m), prefixed(len(m), m)...) }, "", check.DNSMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}}), func(conn net.Conn) {
				var size [2]byte
				if _, err := io.ReadFull(conn, size[:]); err != nil {
					return
				}
				raw := make([]byte, binary.BigEndian.Uint16(size[:]))
				query := new(dns.Msg)
				if _, err := io.ReadFull(conn, raw); err != nil || query.Unpack(raw) != nil {
					return
				}
				_, _ = conn.Write(tt.answer(packed(t, web(t, query)))) // the client may have had enough
			})
			wantFirst(t, observeDNS(t, buildDNS(t, net.JoinHostPort(host, port), trusting(t, transportTLS)), patience), tt.code, "")
			addr := doqServer(t, func(_ *quic.Conn, s *quic.Stream, query *dns.Msg) {
				_, _ = s.Write(tt.answer(packed(t, web(t, query))))
				_ = s.Close()
			})
			wantFirst(t, observeDNS(t, buildDNS(t, addr, trusting(t, transportQUIC)), patience), cmp.Or(tt.overQUIC, tt.code), "")
		})
	}
}
