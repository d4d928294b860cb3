package probes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// authorities are servers at 127.0.0.1, 127.0.0.2 and so on, all at one port,
// which Linux has without asking for them.
func authorities(t *testing.T, handlers ...testnet.DNSHandler) (first string) {
	t.Helper()
	var port string
	for i, handler := range handlers {
		addr := net.JoinHostPort(fmt.Sprintf("127.0.0.%d", i+1), "0")
		if port != "" {
			addr = net.JoinHostPort(fmt.Sprintf("127.0.0.%d", i+1), port)
		}
		var server *testnet.DNSServer
		var err error
		if port == "" {
			server, err = testnet.ListenDNS(handler)
		} else {
			server, err = testnet.ListenDNSAt(addr, handler)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		if port == "" {
			first = server.Addr()
			_, port = split(t, first)
		}
	}
	return first
}

// delegates answers that the zone is somebody else's: servers by name, with
// their addresses.
func delegates(t *testing.T, zone string, servers ...string) testnet.DNSHandler {
	t.Helper()
	return func(q *testnet.DNSQuery) {
		m := q.Answer()
		for _, server := range servers {
			name, addr, _ := strings.Cut(server, "=")
			m.Ns = append(m.Ns, &dns.NS{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: name})
			if ip := net.ParseIP(addr); ip != nil {
				m.Extra = append(m.Extra, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: ip})
			}
		}
		q.ReplyMsg(m)
	}
}

func refuses(q *testnet.DNSQuery) {
	m := q.Answer()
	m.Rcode = dns.RcodeRefused
	q.ReplyMsg(m)
}

func traceOf(t *testing.T, first string, change func(*dnsOptions)) check.Observation {
	t.Helper()
	return observeDNS(t, buildDNS(t, first, func(o *dnsOptions) {
		o.Name, o.Trace = "www.web.test", true
		if change != nil {
			change(o)
		}
	}), time.Minute)
}

func TestDNSTrace(t *testing.T) {
	z := zone(t, "www.web.test. 60 IN A 192.0.2.1", "web.test. 60 IN NS ns1.web.test.", "web.test. 60 IN NS ns2.web.test.")
	first := authorities(t,
		delegates(t, "test.", "a.test.=127.0.0.2", "b.test.=127.0.0.3"),
		refuses,
		delegates(t, "web.test.", "ns1.web.test.=127.0.0.4", "ns2.web.test.=127.0.0.5"),
		z.Serve, z.Serve,
	)
	o := traceOf(t, first, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{
		"answers": []string{"192.0.2.1"}, "authoritative": true, "ip": "127.0.0.4",
		"delegation.path":       []string{".", "test.", "web.test."},
		"delegation.servers":    []string{"127.0.0.1", "b.test (127.0.0.3)", "ns1.web.test (127.0.0.4)"},
		"delegation.consistent": true, "delegation.child_ns": []string{"ns1.web.test.", "ns2.web.test."},
		"delegation.queries": 6,
	}))
	if lame := o.Facts.Get("delegation.lame").([]string); len(lame) != 1 || !strings.HasPrefix(lame[0], "a.test (127.0.0.2) for test: ") {
		t.Errorf("lame %q", lame)
	}
	if latency := o.Facts.Get("delegation.latency").(map[string]any); len(latency) != 3 || latency["web.test"].(float64) <= 0 {
		t.Errorf("latency %v", latency)
	}
}

// A parent that names other servers than the zone, and one that is lame there.
func TestDNSTraceInconsistent(t *testing.T) {
	z := zone(t, "www.web.test. 60 IN A 192.0.2.1", "web.test. 60 IN NS ns1.web.test.", "web.test. 60 IN NS ns3.web.test.")
	first := authorities(t,
		delegates(t, "web.test.", "ns1.web.test.=127.0.0.2", "ns2.web.test.=127.0.0.3"),
		z.Serve, refuses,
	)
	o := traceOf(t, first, nil)
	wantFacts(t, o, check.FactsOf(map[string]any{
		"delegation.consistent": false,
		"delegation.parent_ns":  []string{"ns1.web.test.", "ns2.web.test."},
		"delegation.child_ns":   []string{"ns1.web.test.", "ns3.web.test."},
	}))
	if lame := o.Facts.Get("delegation.lame").([]string); len(lame) != 1 || !strings.Contains(lame[0], "REFUSED") {
		t.Errorf("lame %q", lame)
	}
	for _, fact := range []string{"delegation.consistent", "delegation.lame"} {
		if o.Because[fact].Message == "" {
			t.Errorf("%s is not explained", fact)
		}
	}
}

// Without glue the server's name is resolved like any other.
func TestDNSTraceWithoutGlue(t *testing.T) {
	z := zone(t, "www.web.test. 60 IN A 192.0.2.1", "web.test. 60 IN NS ns.other.test.")
	resolver := dnsServer(t, zone(t, "ns.other.test. 60 IN A 127.0.0.2").Serve)
	first := authorities(t, delegates(t, "web.test.", "ns.other.test."), z.Serve)
	o := traceOf(t, first, func(o *dnsOptions) { o.Resolver = resolver.Addr() })
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{"192.0.2.1"}, "ip": "127.0.0.2", "delegation.consistent": true}))
}

// Addresses of names outside the zone that tells them are not believed: whoever
// serves test. has no say in other.example.
func TestDNSTraceForeignGlue(t *testing.T) {
	var fooled atomic.Bool
	z := zone(t, "www.web.test. 60 IN A 192.0.2.1", "web.test. 60 IN NS ns.other.example.")
	resolver := dnsServer(t, zone(t, "ns.other.example. 60 IN A 127.0.0.3").Serve)
	first := authorities(t,
		delegates(t, "test.", "a.test.=127.0.0.2"),
		delegates(t, "web.test.", "ns.other.example.=127.0.0.4"),
		z.Serve,
		func(q *testnet.DNSQuery) { fooled.Store(true); z.Serve(q) },
	)
	o := traceOf(t, first, func(o *dnsOptions) { o.Resolver = resolver.Addr() })
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"ip": "127.0.0.3", "delegation.consistent": true}))
	if fooled.Load() {
		t.Error("the address of the foreign name was asked")
	}
}

// A delegation of which only the dead server has glue holds by the other one.
func TestDNSTraceHalfGlue(t *testing.T) {
	z := zone(t, "www.web.test. 60 IN A 192.0.2.1", "web.test. 60 IN NS ns1.web.test.", "web.test. 60 IN NS ns.other.example.")
	resolver := dnsServer(t, zone(t, "ns.other.example. 60 IN A 127.0.0.4").Serve)
	both := delegates(t, "web.test.", "ns1.web.test.=127.0.0.3", "ns.other.example.", "ns.gone.example.")
	first := authorities(t, delegates(t, "test.", "a.test.=127.0.0.2"), both, refuses, z.Serve)
	o := traceOf(t, first, func(o *dnsOptions) { o.Resolver = resolver.Addr() })
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"ip": "127.0.0.4", "answers": []string{"192.0.2.1"}}))
	wantLame(t, o, "ns.gone.example for web.test: it has no address", "ns1.web.test (127.0.0.3) for web.test: ")

	// The other way round, the one without glue is compared, too.
	first = authorities(t, delegates(t, "test.", "a.test.=127.0.0.2"), both, z.Serve, refuses)
	o = traceOf(t, first, func(o *dnsOptions) { o.Resolver = resolver.Addr() })
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"ip": "127.0.0.3", "answers": []string{"192.0.2.1"}}))
	wantLame(t, o, "ns.gone.example for web.test: it has no address", "ns.other.example (127.0.0.4) for web.test: ")
}

// wantLame compares the beginnings of what is lame.
func wantLame(t *testing.T, o check.Observation, want ...string) {
	t.Helper()
	lame, _ := o.Facts.Get("delegation.lame").([]string)
	for i := range want {
		if len(lame) != len(want) || !strings.HasPrefix(lame[i], want[i]) {
			t.Fatalf("lame %q, want %q", lame, want)
		}
	}
}

// A server that denies the name as the authority of a zone above the one that is
// delegated to it is lame there, as a parking server that has an empty root is.
func TestDNSTraceDeniedFromAbove(t *testing.T) {
	z := zone(t, "www.web.test. 60 IN A 192.0.2.1", "web.test. 60 IN NS ns1.web.test.", "web.test. 60 IN NS ns2.web.test.")
	parked := zone(t, "web.test. 60 IN NS ns1.web.test.") // its SOA is the root's
	first := authorities(t, delegates(t, "web.test.", "ns1.web.test.=127.0.0.2", "ns2.web.test.=127.0.0.3"), parked.Serve, z.Serve)
	o := traceOf(t, first, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"ip": "127.0.0.3", "answers": []string{"192.0.2.1"}}))
	wantLame(t, o, "ns1.web.test (127.0.0.2) for web.test: ")
}

// A delegation is one even if the server claims to be its authority.
func TestDNSTraceAuthoritativeDelegation(t *testing.T) {
	z := zone(t, "www.web.test. 60 IN A 192.0.2.1", "web.test. 60 IN NS ns1.web.test.")
	first := authorities(t, func(q *testnet.DNSQuery) {
		m := q.Answer()
		m.Authoritative = true
		m.Ns = append(m.Ns, &dns.NS{Hdr: dns.RR_Header{Name: "web.test.", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: "ns1.web.test."})
		m.Extra = append(m.Extra, &dns.A{Hdr: dns.RR_Header{Name: "ns1.web.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(127, 0, 0, 2)})
		q.ReplyMsg(m)
	}, z.Serve)
	o := traceOf(t, first, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"ip": "127.0.0.2", "answers": []string{"192.0.2.1"}, "delegation.path": []string{".", "web.test."}}))
}

// deeper is how far the endless delegations went.
var deeper struct {
	sync.Mutex
	n int
}

// E23: delegations that loop, lead up, lead nowhere or go on for ever.
func TestE23HostileDelegations(t *testing.T) {
	endless := func(q *testnet.DNSQuery) { // one label further each time
		name := dns.CanonicalName(q.Msg.Question[0].Name)
		labels := dns.CountLabel(name)
		deeper.Lock()
		deeper.n = min(deeper.n+1, labels)
		at := name[dns.Split(name)[labels-deeper.n]:]
		deeper.Unlock()
		delegates(t, at, "ns."+at+"=127.0.0.1")(q)
	}
	many := func(q *testnet.DNSQuery) {
		var servers []string
		for i := range 60 {
			servers = append(servers, fmt.Sprintf("ns%d.test.=127.0.0.1", i))
		}
		delegates(t, "test.", servers...)(q)
	}
	tests := []struct {
		name  string
		first testnet.DNSHandler
		want  check.Code
		says  string
	}{
		{"itself", delegates(t, "test.", "ns.test.=127.0.0.1"), check.DNSMalformed, "leads no further down"},
		{"the root", delegates(t, ".", "ns.test.=127.0.0.1"), check.DNSMalformed, "leads no further down"},
		{"another branch", delegates(t, "example.", "ns.example.=127.0.0.1"), check.DNSMalformed, "leads no further down"},
		{"endless", endless, check.DNSMalformed, "more than 16 delegations"},
		{"many servers", many, check.DNSMalformed, "leads no further down"},
		{"no address", delegates(t, "test.", "ns.invalid."), check.DNSNXDomain, "no server of test has an address"},
		{"refused", refuses, check.DNSRefused, "no server of . answers"},
	}
	resolver := dnsServer(t, zone(t).Serve)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			deeper.n = 0
			o := traceOf(t, authorities(t, tt.first), func(o *dnsOptions) {
				o.Resolver = resolver.Addr()
				if tt.name == "endless" {
					o.Name = strings.Repeat("a.", 40) + "test"
				}
			})
			wantFailure(t, o, tt.want, tt.says)
			if n := o.Facts.Get("delegation.queries").(int); n > maxTraceQueries+1 {
				t.Errorf("%d questions", n)
			}
		})
	}
}

// A walk goes nowhere that the context forbids, whatever the glue says.
func TestE23ForbiddenGlue(t *testing.T) {
	first := authorities(t, delegates(t, "test.", "ns.test.=169.254.169.254"))
	ctx := Restrict(within(t, time.Minute), DenyMetadata)
	o := buildDNS(t, first, func(o *dnsOptions) { o.Trace = true }).Observe(ctx)
	wantFailure(t, o, check.LocalPermission)
}

func TestDNSTraceReproduce(t *testing.T) {
	first := authorities(t, refuses)
	_, port := split(t, first)
	o := traceOf(t, first, nil)
	want := "dig @127.0.0.1 -p " + port + " -t A -q www.web.test. +norecurse +bufsize=1232 +trace"
	if got := o.Reproduce(); got != want {
		t.Errorf("reproduce with %s, want %s", got, want)
	}
	o = buildDNS(t, "", func(o *dnsOptions) { o.Trace = true }).Observe(Restrict(within(t, time.Minute), func(netip.Addr) error { return errors.New("nowhere") }))
	if got := o.Reproduce(); got != "dig -t A -q web.test. +norecurse +bufsize=1232 +trace" {
		t.Errorf("reproduce with %s", got)
	}
}
