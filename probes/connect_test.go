package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestInterleave(t *testing.T) {
	t.Parallel()
	mixed := addrs("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2")
	for family, want := range map[uint8][]netip.Addr{
		0: addrs("2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"),
		4: addrs("192.0.2.1", "192.0.2.2", "192.0.2.3"),
		6: addrs("2001:db8::1", "2001:db8::2"),
	} {
		if got := interleave(mixed, family); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("family %d: %v, want %v", family, got, want)
		}
	}
	if got := interleave(addrs("::ffff:192.0.2.1"), 4); fmt.Sprint(got) != "[192.0.2.1]" {
		t.Errorf("mapped address: %v", got)
	}
}

// fate is what becomes of an attempt in a fake network.
type fate struct {
	after time.Duration // 0 with an error: at once
	err   error         // nil: connected
}

// network plays the fates by address; an address without one never answers.
// It notes when each attempt began.
type network struct {
	fates map[string]fate
	start time.Time

	mu    sync.Mutex
	began map[string]time.Duration
	conns []net.Conn // the peers' ends
}

func (n *network) try(ctx context.Context, addr netip.Addr) attempt {
	n.mu.Lock()
	n.began[addr.String()] = time.Since(n.start)
	n.mu.Unlock()
	f, known := n.fates[addr.String()]
	if !known {
		f.after = time.Hour
	}
	select {
	case <-ctx.Done():
		return attempt{addr: addr, err: ctx.Err()}
	case <-time.After(f.after):
	}
	if f.err != nil {
		return attempt{addr: addr, err: f.err}
	}
	conn, peer := net.Pipe()
	n.mu.Lock()
	n.conns = append(n.conns, peer)
	n.mu.Unlock()
	return attempt{addr: addr, conn: conn}
}

// raceIn races the addresses in a bubble of fake time.
func raceIn(t *testing.T, fates map[string]fate, limit time.Duration, list []netip.Addr) (n *network, winner string, failed []attempt, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n = &network{fates: fates, began: map[string]time.Duration{}, start: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		var conn net.Conn
		var addr netip.Addr
		conn, addr, failed = race(ctx, list, n.try)
		took = time.Since(n.start)
		if conn != nil {
			winner = addr.String()
			conn.Close()
		}
		for _, peer := range n.conns { // all others must be closed already
			if _, err := peer.Read(make([]byte, 1)); err == nil {
				t.Error("a connection is still open")
			}
		}
	})
	return n, winner, failed, took
}

func TestRaceStartsTheNextAfterTheStagger(t *testing.T) {
	n, winner, _, took := raceIn(t, map[string]fate{"192.0.2.1": {after: 40 * time.Millisecond}}, 10*time.Second,
		addrs("2001:db8::1", "192.0.2.1", "2001:db8::2"))
	if winner != "192.0.2.1" || took != 290*time.Millisecond {
		t.Errorf("%s won after %v", winner, took)
	}
	if diff := cmp.Diff(map[string]time.Duration{"2001:db8::1": 0, "192.0.2.1": 250 * time.Millisecond}, n.began); diff != "" {
		t.Error(diff)
	}
}

func TestRaceClosesTheLoser(t *testing.T) {
	_, winner, _, _ := raceIn(t, map[string]fate{
		"2001:db8::1": {after: 300 * time.Millisecond},
		"192.0.2.1":   {after: 50 * time.Millisecond},
	}, 10*time.Second, addrs("2001:db8::1", "192.0.2.1"))
	if winner == "" {
		t.Error("no winner")
	}
}

func TestA15FailureStartsTheNextAtOnce(t *testing.T) {
	_, winner, _, took := raceIn(t, map[string]fate{
		"2001:db8::1": {err: os.NewSyscallError("connect", syscall.ENETUNREACH)},
		"192.0.2.1":   {},
	}, 10*time.Second, addrs("2001:db8::1", "192.0.2.1"))
	if winner != "192.0.2.1" || took != 0 {
		t.Errorf("%q won after %v", winner, took)
	}
}

func TestA17FortyNineDeadAddresses(t *testing.T) {
	var list []netip.Addr
	for i := range 50 {
		list = append(list, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
	}
	last := list[49].String()
	_, winner, _, took := raceIn(t, map[string]fate{last: {after: time.Second}}, 5*time.Second, list)
	if winner != last || took > 4*time.Second {
		t.Errorf("black-holed: %q won after %v", winner, took)
	}
	refusing := map[string]fate{last: {}}
	for _, a := range list[:49] {
		refusing[a.String()] = fate{err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	if _, winner, _, took = raceIn(t, refusing, 5*time.Second, list); winner != last || took != 0 {
		t.Errorf("refusing: %q won after %v", winner, took)
	}
	if _, winner, failed, took := raceIn(t, nil, 5*time.Second, list); winner != "" || took != 5*time.Second || len(failed) == 0 {
		t.Errorf("all dead: %q won after %v", winner, took)
	}
}

func TestA16BlackHoledIPv6(t *testing.T) {
	_, winner, _, took := raceIn(t, map[string]fate{"192.0.2.1": {}}, 5*time.Second, addrs("2001:db8::1", "192.0.2.1"))
	if winner != "192.0.2.1" || took > 300*time.Millisecond {
		t.Errorf("%q won after %v", winner, took)
	}
}

func TestDialReason(t *testing.T) {
	t.Parallel()
	failure := func(err error) attempt {
		return attempt{addr: netip.MustParseAddr("127.0.0.1"), err: &net.OpError{Op: "dial", Err: err}}
	}
	errno := func(e syscall.Errno) attempt { return failure(os.NewSyscallError("connect", e)) }
	tests := map[string]struct {
		failed []attempt
		want   check.Code
	}{
		"refused":               {[]attempt{errno(syscall.ECONNREFUSED)}, check.ConnectRefused},
		"timeout":               {[]attempt{failure(context.DeadlineExceeded)}, check.ConnectTimeout},
		"kernel's timeout":      {[]attempt{errno(syscall.ETIMEDOUT)}, check.ConnectTimeout},
		"cancelled":             {[]attempt{failure(context.Canceled)}, check.LocalShutdown},
		"A11 a router says so":  {[]attempt{errno(syscall.EHOSTUNREACH)}, check.ConnectUnreachable},
		"A11 the network too":   {[]attempt{errno(syscall.ENETUNREACH)}, check.ConnectUnreachable},
		"A13 descriptors":       {[]attempt{errno(syscall.EMFILE)}, check.LocalFD},
		"A13 of the system":     {[]attempt{errno(syscall.ENFILE)}, check.LocalFD},
		"A14 ports":             {[]attempt{errno(syscall.EADDRNOTAVAIL)}, check.LocalPorts},
		"local firewall":        {[]attempt{errno(syscall.EPERM)}, check.LocalPermission},
		"memory":                {[]attempt{errno(syscall.ENOBUFS)}, check.LocalOverload},
		"timeout then refused":  {[]attempt{failure(context.DeadlineExceeded), errno(syscall.ECONNREFUSED)}, check.ConnectRefused},
		"A13 beats a refusal":   {[]attempt{errno(syscall.ECONNREFUSED), errno(syscall.EMFILE)}, check.LocalFD},
		"something else":        {[]attempt{failure(errors.New("odd"))}, check.ConnectUnreachable},
		"cancel beats the rest": {[]attempt{errno(syscall.ECONNREFUSED), failure(context.Canceled)}, check.LocalShutdown},
	}
	for title, tt := range tests {
		if got := (&router{}).dialReason(tt.failed, 80); got.Code != tt.want || got.Message == "" {
			t.Errorf("%s: %v, want %s", title, got, tt.want)
		}
	}
}

// TestA12NoRoute connects to an address that this machine cannot even send to:
// a link-local one that names no link.
func TestA12NoRoute(t *testing.T) {
	t.Parallel()
	_, reason := begin().connect(timeout(t, patience), &router{}, "fe80::1", "80")
	if code(reason) != check.LocalRoute {
		t.Errorf("got %v", reason)
	}
}

func TestSourceAddress(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	host, port := listen(t, func(conn net.Conn) { seen <- conn.RemoteAddr().(*net.TCPAddr).IP.String() })
	route, err := (&Route{Source: []string{"127.0.0.1"}}).build()
	if err != nil {
		t.Fatal(err)
	}
	conn, reason := begin().connect(timeout(t, patience), route, host, port)
	if reason != nil {
		t.Fatal(reason)
	}
	defer conn.Close()
	if got := <-seen; got != "127.0.0.1" {
		t.Errorf("came from %s", got)
	}
	foreign, err := (&Route{Source: []string{"192.0.2.1"}}).build()
	if err != nil {
		t.Fatal(err)
	}
	if _, reason := begin().connect(timeout(t, patience), foreign, host, port); code(reason) != check.LocalRoute {
		t.Errorf("from an address of another machine: %v", reason)
	}
}

func TestPinnedAddress(t *testing.T) {
	t.Parallel()
	host, port := listen(t, func(net.Conn) {})
	route, err := (&Route{Address: host}).build()
	if err != nil {
		t.Fatal(err)
	}
	conn, reason := begin().connect(timeout(t, patience), route, "no-such-name.invalid", port)
	if reason != nil {
		t.Fatal(reason)
	}
	conn.Close()
}
