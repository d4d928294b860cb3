//go:build oracle && linux

package probes

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	probing "github.com/prometheus-community/pro-bing"

	"github.com/sonde-cli/sonde/check"
)

// oracle runs a program that must be there and returns what it printed.
func oracle(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// milliseconds finds a number of milliseconds in a text.
func milliseconds(t *testing.T, pattern, text string) time.Duration {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in %q", pattern, text)
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(f * float64(time.Millisecond))
}

// TestOraclePingTimes compares with ping, fping and pro-bing. Times on loopback
// are some ten microseconds on a machine at rest; what would be wrong is
// another order of magnitude.
func TestOraclePingTimes(t *testing.T) {
	const times = 200
	ping := oracle(t, "ping", "-n", "-q", "-c", "20", "-i", "0.01", "127.0.0.1")
	fping := oracle(t, "fping", "-q", "-c", "20", "-p", "10", "127.0.0.1")
	p := probing.New("127.0.0.1")
	p.SetPrivileged(true)
	p.Count, p.Interval = 20, 10*time.Millisecond
	if err := p.Run(); err != nil {
		t.Fatal(err)
	}
	obs := observePing(t, pingTimeout(t, pingSlack), "127.0.0.1", func(o *icmpOptions) { o.Count, o.Interval = 20, 10*time.Millisecond })
	ours, ok := obs.Facts.Get("rtt.min").(time.Duration)
	if !ok || obs.Facts.Get("received") != 20 {
		t.Fatalf("%v %+v", obs.Facts, obs.Failure)
	}
	for name, theirs := range map[string]time.Duration{
		"ping":     milliseconds(t, `= ([0-9.]+)/`, ping),
		"fping":    milliseconds(t, `max = ([0-9.]+)/`, fping),
		"pro-bing": p.Statistics().MinRtt,
	} {
		t.Logf("%s: at least %s, sonde %s", name, theirs, ours)
		if ours > max(theirs, 10*time.Microsecond)*times || ours*times < theirs {
			t.Errorf("%s sees a shortest round-trip of %s, sonde one of %s", name, theirs, ours)
		}
	}
}

// pingLab is a client behind a router that leads to a server, each a network
// namespace: client 10.77.1.1 - 10.77.1.254 router 10.77.2.254 - 10.77.2.1 server.
type pingLab struct{ client, router, server string }

func newPingLab(t *testing.T) pingLab {
	t.Helper()
	prefix := fmt.Sprintf("sonde%d", os.Getpid())
	lab := pingLab{prefix + "c", prefix + "r", prefix + "s"}
	for _, ns := range []string{lab.client, lab.router, lab.server} {
		oracle(t, "ip", "netns", "add", ns)
		t.Cleanup(func() {
			if out, err := exec.Command("ip", "netns", "delete", ns).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		lab.in(t, ns, "ip link set lo up")
	}
	oracle(t, "ip", "link", "add", "c0", "netns", lab.client, "type", "veth", "peer", "name", "r0", "netns", lab.router)
	oracle(t, "ip", "link", "add", "s0", "netns", lab.server, "type", "veth", "peer", "name", "r1", "netns", lab.router)
	for _, side := range []struct{ ns, dev, v4, v6 string }{
		{lab.client, "c0", "10.77.1.1/24", "fd77:1::1/64"}, {lab.router, "r0", "10.77.1.254/24", "fd77:1::fe/64"},
		{lab.router, "r1", "10.77.2.254/24", "fd77:2::fe/64"}, {lab.server, "s0", "10.77.2.1/24", "fd77:2::1/64"},
	} {
		lab.in(t, side.ns, "ip addr add "+side.v4+" dev "+side.dev)
		lab.in(t, side.ns, "ip addr add "+side.v6+" nodad dev "+side.dev)
		lab.in(t, side.ns, "ip link set "+side.dev+" up")
	}
	for _, line := range []string{
		"ip route add default via 10.77.1.254", "ip route add default via fd77:1::fe",
		"ip route add unreachable 203.0.113.1", "ip route add prohibit 203.0.113.2", "ip route add blackhole 203.0.113.3",
	} {
		lab.in(t, lab.client, line)
	}
	lab.in(t, lab.server, "ip link set s0 mtu 1400")
	lab.in(t, lab.server, "ip route add default via 10.77.2.254")
	lab.in(t, lab.server, "ip route add default via fd77:2::fe")
	for _, line := range []string{
		// Many errors in a row are wanted here, so no kind of them is limited.
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0",
		"ip route add unreachable 198.51.100.1", "ip route add prohibit 198.51.100.2", "ip route add blackhole 198.51.100.3",
		"ip route add unreachable fd77:3::1", "ip route add prohibit fd77:3::2", "ip route add blackhole fd77:3::3",
		"ip link set r1 mtu 1400",
	} {
		lab.in(t, lab.router, line)
	}
	return lab
}

// in runs a command inside a namespace.
func (pingLab) in(t *testing.T, ns, line string) string {
	t.Helper()
	return oracle(t, "ip", append([]string{"netns", "exec", ns}, strings.Fields(line)...)...)
}

// labPing is one ping from the client.
type labPing struct {
	Host            string
	Count, TTL      int
	Size            check.Size
	Timeout         time.Duration
	Storm           int // so many of them at once, and as many to the refusedHost address
	Loss            float64
	Reply           int        // TTL of the replies
	Code            check.Code // of the failure, or of why nothing was received
	Report, Message string
}

func (p *labPing) options(o *icmpOptions) {
	o.Count, o.TTL, o.Interval = max(p.Count, 1), p.TTL, 5*time.Millisecond
	if p.Size > 0 {
		o.Size = p.Size
	}
}

// observed makes of an observation what a test wants to compare.
func (p labPing) observed(obs check.Observation) labPing {
	why := obs.Failure
	if why.IsZero() && obs.Facts.Get("received") == 0 {
		why = obs.Because["received"]
	}
	p.Code, p.Message = why.Code, why.Message
	p.Loss, _ = obs.Facts.Get("loss").(float64)
	p.Reply, _ = obs.Facts.Get("ttl").(int)
	p.Report, _ = obs.Facts.Get("report").(string)
	return p
}

func labPings() []labPing {
	const silence = 500 * time.Millisecond
	return []labPing{
		{Host: "10.77.2.1", Reply: 63},
		{Host: "fd77:2::1", Reply: 63},
		{Host: "10.77.2.1", TTL: 1, Loss: 1, Code: check.ICMPTTLExceeded, Report: "ttl exceeded", Message: "10.77.1.254 reports ttl exceeded"},
		{Host: "fd77:2::1", TTL: 1, Loss: 1, Code: check.ICMPTTLExceeded, Report: "ttl exceeded", Message: "fd77:1::fe reports"},
		{Host: "198.51.100.1", Loss: 1, Code: check.ICMPUnreachable, Report: "host unreachable", Message: "10.77.1.254 reports host unreachable"},
		{Host: "198.51.100.2", Loss: 1, Code: check.ICMPUnreachable, Report: "admin prohibited"},
		{Host: "198.51.100.3", Loss: 1, Code: check.ICMPTimeout, Timeout: silence},
		{Host: "198.51.100.4", Loss: 1, Code: check.ICMPUnreachable, Report: "net unreachable"},
		{Host: "fd77:3::1", Loss: 1, Code: check.ICMPUnreachable, Report: "no route to the target"},
		{Host: "fd77:3::2", Loss: 1, Code: check.ICMPUnreachable, Report: "admin prohibited"},
		{Host: "fd77:3::3", Loss: 1, Code: check.ICMPTimeout, Timeout: silence},
		{Host: "fd77:3::4", Loss: 1, Code: check.ICMPUnreachable, Report: "no route to the target"},
		// The kernel learns the MTU from the report and cuts what follows.
		{Host: "10.77.2.1", Count: 4, Size: 1440, Reply: 63, Loss: 0.25, Report: "fragmentation needed for an MTU of 1400"},
		{Host: "203.0.113.1", Code: check.LocalRoute},
		{Host: "203.0.113.2", Code: check.LocalPermission},
		{Host: "203.0.113.3", Code: check.LocalRoute},
	}
}

// TestOracleICMPErrors pings through a router that refuses, drops and cuts, on
// both kinds of socket (cases F7, F12 and the local ones).
func TestOracleICMPErrors(t *testing.T) {
	if role := os.Getenv(icmpChild); role != "" {
		pingInLab(t, role)
		return
	}
	for _, kind := range []struct{ socket, groups string }{{"raw", "1 0"}, {"datagram", "0 0"}} {
		t.Run(kind.socket, func(t *testing.T) {
			lab := newPingLab(t)
			oracle(t, "ip", "netns", "exec", lab.client, "sysctl", "-qw", "net.ipv4.ping_group_range="+kind.groups)
			for _, p := range labPings() {
				got := lab.ping(t, p, kind.socket)
				if got.Code != p.Code || got.Loss != p.Loss || got.Reply != p.Reply || got.Report != p.Report || !strings.Contains(got.Message, p.Message) {
					t.Errorf("want %+v\ngot %+v", p, got)
				}
			}
			lab.lossAndFirewall(t, kind.socket)
			lab.storm(t, kind.socket)
		})
	}
}

// refusedHost is an address behind the router, which refuses it without a limit.
const refusedHost = "10.77.2.66"

// storm pings a healthy and a refusedHost address many times at once: on a datagram
// socket each ICMP error makes a later call fail, whoever that belongs to.
func (lab pingLab) storm(t *testing.T, socket string) {
	t.Helper()
	lab.in(t, lab.router, "nft add table ip lab")
	lab.in(t, lab.router, "nft add chain ip lab on { type filter hook forward priority 0 ; }")
	lab.in(t, lab.router, "nft add rule ip lab on ip daddr "+refusedHost+" reject with icmp type admin-prohibited")
	for _, host := range []string{"10.77.2.1", refusedHost} {
		got := lab.ping(t, labPing{Host: host, Count: 5, Storm: 300}, socket)
		want := labPing{Host: host, Count: 5, Storm: 300, Reply: 63}
		if host == refusedHost {
			want = labPing{Host: host, Count: 5, Storm: 300, Loss: 1, Code: check.ICMPUnreachable, Report: "admin prohibited", Message: got.Message}
		}
		if got != want {
			t.Errorf("storm: want %+v\ngot %+v", want, got)
		}
	}
}

// lossAndFirewall drops packets on the way, and compares with fping.
func (lab pingLab) lossAndFirewall(t *testing.T, socket string) {
	t.Helper()
	drop := labPing{Host: "10.77.2.1", Count: 20, Timeout: time.Second}
	lab.in(t, lab.server, "nft add table ip lab")
	lab.in(t, lab.server, "nft add chain ip lab in { type filter hook input priority 0 ; }")
	lab.in(t, lab.server, "nft add rule ip lab in icmp type echo-request numgen inc mod 4 0 drop")
	ours := lab.ping(t, drop, socket)
	out, _ := exec.Command("ip", "netns", "exec", lab.client, "fping", "-q", "-c", "20", "-p", "5", "-i", "1", "-t", "500", "10.77.2.1").CombinedOutput()
	theirs := milliseconds(t, `/([0-9]+)%,`, string(out)) // a percentage
	if ours.Loss != 0.25 || theirs != 25*time.Millisecond {
		t.Errorf("a quarter is dropped, loss is %v, fping says %s", ours.Loss, out)
	}
	lab.in(t, lab.server, "nft delete table ip lab")

	lab.in(t, lab.client, "nft add table ip lab")
	lab.in(t, lab.client, "nft add chain ip lab out { type filter hook output priority 0 ; }")
	lab.in(t, lab.client, "nft add rule ip lab out icmp type echo-request drop")
	if got := lab.ping(t, drop, socket); got.Code != check.LocalPermission || !strings.Contains(got.Message, "firewall") {
		t.Errorf("own firewall: %+v", got)
	}
	lab.in(t, lab.client, "nft delete table ip lab")
}

// ping makes the ping in the client's namespace.
func (lab pingLab) ping(t *testing.T, p labPing, socket string) labPing {
	t.Helper()
	role, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", lab.client, self, "-test.run", "^TestOracleICMPErrors$")
	cmd.Env = append(os.Environ(), icmpChild+"="+string(role))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	used, result, _ := strings.Cut(line, " ")
	var got labPing
	if err := json.Unmarshal([]byte(result), &got); err != nil || used != socket {
		t.Fatalf("%s socket: %v\n%s", socket, err, out)
	}
	return got
}

// pingInLab is the part of the process in the namespace.
func pingInLab(t *testing.T, role string) {
	t.Helper()
	var p labPing
	if err := json.Unmarshal([]byte(role), &p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), max(p.Timeout, 0))
	if p.Timeout == 0 {
		ctx, cancel = context.WithTimeout(t.Context(), pingSlack)
	}
	defer cancel()
	obs := observePing(t, ctx, p.Host, p.options)
	if p.Storm > 0 {
		obs = p.worst(t, ctx)
	}
	out, err := json.Marshal(p.observed(obs))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(obs.Facts.Get("socket"), string(out))
}

// worst makes the storm and returns the observation of the host that differs
// from the others, if one does.
func (p labPing) worst(t *testing.T, ctx context.Context) check.Observation {
	t.Helper()
	all := make([]check.Observation, p.Storm)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = observePing(t, ctx, p.Host, p.options) })
		wg.Go(func() { observePing(t, ctx, refusedHost, p.options) })
	}
	wg.Wait()
	for _, obs := range all {
		if p.observed(obs) != p.observed(all[0]) {
			return obs
		}
	}
	return all[0]
}
