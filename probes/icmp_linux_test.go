package probes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/netif"
)

// icmpChild is the environment variable that tells a test that it runs in a
// process of its own, and in which role.
const icmpChild = "SONDE_TEST_ICMP_CHILD"

// inChild runs the calling test again in a process with the attributes and
// returns what it printed. started is false when this machine does not let us
// start such a process.
func inChild(t *testing.T, role string, attr *syscall.SysProcAttr) (output string, started bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), icmpChild+"="+role)
	cmd.Dir = "/"
	cmd.SysProcAttr = attr
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Logf("%s: %v", role, err)
		return "", false
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", role, err, &out)
	}
	return out.String(), true
}

// namespace are the attributes of a process in a network and user namespace of
// its own, in which it has the given user and group id.
func namespace(id int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: id, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: id, HostID: os.Getgid(), Size: 1}},
	}
}

// TestF1NoPermission runs as a user without privileges, in a network namespace
// of its own where the kernel's default lets nobody ping.
func TestF1NoPermission(t *testing.T) {
	if os.Getenv(icmpChild) == "" {
		if out, ok := inChild(t, "nobody", namespace(65534)); ok {
			if !strings.Contains(out, "no permission: "+string(check.LocalPermission)) {
				t.Fatalf("the child could ping:\n%s", out)
			}
			return
		}
		t.Log("this machine allows no user namespace, so this process has to do")
	}
	obs := observePing(t, pingTimeout(t, pingSlack), "127.0.0.1")
	if measured(t, obs) {
		return
	}
	for _, fix := range []string{"net.ipv4.ping_group_range", "setcap cap_net_raw+ep", "root"} {
		if !strings.Contains(obs.Failure.Message, fix) {
			t.Errorf("the message does not tell of %q: %s", fix, obs.Failure.Message)
		}
	}
	fmt.Println("no permission:", obs.Failure.Code)
}

// TestDatagramSocket pings through the unprivileged kind of socket, in a
// network namespace that allows it.
func TestDatagramSocket(t *testing.T) {
	if os.Getenv(icmpChild) == "" {
		if out, ok := inChild(t, "root", namespace(0)); ok {
			if !strings.Contains(out, "pinged through datagram") {
				t.Fatalf("the child did not ping:\n%s", out)
			}
			return
		}
		t.Log("this machine allows no user namespace, so this process has to do")
	} else {
		if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0); err != nil {
			t.Fatal(err)
		}
		raiseLoopback(t)
	}
	hosts := []string{"127.0.0.1"}
	if hasIPv6(t) {
		hosts = append(hosts, "::1")
	}
	for _, host := range hosts {
		obs := observePing(t, pingTimeout(t, pingSlack), host, func(o *icmpOptions) { o.TTL = 7 })
		if !measured(t, obs) {
			return
		}
		if obs.Facts.Get("received") != 3 || os.Getenv(icmpChild) != "" && obs.Facts.Get("socket") != "datagram" {
			t.Fatalf("%s: %+v", host, obs)
		}
		if os.Getenv(icmpChild) != "" {
			pingAtOnce(t, host, 300)
			datagramIDs(t, host)
		}
		if _, ok := obs.Facts.Lookup("ttl"); !ok {
			t.Errorf("%s: no ttl", host)
		}
		fmt.Println("pinged through", obs.Facts.Get("socket"))
	}
}

// TestA15NoRouteToTheFirstFamily pings a name with an IPv6 address that a new
// network namespace has no route to, and an IPv4 address.
func TestA15NoRouteToTheFirstFamily(t *testing.T) {
	if os.Getenv(icmpChild) == "" {
		if out, ok := inChild(t, "root", namespace(0)); ok && !strings.Contains(out, "fell back") {
			t.Fatalf("the child did not ping:\n%s", out)
		}
		return // without namespaces, IPv6 packets could leave the machine
	}
	raiseLoopback(t)
	zone, err := testnet.NewZone("both.example. 60 IN AAAA 2001:db8::1", "both.example. 60 IN A 127.0.0.1",
		"six.example. 60 IN AAAA 2001:db8::1")
	if err != nil {
		t.Fatal(err)
	}
	server := dnsServer(t, zone.Serve)
	through := func(o *icmpOptions) { o.Resolver = server.Addr() }
	obs := observePing(t, pingTimeout(t, pingSlack), "both.example", through)
	wantFailure(t, obs, "")
	wantFacts(t, obs, check.FactsOf(map[string]any{"ip": "127.0.0.1", "family": 4, "received": 3}))
	wantFailure(t, observePing(t, pingTimeout(t, pingSlack), "six.example", through), check.LocalRoute, "no route to 2001:db8::1")
	fmt.Println("fell back")
}

// raiseLoopback sets the loopback interface of a new network namespace up.
func raiseLoopback(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}

// datagramIDs checks case F8 for datagram sockets: one that is past its time
// takes no more rounds, and the next one has another id.
func datagramIDs(t *testing.T, host string) {
	t.Helper()
	to := netip.MustParseAddr(host)
	key := socketKey{v6: to.Is6()}
	var pool socketPool
	pool.open = make(map[socketKey]*icmpSocket)
	join := func() *icmpSocket {
		s, why := pool.join(key, newRound(&echoPlan{to: to, count: 1}))
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
	for _, s := range []*icmpSocket{first, next, first} {
		pool.release(s)
	}
	pool.shed()
	if len(pool.open) != 0 {
		t.Errorf("%d sockets left", len(pool.open))
	}
}

// TestF2ManyPingersAtOnce has 500 of them: with a random id each, two would
// share one with a probability of 85 %.
func TestF2ManyPingersAtOnce(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		if host == "::1" && !hasIPv6(t) {
			continue
		}
		if !measured(t, observePing(t, pingTimeout(t, pingSlack), host)) {
			return
		}
		pingAtOnce(t, host, 500)
	}
}

// pingAtOnce runs n pingers, none of which may lose or mix up a packet.
func pingAtOnce(t *testing.T, host string, n int) {
	t.Helper()
	plan, err := icmpPlan(t, host, fastPing)
	if err != nil {
		t.Fatal(err)
	}
	ctx := pingTimeout(t, pingSlack)
	all := make([]check.Observation, n)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = plan.Probe.Observe(ctx) })
	}
	wg.Wait()
	for i, obs := range all {
		if obs.Facts.Get("received") != 3 || obs.Facts.Get("duplicates") != 0 || obs.Facts.Get("mismatched") != 0 {
			t.Fatalf("pinger %d of %d: %v %+v", i, n, obs.Facts, obs.Failure)
		}
	}
}

// TestF3OthersTraffic pings while another prober floods the machine with echo
// requests, whose replies a raw socket gets to see as well.
func TestF3OthersTraffic(t *testing.T) {
	to := netip.MustParseAddr("127.0.0.1")
	other := socketPool{open: make(map[socketKey]*icmpSocket)}
	foreign := newRound(&echoPlan{to: to, count: 1})
	s, why := other.join(socketKey{}, foreign)
	if why != nil {
		if mayPing() || why.Code != check.LocalPermission {
			t.Fatal(why)
		}
		return
	}
	defer other.shed() // what is released lingers
	defer other.release(s)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		addr, _ := netif.Sockaddr(to, 0)
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
	obs := observePing(t, pingTimeout(t, pingSlack), "127.0.0.1", func(o *icmpOptions) { o.Count = 50 })
	close(stop)
	wg.Wait()
	if obs.Facts.Get("received") != 50 || obs.Facts.Get("duplicates") != 0 || obs.Facts.Get("mismatched") != 0 {
		t.Errorf("%v %+v", obs.Facts, obs.Failure)
	}
}

// silentTarget answers from another address than the one that was pinged (F6):
// Linux sends what goes to 0.0.0.0 to 127.0.0.1.
const silentTarget = "0.0.0.0"

func TestF6PingedAddressDoesNotAnswer(t *testing.T) {
	var obs check.Observation
	for patience := 200 * time.Millisecond; patience < pingSlack; patience *= 4 {
		obs = observePing(t, pingTimeout(t, patience), silentTarget)
		if !measured(t, obs) {
			return
		}
		if n, ok := obs.Facts.Get("mismatched").(int); ok && n > 0 {
			break
		}
	}
	if !obs.Failure.IsZero() || obs.Facts.Get("received") != 0 {
		t.Errorf("%v %+v", obs.Facts, obs.Failure)
	}
	want := "but 127.0.0.1 answered in its place"
	if why := obs.Because["received"]; why.Code != check.ICMPTimeout || !strings.Contains(why.Message, want) {
		t.Errorf("reason %+v, want %q", why, want)
	}
}

// TestF10CorruptPacketIsIgnored hands a raw socket what the kernel does not
// check for it.
func TestF10CorruptPacketIsIgnored(t *testing.T) {
	f := newFlight(t, 1)
	s := &icmpSocket{raw: true}
	if !s.register(f.echoRound, f.id, f.base) {
		t.Fatal("no room")
	}
	packet := echoRequest(false, f.id, f.base, f.packet(0).payload)
	packet[0], packet[2], packet[3] = typeEchoReply4, 0, 0
	sum := inetChecksum(packet)
	packet[2], packet[3] = byte(sum>>8), byte(sum)
	whole := append(ipHeader(pingTarget, netip.MustParseAddr("127.0.0.1")), packet...)
	take := func(b []byte, cut bool) {
		s.took(&icmpMessage{data: b, cut: cut, from: pingTarget, ctrl: icmpControl{ttl: 64}}, time.Now())
	}
	for i := ip4Header; i < len(whole); i++ {
		corrupt := bytes.Clone(whole)
		corrupt[i] ^= 0x10
		take(corrupt, false)
		take(whole[:i], false)
	}
	if f.received != 0 {
		t.Fatal("a corrupt packet was taken for a reply")
	}
	take(whole, false)
	take(whole[:60], true)
	f.want(t, 1, 1, 0)
}

func TestICMPEndsWithItsTimeout(t *testing.T) {
	start := time.Now()
	obs := observePing(t, pingTimeout(t, 200*time.Millisecond), silentTarget, func(o *icmpOptions) { o.Count, o.Interval = 1000, 50*time.Millisecond })
	if !measured(t, obs) {
		return
	}
	if took := time.Since(start); took > pingSlack/2 {
		t.Errorf("took %s", took)
	}
	if obs.Failure.Code == check.ICMPTimeout {
		return // this machine was so busy that the time was over before the start
	}
	if sent, ok := obs.Facts.Get("sent").(int); !ok || sent < 1 || sent > 4 {
		t.Errorf("sent %v packets in 200ms, 50ms apart", obs.Facts.Get("sent"))
	}
}

func TestICMPEndsWhenCancelled(t *testing.T) {
	var obs check.Observation
	for wait := 50 * time.Millisecond; wait < pingSlack; wait *= 4 {
		ctx, cancel := context.WithCancelCause(pingTimeout(t, 2*pingSlack))
		time.AfterFunc(wait, func() { cancel(errors.New("interrupt signal")) })
		obs = observePing(t, ctx, silentTarget)
		cancel(nil)
		if !measured(t, obs) {
			return
		}
		if _, sent := obs.Facts.Lookup("sent"); sent { // else the machine was so busy that it came before the start
			break
		}
	}
	if obs.Failure.Code != check.LocalShutdown || !strings.Contains(obs.Failure.Message, "interrupt signal") || obs.Latency > pingSlack/2 {
		t.Errorf("failure %+v after %s", obs.Failure, obs.Latency)
	}
	if sent, ok := obs.Facts.Get("sent").(int); !ok || sent < 1 {
		t.Errorf("what was seen is lost: %v", obs.Facts)
	}
}

func TestICMPSourceAndSize(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*icmpOptions)
		want   check.Code
	}{
		"source":         {func(o *icmpOptions) { o.Source = []string{"127.0.0.5"} }, ""},
		"foreign source": {func(o *icmpOptions) { o.Source = []string{"192.0.2.77"} }, check.LocalRoute},
		"ttl":            {func(o *icmpOptions) { o.TTL = 1 }, ""},
		"smallest":       {func(o *icmpOptions) { o.Size = minEchoSize }, ""},
		"fragments":      {func(o *icmpOptions) { o.Size = maxEchoSize }, ""},
	} {
		obs := observePing(t, pingTimeout(t, pingSlack), "127.0.0.1", tc.change)
		if !measured(t, obs) {
			return
		}
		if obs.Failure.Code != tc.want || tc.want == "" && obs.Facts.Get("received") != 3 {
			t.Errorf("%s: %v %+v", name, obs.Facts, obs.Failure)
		}
	}
}

func TestICMPUnknownZone(t *testing.T) {
	obs := observePing(t, pingTimeout(t, pingSlack), "fe80::1%nowhere7")
	if obs.Failure.Code != check.LocalRoute || !strings.Contains(obs.Failure.Message, "no network interface nowhere7") {
		t.Errorf("failure %+v", obs.Failure)
	}
}

// TestNothingOutlivesTheLastPing counts what is left behind when a check is
// closed.
func TestNothingOutlivesTheLastPing(t *testing.T) {
	for range 20 {
		if !measured(t, observePing(t, pingTimeout(t, pingSlack), "127.0.0.1")) {
			break
		}
	}
	if err := new(icmpProbe).Close(); err != nil {
		t.Error(err)
	}
	icmpSockets.mu.Lock()
	defer icmpSockets.mu.Unlock()
	if len(icmpSockets.open) != 0 {
		t.Errorf("%d sockets are open", len(icmpSockets.open))
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if bytes.Contains(stacks, []byte("icmpSocket).read(")) {
		t.Errorf("a reader is left:\n%s", stacks)
	}
	if n := icmpDescriptors(t); n != 0 {
		t.Errorf("%d ICMP sockets are left", n)
	}
}

// icmpDescriptors counts this process's descriptors that are ICMP sockets.
func icmpDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err == nil && (domain == unix.AF_INET && proto == unix.IPPROTO_ICMP || domain == unix.AF_INET6 && proto == unix.IPPROTO_ICMPV6) {
			n++
		}
	}
	return n
}

func TestRoundsShareOneSocket(t *testing.T) {
	pool := socketPool{open: make(map[socketKey]*icmpSocket)}
	to := netip.MustParseAddr("127.0.0.1")
	join := func(key socketKey) *icmpSocket {
		s, why := pool.join(key, newRound(&echoPlan{to: to, count: 2}))
		if why != nil && (mayPing() || why.Code != check.LocalPermission) {
			t.Fatal(why)
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
	pool.release(a)
	if _, err := unix.Getsockname(a.fd); err != nil {
		t.Errorf("closed while in use: %v", err)
	}
	pool.release(b)
	pool.release(c)
	pool.shed()
	if len(pool.open) != 0 {
		t.Errorf("%d sockets left", len(pool.open))
	}
}

// TestA13OutOfDescriptorsICMP runs in a process that may open no more files.
func TestA13OutOfDescriptorsICMP(t *testing.T) {
	if os.Getenv(icmpChild) == "" {
		out, ok := inChild(t, "starved", nil)
		if !ok || !strings.Contains(out, "ended well") {
			t.Fatalf("the child did not run:\n%s", out)
		}
		return
	}
	may := mayPing()
	// The runtime's poller needs descriptors of its own before there are none.
	if r, _, err := os.Pipe(); err != nil || r.Close() != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: 0}); err != nil {
		t.Fatal(err)
	}
	obs := observePing(t, t.Context(), "127.0.0.1")
	if want := check.LocalFD; may && obs.Failure.Code != want {
		t.Fatalf("failure %+v, want %s", obs.Failure, want)
	}
	if !obs.Failure.Code.Local() {
		t.Fatalf("failure %+v", obs.Failure)
	}
	fmt.Println("ended well")
}
