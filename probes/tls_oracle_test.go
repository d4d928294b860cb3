//go:build oracle

package probes

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sonde-cli/sonde/internal/testnet"
	"golang.org/x/crypto/ocsp"
)

// shell returns what the line prints.
func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestOracleTLSFacts compares the facts of a certificate with what openssl says
// of the same.
func TestOracleTLSFacts(t *testing.T) {
	host, port := opensslServer(t, testnet.CertOptions{Names: []string{"api.test"}, Intermediate: true},
		"-cipher", "ALL:@SECLEVEL=0", "-ciphersuites", "TLS_AES_256_GCM_SHA384", "-alpn", "h2")
	options := atTLS(t, host, port)
	options.ALPN = []string{"h2"}
	o := look(t, options, patience, versionsFact)
	client := "openssl s_client -alpn h2 -connect " + net.JoinHostPort(host, port) + " </dev/null 2>/dev/null"
	cert := client + " | openssl x509 -noout"
	compact := strings.NewReplacer(":", "", "\n", "")
	said := func(line, pattern string) string {
		text := shell(t, line)
		found := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("%s says %s, want %s", line, text, pattern)
		}
		return found[1]
	}
	want := map[string]any{
		"tls.version":    said(client, `Protocol *: TLSv(\S+)|New, TLSv(\S+),`),
		"tls.cipher":     said(client, `Cipher is (\S+)`),
		"tls.alpn":       said(client, `ALPN protocol: (\S+)`),
		"cert.serial":    strings.TrimLeft(strings.ToLower(said(cert+" -serial", `serial=(\S+)`)), "0"),
		"cert.sha256":    strings.ToLower(compact.Replace(said(cert+" -fingerprint -sha256", `(?i)fingerprint=(\S+)`))),
		"cert.pin":       shell(t, cert+" -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"),
		"cert.key_bits":  256,
		"cert.signature": map[string]string{"ecdsa-with-SHA256": "ECDSA-SHA256"}[said(cert+" -text", `Signature Algorithm: (\S+)`)],
		"cert.presented": strings.Count(shell(t, strings.Replace(client, "s_client", "s_client -showcerts", 1)), "BEGIN CERTIFICATE"),
		"cert.ocsp":      "none",
	}
	if want["tls.version"] == "" {
		want["tls.version"] = "1.3"
	}
	got := make(map[string]any)
	for name := range want {
		got[name] = o.Facts.Get(name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%v\n%s", o.Failure, diff)
	}
	end, err := time.Parse("Jan _2 15:04:05 2006 MST", said(cert+" -enddate", `notAfter=(.*)`))
	if at, _ := o.Facts.Get("cert.not_after").(time.Time); err != nil || !at.Equal(end) {
		t.Errorf("not after %v, openssl says %v (%v)", at, end, err)
	}
	if diff := cmp.Diff([]string{"1.0", "1.1", "1.2", "1.3"}, o.Facts.Get(versionsFact)); diff != "" {
		t.Errorf("%v %s", o.Because, diff)
	}
}

// TestOracleTLSCiphers has openssl accept some cipher suites.
func TestOracleTLSCiphers(t *testing.T) {
	host, port := opensslServer(t, testnet.CertOptions{Names: []string{"api.test"}},
		"-tls1_2", "-serverpref", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-SHA")
	o := look(t, atTLS(t, host, port), patience, versionsFact, ciphersFact)
	want := []string{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"}
	if diff := cmp.Diff(want, o.Facts.Get(ciphersFact)); diff != "" {
		t.Errorf("%v %s", o.Because, diff)
	}
	if diff := cmp.Diff([]string{"1.2"}, o.Facts.Get(versionsFact)); diff != "" {
		t.Errorf("%v %s", o.Because, diff)
	}
}

// agrees reports whether openssl's client agrees with a server on what the flags
// leave it.
func agrees(t *testing.T, host, port, flags string) bool {
	t.Helper()
	args := append([]string{"s_client", "-connect", net.JoinHostPort(host, port)}, strings.Fields(flags)...)
	cmd := exec.CommandContext(t.Context(), "openssl", args...) // with an empty standard input
	return cmd.Run() == nil
}

// scan has sonde find out what a server accepts, and compares with openssl.
func scan(t *testing.T, host, port string) (versions, ciphers []string) {
	t.Helper()
	options := atTLS(t, host, port)
	options.Scan = true
	o := look(t, options, patience)
	versions, ok := o.Facts.Get(versionsFact).([]string)
	ciphers, both := o.Facts.Get(ciphersFact).([]string)
	if !ok || !both {
		t.Fatalf("%v %v", o.Failure, o.Because)
	}
	flags := map[string]string{"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3"}
	for version, flag := range flags {
		if agrees(t, host, port, flag+" -cipher ALL:@SECLEVEL=0") != slices.Contains(versions, version) {
			t.Errorf("sonde finds the versions %v, openssl differs about %s", versions, version)
		}
	}
	old := "-no_tls1_3"
	names := shell(t, "openssl ciphers -stdname ALL:COMPLEMENTOFALL:@SECLEVEL=0")
	for _, id := range allCiphers() {
		suite := tls.CipherSuiteName(id)
		found := regexp.MustCompile(`(?m)^` + suite + ` +- (\S+)`).FindStringSubmatch(names)
		accepted := found != nil && agrees(t, host, port, old+" -cipher "+found[1]+":@SECLEVEL=0")
		if accepted != slices.Contains(ciphers, suite) {
			t.Errorf("sonde finds the cipher suites %v, openssl differs about %s", ciphers, suite)
		}
	}
	return versions, ciphers
}

// TestOracleTLSScan scans openssl with every version alone, and nginx.
func TestOracleTLSScan(t *testing.T) {
	for version, flag := range map[string]string{"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3"} {
		host, port := opensslServer(t, testnet.CertOptions{Names: []string{"api.test"}}, flag, "-cipher", "ALL:@SECLEVEL=0")
		versions, ciphers := scan(t, host, port)
		if diff := cmp.Diff([]string{version}, versions); diff != "" || (version == "1.3") != (len(ciphers) == 0) {
			t.Errorf("openssl s_server %s: %s%v", flag, diff, ciphers)
		}
	}
	host, port := split(t, strings.TrimPrefix(startNginx(t).https, "https://"))
	if versions, ciphers := scan(t, host, port); !slices.Contains(versions, "1.2") || len(ciphers) == 0 {
		t.Errorf("nginx: %v, %v", versions, ciphers)
	}
}

// TestOracleStaple has openssl staple answers.
func TestOracleStaple(t *testing.T) {
	ca := root(t, "root")
	number := big.NewInt(7)
	leaf := ca.issue(t, x509.Certificate{SerialNumber: number, DNSNames: []string{"api.test"}})
	pair := tls.Certificate{Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: leaf.key}
	chain, key, err := testnet.KeyPEM(pair)
	if err != nil {
		t.Fatal(err)
	}
	caPEM := tempFile(t, "root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
	for want, status := range map[string]int{stapleGood: ocsp.Good, stapleRevoked: ocsp.Revoked} {
		staple := tempFile(t, "staple.der", answer(t, ca, ca, ocsp.Response{Status: status, SerialNumber: number, RevokedAt: time.Now()}))
		// The later options win over those for the certificate.
		host, port := opensslServer(t, testnet.CertOptions{}, "-cert", tempFile(t, "leaf.pem", chain), "-cert_chain", caPEM,
			"-key", tempFile(t, "leaf.key", key), "-status_file", staple)
		options := atTLS(t, host, port)
		options.TLS.CA = caPEM
		if o := look(t, options, patience); o.Facts.Get(stapleFact) != want {
			t.Errorf("%v, want %s: %v", o.Facts.Get(stapleFact), want, o.Failure)
		}
	}
}
