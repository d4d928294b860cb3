package testnet

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// CA is a certificate authority of a root and an intermediate, made for one
// process.
type CA struct {
	root, middle *issuer
}

type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// CertOptions describe a certificate. The zero value is a valid one for no
// name.
type CertOptions struct {
	Names      []string  // DNS names or IP addresses
	CommonName string    // subject; default is the first name
	NotBefore  time.Time // zero: an hour ago
	NotAfter   time.Time // zero: in 90 days
	SelfSigned bool      // signed by its own key and not by the CA
	// Intermediate lets the CA's intermediate sign; the chain includes it.
	Intermediate bool
	// Incomplete leaves the intermediate out of the chain, as a badly
	// configured server does; it implies Intermediate.
	Incomplete bool
	NameOnly   bool             // the first name is the subject's and stands nowhere else
	Extensions []pkix.Extension // more of them
	Key        crypto.Signer    // the certificate's; nil: a new one
}

// NewCA makes a certificate authority that is valid for ten years.
func NewCA() (*CA, error) {
	root, err := newIssuer("sonde test root", nil)
	if err != nil {
		return nil, err
	}
	middle, err := newIssuer("sonde test intermediate", root)
	if err != nil {
		return nil, err
	}
	return &CA{root: root, middle: middle}, nil
}

func newIssuer(name string, parent *issuer) (*issuer, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name, Organization: []string{"sonde"}},
		NotBefore:             time.Now().Add(-24 * time.Hour),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, key, err := sign(template, parent)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &issuer{cert: cert, key: key}, err
}

// sign makes a key and its certificate; without a parent it signs itself.
func sign(template *x509.Certificate, parent *issuer) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	signer := issuer{cert: template, key: key}
	if parent != nil {
		signer = *parent
	}
	der, err := certify(template, &key.PublicKey, signer)
	return der, key, err
}

// certify makes the certificate of a key.
func certify(template *x509.Certificate, public crypto.PublicKey, by issuer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, template, by.cert, public, by.key)
}

// Pool returns a pool with the root.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.root.cert)
	return pool
}

// PEM returns the root in PEM form.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.root.cert.Raw})
}

// Issue makes a certificate, good for servers and clients.
func (ca *CA) Issue(o CertOptions) (tls.Certificate, error) {
	template := leafTemplate(o)
	var parent *issuer
	var chain [][]byte
	switch {
	case o.SelfSigned:
	case o.Incomplete:
		parent = ca.middle
		template.IssuingCertificateURL = []string{"http://ca.invalid/intermediate.crt"}
	case o.Intermediate:
		parent, chain = ca.middle, [][]byte{ca.middle.cert.Raw}
	default:
		parent = ca.root
	}
	var der []byte
	var key crypto.Signer
	var err error
	if key = o.Key; key != nil {
		der, err = certify(template, key.Public(), *ca.root)
	} else {
		der, key, err = sign(template, parent)
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: append([][]byte{der}, chain...), PrivateKey: key}, nil
}

func leafTemplate(o CertOptions) *x509.Certificate {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: o.CommonName},
		NotBefore:   o.NotBefore,
		NotAfter:    o.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
		if !o.NotAfter.IsZero() && o.NotAfter.Before(time.Now()) {
			template.NotBefore = o.NotAfter.AddDate(0, -3, 0)
		}
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = template.NotBefore.AddDate(0, 0, 90)
	}
	if template.Subject.CommonName == "" && len(o.Names) > 0 {
		template.Subject.CommonName = o.Names[0]
	}
	template.ExtraExtensions = o.Extensions
	if o.NameOnly {
		return template
	}
	for _, name := range o.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return template
}

// KeyPEM returns a certificate chain and its key in PEM form, as files hold
// them.
func KeyPEM(cert tls.Certificate) (chain, key []byte, err error) {
	for _, der := range cert.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, nil, err
	}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
