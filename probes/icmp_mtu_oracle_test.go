//go:build oracle && linux

package probes

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/sonde-cli/sonde/check"
)

// pathPing is one ping from the client of a [pingLab], with the options that are
// about the packets themselves.
type pathPing struct {
	Host       string
	Count, TOS int
	Size       check.Size
	Whole, MTU bool
	Timeout    time.Duration
}

// pathSeen is what became of it.
type pathSeen struct {
	Facts            map[string]any
	Failure, Silence check.Reason
	NoMTU, Hole      check.Reason // why the facts are as they are
}

// observeInLab is the part of the process in the namespace.
func (p pathPing) observeInLab(t *testing.T) {
	t.Helper()
	obs := observePing(t, pingTimeout(t, p.Timeout), p.Host, func(o *icmpOptions) {
		o.Count, o.TOS, o.Whole, o.PathMTU = p.Count, p.TOS, p.Whole, p.MTU
		if p.Size > 0 {
			o.Size = p.Size
		}
	})
	seen := pathSeen{Facts: make(map[string]any), Failure: obs.Failure, Silence: obs.Because["received"],
		NoMTU: obs.Because[pathMTUFact], Hole: obs.Because[blackHoleFact]}
	for name, v := range obs.Facts.All() {
		seen.Facts[name] = v
	}
	out, err := json.Marshal(seen)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(out))
}

// ping makes the ping in the client's namespace, and returns the named facts.
func (lab pingLab) pingPath(t *testing.T, p pathPing, names ...string) (map[string]any, pathSeen) {
	t.Helper()
	if p.Count = max(p.Count, 1); p.Timeout == 0 {
		p.Timeout = pingSlack
	}
	role, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	out, err := lab.child(t, lab.client, string(role)).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var seen pathSeen
	line, _, _ := strings.Cut(string(out), "\n")
	if err := json.Unmarshal([]byte(line), &seen); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	some := make(map[string]any)
	for _, name := range names {
		some[name] = seen.Facts[name]
	}
	return some, seen
}

// child is this test in a namespace.
func (pingLab) child(t *testing.T, ns, role string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", ns, self, "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), icmpChild+"="+role)
	return cmd
}

// says runs a command that may fail and returns what the pattern finds in its
// output.
func (pingLab) says(t *testing.T, ns, line, pattern string) []string {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), "ip", append([]string{"netns", "exec", ns}, strings.Fields(line)...)...).CombinedOutput()
	found := regexp.MustCompile(pattern).FindStringSubmatch(string(out))
	if found == nil {
		t.Fatalf("%s: no %s in\n%s", line, pattern, out)
	}
	return found
}

// TestOraclePathMTU looks for the MTU of a path with a narrow link, on both kinds
// of socket, and compares with tracepath and ping.
func TestOraclePathMTU(t *testing.T) {
	if role := os.Getenv(icmpChild); role != "" {
		var p pathPing
		if err := json.Unmarshal([]byte(role), &p); err != nil {
			t.Fatal(err)
		}
		p.observeInLab(t)
		return
	}
	lab := newPingLab(t)
	for _, kind := range []struct{ socket, groups string }{{"raw", "1 0"}, {"datagram", "0 0"}} {
		oracle(t, "ip", "netns", "exec", lab.client, "sysctl", "-qw", "net.ipv4.ping_group_range="+kind.groups)
		lab.pathMTU(t, kind.socket, false)
		for _, line := range []string{
			"add table inet hole", "add chain inet hole out { type filter hook output priority 0 ; }",
			"add rule inet hole out icmp type destination-unreachable drop", "add rule inet hole out icmpv6 type packet-too-big drop",
		} {
			lab.in(t, lab.router, "nft "+line)
		}
		lab.pathMTU(t, kind.socket, true)
		lab.lossyPath(t)
		lab.in(t, lab.router, "nft delete table inet hole")
		lab.wholePackets(t)
		lab.typeOfService(t, kind.socket)
	}
}

// pathMTU finds 1400 bytes, as tracepath and ping do.
func (lab pingLab) pathMTU(t *testing.T, socket string, hole bool) {
	t.Helper()
	for _, target := range []struct {
		host   string
		header int
	}{{"10.77.2.1", 28}, {"fd77:2::1", 48}} {
		got, seen := lab.pingPath(t, pathPing{Host: target.host, MTU: true}, "socket", pathMTUFact, blackHoleFact)
		if diff := cmp.Diff(map[string]any{"socket": socket, pathMTUFact: 1400.0, blackHoleFact: hole}, got); diff != "" {
			t.Errorf("%s, black hole %t: %s%+v", target.host, hole, diff, seen)
		}
		if hole != (seen.Hole.Code == check.ICMPFragmentation) {
			t.Errorf("%s, black hole %t: explained as %+v", target.host, hole, seen.Hole)
		}
		fits := fmt.Sprintf("ping -n -c 1 -W 1 -M do -s %d %s", 1400-target.header, target.host)
		lab.says(t, lab.client, fits, `1 received`)
		lab.says(t, lab.client, fmt.Sprintf("ping -n -c 1 -W 1 -M do -s %d %s", 1401-target.header, target.host), `0 received|too long`)
		if !hole { // it only finds what is reported
			if pmtu := lab.says(t, lab.client, "tracepath -n "+target.host, `Resume: pmtu (\d+)`); pmtu[1] != "1400" {
				t.Errorf("%s: tracepath says %s", target.host, pmtu)
			}
		}
	}
}

// lossyPath drops a fifth of the packets at random: the result may be missing,
// not wrong.
func (lab pingLab) lossyPath(t *testing.T) {
	t.Helper()
	lab.in(t, lab.server, "nft add table ip lab")
	lab.in(t, lab.server, "nft add chain ip lab in { type filter hook input priority 0 ; }")
	lab.in(t, lab.server, "nft add rule ip lab in icmp type echo-request numgen random mod 5 0 drop")
	got, seen := lab.pingPath(t, pathPing{Host: "10.77.2.1", Count: 10, MTU: true}, pathMTUFact, blackHoleFact)
	if seen.NoMTU.IsZero() && (got[pathMTUFact] != 1400.0 || got[blackHoleFact] != true) {
		t.Errorf("%+v", seen)
	}
	lab.in(t, lab.server, "nft delete table ip lab")
}

// wholePackets are too large, which every one of them has to find out anew.
func (lab pingLab) wholePackets(t *testing.T) {
	t.Helper()
	for host, router := range map[string]string{"10.77.2.1": "10.77.1.254", "fd77:2::1": "fd77:1::fe"} {
		got, seen := lab.pingPath(t, pathPing{Host: host, Count: 3, Size: 1440, Whole: true}, "loss", "report", "reporter", "reported_mtu")
		want := map[string]any{"loss": 1.0, "report": "fragmentation needed for an MTU of 1400", "reporter": router, "reported_mtu": 1400.0}
		if diff := cmp.Diff(want, got); diff != "" || seen.Silence.Code != check.ICMPFragmentation {
			t.Errorf("%s: %s%+v", host, diff, seen)
		}
		if _, seen := lab.pingPath(t, pathPing{Host: host, Size: 1472, Whole: true}, "loss"); host[0] == '1' && seen.Silence.Code != check.ICMPFragmentation {
			t.Errorf("%s: %+v", host, seen)
		}
		if _, seen := lab.pingPath(t, pathPing{Host: host, Size: 1473, Whole: true}); seen.Failure.Code != check.LocalRoute || !strings.Contains(seen.Failure.Message, "too large") {
			t.Errorf("%s: %+v", host, seen)
		}
	}
	lab.in(t, lab.client, "ip route flush cache")
	said := lab.says(t, lab.client, "ping -n -c 1 -W 1 -M do -s 1440 10.77.2.1", `(?s)From (\S+) .*mtu = (\d+)`)
	if diff := cmp.Diff([]string{"10.77.1.254", "1400"}, said[1:]); diff != "" {
		t.Error(diff)
	}
}

// typeOfService counts the marked packets where they arrive, and compares the
// mark of the replies with those that come to ping's requests.
func (lab pingLab) typeOfService(t *testing.T, socket string) {
	t.Helper()
	const count = 5
	for _, line := range []string{
		"add table inet labtos", "add counter inet labtos ef", "add counter inet labtos back", "add chain inet labtos in { type filter hook input priority 0 ; }",
		"add chain inet labtos out { type filter hook output priority 0 ; }",
		"add rule inet labtos in icmp type echo-request ip dscp ef counter name ef", "add rule inet labtos in icmpv6 type echo-request ip6 dscp ef counter name ef",
		"add rule inet labtos out icmp type echo-reply ip dscp ef counter name back", "add rule inet labtos out icmpv6 type echo-reply ip6 dscp ef counter name back",
	} {
		lab.in(t, lab.server, "nft "+line)
	}
	for _, host := range []string{"10.77.2.1", "fd77:2::1"} {
		counted := func(name string) string {
			return lab.says(t, lab.server, "nft reset counter inet labtos "+name, `packets (\d+)`)[1]
		}
		got, seen := lab.pingPath(t, pathPing{Host: host, Count: count, TOS: 184}, "tos", "received")
		if n := counted("ef"); n != strconv.Itoa(count) || got["received"] != float64(count) {
			t.Errorf("%s, %s: %s marked packets arrived: %+v", host, socket, n, seen)
		}
		if want := map[string]any{strconv.Itoa(count): 184.0, "0": 0.0}[counted("back")]; want == nil || got["tos"] != want {
			t.Errorf("%s, %s: the replies have %v, want %v", host, socket, got["tos"], want)
		}
		lab.says(t, lab.client, fmt.Sprintf("ping -n -q -c %d -i 0.01 -Q 184 %s", count, host), fmt.Sprintf("%d received", count))
		if n := counted("ef"); n != strconv.Itoa(count) {
			t.Errorf("%s: ping sends %s marked packets", host, n)
		}
		counted("back")
	}
	lab.in(t, lab.server, "nft delete table inet labtos")
}

// TestOracleRepliesOutOfOrder pings a host that answers the requests in pairs,
// the second first, and compares with the order that ping shows.
func TestOracleRepliesOutOfOrder(t *testing.T) {
	role := os.Getenv(icmpChild)
	switch {
	case role == "swap":
		swapPairs(t)
		return
	case role != "":
		var p pathPing
		if err := json.Unmarshal([]byte(role), &p); err != nil {
			t.Fatal(err)
		}
		p.observeInLab(t)
		return
	}
	lab := newPingLab(t)
	lab.in(t, lab.server, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1")
	swap := lab.child(t, lab.server, "swap")
	ready, err := swap.StdoutPipe()
	if err == nil {
		err = swap.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = swap.Process.Kill()
		_ = swap.Wait()
	}()
	if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	const count = 10
	got, seen := lab.pingPath(t, pathPing{Host: "10.77.2.1", Count: count}, "out_of_order", "received", "duplicates")
	if diff := cmp.Diff(map[string]any{"out_of_order": count / 2.0, "received": 1.0 * count, "duplicates": 0.0}, got); diff != "" {
		t.Errorf("%s%+v", diff, seen)
	}
	text := oracle(t, "ip", "netns", "exec", lab.client, "ping", "-n", "-c", strconv.Itoa(count), "-i", "0.02", "10.77.2.1")
	newest, late := 0, 0
	for _, m := range regexp.MustCompile(`icmp_seq=(\d+) ttl`).FindAllStringSubmatch(text, -1) {
		seq, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		if seq < newest {
			late++
		}
		newest = max(newest, seq)
	}
	if late != count/2 {
		t.Errorf("ping sees %d out of order\n%s", late, text)
	}
}

// swapPairs answers echo requests in the server's namespace until it is ended.
func swapPairs(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Println("ready")
	var first []byte
	for buf := make([]byte, 2048); ; {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		message, err := icmp.ParseMessage(ipv4.ICMPTypeEcho.Protocol(), buf[:n])
		if err != nil || message.Type != ipv4.ICMPTypeEcho {
			continue
		}
		message.Type = ipv4.ICMPTypeEchoReply
		reply, err := message.Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = reply
			continue
		}
		for _, packet := range [][]byte{reply, first} {
			if _, err := conn.WriteTo(packet, from); err != nil {
				t.Fatal(err)
			}
		}
		first = nil
	}
}
