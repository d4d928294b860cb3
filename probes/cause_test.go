package probes

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// What the network says in the middle of an exchange is no matter of TLS.
func TestCauseOnceConnected(t *testing.T) {
	t.Parallel()
	unreachable := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.EHOSTUNREACH)}
	broken := errors.New("tls: received record with version 0 when expecting version 303")
	for _, c := range []struct {
		err    error
		secure bool
		want   check.Code
	}{
		{unreachable, false, check.ConnectUnreachable},
		{unreachable, true, check.ConnectUnreachable},
		{broken, true, check.TLSAlert},
		{net.ErrClosed, false, check.ConnectUnreachable},
	} {
		run := &httpRun{j: begin(), secure: c.secure}
		if got := run.broken(c.err, check.HTTPHeaderTimeout, "late"); got.Code != c.want {
			t.Errorf("%v, TLS %v: %v, want %s", c.err, c.secure, got, c.want)
		}
	}
	for err, want := range map[error]check.Code{unreachable: check.ConnectUnreachable, broken: check.TLSAlert} {
		if got := begin().handshakeReason(err, new(tlsPlan), "", 0); got.Code != want {
			t.Errorf("handshake, %v: %v, want %s", err, got, want)
		}
	}
}

// brokenRecord makes the handshake, sends a record that nobody encrypted, and
// reads until the peer closes.
func brokenRecord(cfg *tls.Config) func(net.Conn) {
	return func(conn net.Conn) {
		if tls.Server(conn, cfg).Handshake() == nil {
			testnet.Say("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32))(conn)
			testnet.Silence(conn)
		}
	}
}

// TestBrokenTLSBehindTheHandshake has each kind meet a record that was changed
// on the way: the host was reached, and it is no certificate that is wanted.
func TestBrokenTLSBehindTheHandshake(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	asks := cfg.Clone()
	asks.ClientAuth = tls.RequestClientCert
	secure := TLS{CA: caFile(t), ServerName: "api.test"}
	for name, c := range map[string]struct {
		handler func(net.Conn)
		options func(host string, port int) check.Options
	}{
		"redis": {brokenRecord(cfg), func(host string, port int) check.Options {
			return &redisOptions{Host: host, Port: port, TLS: &secure}
		}},
		"tcp": {brokenRecord(cfg), func(host string, port int) check.Options {
			return &tcpOptions{Host: host, Port: port, TLS: &secure, Steps: []turn{{Expect: regexp.MustCompile("ready")}}, MaxBanner: defaultMaxBanner}
		}},
		"tls": {brokenRecord(asks), func(host string, port int) check.Options {
			return &tlsOptions{Host: host, Port: port, TLS: secure}
		}},
		"sql": {testnet.Converse(testnet.StartTLSTurns("postgres"), brokenRecord(cfg)), func(host string, port int) check.Options {
			return &sqlOptions{Driver: sqlPostgres, Host: host, Port: port, User: "probe", Query: "SELECT 1", TLS: &secure}
		}},
		"websocket": {brokenRecord(cfg), func(host string, port int) check.Options {
			return &wsOptions{URL: fmt.Sprintf("wss://%s:%d/", host, port), MaxMessage: defaultMaxMessage, TLS: secure}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := listen(t, c.handler)
			number, err := strconv.Atoi(port)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := c.options(host, number).Build(needs())
			if err != nil {
				t.Fatal(err)
			}
			wantFailure(t, promptly(t, plan.Probe, patience), check.TLSAlert, "bad record MAC")
		})
	}
}
