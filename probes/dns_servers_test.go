package probes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// buildServers makes the probe of a dns check of several servers.
func buildServers(t *testing.T, servers []string, change func(*dnsOptions)) check.Plan {
	t.Helper()
	o := newDNSOptions()
	o.Name, o.Servers = "web.test", servers
	if change != nil {
		change(o)
	}
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func observeServers(t *testing.T, plan check.Plan, timeout time.Duration) check.Observation {
	t.Helper()
	o := plan.Probe.Observe(within(t, timeout))
	declared := dnsFacts()
	for name, v := range o.Facts.All() {
		i := slices.IndexFunc(declared, func(f check.Fact) bool { return f.Name == name })
		if i < 0 || !declared[i].Type.Accepts(v) {
			t.Errorf("fact %s = %#v is not as declared", name, v)
		}
	}
	return o
}

func TestDNSServers(t *testing.T) {
	serve := func(records ...string) string { return dnsServer(t, zone(t, records...).Serve).Addr() }
	one, two := "web.test. 60 IN MX 10 a.test.", "web.test. 60 IN MX 20 b.test."
	a := serve(one, two)
	swapped := serve("web.test. 5 IN MX 20 B.Test.", one)
	less := serve(one)
	none, refuses := serve(), dnsServer(t, zone(t).Fail("web.test.", dns.RcodeRefused).Serve).Addr()
	tests := []struct {
		name      string
		servers   []string
		answered  int
		agree     bool
		differing []string // in this order, a part of each
		rcode     string
	}{
		{"same", []string{a, swapped}, 2, true, nil, "NOERROR"},
		{"one differs", []string{less, a, swapped}, 3, false, []string{less + `: "10 a.test.", where ` + a}, "NOERROR"},
		{"one has no such name", []string{a, swapped, none}, 3, false, []string{none + ": NXDOMAIN, where " + a}, "NXDOMAIN"},
		{"one refuses", []string{refuses, a}, 1, true, []string{refuses + ": dns.refused, "}, "NOERROR"},
		{"one is dead", []string{a, "127.0.0.1:1"}, 1, true, []string{"127.0.0.1:1: connect.refused, "}, "NOERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := observeServers(t, buildServers(t, tt.servers, func(o *dnsOptions) { o.Type = "MX" }), time.Minute)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{
				"servers.total": len(tt.servers), "servers.answered": tt.answered, "consistent": tt.agree, "rcode": tt.rcode,
			}))
			differing := o.Facts.Get("differing").([]string)
			for i, part := range tt.differing {
				if len(differing) != len(tt.differing) || !strings.HasPrefix(differing[i], part) {
					t.Errorf("differing %q, want %q", differing, tt.differing)
				}
			}
			latency := o.Facts.Get("servers.latency").(map[string]any)
			if len(latency) != tt.answered || o.Facts.Get("servers.slowest").(time.Duration) <= 0 {
				t.Errorf("latency %v", latency)
			}
			if because := o.Because["servers.answered"]; (because.Code == "") != (tt.answered == len(tt.servers)) {
				t.Errorf("explained as %v", because)
			}
			if because := o.Because["consistent"]; (because.Code == "") != tt.agree {
				t.Errorf("explained as %v", because)
			}
		})
	}
	o := observeServers(t, buildServers(t, []string{refuses, "127.0.0.1:1"}, nil), time.Minute)
	wantFailure(t, o, check.DNSRefused, refuses)
}

// Of a zone that not all servers have the last version of.
// TestDNSServersReproduce asks the server that is to blame.
func TestDNSServersReproduce(t *testing.T) {
	t.Parallel()
	serve := func(records ...string) string { return dnsServer(t, zone(t, records...).Serve).Addr() }
	one, two := "web.test. 60 IN A 127.0.0.1", "web.test. 60 IN A 127.0.0.2"
	good, same, other := serve(one), serve(one), serve(two)
	refuses := dnsServer(t, zone(t).Fail("web.test.", dns.RcodeRefused).Serve).Addr()
	for _, c := range []struct {
		servers []string
		want    string
	}{{[]string{good, refuses, other}, refuses}, {[]string{good, same, other}, other}, {[]string{good, same}, good}} {
		o := observeServers(t, buildServers(t, c.servers, nil), patience)
		_, port, _ := strings.Cut(c.want, ":")
		if got := o.Reproduce(); !strings.Contains(got, " -p "+port+" ") {
			t.Errorf("%v: %s, want the one of port %s", c.servers, got, port)
		}
	}
}

func TestDNSSerials(t *testing.T) {
	var servers []string
	want := map[string]string{}
	for _, serial := range []string{"7", "8", "8"} {
		addr := dnsServer(t, zone(t, "web.test. 60 IN SOA ns.test. admin.test. "+serial+" 1 2 3 4").Serve).Addr()
		servers = append(servers, addr)
		want[addr] = serial
	}
	o := observeServers(t, buildServers(t, servers, func(o *dnsOptions) { o.Type = "SOA" }), time.Minute)
	wantFacts(t, o, check.FactsOf(map[string]any{"serials": want, "consistent": false, "servers.answered": 3}))
	if d := o.Facts.Get("differing").([]string); len(d) != 1 || !strings.HasPrefix(d[0], servers[0]) {
		t.Errorf("differing %q", d)
	}
}

// E21: most of many servers are silent; the others' answers count, all in time.
func TestE21SilentServers(t *testing.T) {
	good := dnsServer(t, zone(t, "web.test. 60 IN A 192.0.2.1").Serve)
	silent := dnsServer(t, (*testnet.DNSQuery).Hang)
	_, port, _ := strings.Cut(silent.Addr(), ":")
	servers := []string{good.Addr()}
	for i := range maxCompared - 1 {
		servers = append(servers, fmt.Sprintf("127.0.0.%d:%s", i+1, port))
	}
	o := inTime(short, func(d time.Duration) check.Observation {
		start := time.Now()
		o := observeServers(t, buildServers(t, servers, nil), d)
		if took := time.Since(start); took > d+hung {
			t.Errorf("took %v", took)
		}
		return o
	}, endsAs(""))
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"servers.answered": 1, "servers.total": maxCompared, "consistent": true, "answer_count": 1}))
}

func TestDNSServersTarget(t *testing.T) {
	for _, target := range []string{
		"dns:example.com?type=NS&servers=192.0.2.1,https://dns.test/a%2526b",
		"dns:example.com?type=SOA&transport=tcp&recursion=false&do=true&servers=192.0.2.1,192.0.2.2:54",
	} {
		o := newDNSOptions()
		if err := o.SetTarget(target); err != nil {
			t.Fatal(err)
		}
		plan, err := o.Build(needs())
		if err != nil || plan.Target != target {
			t.Errorf("target %s, want %s, error %v", plan.Target, target, err)
		}
	}
	for _, text := range []string{",,", "192.0.2.1,,192.0.2.2", "192.0.2.1,"} {
		o := newDNSOptions()
		if err := o.SetTarget("dns:example.com?servers=" + text); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Build(needs()); err == nil || !strings.Contains(err.Error(), "servers: has an empty name") {
			t.Errorf("servers=%s: %v", text, err)
		}
	}
	many := make([]string, maxCompared+1)
	for i := range many {
		many[i] = fmt.Sprintf("192.0.2.%d", i)
	}
	for name, change := range map[string]func(*dnsOptions){
		"one":         func(o *dnsOptions) { o.Servers = []string{"192.0.2.1"} },
		"too many":    func(o *dnsOptions) { o.Servers = many },
		"twice":       func(o *dnsOptions) { o.Servers = []string{"192.0.2.1", "192.0.2.1"} },
		"bad":         func(o *dnsOptions) { o.Servers = []string{"192.0.2.1", "a b"} },
		"with server": func(o *dnsOptions) { o.Server = "192.0.2.3" },
		"address":     func(o *dnsOptions) { o.Address = "192.0.2.3" },
	} {
		o := newDNSOptions()
		o.Name, o.Servers = "web.test", []string{"192.0.2.1", "192.0.2.2"}
		change(o)
		if _, err := o.Build(needs()); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestDNSAnswerSet(t *testing.T) {
	server := dnsServer(t, zone(t, "web.test. 60 IN NS B.test.", "web.test. 60 IN NS a.test.", "web.test. 60 IN NS b.test.").Serve)
	o := newDNSOptions()
	o.Name, o.Type, o.Server = "web.test", "NS", server.Addr()
	plan, err := o.Build(needs("answer_set"))
	if err != nil {
		t.Fatal(err)
	}
	got := plan.Probe.Observe(within(t, time.Minute))
	wantFacts(t, got, check.FactsOf(map[string]any{"answer_set": []string{"a.test.", "b.test."}, "answer_count": 3}))
	got = buildDNS(t, server.Addr(), nil).Observe(within(t, time.Minute))
	wantFacts(t, got, check.FactsOf(map[string]any{"answer_set": nil}))
}
