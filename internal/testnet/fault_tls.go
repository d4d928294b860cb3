package testnet

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"

	"golang.org/x/crypto/ocsp"
)

const day = 24 * time.Hour

// okReply is a response behind a handshake.
func okReply(conn net.Conn) { Reply(okHead + "Content-Length: 2\r\n\r\nok")(conn) }

func offersHTTP2(cfg *tls.Config) { cfg.NextProtos = []string{"h2", "http/1.1"} }

func tlsFaults() []Fault {
	now := time.Now()
	loopback := []string{"127.0.0.1"}
	return []Fault{
		{"no-handshake", "B1", "says nothing to a TLS handshake", checkHTTPS, speaks(Silence)},
		{"plaintext", "B2", "speaks no TLS where it should", checkHTTPS, speaks(Say("SSH-2.0-OpenSSH_9.6\r\n"))},
		{"handshake-trickle", "B3", "sends its part of the handshake byte by byte", checkHTTPS, speaks(Drip("\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03", dribble))},
		{"expired", "B4", "the certificate expired yesterday", checkHTTPS, certified(CertOptions{Names: loopback, NotBefore: now.Add(-30 * day), NotAfter: now.Add(-day)}, okReply, nil)},
		{"not-yet-valid", "B5", "the certificate is for tomorrow", checkHTTPS, certified(CertOptions{Names: loopback, NotBefore: now.Add(day)}, okReply, nil)},
		{"expires-soon", "B6", "the certificate expires in three days", checkHTTPS + `, prefer: ["cert.expires_in > 21d"]`, certified(CertOptions{Names: loopback, NotAfter: now.Add(3 * day)}, okReply, nil)},
		{"wrong-host", "B9", "the certificate is for another host", checkHTTPS, certified(CertOptions{Names: []string{"other.test"}}, okReply, nil)},
		{"name-only", "B10", "the certificate has a common name only", checkHTTPS, certified(CertOptions{Names: loopback, NameOnly: true}, okReply, nil)},
		{"self-signed", "B11", "the certificate is signed by its own key", checkHTTPS, certified(CertOptions{Names: loopback, SelfSigned: true}, okReply, nil)},
		{"untrusted", "B11", "the certificate is of an unknown authority", checkHTTPS, untrusted},
		{"incomplete-chain", "B12", "leaves the intermediate certificate out", checkHTTPS, certified(CertOptions{Names: loopback, Incomplete: true}, okReply, nil)},
		{"revoked", "B13", "staples that the certificate is revoked", checkHTTPS + `, expect: ["cert.ocsp != 'revoked'"]`, revoked},
		{"no-staple", "B14", "the certificate demands a staple and there is none", checkHTTPS + `, prefer: ["not cert.must_staple or cert.ocsp == 'good'"]`,
			certified(CertOptions{Names: loopback, Extensions: []pkix.Extension{mustStaple}}, okReply, nil)},
		{"many-names", "B15", "the certificate is for 10,000 names", checkHTTPS, certified(CertOptions{Names: manyNames(10_000)}, okReply, nil)},
		{"long-chain", "B15", "presents 100 certificates", checkHTTPS, certified(CertOptions{Names: loopback}, okReply, func(cfg *tls.Config) {
			chain := &cfg.Certificates[0].Certificate
			for len(*chain) < 100 {
				*chain = append(*chain, (*chain)[0])
			}
		})},
		{"huge-key", "B16", "the certificate has an RSA key of 16,384 bits", checkHTTPS, certified(CertOptions{Names: loopback, Key: hugeKey{}}, okReply, nil)},
		{"old-tls", "B17", "speaks TLS 1.1 at most", checkHTTPS, speaksTLS(okReply, func(cfg *tls.Config) { cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })},
		{"client-cert", "B19", "demands a client certificate", checkHTTPS, speaksTLS(okReply, func(cfg *tls.Config) { cfg.ClientAuth = tls.RequireAnyClientCert })},
		{"key-updates", "B21", "changes its TLS key without end", checkHTTPS, keyUpdates},
		{"new-key", "B22", "has another key than the one that is pinned", checkHTTPS + `, prefer: ["cert.pin == 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='"]`, speaksTLS(okReply, nil)},
	}
}

// mustStaple demands a stapled OCSP answer (RFC 7633).
var mustStaple = pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}

func manyNames(n int) []string {
	names := []string{"127.0.0.1"}
	for i := range n - 1 {
		names = append(names, fmt.Sprintf("n%d.test", i))
	}
	return names
}

func untrusted(*CA) (server, error) {
	other, err := NewCA()
	if err != nil {
		return nil, err
	}
	return speaksTLS(okReply, nil)(other)
}

// revoked staples the authority's word that the certificate is revoked.
func revoked(ca *CA) (server, error) {
	cert, err := ca.Issue(CertOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, err
	}
	cert.OCSPStaple, err = ocsp.CreateResponse(ca.root.cert, ca.root.cert, ocsp.Response{
		Status: ocsp.Revoked, SerialNumber: leaf.SerialNumber, RevokedAt: time.Now().Add(-day),
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(day),
	}, ca.root.key)
	if err != nil {
		return nil, err
	}
	cert.Certificate = append(cert.Certificate, ca.root.cert.Raw)
	return ListenTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, okReply)
}

// hugeKey pretends to be an RSA key of 16,384 bits, which would take minutes to
// make: it signs with noise. A client that looks at the size never gets so far.
type hugeKey struct{}

func (hugeKey) Public() crypto.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), 16384-1)
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
}

func (hugeKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	noise := make([]byte, 16384/8)
	_, err := rand.Read(noise)
	return noise, err
}
