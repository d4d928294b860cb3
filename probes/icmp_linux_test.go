package probes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	"github.com/sonde-cli/sonde/probes/echo"
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
		"smallest":       {func(o *icmpOptions) { o.Size = echo.MinSize }, ""},
		"fragments":      {func(o *icmpOptions) { o.Size = echo.MaxSize }, ""},
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
	plan, err := icmpPlan(t, "127.0.0.1", fastPing)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if !measured(t, plan.Probe.Observe(pingTimeout(t, pingSlack))) {
			break
		}
	}
	if err := plan.Probe.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if bytes.Contains(stacks, []byte("echo.(*socket).read(")) {
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
