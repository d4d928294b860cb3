package playground

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"testing"
)

// TestPlayground starts the servers, uses one as the variables say, and leaves
// neither a server nor a file.
func TestPlayground(t *testing.T) {
	p, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) string {
		v, ok := p.Lookup(name)
		if !ok || v == "" {
			t.Errorf("there is no variable %s", name)
		}
		return v
	}
	pem, err := os.ReadFile(value("SONDE_CA"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("the file holds no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	client := http.Client{Transport: transport}
	for url, trusted := range map[string]bool{value("SITE_URL"): true, value("API_URL"): true, value("EXPIRED_URL"): false} {
		response, err := client.Get(url)
		if (err == nil) != trusted {
			t.Errorf("%s: %v", url, err)
		}
		if err == nil {
			_ = response.Body.Close() // which was not asked for
		}
	}
	transport.CloseIdleConnections()
	if _, ok := p.Lookup("NO_SUCH_NAME"); ok {
		t.Error("a variable of another name is there")
	}
	if len(p.Services()) == 0 || len(p.Variables()) == 0 {
		t.Error("nothing is listed")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(value("SONDE_CA")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is left behind: %v", err)
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort(value("SMTP_HOST"), value("SMTP_PORT"))); err == nil {
		_ = conn.Close()
		t.Error("a server is left behind")
	}
}

// TestFaultsInterrupted ends the start of all targets at once, and nothing is
// left behind.
func TestFaultsInterrupted(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	var names []string
	for _, f := range Faults() {
		names = append(names, f.Name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f, err := StartFaults(ctx, names); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", f, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
