//go:build unix && !darwin

package probes

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// TestResolverOverQUIC resolves a target's name over QUIC, where the server has
// a certificate that the system trusts.
func TestResolverOverQUIC(t *testing.T) {
	if os.Getenv(role) == "" {
		dir := t.TempDir()
		alone(t, "SSL_CERT_FILE="+dir+"/ca.pem", "SSL_CERT_DIR="+dir)
		return
	}
	// The system's roots are read with the first certificate that is verified.
	if err := os.WriteFile(os.Getenv("SSL_CERT_FILE"), authority(t).PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	selfSigned := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}, SelfSigned: true})
	selfSigned.NextProtos = []string{doqProtocol}
	route := &router{resolver: mustServer(t, "quic://"+doqServer(t, sayWeb(t)))}
	addrs, reason := begin().resolve(within(t, patience), route, "web.test")
	if reason != nil || len(addrs) != 1 || addrs[0] != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("%v %v", addrs, reason)
	}
	for name, tt := range map[string]struct {
		addr string
		code check.Code
	}{
		"self-signed": {quicServer(t, selfSigned, nil, func(c *quic.Conn) { <-c.Context().Done() }), check.TLSUntrusted},
		"black hole":  {udpPeer(t, func([]byte) []byte { return nil }), check.DNSTimeout},
		"closed port": {closedUDP(t), check.ConnectRefused},
		"h3 only":     {quicServer(t, quicTLS(t, "h3"), nil, func(c *quic.Conn) { <-c.Context().Done() }), check.TLSAlert},
	} {
		_, reason := begin().resolve(within(t, time.Second), &router{resolver: mustServer(t, "quic://"+tt.addr)}, "web.test")
		if code(reason) != tt.code {
			t.Errorf("%s: %v, want %s", name, reason, tt.code)
		}
	}
}
