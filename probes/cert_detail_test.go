package probes

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"golang.org/x/crypto/ocsp"
)

// signer is a certificate and its key.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue signs the template; without an issuer it signs itself.
func (s *signer) issue(t testing.TB, template x509.Certificate) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	by := &signer{&template, key}
	if s != nil {
		by = s
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{cert, key}
}

func root(t testing.TB, name string) *signer {
	return (*signer)(nil).issue(t, x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
}

// answer makes an OCSP answer of the responder for the issuer's certificates.
func answer(t testing.TB, issuer, responder *signer, o ocsp.Response) []byte {
	t.Helper()
	if o.ThisUpdate.IsZero() {
		o.ThisUpdate = time.Now().Add(-time.Minute)
	}
	if o.NextUpdate.IsZero() {
		o.NextUpdate = o.ThisUpdate.Add(time.Hour)
	}
	if responder != issuer {
		o.Certificate = responder.cert
	}
	text, err := ocsp.CreateResponse(issuer.cert, responder.cert, o, responder.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestStapledAnswers(t *testing.T) {
	t.Parallel()
	ca, other := root(t, "root"), root(t, "root")
	number := big.NewInt(7)
	leaf := ca.issue(t, x509.Certificate{SerialNumber: number})
	named := func(usage ...x509.ExtKeyUsage) *signer {
		return ca.issue(t, x509.Certificate{SerialNumber: big.NewInt(8), ExtKeyUsage: usage})
	}
	good := ocsp.Response{Status: ocsp.Good, SerialNumber: number}
	now := time.Now()
	tests := map[string]struct {
		staple []byte
		want   string
	}{
		"none":                 {nil, stapleNone},
		"garbage":              {[]byte("hello"), stapleInvalid},
		"good":                 {answer(t, ca, ca, good), stapleGood},
		"revoked":              {answer(t, ca, ca, ocsp.Response{Status: ocsp.Revoked, SerialNumber: number, RevokedAt: now}), stapleRevoked},
		"unknown":              {answer(t, ca, ca, ocsp.Response{Status: ocsp.Unknown, SerialNumber: number}), stapleUnknown},
		"of yesterday":         {answer(t, ca, ca, ocsp.Response{SerialNumber: number, ThisUpdate: now.AddDate(0, 0, -1)}), stapleStale},
		"of tomorrow":          {answer(t, ca, ca, ocsp.Response{SerialNumber: number, ThisUpdate: now.AddDate(0, 0, 1)}), stapleStale},
		"for another":          {answer(t, ca, ca, ocsp.Response{SerialNumber: big.NewInt(9)}), stapleInvalid},
		"of another authority": {answer(t, other, other, good), stapleInvalid},
		"of a responder":       {answer(t, ca, named(x509.ExtKeyUsageOCSPSigning), good), stapleGood},
		"of any certificate":   {answer(t, ca, named(x509.ExtKeyUsageServerAuth), good), stapleInvalid},
	}
	for title, tt := range tests {
		pool := x509.NewCertPool()
		pool.AddCert(ca.cert)
		for place, certs := range map[string][]*x509.Certificate{
			"presented": {leaf.cert, other.cert, ca.cert}, "a root": {leaf.cert},
		} {
			if got, _ := stapled(tt.staple, certs, pool, now); got != tt.want {
				t.Errorf("%s, issuer %s: %s, want %s", title, place, got, tt.want)
			}
		}
	}
	if got, _ := stapled(answer(t, ca, ca, good), []*x509.Certificate{leaf.cert}, x509.NewCertPool(), now); got != stapleUnverified {
		t.Errorf("without an issuer: %s", got)
	}
}

// TestB13B14Staple looks at a server whose certificate is revoked, demands a
// staple and has timestamps.
func TestB13B14Staple(t *testing.T) {
	t.Parallel()
	ca, number := root(t, "root"), big.NewInt(7)
	leaf := ca.issue(t, x509.Certificate{
		SerialNumber: number, DNSNames: []string{"api.test"},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte("\x30\x03\x02\x01\x05")},
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: []byte("\x04\x09\x00\x07\x00\x02ab\x00\x01c")},
		},
	})
	pair := tls.Certificate{
		Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: leaf.key, SignedCertificateTimestamps: [][]byte{[]byte("sct")},
		OCSPStaple: answer(t, ca, ca, ocsp.Response{Status: ocsp.Revoked, SerialNumber: number, RevokedAt: time.Now()}),
	}
	host, port := listenTLS(t, &tls.Config{Certificates: []tls.Certificate{pair}}, testnet.Silence)
	options := atTLS(t, host, port)
	options.TLS.CA = tempFile(t, "root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
	o := look(t, options, patience)
	if o.Facts.Get("cert.trusted") != true || o.Facts.Get("cert.must_staple") != true || o.Facts.Get("cert.scts") != 3 {
		t.Errorf("%v: %v because %v", o.Failure, o.Facts, o.Because)
	}
	because := o.Because[stapleFact]
	if o.Facts.Get(stapleFact) != stapleRevoked || because.Code != check.ExpectCode(stapleFact) || !strings.Contains(because.Message, "revoked on") {
		t.Errorf("%v because %v", o.Facts.Get(stapleFact), because)
	}
}

func TestDetailOnlyOnDemand(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	host, port := listenTLS(t, cfg, testnet.Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	at := atTLS(t, host, port)
	for fact, want := range map[string]bool{"cert.trusted": false, "cert.pin": true} {
		o := tcpOptions{Host: host, Port: at.Port, TLS: &at.TLS, MaxBanner: defaultMaxBanner}
		plan, err := o.Build(needs(fact))
		if err != nil {
			t.Fatal(err)
		}
		web := buildHTTP(t, "https://"+net.JoinHostPort(host, port), func(o *httpOptions) { o.TLS = at.TLS }, fact)
		for kind, plan := range map[string]check.Plan{"tcp": plan, "http": web} {
			o := plan.Probe.Observe(timeout(t, patience))
			if _, ok := o.Facts.Lookup("cert.pin"); ok != want || o.Facts.Get("cert.trusted") != true {
				t.Errorf("%s with %s wanted: the pin is there: %v, %v", kind, fact, ok, o.Failure)
			}
		}
	}
}

// FuzzDetail reads the extensions and the staple of any certificate.
func FuzzDetail(f *testing.F) {
	ca := root(f, "root")
	f.Add([]byte("\x30\x03\x02\x01\x05"), []byte("\x04\x04\x00\x02\x00\x00"), answer(f, ca, ca, ocsp.Response{SerialNumber: big.NewInt(1)}))
	f.Fuzz(func(t *testing.T, features, timestamps, staple []byte) {
		leaf := *ca.cert
		leaf.Extensions = []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: features},
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: timestamps},
		}
		state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{&leaf, ca.cert}, OCSPResponse: staple}
		j := begin()
		j.detail(&state, &tlsPlan{roots: x509.NewCertPool()}, time.Now())
		if n := j.obs.Facts.Get("cert.scts").(int); n < 0 || n > len(timestamps)/2 {
			t.Errorf("%d timestamps in %d bytes", n, len(timestamps))
		}
	})
}
