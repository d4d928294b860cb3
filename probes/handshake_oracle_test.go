//go:build oracle

package probes

import (
	"bufio"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// opensslServer starts openssl s_server with a certificate for api.test and
// returns where it listens.
func opensslServer(t *testing.T, o testnet.CertOptions, args ...string) (host, port string) {
	t.Helper()
	cert, err := authority(t).Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	file := tempFile(t, "chain.pem", chain)
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", "127.0.0.1:0",
		"-cert", file, "-cert_chain", file, "-key", tempFile(t, "key.pem", key)}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // at its end s_server would quit
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
			go func() {
				for lines.Scan() { // so that s_server never waits for a reader
				}
			}()
			host, port, err = net.SplitHostPort(strings.TrimSpace(addr))
			if err != nil {
				t.Fatal(err)
			}
			return host, port
		}
	}
	t.Fatal("openssl s_server did not start")
	return "", ""
}

func TestOracleOpenSSL(t *testing.T) {
	names := testnet.CertOptions{Names: []string{"api.test"}}
	tests := map[string]struct {
		cert    testnet.CertOptions
		args    []string
		options TLS
		code    check.Code // of the handshake
		trusted check.Code // why the certificate is not trusted
		version string
	}{
		"TLS 1.3":                  {names, nil, TLS{}, "", "", "1.3"},
		"TLS 1.2":                  {names, []string{"-tls1_2"}, TLS{}, "", "", "1.2"},
		"B17 TLS 1.1 only":         {names, []string{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, TLS{}, check.TLSVersion, "", ""},
		"TLS 1.1 when allowed":     {names, []string{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, TLS{MinVersion: "1.1"}, "", "", "1.1"},
		"B17 TLS 1.3 only":         {names, []string{"-tls1_3"}, TLS{MaxVersion: "1.2"}, check.TLSVersion, "", ""},
		"B19 client cert, TLS 1.3": {names, []string{"-Verify", "1", "-verify_return_error"}, TLS{}, check.TLSClientCert, "", ""},
		"B19 client cert, TLS 1.2": {names, []string{"-tls1_2", "-Verify", "1", "-verify_return_error"}, TLS{}, check.TLSClientCert, "", ""},
		"B19 optional client cert": {names, []string{"-verify", "1"}, TLS{}, "", "", "1.3"},
		"no common cipher":         {names, []string{"-tls1_2", "-cipher", "AES256-SHA256"}, TLS{}, check.TLSAlert, "", ""},
		"B4 expired":               {testnet.CertOptions{Names: names.Names, NotAfter: time.Now().AddDate(0, 0, -1)}, nil, TLS{}, "", check.TLSExpired, "1.3"},
		"B12 chain":                {testnet.CertOptions{Names: names.Names, Intermediate: true}, nil, TLS{}, "", "", "1.3"},
		"B12 no chain":             {testnet.CertOptions{Names: names.Names, Incomplete: true}, nil, TLS{}, "", check.TLSIncompleteChain, "1.3"},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			host, port := opensslServer(t, tt.cert, tt.args...)
			tt.options.CA = caFile(t)
			o, reason := shake(t, tt.options, "api.test", host, port, patience)
			for i := 1; tt.code == check.TLSClientCert && reason == nil && i < 10; i++ { // the refusal may be late
				o, reason = shake(t, tt.options, "api.test", host, port, patience)
			}
			if code(reason) != tt.code {
				t.Fatalf("got %v, want %q", reason, tt.code)
			}
			if reason == nil && (o.Because["cert.trusted"].Code != tt.trusted || o.Facts.Get("tls.version") != tt.version) {
				t.Errorf("%v because %v", o.Facts, o.Because)
			}
		})
	}
}

// TestOracleTLSReproduce runs the reproduce line of checks in a shell: openssl
// is to fail where the check does.
func TestOracleTLSReproduce(t *testing.T) {
	now := time.Now()
	good := testnet.CertOptions{Names: []string{"127.0.0.1", "api.test"}}
	expired := testnet.CertOptions{Names: []string{"127.0.0.1"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-time.Hour)}
	ca := tempFile(t, "ca.pem", authority(t).PEM())
	for name, c := range map[string]struct {
		cert testnet.CertOptions
		tls  TLS
		down bool
	}{
		"trusted":   {good, TLS{CA: ca}, false},
		"untrusted": {good, TLS{}, true},
		"name":      {good, TLS{CA: ca, ServerName: "api.test", MinVersion: "1.2", MaxVersion: "1.2"}, false},
		"hostname":  {good, TLS{CA: ca, ServerName: "other.test"}, true},
		"expired":   {expired, TLS{CA: ca}, true},
		"insecure":  {expired, TLS{Insecure: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			host, port := opensslServer(t, c.cert)
			number, err := strconv.Atoi(port)
			if err != nil {
				t.Fatal(err)
			}
			o := tcpOptions{Host: host, Port: number, TLS: &c.tls, MaxBanner: defaultMaxBanner}
			plan, err := o.Build(needs())
			if err != nil {
				t.Fatal(err)
			}
			line := plan.Probe.Observe(timeout(t, patience)).Reproduce()
			out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
			if (err != nil) != c.down {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		})
	}
}
