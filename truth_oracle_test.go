//go:build oracle

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

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

// healthyChecks starts healthy servers of each sort and returns a file with
// their checks in turn.
func healthyChecks(t *testing.T) string {
	t.Helper()
	kinds := slices.Concat(healthyWeb(t), healthyNames(t), healthyOthers(t))
	for _, kind := range kinds { // those that cost little have three times as many checks
		if !strings.Contains(kind, "ca: ") && !strings.HasPrefix(kind, "ssh") && !strings.HasPrefix(kind, "exec") {
			kinds = append(kinds, kind, kind)
		}
	}
	var file strings.Builder
	file.WriteString("version: 1\ndefaults: {timeout: 60s, interval: 60s}\nchecks:\n")
	for i := range truthChecks {
		fmt.Fprintf(&file, "  - {name: c%d, %s}\n", i, kinds[i%len(kinds)])
	}
	return file.String()
}

// truthTLS is what the servers and the checks of a test have for TLS.
func truthTLS(t *testing.T) (server *tls.Config, caFile string) {
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
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, filepath.Join(dir, testnet.CAFile)
}

// healthyWeb has every version of HTTP, ways there, journeys, and what stands on
// HTTP.
func healthyWeb(t *testing.T) []string {
	secure, caFile := truthTLS(t)
	plain := address(t)(testnet.ListenHTTP(nil, testnet.Site()))
	https := address(t)(testnet.ListenHTTP(secure.Clone(), testnet.Site()))
	health := address(t)(testnet.ListenHTTP(nil, testnet.GRPCHealth(map[string]byte{"": 1})))
	echo := address(t)(testnet.ListenTCP(testnet.WebSocket(testnet.WebSocketEcho)))
	connect := address(t)(testnet.ListenTCP(tunnel("HTTP/1.1 200 OK\r\n\r\n", plain, testnet.Turn{Until: "\r\n\r\n"})))
	socks := address(t)(testnet.ListenTCP(tunnel("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", plain,
		testnet.Turn{Until: "\x05\x01\x00"}, testnet.Turn{Say: "\x05\x00", Until: "\x00\x50"})))
	names := address(t)(testnet.ListenDNS(truthZone(t).Serve))
	return []string{
		fmt.Sprintf(`http: {url: "http://%s/"}`, plain),
		fmt.Sprintf(`http: {url: "http://%s/", version: "2"}`, plain),
		fmt.Sprintf(`http: {url: "https://%s/", tls: {ca: %q}}`, https, caFile),
		fmt.Sprintf(`http: {url: "https://%s/", version: "1.1", connection: reuse, tls: {ca: %q}}`, https, caFile),
		fmt.Sprintf(`http: {url: "http://%s/", connection: both}, expect: [warm.possible]`, plain),
		fmt.Sprintf(`http: {url: "http://web.test:%s/", family: both, resolver: %q}, expect: [v4.up]`, portOf(plain), names),
		fmt.Sprintf(`tcp: {host: web.test, port: %s, address: all, resolver: %q}, expect: [addresses.found == 1]`, portOf(plain), names),
		fmt.Sprintf(`http: {url: "https://%s/", version: "3", tls: {ca: %q}}`, http3Site(t, secure.Clone()), caFile),
		fmt.Sprintf(`http: {url: "http://%s/redirect/3"}`, plain),
		fmt.Sprintf(`http: {url: "http://far.test:80/", proxy: "socks5h://%s"}`, socks),
		fmt.Sprintf(`tcp: {host: far.test, port: 80, proxy: "http://%s"}`, connect),
		fmt.Sprintf(`steps: {base: "http://%s", defaults: {connection: reuse}, requests: [{name: a, url: /json, capture: {status: json.status}}, {name: b, url: "/echo?q=${steps.a.captures.status}", expect: "json.path == '/echo?q=ok'"}]}`, plain),
		fmt.Sprintf(`websocket: {url: "ws://%s/", steps: [{send: hello, expect: hello}]}`, echo),
		fmt.Sprintf(`grpc: {host: 127.0.0.1, port: %s}`, portOf(health)),
		fmt.Sprintf(`tls: {host: 127.0.0.1, port: %s, tls: {ca: %q, classic_keys: true}}`, portOf(https), caFile),
	}
}

func truthZone(t *testing.T) *testnet.Zone {
	t.Helper()
	zone, err := testnet.NewZone("web.test. 60 IN A 127.0.0.1", "web.test. 60 IN MX 10 mail.test.")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// healthyNames asks name servers in each way.
func healthyNames(t *testing.T) []string {
	secure, caFile := truthTLS(t)
	zone := truthZone(t)
	plain := address(t)(testnet.ListenDNS(zone.Serve))
	other := address(t)(testnet.ListenDNS(zone.Serve))
	overTLS := address(t)(testnet.ListenDoT(secure.Clone(), zone.Serve))
	overHTTPS := address(t)(testnet.ListenHTTP(secure.Clone(), testnet.DoH(zone.Serve)))
	return []string{
		fmt.Sprintf(`dns: {name: web.test, type: A, server: %q}`, plain),
		fmt.Sprintf(`dns: {name: web.test, type: MX, server: %q, transport: tcp}`, plain),
		fmt.Sprintf(`dns: {name: web.test, type: A, servers: [%q, %q]}`, plain, other),
		fmt.Sprintf(`dns: {name: web.test, type: A, server: %q, transport: tls, tls: {ca: %q, classic_keys: true}}`, overTLS, caFile),
		fmt.Sprintf(`dns: {name: web.test, type: A, server: "https://%s/dns-query", tls: {ca: %q, classic_keys: true}}`, overHTTPS, caFile),
		fmt.Sprintf(`dns: {name: web.test, type: A, server: %q, transport: quic, tls: {ca: %q, classic_keys: true}}`, doqServer(t, secure.Clone(), zone), caFile),
	}
}

// healthyOthers has the kinds that are neither of the web nor of names.
func healthyOthers(t *testing.T) []string {
	keys, err := testnet.SSHKeys()
	if err != nil {
		t.Fatal(err)
	}
	message := testnet.PostgresMessage
	welcome := message('R', "\x00\x00\x00\x00") + message('Z', "I")
	row := message('1', "") + message('2', "") + message('T', "\x00\x01n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00") +
		message('D', "\x00\x01\x00\x00\x00\x0242") + message('C', "SELECT 1\x00") + message('Z', "I")
	greets := address(t)(testnet.ListenTCP(testnet.Say("220 ready\r\n")))
	echo := address(t)(testnet.ListenUDP(testnet.EchoUDP))
	clock := address(t)(testnet.ListenUDP(testnet.NTP{Stratum: 2, Reference: "\xc0\x00\x02\x01"}.Serve))
	shell := address(t)(testnet.ListenTCP(testnet.SSH(keys, nil, func() {})))
	cache := address(t)(testnet.ListenTCP(testnet.Converse([]testnet.Turn{{Until: "PING\r\n"}}, testnet.Say("+PONG\r\n"))))
	database := address(t)(testnet.ListenTCP(testnet.PostgresStarted([]testnet.Turn{{Say: welcome, Until: "S\x00\x00\x00\x04"}}, testnet.Say(row))))
	return []string{
		fmt.Sprintf(`tcp: {host: 127.0.0.1, port: %s, steps: [{expect: "^220"}]}`, portOf(greets)),
		fmt.Sprintf(`udp: {host: 127.0.0.1, port: %s, steps: [{send: hello, expect: hello}, {send_hex: ff00, expect: "(?s)^..$"}]}, expect: ["answer_hex == 'ff00'"]`, portOf(echo)),
		fmt.Sprintf(`ntp: {host: 127.0.0.1, port: %s}, expect: [off_by < 30s]`, portOf(clock)),
		fmt.Sprintf(`ssh: {host: 127.0.0.1, port: %s}, expect: ["key.fingerprint == '%s'"]`, portOf(shell), ssh.FingerprintSHA256(keys[0].PublicKey())),
		fmt.Sprintf(`redis: {host: 127.0.0.1, port: %s}`, portOf(cache)),
		fmt.Sprintf(`sql: {host: 127.0.0.1, port: %s, user: probe}, expect: ["value == '42'"]`, portOf(database)),
		`icmp: {host: 127.0.0.1, count: 1}`,
		`exec: {command: [/bin/true]}`,
	}
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
