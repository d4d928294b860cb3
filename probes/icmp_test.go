package probes

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/echo"
)

// Types of ICMP errors (RFC 792, RFC 4443).
const (
	typeUnreachable4  = 3
	typeTimeExceeded4 = 11
	typeTooBig6       = 2
)

// pingSlack is a timeout that only a probe which hangs can reach.
const pingSlack = 30 * time.Second

// icmpKind returns the registered kind.
func icmpKind(t *testing.T) check.Kind {
	t.Helper()
	for _, k := range Kinds() {
		if k.Name == "icmp" {
			return k
		}
	}
	t.Fatal("the kind is not registered")
	return check.Kind{}
}

// icmpPlan builds a check from a target and changed options.
func icmpPlan(t *testing.T, target string, changes ...func(*icmpOptions)) (check.Plan, error) {
	t.Helper()
	o, ok := icmpKind(t).New().(*icmpOptions)
	if !ok {
		t.Fatal("the kind has other options")
	}
	if err := o.SetTarget(target); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(o)
	}
	return o.Build(check.Setup{Needs: func(string) bool { return false }})
}

// fastPing sends the packets in a row.
func fastPing(o *icmpOptions) { o.Interval = time.Millisecond }

// observePing makes one observation.
func observePing(t *testing.T, ctx context.Context, target string, changes ...func(*icmpOptions)) check.Observation {
	t.Helper()
	plan, err := icmpPlan(t, target, append([]func(*icmpOptions){fastPing}, changes...)...)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Probe.Observe(ctx)
}

// measured reports whether the observation is one of a machine that lets us
// ping. Where it does not, the observation must say so, which is case F1.
func measured(t *testing.T, obs check.Observation) bool {
	t.Helper()
	if mayPing() {
		if obs.Failure.Code == check.LocalPermission {
			t.Fatalf("not allowed to ping, but sockets can be opened: %s", obs.Failure.Message)
		}
		return true
	}
	if obs.Failure.Code != check.LocalPermission || !strings.Contains(obs.Failure.Message, "\nhint: ") {
		t.Fatalf("failure %+v, want %s with a hint", obs.Failure, check.LocalPermission)
	}
	if _, ok := obs.Facts.Lookup("received"); ok {
		t.Error("facts of a round that never was")
	}
	return false
}

// hasIPv6 reports whether this machine has ::1.
func hasIPv6(t *testing.T) bool {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func pingTimeout(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestICMPLoopback(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		if host == "::1" && !hasIPv6(t) {
			continue
		}
		obs := observePing(t, pingTimeout(t, pingSlack), host)
		if !measured(t, obs) {
			continue
		}
		if !obs.Failure.IsZero() || len(obs.Because) > 0 {
			t.Fatalf("%s: failure %+v %v", host, obs.Failure, obs.Because)
		}
		want := check.FactsOf(map[string]any{
			"sent": 3, "received": 3, "loss": 0.0, "duplicates": 0, "mismatched": 0, "report": "",
			"ip": host, "family": int(familyOf(netip.MustParseAddr(host))),
		})
		for name, v := range want.All() {
			if diff := cmp.Diff(v, obs.Facts.Get(name)); diff != "" {
				t.Errorf("%s: %s: %s", host, name, diff)
			}
		}
		if ttl, ok := obs.Facts.Get("ttl").(int); !ok || ttl < 1 || ttl > 255 {
			t.Errorf("%s: ttl %v", host, obs.Facts.Get("ttl"))
		}
		checkTimes(t, obs)
	}
}

// checkTimes checks that the times agree with each other.
func checkTimes(t *testing.T, obs check.Observation) {
	t.Helper()
	var last time.Duration
	for _, name := range []string{"rtt.min", "rtt.median", "rtt.p95", "rtt.max"} {
		d, ok := obs.Facts.Get(name).(time.Duration)
		if !ok || d < last || d > obs.Latency {
			t.Errorf("%s is %v after %s, latency %s", name, obs.Facts.Get(name), last, obs.Latency)
		}
		last = d
	}
	if last <= 0 {
		t.Error("the round-trip takes no time")
	}
	if wait, ok := obs.Phases.Get(check.PhaseWait); !ok || wait > obs.Latency {
		t.Errorf("phase wait %s, latency %s", wait, obs.Latency)
	}
}

// TestICMPFactsAreDeclared guards the list that expectations are compiled with.
func TestICMPFactsAreDeclared(t *testing.T) {
	declared := slices.DeleteFunc(slices.Clone(icmpKind(t).Facts), func(f check.Fact) bool {
		return slices.ContainsFunc(spreadFacts(), func(s check.Fact) bool { return s.Name == f.Name })
	})
	obs := check.Observation{Facts: check.FactsOf(map[string]any{"resolved_name": "set by resolve"})}
	plan := &echo.Plan{To: netip.IPv6Loopback(), Count: 2}
	recordEchoes(&obs, plan, &echo.Result{
		Socket: "raw", Sent: 2, Received: 2, TTL: 64, RTTs: []time.Duration{1, 2},
		Report: &echo.Report{From: netip.IPv6Loopback(), IPv6: true, Type: typeTooBig6, MTU: 1400},
	})
	obs.Set(pathMTUFact, 1400)
	obs.Set(blackHoleFact, false)
	for _, f := range declared {
		if v, ok := obs.Facts.Lookup(f.Name); !ok || !f.Type.Accepts(v) {
			t.Errorf("%s is declared as %s and recorded as %v", f.Name, f.Type, v)
		}
	}
	if len(obs.Facts) != len(declared) {
		t.Errorf("%d facts recorded, %d declared", len(obs.Facts), len(declared))
	}
}

func TestF12LossOfSomePackets(t *testing.T) {
	o := icmpKind(t).New().(*icmpOptions)
	if o.Count != 3 {
		t.Errorf("the default count is %d, one lost packet must not decide", o.Count)
	}
	plan, err := icmpPlan(t, "127.0.0.1")
	if diff := cmp.Diff([]check.Default{{Expect: "received > 0"}}, plan.Defaults); diff != "" || err != nil {
		t.Error(err, diff)
	}
	var obs check.Observation
	recordEchoes(&obs, &echo.Plan{To: netip.IPv6Loopback(), Count: 3},
		&echo.Result{Sent: 3, Received: 2, RTTs: []time.Duration{1, echo.NoReply, 2}})
	if obs.Facts.Get("loss") != 1.0/3 || obs.Facts.Get("received") != 2 || len(obs.Because) > 0 {
		t.Errorf("facts %v because %v", obs.Facts, obs.Because)
	}
	for _, f := range icmpFacts() {
		if f.Name == "loss" && f.Code != check.ICMPLoss {
			t.Errorf("loss has the code %q", f.Code)
		}
	}
}

func TestICMPSilenceIsExplained(t *testing.T) {
	router := netip.MustParseAddr("192.0.2.254")
	for name, tc := range map[string]struct {
		got  echo.Result
		want check.Reason
	}{
		"silence": {
			echo.Result{Sent: 3},
			check.Reason{Code: check.ICMPTimeout, Message: "no reply from 192.0.2.1 to 3 packets"},
		},
		"one": {
			echo.Result{Sent: 1},
			check.Reason{Code: check.ICMPTimeout, Message: "no reply from 192.0.2.1 to 1 packet"},
		},
		"unreachable": {
			echo.Result{Sent: 3, Report: &echo.Report{From: router, Type: typeUnreachable4, Code: 1}},
			check.Reason{Code: check.ICMPUnreachable, Message: "no reply from 192.0.2.1 to 3 packets: 192.0.2.254 reports host unreachable"},
		},
		"ttl": {
			echo.Result{Sent: 3, Report: &echo.Report{From: router, Type: typeTimeExceeded4}},
			check.Reason{Code: check.ICMPTTLExceeded, Message: "no reply from 192.0.2.1 to 3 packets: 192.0.2.254 reports ttl exceeded"},
		},
		"mismatched": {
			echo.Result{Sent: 3, Mismatched: 3, Stranger: router},
			check.Reason{Code: check.ICMPTimeout, Message: "no reply from 192.0.2.1 to 3 packets, but 192.0.2.254 answered in its place"},
		},
	} {
		var obs check.Observation
		recordEchoes(&obs, &echo.Plan{To: netip.MustParseAddr("192.0.2.1"), Count: 3}, &tc.got)
		for _, fact := range []string{"received", "rtt.p95", "ttl"} {
			if diff := cmp.Diff(tc.want, obs.Because[fact]); diff != "" {
				t.Errorf("%s: %s: %s", name, fact, diff)
			}
		}
		if obs.Facts.Get("loss") != 1.0 {
			t.Errorf("%s: loss %v", name, obs.Facts.Get("loss"))
		}
	}
}

func TestICMPSetTarget(t *testing.T) {
	for target, want := range map[string]string{
		"icmp://192.0.2.1": "icmp://192.0.2.1", "ICMP://gw.example/": "icmp://gw.example", "gw": "icmp://gw",
		"::1": "icmp://[::1]", "[::1]": "icmp://[::1]", "icmp://[fe80::1%eth0]": "icmp://[fe80::1%eth0]",
		"::ffff:127.0.0.1": "icmp://127.0.0.1", "münchen.example": "icmp://münchen.example", "_sip.example.": "icmp://_sip.example.",
	} {
		plan, err := icmpPlan(t, target)
		if err != nil || plan.Target != want {
			t.Errorf("%s: target %q, %v", target, plan.Target, err)
		}
	}
	for target, want := range map[string]string{
		"http://a/":      "http:// is not a target of icmp",
		"icmp://":        "there is no host",
		"":               "there is no host",
		"icmp://a/b":     `without "/b"`,
		"192.0.2.0/28":   "each: {host: {cidr: 192.0.2.0/28}}",
		"icmp://u:p@a":   `without "@a"`,
		"icmp://a?x=1":   `without "?x=1"`,
		"icmp://a#count": `without "#count"`,
	} {
		if err := (&icmpOptions{}).SetTarget(target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", target, err, want)
		}
	}
}

func TestICMPBuildErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*icmpOptions)
		option string
		want   string
	}{
		"no host":      {func(o *icmpOptions) { o.Host = "" }, "host", "missing"},
		"port":         {func(o *icmpOptions) { o.Host = "db:5432" }, "host", "write db, or tcp://db:5432"},
		"shell":        {func(o *icmpOptions) { o.Host = "a;reboot" }, "host", "not a host name"},
		"space":        {func(o *icmpOptions) { o.Host = "a b" }, "host", "not a host name"},
		"long":         {func(o *icmpOptions) { o.Host = strings.Repeat("a", 254) }, "host", "not a host name"},
		"bracket":      {func(o *icmpOptions) { o.Host = "[::1" }, "host", "not an IPv6 address"},
		"bracketed v4": {func(o *icmpOptions) { o.Host = "[127.0.0.1]" }, "host", "not an IPv6 address"},
		"option":       {func(o *icmpOptions) { o.Host = "-f" }, "host", "not a host name"},
		"count":        {func(o *icmpOptions) { o.Count = 0 }, "count", "between 1 and 1000"},
		"large count":  {func(o *icmpOptions) { o.Count = 1001 }, "count", "between 1 and 1000"},
		"interval":     {func(o *icmpOptions) { o.Interval = 0 }, "interval", "shorter than 1ms"},
		"size":         {func(o *icmpOptions) { o.Size = 23 }, "size", "between 24B and 65507B"},
		"large size":   {func(o *icmpOptions) { o.Size = 65508 }, "size", "between 24B and 65507B"},
		"ttl":          {func(o *icmpOptions) { o.TTL = 256 }, "ttl", "between 1 and 255"},
		"negative ttl": {func(o *icmpOptions) { o.TTL = -1 }, "ttl", "between 1 and 255"},
		"tos":          {func(o *icmpOptions) { o.TOS = 256 }, "tos", "between 0 and 255"},
		"source":       {func(o *icmpOptions) { o.Source = []string{"eth0"} }, "source", "not an IP address"},
		"family":       {func(o *icmpOptions) { o.Host, o.Source = "::1", []string{"127.0.0.1"} }, "host", "not an IPv4 address"},
	} {
		_, err := icmpPlan(t, "127.0.0.1", tc.change)
		all := check.OptionErrors(err)
		if len(all) != 1 || all[0].Option != tc.option || !strings.Contains(all[0].Error(), tc.want) {
			t.Errorf("%s: %v, want %s: %s", name, err, tc.option, tc.want)
		}
	}
	_, err := icmpPlan(t, "127.0.0.1", func(o *icmpOptions) { o.Count, o.Size, o.TTL = 0, 0, 300 })
	if all := check.OptionErrors(err); len(all) != 3 {
		t.Errorf("%d errors, want all 3: %v", len(all), err)
	}
}

func TestICMPNeedsTwoPackets(t *testing.T) {
	for _, fact := range []string{"jitter", "mos", "out_of_order"} {
		o := icmpKind(t).New().(*icmpOptions)
		o.Host, o.Count = "127.0.0.1", 1
		_, err := o.Build(needs(fact))
		if err == nil || !strings.Contains(err.Error(), fact+" needs at least 2") {
			t.Error(err)
		}
	}
	var obs check.Observation
	recordEchoes(&obs, &echo.Plan{}, &echo.Result{Sent: 2, Received: 1, RTTs: []time.Duration{5, echo.NoReply}})
	if obs.Because["jitter"].Code != check.ICMPLoss || obs.Because["mos"].Code != check.ICMPLoss {
		t.Errorf("because %v", obs.Because)
	}
}

func TestICMPReproduce(t *testing.T) {
	ctx := pingTimeout(t, pingSlack)
	obs := observePing(t, ctx, "127.0.0.1", func(o *icmpOptions) {
		o.Count, o.Interval, o.Size, o.TTL, o.Source = 2, 300*time.Millisecond, 100, 9, []string{"127.0.0.1"}
	})
	if diff := cmp.Diff("ping -c 2 -i 0.3 -s 100 -t 9 -I 127.0.0.1 -W 30 -4 127.0.0.1", obs.Reproduce()); diff != "" {
		t.Error(diff)
	}
	plan, err := icmpPlan(t, "gw.example")
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Probe.(*icmpProbe)
	p.explainHow(&obs, p.route.from(), netip.Addr{}, 0)
	if diff := cmp.Diff("ping -c 3 -i 0.2 -s 56 gw.example", obs.Reproduce()); diff != "" {
		t.Error(diff)
	}
}

func TestA15OneAddressOfEachFamily(t *testing.T) {
	addrs := func(all ...string) []netip.Addr {
		var out []netip.Addr
		for _, a := range all {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	for _, tc := range []struct{ in, want []netip.Addr }{
		{nil, nil},
		{addrs("::1"), addrs("::1")},
		{addrs("::1", "::2", "127.0.0.1", "127.0.0.2", "::3"), addrs("::1", "127.0.0.1")},
		{addrs("::ffff:127.0.0.1", "127.0.0.2"), addrs("127.0.0.1")},
	} {
		if got := oneOfEach(tc.in); !slices.Equal(got, tc.want) {
			t.Errorf("of %v: %v, want %v", tc.in, got, tc.want)
		}
	}
}

func TestICMPCancelIsNoVerdict(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the user pressed a key"))
	obs := observePing(t, ctx, "127.0.0.1")
	if obs.Failure.Code != check.LocalShutdown && runtime.GOOS == "linux" && mayPing() {
		t.Errorf("failure %+v", obs.Failure)
	}
	if !obs.Failure.Code.Local() {
		t.Errorf("failure %+v is not our own side's", obs.Failure)
	}
}
