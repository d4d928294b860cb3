package probes

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// tlsFacts declares what handshake observes.
func tlsFacts() []check.Fact {
	facts := []check.Fact{
		{Name: "tls.version", Type: check.String, Doc: "TLS version, such as 1.3"},
		{Name: "tls.cipher", Type: check.String, Doc: "cipher suite by its IANA name"},
		{Name: "tls.alpn", Type: check.String, Doc: "protocol agreed on by ALPN, '' when none"},
		{Name: "cert.trusted", Type: check.Bool, Doc: "the certificate's chain leads to a trusted root and is valid now", Code: check.TLSUntrusted},
		{Name: "cert.hostname_ok", Type: check.Bool, Doc: "the certificate is for the name asked for", Code: check.TLSHostname},
		{Name: leafLifetime, Type: check.Duration, Doc: "time until the certificate expires, negative once it has"},
		{Name: chainLifetime, Type: check.Duration, Doc: "time until the verified chain that lasts longest expires"},
		{Name: "cert.not_before", Type: check.Time, Doc: "when the certificate becomes valid"},
		{Name: "cert.not_after", Type: check.Time, Doc: "when the certificate expires"},
		{Name: "cert.subject", Type: check.String, Doc: "whom the certificate is for"},
		{Name: "cert.issuer", Type: check.String, Doc: "who issued the certificate"},
		{Name: "cert.names", Type: check.Strings, Doc: "DNS names and IP addresses that the certificate is for"},
		{Name: "cert.serial", Type: check.String, Doc: "serial number in hexadecimal"},
		{Name: "cert.sha256", Type: check.String, Doc: "SHA-256 fingerprint of the certificate in hexadecimal"},
		{Name: "cert.key", Type: check.String, Doc: "public key's algorithm and size, such as ECDSA P-256 or RSA 2048"},
		{Name: "cert.self_signed", Type: check.Bool, Doc: "the certificate is signed by its own key"},
	}
	return append(facts, detailFacts()...)
}

// lifetimes are the values of the facts that tell how long certificates last; nil
// for none.
type lifetimes struct{ leaf, chain any }

const (
	leafLifetime  = "cert.expires_in"
	chainLifetime = "cert.chain_expires_in"
)

func lifetimesOf(o *check.Observation) lifetimes {
	return lifetimes{o.Facts.Get(leafLifetime), o.Facts.Get(chainLifetime)}
}

// bound lets the facts be no longer than these lifetimes.
func (l lifetimes) bound(o *check.Observation) {
	shorten := func(name string, most any) {
		end, known := most.(time.Duration)
		if d, seen := o.Facts.Get(name).(time.Duration); known && (!seen || end < d) {
			o.Set(name, most)
		}
	}
	shorten(leafLifetime, l.leaf)
	shorten(chainLifetime, l.chain)
}

// inspect records the facts of a finished handshake and verifies the
// certificate for the name. It returns a reason only when this machine cannot
// verify anything.
func (j *journey) inspect(state *tls.ConnectionState, plan *tlsPlan, name string) *check.Reason {
	o := &j.obs
	o.Set("tls.version", tlsVersionName(state.Version))
	o.Set("tls.cipher", tls.CipherSuiteName(state.CipherSuite))
	o.Set("tls.alpn", state.NegotiatedProtocol)
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf, now := state.PeerCertificates[0], time.Now()
	certFacts(o, leaf, now)
	if plan.detail {
		j.detail(state, plan, now)
	}
	end, err := plan.verify(state.PeerCertificates, now)
	o.Set("cert.trusted", err == nil)
	if err != nil {
		o.Facts.Delete(chainLifetime) // of a connection before
		if reason := rootsReason(err, plan); reason != nil {
			return reason
		}
		reason := untrustedReason(err, state.PeerCertificates, now)
		if reason.Code == check.TLSNotYetValid && now.Before(writtenAfter()) && !plan.insecure {
			return &check.Reason{Code: check.LocalClock, Message: fmt.Sprintf("this machine's clock shows %s, which is long past, and so %s\nhint: set the clock", day(now), reason.Message)}
		}
		o.Explain("cert.trusted", reason.Code, reason.Message)
		if reason.Code == check.TLSExpired && now.After(leaf.NotAfter) {
			o.Explain(leafLifetime, reason.Code, reason.Message)
		}
	} else {
		o.Set(chainLifetime, end.Sub(now))
	}
	err = leaf.VerifyHostname(verifiedName(name))
	o.Set("cert.hostname_ok", err == nil)
	if err != nil {
		o.Explain("cert.hostname_ok", check.TLSHostname, hostnameMessage(leaf, name))
	}
	return nil
}

// verify returns when the longest of the certificates' chains to a root
// expires.
func (p *tlsPlan) verify(certs []*x509.Certificate, now time.Time) (time.Time, error) {
	if !p.verifyEach && !rereadable(p.roots) {
		return trustedChains.verify(certs, p.roots, now)
	}
	chains, err := verify(certs, p.roots, now)
	return chainEnd(chains), err
}

// writtenAfter is a time that was over when this was written. A clock that shows
// an earlier one is wrong, as that of a small machine without a battery is until
// it has heard from a time server.
func writtenAfter() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func certFacts(o *check.Observation, leaf *x509.Certificate, now time.Time) {
	sum := sha256.Sum256(leaf.Raw)
	o.Set("cert.subject", leaf.Subject.String())
	o.Set("cert.issuer", leaf.Issuer.String())
	o.Set("cert.names", certNames(leaf))
	o.Set("cert.serial", leaf.SerialNumber.Text(16))
	o.Set("cert.sha256", hex.EncodeToString(sum[:]))
	o.Set("cert.not_before", leaf.NotBefore)
	o.Set("cert.not_after", leaf.NotAfter)
	o.Set(leafLifetime, leaf.NotAfter.Sub(now))
	o.Set("cert.key", keyName(leaf))
	o.Set("cert.self_signed", selfSigned(leaf))
}

func certNames(leaf *x509.Certificate) []string {
	names := make([]string, 0, len(leaf.DNSNames)+len(leaf.IPAddresses))
	names = append(names, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func keyName(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return leaf.PublicKeyAlgorithm.String()
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// verify builds the chains from the first certificate to the roots.
func verify(certs []*x509.Certificate, roots *x509.CertPool, now time.Time) ([][]*x509.Certificate, error) {
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range certs[1:] {
		options.Intermediates.AddCert(c)
	}
	return certs[0].Verify(options)
}

// chainEnd returns when the chain that lasts longest expires. A server may
// present several, of which clients take any that is valid.
func chainEnd(chains [][]*x509.Certificate) time.Time {
	var best time.Time
	for _, chain := range chains {
		end := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(end) {
				end = c.NotAfter
			}
		}
		if end.After(best) {
			best = end
		}
	}
	return best
}

// rootsReason tells that the fault is this machine's: it has no root
// certificates, so every target would look untrusted.
func rootsReason(err error, plan *tlsPlan) *check.Reason {
	var unknown x509.UnknownAuthorityError
	var system x509.SystemRootsError
	if plan.roots != nil || plan.insecure || !errors.As(err, &unknown) && !errors.As(err, &system) {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err == nil && !pool.Equal(x509.NewCertPool()) {
		return nil
	}
	return &check.Reason{
		Code:    check.LocalPermission,
		Message: "this machine has no readable root certificates to verify with\nhint: install ca-certificates, or set tls.ca",
	}
}

// untrustedReason tells why the chain cannot be verified.
func untrustedReason(err error, certs []*x509.Certificate, now time.Time) check.Reason {
	leaf := certs[0]
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case now.After(leaf.NotAfter):
		return check.Reason{Code: check.TLSExpired, Message: fmt.Sprintf("the certificate expired on %s, %s ago", day(leaf.NotAfter), check.FormatDuration(now.Sub(leaf.NotAfter)))}
	case now.Before(leaf.NotBefore):
		return check.Reason{Code: check.TLSNotYetValid, Message: fmt.Sprintf("the certificate is not valid before %s, in %s", day(leaf.NotBefore), check.FormatDuration(leaf.NotBefore.Sub(now)))}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		c := invalid.Cert
		if now.Before(c.NotBefore) {
			return check.Reason{Code: check.TLSNotYetValid, Message: fmt.Sprintf("the chain's certificate of %s is not valid before %s", c.Subject, day(c.NotBefore))}
		}
		return check.Reason{Code: check.TLSExpired, Message: fmt.Sprintf("the chain's certificate of %s expired on %s", c.Subject, day(c.NotAfter))}
	case errors.As(err, &unknown) && selfSigned(leaf):
		return check.Reason{Code: check.TLSSelfSigned, Message: "the certificate is self-signed and not trusted\nhint: set tls.ca to trust it"}
	case errors.As(err, &unknown) && missesIntermediate(certs):
		return check.Reason{
			Code: check.TLSIncompleteChain,
			Message: fmt.Sprintf("the server does not send the intermediate certificate of %s\n"+
				"hint: browsers may hide this, because they fetch or remember it; let the server send its full chain", leaf.Issuer),
		}
	}
	return check.Reason{Code: check.TLSUntrusted, Message: fmt.Sprintf("the certificate's issuer %s is not trusted: %s", leaf.Issuer, strings.TrimPrefix(err.Error(), "x509: "))}
}

// missesIntermediate reports whether the server left out the leaf's issuer
// though the leaf tells where to fetch it (authority information access, RFC
// 5280 section 4.2.2.1). Public CAs always tell; a leaf that is signed by a
// private root directly does not.
func missesIntermediate(certs []*x509.Certificate) bool {
	for _, c := range certs[1:] {
		if bytes.Equal(c.RawSubject, certs[0].RawIssuer) {
			return false
		}
	}
	return len(certs[0].IssuingCertificateURL) > 0
}

// verifiedName is the name in the form that x509 compares.
func verifiedName(name string) string {
	if zone := strings.IndexByte(name, '%'); zone >= 0 {
		name = name[:zone]
	}
	return strings.TrimSuffix(name, ".")
}

// shownNames is how many of a certificate's names a message lists.
const shownNames = 8

func hostnameMessage(leaf *x509.Certificate, name string) string {
	names := certNames(leaf)
	if len(names) == 0 {
		return fmt.Sprintf("the certificate has no names, so it is not for %s (its common name %q does not count)", name, leaf.Subject.CommonName)
	}
	more := ""
	if n := len(names) - shownNames; n > 0 {
		names, more = names[:shownNames], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("the certificate is not for %s but for %s%s", name, strings.Join(names, ", "), more)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
