package probes

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/sonde-cli/sonde/check"
	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// detailFacts declares what inspect observes on demand: the kind tls always,
// others when an expectation names one of them, because most of their runs have
// no use for it.
func detailFacts() []check.Fact {
	return []check.Fact{
		{Name: "tls.client_cert", Type: check.Bool, Doc: "the server asks for a client certificate; that it demands one shows as tls.client_cert"},
		{Name: "cert.signature", Type: check.String, Doc: "algorithm of the certificate's signature, such as ECDSA-SHA256"},
		{Name: "cert.key_bits", Type: check.Int, Unit: "bits", Doc: "size of the certificate's public key, 0 when its algorithm is unknown"},
		{Name: "cert.pin", Type: check.String, Doc: "SHA-256 of the public key in base64, as behind sha256// in curl's --pinnedpubkey"},
		{Name: "cert.presented", Type: check.Int, Doc: "number of certificates that the server presents"},
		{Name: "cert.presented_expires_in", Type: check.Duration, Doc: "time until the first of the presented certificates expires, whether it is needed or not"},
		{Name: stapleFact, Type: check.String, Doc: "what the stapled OCSP answer says: good, revoked or unknown; none when there is none, stale, invalid, or unverified when the issuer is not at hand"},
		{Name: "cert.must_staple", Type: check.Bool, Doc: "the certificate demands a stapled OCSP answer (RFC 7633)"},
		{Name: "cert.scts", Type: check.Int, Doc: "number of signed certificate timestamps in the certificate and the handshake (RFC 6962), unverified"},
	}
}

// stapleFact is the fact that tells of the stapled OCSP answer.
const stapleFact = "cert.ocsp"

// needsDetail reports whether an expectation names one of the detailFacts.
func needsDetail(setup check.Setup) bool {
	return slices.ContainsFunc(detailFacts(), func(f check.Fact) bool { return setup.Needs(f.Name) })
}

// detail records the detailFacts of a connection with at least one certificate.
func (j *journey) detail(state *tls.ConnectionState, plan *tlsPlan, now time.Time) {
	o, certs := &j.obs, state.PeerCertificates
	leaf := certs[0]
	pin := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	o.Set("tls.client_cert", j.certAsked)
	o.Set("cert.signature", leaf.SignatureAlgorithm.String())
	o.Set("cert.key_bits", keyBits(leaf.PublicKey))
	o.Set("cert.pin", base64.StdEncoding.EncodeToString(pin[:]))
	o.Set("cert.presented", len(certs))
	o.Set("cert.presented_expires_in", chainEnd([][]*x509.Certificate{certs}).Sub(now))
	o.Set("cert.must_staple", mustStaple(leaf))
	o.Set("cert.scts", embeddedSCTs(leaf)+len(state.SignedCertificateTimestamps))
	status, revoked := stapled(state.OCSPResponse, certs, plan.roots, now)
	o.Set(stapleFact, status)
	delete(o.Because, stapleFact) // of a connection before
	if status == stapleRevoked {
		o.Explain(stapleFact, check.ExpectCode(stapleFact), fmt.Sprintf("the certificate was revoked on %s, says the stapled OCSP answer", day(revoked)))
	}
}

// keyBits returns the size of a public key, 0 when its kind is not known.
func keyBits(key crypto.PublicKey) int {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen()
	case *ecdsa.PublicKey:
		return key.Curve.Params().BitSize
	case ed25519.PublicKey:
		return 8 * len(key)
	}
	return 0
}

// extension returns the value of the certificate's extension, nil without it.
func extension(c *x509.Certificate, id asn1.ObjectIdentifier) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return e.Value
		}
	}
	return nil
}

// mustStaple reports whether the TLS features of the certificate (RFC 7633
// section 4) have status_request, which is 5.
func mustStaple(leaf *x509.Certificate) bool {
	var features []int
	_, err := asn1.Unmarshal(extension(leaf, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}), &features)
	return err == nil && slices.Contains(features, 5)
}

// embeddedSCTs counts the certificate's timestamps (RFC 6962 section 3.3).
func embeddedSCTs(leaf *x509.Certificate) int {
	value := cryptobyte.String(extension(leaf, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}))
	var octets, list, sct cryptobyte.String
	if !value.ReadASN1(&octets, cryptobyteasn1.OCTET_STRING) || !octets.ReadUint16LengthPrefixed(&list) {
		return 0
	}
	n := 0
	for list.ReadUint16LengthPrefixed(&sct) {
		n++
	}
	return n
}

// The values of stapleFact.
const (
	stapleNone       = "none"
	stapleGood       = "good"
	stapleRevoked    = "revoked"
	stapleUnknown    = "unknown"
	stapleStale      = "stale"
	stapleInvalid    = "invalid"
	stapleUnverified = "unverified"
)

// stapleSkew is how far a responder's clock may be ahead.
const stapleSkew = 5 * time.Minute

// stapled tells what the OCSP answer says of the first certificate, and when
// that was revoked.
func stapled(staple []byte, certs []*x509.Certificate, roots *x509.CertPool, now time.Time) (string, time.Time) {
	if len(staple) == 0 {
		return stapleNone, time.Time{}
	}
	issuer := issuerOf(certs, roots, now)
	if issuer == nil {
		return stapleUnverified, time.Time{}
	}
	r, err := ocsp.ParseResponseForCert(staple, certs[0], issuer)
	switch {
	case err != nil, !mayAnswer(r.Certificate, issuer):
		return stapleInvalid, time.Time{}
	case r.ThisUpdate.After(now.Add(stapleSkew)), !r.NextUpdate.IsZero() && r.NextUpdate.Before(now):
		return stapleStale, time.Time{}
	case r.Status == ocsp.Good:
		return stapleGood, time.Time{}
	case r.Status == ocsp.Revoked:
		return stapleRevoked, r.RevokedAt
	}
	return stapleUnknown, time.Time{}
}

// mayAnswer reports whether the responder may answer for the issuer: it is the
// issuer, or has its leave (RFC 6960 section 4.2.2.2). Package ocsp has verified
// the signatures only, and any certificate of the issuer's could sign.
func mayAnswer(responder, issuer *x509.Certificate) bool {
	return responder == nil || responder.Equal(issuer) || slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning)
}

// mostIssuers is how many presented certificates of the issuer's name are tried.
const mostIssuers = 4

// issuerOf returns the certificate that signed the first one: a presented one,
// or a root. Nil when there is none.
func issuerOf(certs []*x509.Certificate, roots *x509.CertPool, now time.Time) *x509.Certificate {
	tried := 0
	for _, c := range certs[1:] {
		if !bytes.Equal(c.RawSubject, certs[0].RawIssuer) {
			continue
		}
		if tried++; tried > mostIssuers {
			break
		}
		if certs[0].CheckSignatureFrom(c) == nil {
			return c
		}
	}
	chains, err := verify(certs, roots, now)
	if err != nil || len(chains[0]) < 2 {
		return nil
	}
	return chains[0][1]
}
