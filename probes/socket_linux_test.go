package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// loopback is an address of this machine with the port.
func loopback(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

// fullBacklog returns the address of a listener that takes no connection any
// more: packets of new ones are dropped.
func fullBacklog(t *testing.T) netip.AddrPort {
	t.Helper()
	jam, err := testnet.Jam()
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, jam)
	return netip.MustParseAddrPort(jam.Addr())
}

// waiting is a context that tells when somebody waits for its end.
type waiting struct {
	context.Context
	asked chan struct{}
}

// AfterFunc is as context.AfterFunc.
func (w waiting) AfterFunc(f func()) func() bool {
	close(w.asked)
	return context.AfterFunc(w.Context, f)
}

func TestSocketCancelledWhileConnecting(t *testing.T) {
	t.Parallel()
	to := fullBacklog(t)
	ctx, cancel := context.WithCancel(timeout(t, patience))
	w := waiting{ctx, make(chan struct{})}
	go func() {
		<-w.asked
		cancel()
	}()
	start := time.Now()
	conn, err := openSocket(w, "tcp", "", netip.Addr{}, to)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, context.Canceled) || time.Since(start) > patience/2 {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestSocketDeadlineWhileConnecting(t *testing.T) {
	t.Parallel()
	to := fullBacklog(t)
	conn, err := openSocket(timeout(t, 50*time.Millisecond), "tcp", "", netip.Addr{}, to)
	if err == nil {
		conn.Close()
	}
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("got %v", err)
	}
	_, reason := begin().connect(timeout(t, 50*time.Millisecond), &router{}, "127.0.0.1", fmt.Sprint(to.Port()))
	if code(reason) != check.ConnectTimeout {
		t.Errorf("got %v", reason)
	}
}

// TestSocketErrors are those of a net.Dialer.
func TestSocketErrors(t *testing.T) {
	t.Parallel()
	refused, err := testnet.Refuse()
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	for _, c := range []struct{ from, to string }{
		{"", refused.Addr()},
		{"", "[fe80::1]:80"},
		{"", "[::ffff:" + strings.Replace(refused.Addr(), ":", "]:", 1)},
		{"192.0.2.1", refused.Addr()},
		{"", "127.0.0.1:0"},
	} {
		to := netip.MustParseAddrPort(c.to)
		dialer := net.Dialer{}
		var from netip.Addr
		if c.from != "" {
			from = netip.MustParseAddr(c.from)
			dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		theirs, want := dialer.DialContext(timeout(t, patience), "tcp", c.to)
		if want == nil {
			theirs.Close()
			t.Fatalf("%v: connected", c)
		}
		conn, got := openSocket(timeout(t, patience), "tcp", "", from, to)
		if got == nil {
			conn.Close()
		}
		var ours, other *os.SyscallError
		if !errors.As(got, &ours) || !errors.As(want, &other) || *ours != *other {
			t.Errorf("%v: %v, want %v", c, got, want)
		}
	}
}

// TestSocketEmptyDatagram reads one, which is not the end of anything.
func TestSocketEmptyDatagram(t *testing.T) {
	t.Parallel()
	peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback(0)))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := openSocket(timeout(t, patience), "udp", "", netip.Addr{}, peer.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(nil); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	n, from, err := peer.ReadFrom(b)
	if n != 0 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	for _, text := range []string{"", "more"} {
		if _, err := peer.WriteTo([]byte(text), from); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(b); string(b[:n]) != text || err != nil {
			t.Errorf("%q, %v", b[:n], err)
		}
	}
}

// TestE5EmptyDatagram has a server, or somebody in its name, send an empty
// datagram before the answer.
func TestE5EmptyDatagram(t *testing.T) {
	t.Parallel()
	zone := zone(t, "web.test. 60 IN A 192.0.2.1")
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		q.Reply(nil)
		zone.Serve(q)
	})
	o := observeDNS(t, buildDNS(t, server.Addr(), nil), patience)
	wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{"192.0.2.1"}, "mismatched": 1}))
}

// TestSocketAfterClose uses a socket whose descriptor another one may have got.
func TestSocketAfterClose(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Silence)
	for _, used := range []bool{false, true} {
		conn, err := openSocket(timeout(t, patience), "tcp", "", netip.Addr{}, netip.MustParseAddrPort(net.JoinHostPort(host, port)))
		if err != nil {
			t.Fatal(err)
		}
		s := conn.(*socket)
		if used {
			if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, read := s.Read(make([]byte, 1))
		_, write := s.Write([]byte("x"))
		_, raw := s.SyscallConn()
		for name, err := range map[string]error{
			"close": s.Close(), "read": read, "write": write, "raw": raw, "linger": s.SetLinger(0), "deadline": s.SetDeadline(time.Time{}),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("used %v: %s: %v", used, name, err)
			}
		}
		if addr := s.LocalAddr().(*net.TCPAddr); addr.Port != 0 {
			t.Errorf("used %v: its address is %v, of the next socket perhaps", used, addr)
		}
	}
}

// TestSocketClosedMeanwhile closes a socket while others use it.
func TestSocketClosedMeanwhile(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Silence)
	for range 50 {
		conn, err := openSocket(timeout(t, patience), "tcp", "", netip.Addr{}, netip.MustParseAddrPort(net.JoinHostPort(host, port)))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() { _, err = conn.Read(make([]byte, 1)) })
		all.Go(func() { _ = conn.SetDeadline(time.Now().Add(patience)) })
		all.Go(func() { conn.LocalAddr() })
		all.Go(func() { conn.Close() })
		all.Wait()
		if !errors.Is(err, net.ErrClosed) {
			t.Fatalf("read: %v", err)
		}
	}
}

// TestSocketReset reads from a connection that its peer resets after a word.
func TestSocketReset(t *testing.T) {
	t.Parallel()
	host, port := listen(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	})
	conn, err := openSocket(timeout(t, patience), "tcp", "", netip.Addr{}, netip.MustParseAddrPort(net.JoinHostPort(host, port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) || cause(err, check.ConnectTimeout).Code != check.ConnectReset {
		t.Errorf("got %v", err)
	}
}

// TestSocketWithoutPoller has the poller refuse the descriptor, which is that
// of a file here: our own side's fault, and not a connection that failed.
func TestSocketWithoutPoller(t *testing.T) {
	t.Parallel()
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{network: "tcp", fd: fd, remote: loopback(1)}
	defer s.Close()
	for range 2 {
		_, err := s.Read(make([]byte, 1))
		if got := cause(err, check.ConnectTimeout); got.Code != check.LocalOverload {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestSelfConnected has a socket that calls its own port.
func TestSelfConnected(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{network: "tcp", fd: fd}
	defer s.Close()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	s.remote, _ = s.local()
	if s.selfConnected() != true || s.remote.Port() == 0 {
		t.Errorf("%v is not its own address", s.remote)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(s.remote.Port())}); err != nil {
		t.Fatal(err)
	}
	s.remote = netip.AddrPortFrom(netip.AddrFrom16(s.remote.Addr().As16()), s.remote.Port())
	if !s.selfConnected() {
		t.Errorf("%v is not its own address", s.remote)
	}
	s.remote = loopback(s.remote.Port() ^ 1)
	if s.selfConnected() {
		t.Errorf("%v is its own address", s.remote)
	}
}

// TestSelfConnect calls the one port that a network namespace gives out, where
// nobody listens: the kernel connects each call with itself.
func TestSelfConnect(t *testing.T) {
	if os.Getenv(icmpChild) == "" {
		if out, ok := inChild(t, "root", namespace(0)); ok && !strings.Contains(out, "called itself") {
			t.Fatalf("the child did not connect:\n%s", out)
		}
		return // TestSelfConnected has the same without a namespace
	}
	raiseLoopback(t)
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("50001 50001"), 0); err != nil {
		t.Fatal(err)
	}
	s := &socket{network: "tcp", remote: loopback(50001)}
	if err := s.open(timeout(t, patience), netip.Addr{}); err != nil || !s.selfConnected() {
		t.Fatalf("the kernel does not connect the call with itself: %v", err)
	}
	_ = s.SetLinger(0)
	s.Close()
	for range 10 {
		for _, host := range []string{"127.0.0.1", "::1"} {
			if _, reason := begin().connect(timeout(t, patience), &router{}, host, "50001"); code(reason) != check.ConnectRefused {
				t.Errorf("%s: %v", host, reason)
			}
		}
	}
	fmt.Println("called itself")
}

// TestPromise7FailedSockets fails 10,000 times in each way that a connection
// can, one after the other, and leaves no descriptor.
func TestPromise7FailedSockets(t *testing.T) {
	refused, err := testnet.Refuse()
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	full, closed := fullBacklog(t), netip.MustParseAddrPort(refused.Addr())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	fail := func(ctx context.Context, from netip.Addr, to netip.AddrPort) {
		conn, err := openSocket(ctx, "tcp", "", from, to)
		if err == nil {
			conn.Close()
			t.Errorf("%v: connected", to)
		}
	}
	before := descriptors(t)
	for range 2500 {
		fail(t.Context(), netip.Addr{}, closed)
		fail(t.Context(), netip.MustParseAddr("192.0.2.1"), closed)
		fail(ended, netip.Addr{}, closed)
		late, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
		fail(late, netip.Addr{}, full)
		cancel()
	}
	if after := descriptors(t); after > before+8 { // a few are the runtime's own
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
