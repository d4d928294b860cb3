package playground

import (
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
