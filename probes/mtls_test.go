package probes

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// mutual returns the configuration of a server that demands a client
// certificate, and a client's options that satisfy it.
func mutual(t *testing.T, version uint16) (*tls.Config, TLS) {
	t.Helper()
	client, err := authority(t).Issue(testnet.CertOptions{CommonName: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(client)
	if err != nil {
		t.Fatal(err)
	}
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}})
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, authority(t).Pool()
	cfg.MinVersion, cfg.MaxVersion = version, version
	return cfg, TLS{CA: caFile(t), Cert: tempFile(t, "cert.pem", chain), Key: tempFile(t, "key.pem", key)}
}

// A server's session tickets come before its answer.
func TestHTTPWithAClientCertificate(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, http := range []string{"1.1", "2"} {
			cfg, options := mutual(t, version)
			site := httpSite(t, cfg, testnet.Site())
			o := observeHTTP(t, site+"/slow/50ms", patience, func(o *httpOptions) { o.TLS, o.Version = options, http })
			if !o.Failure.IsZero() {
				t.Errorf("TLS %s, HTTP %s: %v", tlsVersionName(version), http, o.Failure)
				continue
			}
			wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "version": http, "tls.version": tlsVersionName(version)}))
		}
	}
}

func TestTCPStepsWithAClientCertificate(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg, options := mutual(t, version)
		host, port := listenTLS(t, cfg, func(conn net.Conn) {
			<-time.After(50 * time.Millisecond)
			_, _ = io.WriteString(conn, "220 ready\r\n")
			testnet.Echo(conn)
		})
		o := observeTCP(t, tcpOptions{TLS: &options, Steps: steps("", "^220 ", "ping\n", "ping")}, host, port, patience)
		if !o.Failure.IsZero() {
			t.Errorf("TLS %s: %v", tlsVersionName(version), o.Failure)
			continue
		}
		wantFacts(t, o, check.FactsOf(map[string]any{"dialogue": true, "tls.version": tlsVersionName(version)}))
	}
}

// Without steps the ticket is all that there is to hear, and no reason to fail.
func TestTCPWithAClientCertificate(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg, options := mutual(t, version)
		host, port := listenTLS(t, cfg, testnet.Silence)
		if o := observeTCP(t, tcpOptions{TLS: &options}, host, port, patience); !o.Failure.IsZero() {
			t.Errorf("TLS %s: %v", tlsVersionName(version), o.Failure)
		}
	}
}

func TestDNSOverTLSWithAClientCertificate(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg, options := mutual(t, version)
		server, err := testnet.ListenDoT(cfg, zone(t, "web.test. 60 IN A 192.0.2.1").Serve)
		if err != nil {
			t.Fatal(err)
		}
		closeLater(t, server)
		plan := buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Transport, o.TLS = "tls", options })
		o := observeDNS(t, plan, patience)
		if !o.Failure.IsZero() {
			t.Errorf("TLS %s: %v", tlsVersionName(version), o.Failure)
			continue
		}
		wantFacts(t, o, check.FactsOf(map[string]any{"answer_count": 1}))
	}
}
