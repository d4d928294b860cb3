//go:build oracle && linux

package probes

import (
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

const portsChild = "SONDE_TEST_PORTS"

// TestOracleA14Ports uses up the ports of a network namespace that has ten.
func TestOracleA14Ports(t *testing.T) {
	if os.Getenv(portsChild) != "" {
		usePorts(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-n", "sh", "-c",
		`ip link set lo up && echo 50000 50009 >/proc/sys/net/ipv4/ip_local_port_range && echo 0 >/proc/sys/net/ipv4/tcp_tw_reuse && exec "$0" -test.run '^TestOracleA14Ports$'`, self)
	cmd.Env = append(os.Environ(), portsChild+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// usePorts counts how many connections can be had, open and in TIME_WAIT.
func usePorts(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:60000") // outside of the range
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				testnet.Silence(conn)
				conn.Close()
			}()
		}
	}()
	host, port := split(t, l.Addr().String())
	reset := &router{}
	if err := reset.closeBy(closeReset); err != nil {
		t.Fatal(err)
	}
	for i := range 50 { // leaves no TIME_WAIT
		conn, reason := begin().connect(timeout(t, patience), reset, host, port)
		if reason != nil {
			t.Fatalf("close: reset, connection %d: %v", i, reason)
		}
		conn.Close()
	}
	for _, c := range []struct {
		name   string
		source []string
		want   int
	}{
		{"one source", []string{"127.0.1.1"}, 10},
		{"three sources", []string{"127.0.2.1", "127.0.2.2", "127.0.2.3"}, 30},
		{"the system's", nil, 10},
	} {
		route, err := (&Route{Source: c.source}).build()
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.want {
			conn, reason := begin().connect(timeout(t, patience), route, host, port)
			if reason != nil {
				t.Fatalf("%s: connection %d: %v", c.name, i, reason)
			}
			conn.Close() // and goes to TIME_WAIT
		}
		if _, reason := begin().connect(timeout(t, patience), route, host, port); code(reason) != check.LocalPorts {
			t.Errorf("%s: one connection more than ports: %v", c.name, reason)
		}
	}
}
