package echo

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/check"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// mayPing reports whether this process can open an ICMP socket. It asks the
// kernel itself, not the code under test.
func mayPing() bool {
	for _, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_RAW} {
		fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err == nil {
			return unix.Close(fd) == nil
		}
	}
	return false
}

// allowed reports whether there is a reason to go on: there is none where this
// machine does not let us ping and the reason says so.
func allowed(t *testing.T, why *check.Reason) bool {
	t.Helper()
	switch {
	case why == nil:
		return true
	case mayPing() || why.Code != check.LocalPermission:
		t.Fatal(why)
	}
	return false
}

// send makes a round of packets to this machine, a millisecond apart.
func send(t *testing.T, p *Pinger, count int) (Result, *check.Reason) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return p.Send(ctx, &Plan{To: loopback, Count: count, Interval: time.Millisecond, Size: 56})
}

// TestSocketLingers tells that pings which follow each other share a socket, unless
// the machine is so busy that it has expired, and that it is closed once no more
// come.
func TestSocketLingers(t *testing.T) {
	var p Pinger
	opened := make(map[*socket]bool)
	shared := false
	for attempt := 0; attempt < 50 && !shared; attempt++ {
		got, why := send(t, &p, 1)
		if !allowed(t, why) {
			return
		}
		if got.Received != 1 || got.RTTs[0] < 0 || got.TTL < 1 {
			t.Errorf("%+v", got)
		}
		p.mu.Lock()
		if s := p.open[socketKey{}]; s != nil {
			shared = opened[s]
			opened[s] = true
		}
		p.mu.Unlock()
	}
	if !shared {
		t.Errorf("%d pings, and none found a socket of the one before", len(opened))
	}
	for s := range opened {
		<-s.reader
	}
}

func TestCloseIdle(t *testing.T) {
	var p Pinger
	for range 3 {
		if _, why := send(t, &p, 1); !allowed(t, why) {
			return
		}
		p.CloseIdle()
		p.mu.Lock()
		if len(p.open) != 0 {
			t.Errorf("%d sockets are open", len(p.open))
		}
		p.mu.Unlock()
	}
}

// TestF8DatagramSocketsAge has a datagram socket that is past its time take no
// more rounds, and the next one get another id from the kernel. It runs in a network
// namespace of its own that allows such sockets.
func TestF8DatagramSocketsAge(t *testing.T) {
	const child, done = "SONDE_TEST_ECHO_CHILD", "the sockets aged"
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^"+t.Name()+"$")
		cmd.Env, cmd.Dir = append(os.Environ(), child+"=1"), "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Logf("this machine allows no user namespace: %v", err)
		} else if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), done) {
			t.Errorf("%v\n%s", err, &out)
		}
		return
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0); err != nil {
		t.Fatal(err)
	}
	datagramsAge(t, loopback)
	if _, err := os.Stat("/proc/net/if_inet6"); err == nil {
		datagramsAge(t, netip.IPv6Loopback())
	}
	fmt.Println(done)
}

func datagramsAge(t *testing.T, to netip.Addr) {
	t.Helper()
	var p Pinger
	join := func() *socket {
		s, why := p.join(socketKey{v6: to.Is6()}, newRound(&Plan{To: to, Count: 1}))
		if why != nil {
			t.Fatal(why)
		}
		return s
	}
	first := join()
	if again := join(); again != first || first.raw || first.id == 0 {
		t.Errorf("socket %p and %p, id %d", first, again, first.id)
	}
	first.opened = first.opened.Add(-datagramLife)
	next := join()
	if next == first || next.id == first.id {
		t.Errorf("an old socket, or its id %d, takes new rounds", first.id)
	}
	for _, s := range []*socket{first, next, first} {
		p.release(s)
	}
	p.CloseIdle()
	if len(p.open) != 0 {
		t.Errorf("%d sockets left", len(p.open))
	}
}

// TestF3OthersTraffic pings while another prober floods the machine with echo
// requests, whose replies a raw socket gets to see as well.
func TestF3OthersTraffic(t *testing.T) {
	var p, other Pinger
	foreign := newRound(&Plan{To: loopback, Count: 1})
	s, why := other.join(socketKey{}, foreign)
	if !allowed(t, why) {
		return
	}
	defer other.CloseIdle() // what is released lingers
	defer other.release(s)
	defer p.CloseIdle()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		addr := &unix.SockaddrInet4{Addr: loopback.As4()}
		for i := uint16(0); ; i++ {
			select {
			case <-stop:
				return
			default:
				packet := echoRequest(false, i, i, foreign.nonce[:])
				if _, err := unix.SendmsgN(s.fd, packet, nil, addr, unix.MSG_DONTWAIT); err != nil && !isBusy(err) {
					t.Error(err)
					return
				}
			}
		}
	})
	got, why := send(t, &p, 50)
	close(stop)
	wg.Wait()
	if why != nil || got.Received != 50 || got.Duplicates != 0 || got.Mismatched != 0 {
		t.Errorf("%+v %v", got, why)
	}
}

// TestF10CorruptPacketIsIgnored hands a raw socket what the kernel does not
// check for it.
func TestF10CorruptPacketIsIgnored(t *testing.T) {
	f := newFlight(t, 1)
	s := &socket{raw: true}
	if !s.register(f.round, f.id, f.base) {
		t.Fatal("no room")
	}
	packet := echoRequest(false, f.id, f.base, f.packet(0).payload)
	packet[0], packet[2], packet[3] = typeEchoReply4, 0, 0
	sum := checksum(packet)
	packet[2], packet[3] = byte(sum>>8), byte(sum)
	whole := append(ipHeader(target, loopback), packet...)
	take := func(b []byte, cut bool) {
		s.took(&message{data: b, cut: cut, from: target, ctrl: control{ttl: 64}}, time.Now())
	}
	for i := ip4Header; i < len(whole); i++ {
		corrupt := bytes.Clone(whole)
		corrupt[i] ^= 0x10
		take(corrupt, false)
		take(whole[:i], false)
	}
	if f.Received != 0 {
		t.Fatal("a corrupt packet was taken for a reply")
	}
	take(whole, false)
	take(whole[:60], true)
	f.want(t, 1, 1, 0)
}

func TestRoundsShareOneSocket(t *testing.T) {
	var p Pinger
	join := func(key socketKey) *socket {
		s, why := p.join(key, newRound(&Plan{To: loopback, Count: 2}))
		if !allowed(t, why) {
			return nil
		}
		return s
	}
	a := join(socketKey{})
	if a == nil {
		return
	}
	b, c := join(socketKey{}), join(socketKey{ttl: 9})
	if a != b || a == c || a.raw && a.nextID == 0 {
		t.Errorf("sockets %p %p %p", a, b, c)
	}
	p.release(a)
	if _, err := unix.Getsockname(a.fd); err != nil {
		t.Errorf("closed while in use: %v", err)
	}
	p.release(b)
	p.release(c)
	p.CloseIdle()
	if len(p.open) != 0 {
		t.Errorf("%d sockets left", len(p.open))
	}
}
