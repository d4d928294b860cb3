package probes

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

func benchServer(b *testing.B) (host, port string) {
	b.Helper()
	server, err := testnet.ListenTCP(testnet.Silence)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close() })
	host, port, _ = net.SplitHostPort(server.Addr())
	return host, port
}

// BenchmarkDial is what BenchmarkTCP is to be compared with.
func BenchmarkDial(b *testing.B) {
	host, port := benchServer(b)
	addr := net.JoinHostPort(host, port)
	b.ReportAllocs()
	for b.Loop() {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		conn.Close()
	}
}

// BenchmarkDialContext is BenchmarkDial with what a probe cannot do without: a
// deadline and cancellation.
func BenchmarkDialContext(b *testing.B) {
	host, port := benchServer(b)
	addr := net.JoinHostPort(host, port)
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		conn.Close()
		cancel()
	}
}

// BenchmarkTCP is one probe of the kind tcp.
func BenchmarkTCP(b *testing.B) {
	host, port := benchServer(b)
	o := &tcpOptions{MaxBanner: defaultMaxBanner}
	if err := o.SetTarget("tcp://" + net.JoinHostPort(host, port)); err != nil {
		b.Fatal(err)
	}
	plan, err := o.Build(check.Setup{Needs: func(string) bool { return false }})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if obs := plan.Probe.Observe(ctx); !obs.Failure.IsZero() {
			b.Fatal(obs.Failure)
		}
		cancel()
	}
}
