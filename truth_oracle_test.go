//go:build oracle

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes"
	"github.com/sonde-cli/sonde/scheduler"
)

// The concurrent truth: so many checks at once, so many times.
const (
	truthChecks = 500
	truthRounds = 200
)

// TestOracleConcurrentTruth probes healthy servers with checks of all kinds at
// once, again and again, and takes nothing but up.
func TestOracleConcurrentTruth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checks.yaml")
	if err := os.WriteFile(path, []byte(healthyChecks(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	loader := config.Loader{Kinds: probes.Kinds(), Version: "test"}
	set, err := loader.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Checks) != truthChecks {
		t.Fatalf("%d checks, want %d", len(set.Checks), truthChecks)
	}
	once := scheduler.Once{Concurrency: truthChecks}
	for round := range truthRounds {
		seen := make(truths)
		if err := once.Run(context.Background(), set.Checks, seen); err != nil {
			t.Fatal(err)
		}
		if seen[""] != truthChecks {
			t.Fatalf("round %d: %v", round, seen)
		}
	}
}

// truths counts results that are up, and names the others.
type truths map[string]int

// Put counts the result.
func (s truths) Put(r check.Result) error {
	if r.Verdict == check.Up && !r.Flaky {
		s[""]++
		return nil
	}
	s[fmt.Sprintf("%s %s %s: %s", r.Name, r.Verdict, r.Reason.Code, r.Reason.Message)]++
	return nil
}

// Close does nothing.
func (truths) Close() error { return nil }

// healthyChecks starts a healthy server of each sort and returns a file with
// their checks in turn.
func healthyChecks(t *testing.T) string {
	t.Helper()
	ca, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := testnet.WriteFaultFiles(dir, ca); err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(testnet.CertOptions{Names: []string{"127.0.0.1"}, Intermediate: true})
	if err != nil {
		t.Fatal(err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	zone, err := testnet.NewZone("web.test. 60 IN A 192.0.2.1", "web.test. 60 IN MX 10 mail.test.")
	if err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(dir, testnet.CAFile)
	plain := address(t)(testnet.ListenHTTP(nil, testnet.Site()))
	https := address(t)(testnet.ListenHTTP(secure.Clone(), testnet.Site()))
	health := address(t)(testnet.ListenHTTP(nil, testnet.GRPCHealth(map[string]byte{"": 1})))
	names := address(t)(testnet.ListenDNS(zone.Serve))
	greets := address(t)(testnet.ListenTCP(testnet.Say("220 ready\r\n")))
	echo := address(t)(testnet.ListenTCP(testnet.WebSocket(testnet.WebSocketEcho)))
	port := func(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }
	kinds := []string{
		fmt.Sprintf(`http: {url: "http://%s/"}`, plain),
		fmt.Sprintf(`http: {url: "http://%s/", version: "2"}`, plain),
		fmt.Sprintf(`http: {url: "https://%s/", tls: {ca: %q}}`, https, caFile),
		fmt.Sprintf(`http: {url: "https://%s/", version: "1.1", connection: reuse, tls: {ca: %q}}`, https, caFile),
		fmt.Sprintf(`http: {url: "http://%s/redirect/3"}`, plain),
		fmt.Sprintf(`tcp: {host: 127.0.0.1, port: %s, steps: [{expect: "^220"}]}`, port(greets)),
		fmt.Sprintf(`tls: {host: 127.0.0.1, port: %s, tls: {ca: %q}}`, port(https), caFile),
		fmt.Sprintf(`dns: {name: web.test, type: A, server: %q}`, names),
		fmt.Sprintf(`dns: {name: web.test, type: MX, server: %q, transport: tcp}`, names),
		fmt.Sprintf(`websocket: {url: "ws://%s/", steps: [{send: hello, expect: hello}]}`, echo),
		fmt.Sprintf(`grpc: {host: 127.0.0.1, port: %s}`, port(health)),
		`icmp: {host: 127.0.0.1, count: 1}`,
	}
	var file strings.Builder
	file.WriteString("version: 1\ndefaults: {timeout: 60s, interval: 60s}\nchecks:\n")
	for i := range truthChecks {
		fmt.Fprintf(&file, "  - {name: c%d, %s}\n", i, kinds[i%len(kinds)])
	}
	return file.String()
}

// address returns the address of a server that ends with the test.
func address(t *testing.T) func(s interface {
	Addr() string
	Close() error
}, err error) string {
	return func(s interface {
		Addr() string
		Close() error
	}, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s.Addr()
	}
}
