package probes

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// smallSite answers every request with one small response.
func smallSite(b *testing.B) (addr string) {
	b.Helper()
	const text = "HTTP/1.1 200 OK\r\nServer: test\r\nDate: Sat, 28 Nov 2026 16:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
	server, err := testnet.ListenTCP(func(conn net.Conn) {
		var buf [1024]byte
		for {
			n, err := conn.Read(buf[:])
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			if bytes.Contains(buf[:n], []byte("Connection: close")) {
				return
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close() })
	return server.Addr()
}

// BenchmarkHTTPBare is what BenchmarkHTTP is to be compared with: a dial and
// net/http's reader of one response.
func BenchmarkHTTPBare(b *testing.B) {
	addr := smallSite(b)
	b.ReportAllocs()
	for b.Loop() {
		conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: sonde\r\nConnection: close\r\n\r\n", addr)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		conn.Close()
	}
}

// benchHTTP measures one probe of the kind http.
func benchHTTP(b *testing.B, connection string) {
	b.Helper()
	o := newHTTPOptions()
	o.URL, o.Connection = "http://"+smallSite(b)+"/", connection
	plan, err := o.Build(needs("status"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if o := plan.Probe.Observe(ctx); !o.Failure.IsZero() {
			b.Fatal(o.Failure)
		}
		cancel()
	}
	if err := plan.Probe.(check.Closer).Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkHTTP is one probe over a fresh connection.
func BenchmarkHTTP(b *testing.B) { benchHTTP(b, "fresh") }

// BenchmarkHTTPReused is one probe over a kept connection.
func BenchmarkHTTPReused(b *testing.B) { benchHTTP(b, "reuse") }

// BenchmarkHTTPKeepAlive is what BenchmarkHTTPReused is to be compared with: a
// client of net/http.
func BenchmarkHTTPKeepAlive(b *testing.B) {
	url := "http://" + smallSite(b) + "/"
	transport := new(http.Transport)
	client := http.Client{Transport: transport}
	defer transport.CloseIdleConnections()
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		cancel()
	}
}
