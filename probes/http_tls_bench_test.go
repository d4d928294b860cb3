package probes

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// BenchmarkHTTPS is one probe over a fresh TLS 1.3 connection to a server with
// a chain of two certificates, with their verification remembered and not.
func BenchmarkHTTPS(b *testing.B) {
	for _, c := range []struct {
		name string
		each bool
	}{{"remembered", false}, {"verify_each", true}} {
		b.Run(c.name, func(b *testing.B) { benchHTTPS(b, c.each) })
	}
}

func benchHTTPS(b *testing.B, each bool) {
	ca, err := testnet.NewCA()
	if err != nil {
		b.Fatal(err)
	}
	cert, err := ca.Issue(testnet.CertOptions{Names: []string{"127.0.0.1"}, Intermediate: true})
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		b.Fatal(err)
	}
	server, err := testnet.ListenTLS(&tls.Config{Certificates: []tls.Certificate{cert}}, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1024))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	o := newHTTPOptions()
	o.URL, o.Close = "https://"+server.Addr()+"/", closeReset
	o.TLS = TLS{CA: file, VerifyEach: each}
	plan, err := o.Build(needs("status"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if o := plan.Probe.Observe(ctx); !o.Failure.IsZero() || o.Facts.Get("cert.trusted") != true {
			b.Fatal(o.Failure, o.Because)
		}
		cancel()
	}
}

// BenchmarkVerify is the part of a probe that is remembered or not.
func BenchmarkVerify(b *testing.B) {
	ca, err := testnet.NewCA()
	if err != nil {
		b.Fatal(err)
	}
	cert, err := ca.Issue(testnet.CertOptions{Names: []string{"a.test"}, Intermediate: true})
	if err != nil {
		b.Fatal(err)
	}
	certs := parsed(b, cert)
	for name, plan := range map[string]*tlsPlan{"remembered": {roots: ca.Pool()}, "verify_each": {roots: ca.Pool(), verifyEach: true}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := plan.verify(certs, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
