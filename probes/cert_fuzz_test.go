package probes

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// FuzzCertificate inspects whatever certificate a server may present: facts are
// of their declared types and fit into every report, and none is trusted that
// the test's authority did not sign.
func FuzzCertificate(f *testing.F) {
	ca := root(f, "root")
	f.Add(ca.cert.Raw)
	issuer, err := testCA()
	if err != nil {
		f.Fatal(err)
	}
	for _, o := range []testnet.CertOptions{
		{Names: []string{"api.test", "*.test", "127.0.0.1", "::1"}}, {}, {Names: []string{"xn--mnchen-3ya.test"}, SelfSigned: true},
	} {
		pair, err := issuer.Issue(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pair.Certificate[0])
	}
	declared := make(map[string]check.Fact)
	for _, fact := range tlsKindFacts() {
		declared[fact.Name] = fact
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	f.Fuzz(func(t *testing.T, der []byte) {
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		state := tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: []*x509.Certificate{leaf, ca.cert}}
		j := begin()
		if why := j.inspect(&state, &tlsPlan{roots: roots, detail: true, verifyEach: true}, "api.test"); why != nil {
			t.Fatalf("inspection ends with %v", why)
		}
		for name, value := range j.obs.Facts.All() {
			if fact, ok := declared[name]; !ok || !fact.Type.Accepts(value) {
				t.Errorf("%s is %v (%T)", name, value, value)
			}
			if text, ok := value.(string); ok && !utf8.ValidString(text) {
				t.Errorf("%s is %q, no text", name, text)
			}
			if _, err := json.Marshal(value); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		sum := sha256.Sum256(der)
		if got := j.obs.Facts.Get("cert.sha256"); got != hex.EncodeToString(sum[:]) {
			t.Errorf("cert.sha256 is %v", got)
		}
		if j.obs.Facts.Get("cert.trusted") == true && leaf.CheckSignatureFrom(ca.cert) != nil && !slices.Equal(der, ca.cert.Raw) {
			t.Error("a certificate of somebody else's is trusted")
		}
	})
}
