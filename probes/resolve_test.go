package probes

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

var equateAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

// dnsServer starts a server for the test.
func dnsServer(t *testing.T, handler testnet.DNSHandler) *testnet.DNSServer {
	t.Helper()
	server, err := testnet.ListenDNS(handler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

func zone(t *testing.T, records ...string) *testnet.Zone {
	t.Helper()
	z, err := testnet.NewZone(records...)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// testSystem makes a system of which the files have the given contents.
func testSystem(t *testing.T, conf, hosts string) *system {
	t.Helper()
	dir := t.TempDir()
	s := &system{confPath: filepath.Join(dir, "resolv.conf"), hostsPath: filepath.Join(dir, "hosts"), read: os.ReadFile}
	write(t, s.confPath, conf)
	write(t, s.hostsPath, hosts)
	return s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// nameserverLine is a line of resolv.conf with the server's port.
func nameserverLine(s *testnet.DNSServer) string {
	host, port, _ := strings.Cut(s.Addr(), ":")
	return "nameserver [" + host + "]:" + port + "\n"
}

// within is a context whose deadline tells slow from hung.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustServer(t *testing.T, text string) *nameserver {
	t.Helper()
	s, err := parseServer(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func resolveCode(r *check.Reason) check.Code {
	if r == nil {
		return ""
	}
	return r.Code
}

func TestResolve(t *testing.T) {
	z := zone(t,
		"www.example.test. 60 IN CNAME web.example.test.",
		"web.example.test. 60 IN A 192.0.2.1",
		"web.example.test. 60 IN A 192.0.2.2",
		"web.example.test. 60 IN AAAA 2001:db8::1",
		"four.example.test. 60 IN A 192.0.2.4",
		"six.example.test. 60 IN AAAA 2001:db8::6",
		"mail.example.test. 60 IN MX 10 web.example.test.",
		"_sip.example.test. 60 IN A 192.0.2.5",
		"xn--bcher-kva.example.test. 60 IN A 192.0.2.6",
		"db.corp.test. 60 IN A 192.0.2.7",
	).Fail("broken.test.", dns.RcodeServerFailure).Fail("secret.test.", dns.RcodeRefused)
	server := dnsServer(t, z.Serve)
	conf := nameserverLine(server) + "search corp.test\n"
	hosts := "192.0.2.99 fixed.test Fixed # a comment\n2001:db8::99 fixed.test\n"

	tests := []struct {
		name   string
		host   string
		router router
		want   []string
		code   check.Code
		found  string
	}{
		{name: "both families", host: "web.example.test", want: []string{"2001:db8::1", "192.0.2.1", "192.0.2.2"}},
		{name: "case does not matter", host: "Web.Example.TEST", want: []string{"2001:db8::1", "192.0.2.1", "192.0.2.2"}},
		{name: "final dot", host: "four.example.test.", want: []string{"192.0.2.4"}},
		{name: "alias", host: "www.example.test", router: router{family: 4}, want: []string{"192.0.2.1", "192.0.2.2"}},
		{name: "IPv6 only", host: "web.example.test", router: router{family: 6}, want: []string{"2001:db8::1"}},
		{name: "no IPv6", host: "four.example.test", router: router{family: 0}, want: []string{"192.0.2.4"}},
		{name: "no IPv4", host: "six.example.test", want: []string{"2001:db8::6"}},
		{name: "wrong family", host: "four.example.test", router: router{family: 6}, code: check.DNSNoData},
		{name: "underscore", host: "_sip.example.test", want: []string{"192.0.2.5"}},
		{name: "international", host: "Bücher.example.test", want: []string{"192.0.2.6"}, found: "xn--bcher-kva.example.test"},
		{name: "no such name", host: "none.example.test", code: check.DNSNXDomain},
		{name: "no address", host: "mail.example.test", code: check.DNSNoData},
		{name: "SERVFAIL", host: "broken.test", code: check.DNSServFail},
		{name: "REFUSED", host: "secret.test", code: check.DNSRefused},
		{name: "long label", host: strings.Repeat("a", 64) + ".test", code: check.DNSNXDomain},
		{name: "empty label", host: "a..test", code: check.DNSNXDomain},
		{name: "empty name", host: "", code: check.DNSNXDomain},
		{name: "single label", host: "db", want: []string{"192.0.2.7"}, found: "db.corp.test"},
		{name: "hosts file", host: "fixed.test", want: []string{"192.0.2.99", "2001:db8::99"}},
		{name: "hosts file, any case", host: "FIXED", want: []string{"192.0.2.99"}},
		{name: "hosts file, family", host: "fixed.test", router: router{family: 6}, want: []string{"2001:db8::99"}},
		{name: "hosts file, other family", host: "FIXED", router: router{family: 6}, code: check.DNSNXDomain},
		{name: "localhost of a family", host: "localhost", router: router{family: 6}, want: []string{"::1"}},
		{name: "localhost", host: "localhost", want: []string{"127.0.0.1", "::1"}},
		{name: "below localhost", host: "a.localhost", want: []string{"127.0.0.1", "::1"}},
		{name: "IP literal", host: "192.0.2.50", want: []string{"192.0.2.50"}},
		{name: "IPv6 literal", host: "[2001:db8::50]", want: []string{"2001:db8::50"}},
		{name: "zone", host: "fe80::1%lo", want: []string{"fe80::1%lo"}},
		{name: "literal of the wrong family", host: "192.0.2.50", router: router{family: 6}, code: check.DNSNoData},
		{name: "pinned", host: "none.test", router: router{address: netip.MustParseAddr("192.0.2.9")}, want: []string{"192.0.2.9"}},
		{name: "own resolver", host: "four.example.test", router: router{resolver: mustServer(t, server.Addr())}, want: []string{"192.0.2.4"}},
		{name: "own resolver over TCP", host: "four.example.test", router: router{resolver: mustServer(t, "tcp://"+server.Addr())}, want: []string{"192.0.2.4"}},
		{name: "own resolver without search", host: "db", router: router{resolver: mustServer(t, server.Addr())}, code: check.DNSNXDomain},
		{name: "own resolver without hosts", host: "fixed.test", router: router{resolver: mustServer(t, server.Addr())}, code: check.DNSNXDomain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.router.system = testSystem(t, conf, hosts)
			j := begin()
			addrs, reason := j.resolve(within(t, time.Minute), &tt.router, tt.host)
			if resolveCode(reason) != tt.code {
				t.Fatalf("reason %+v, want code %q", reason, tt.code)
			}
			var got []string
			for _, ip := range addrs {
				got = append(got, ip.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			found, _ := j.obs.Facts.Get("resolved_name").(string)
			if found != tt.found {
				t.Errorf("resolved_name %q, want %q", found, tt.found)
			}
			_, phase := j.obs.Phases.Get(check.PhaseResolve)
			_, err := netip.ParseAddr(strings.Trim(tt.host, "[]"))
			if literal := err == nil || tt.router.address.IsValid(); phase == literal {
				t.Errorf("phase resolve %v for %q", phase, tt.host)
			}
		})
	}
}

// E14: a name with a dot is asked for as it is, and completed by the search
// domains only when the check says so.
func TestE14SearchDomains(t *testing.T) {
	z := zone(t, "api.example.corp.test. 60 IN A 192.0.2.1")
	tests := []struct {
		name   string
		search bool
		code   check.Code
		found  string
		asked  map[string]bool
	}{
		{"absolute", false, check.DNSNXDomain, "", map[string]bool{"api.example.": true}},
		{"search", true, "", "api.example.corp.test", map[string]bool{"api.example.corp.test.": true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			asked := map[string]bool{}
			server := dnsServer(t, func(q *testnet.DNSQuery) {
				mu.Lock()
				asked[q.Msg.Question[0].Name] = true
				mu.Unlock()
				z.Serve(q)
			})
			conf := nameserverLine(server) + "search corp.test other.test\noptions ndots:5\n"
			j := begin()
			_, reason := j.resolve(within(t, time.Minute), &router{search: tt.search, system: testSystem(t, conf, "")}, "api.example")
			found, _ := j.obs.Facts.Get("resolved_name").(string)
			if resolveCode(reason) != tt.code || found != tt.found {
				t.Errorf("reason %+v, resolved_name %q", reason, found)
			}
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(tt.asked, asked); diff != "" {
				t.Errorf("names asked for (-want +got):\n%s", diff)
			}
		})
	}
}

// E2: silence of the machine's own resolver says nothing about the target;
// silence of the check's own resolver does.
func TestE2SilentResolver(t *testing.T) {
	silent := dnsServer(t, (*testnet.DNSQuery).Hang)
	// This one is alive, but waits for the name's own servers for ever.
	waiting := dnsServer(t, answersOnly(zone(t, ". 60 IN NS a.root-servers.net."), "."))
	tests := []struct {
		name   string
		router router
		want   check.Code
	}{
		{"system answers others", router{system: testSystem(t, nameserverLine(waiting), "")}, check.DNSTimeout},
		{"system", router{system: testSystem(t, nameserverLine(silent), "")}, check.LocalResolver},
		{"own", router{resolver: mustServer(t, silent.Addr())}, check.DNSTimeout},
		{"own over TCP", router{resolver: mustServer(t, "tcp://"+silent.Addr())}, check.DNSTimeout},
		{"system refuses", router{system: testSystem(t, "nameserver [127.0.0.1]:1\n", "")}, check.LocalResolver},
		{"own refuses", router{resolver: mustServer(t, "127.0.0.1:1")}, check.ConnectRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			limit := 600 * time.Millisecond
			if tt.want == check.ConnectRefused {
				limit = patience
			}
			o := inTime(limit, func(d time.Duration) check.Observation {
				start := time.Now()
				_, reason := begin().resolve(within(t, d), &tt.router, "example.test")
				if took := time.Since(start); took > d+hung {
					t.Errorf("took %v of %v", took, d)
				}
				return check.Observation{Failure: *reason}
			}, func(o *check.Observation) bool { return o.Failure.Code == tt.want })
			wantFailure(t, o, tt.want)
		})
	}
}

// answersOnly is a handler that answers the questions for one name.
func answersOnly(z *testnet.Zone, name string) testnet.DNSHandler {
	return func(q *testnet.DNSQuery) {
		if q.Msg.Question[0].Name == name {
			z.Serve(q)
		}
	}
}

func TestResolveSecondServer(t *testing.T) {
	silent := dnsServer(t, (*testnet.DNSQuery).Hang)
	broken := dnsServer(t, zone(t).Fail("web.test.", dns.RcodeServerFailure).Serve)
	good := dnsServer(t, zone(t, "web.test. 60 IN A 192.0.2.1").Serve)
	for name, first := range map[string]string{
		"silent": nameserverLine(silent), "refusing": "nameserver [127.0.0.1]:1\n", "broken": nameserverLine(broken),
	} {
		t.Run(name, func(t *testing.T) {
			r := router{system: testSystem(t, first+nameserverLine(good), "")}
			addrs, reason := begin().resolve(within(t, patience), &r, "web.test")
			if reason != nil || len(addrs) != 1 {
				t.Errorf("%v, reason %+v", addrs, reason)
			}
		})
	}
}

func TestResolveCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		cancel()
		q.Hang()
	})
	for _, r := range []router{{resolver: mustServer(t, server.Addr())}, {system: testSystem(t, nameserverLine(server), "")}} {
		_, reason := begin().resolve(ctx, &r, "example.test")
		if resolveCode(reason) != check.LocalShutdown {
			t.Errorf("reason %+v, want %s", reason, check.LocalShutdown)
		}
	}
}

// A resolver that never answers for AAAA must not delay IPv4.
func TestResolveLateFamily(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1", "web.test. 60 IN AAAA 2001:db8::1")
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		if q.Msg.Question[0].Qtype == dns.TypeAAAA {
			q.Hang()
			return
		}
		z.Serve(q)
	})
	start := time.Now()
	addrs, reason := begin().resolve(within(t, time.Minute), &router{resolver: mustServer(t, server.Addr())}, "web.test")
	if reason != nil || len(addrs) != 1 || !addrs[0].Is4() {
		t.Errorf("%v, reason %+v", addrs, reason)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v of a minute", took)
	}
}

// E10: servers that do not know EDNS.
func TestResolveWithoutEDNS(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	for _, rcode := range []int{dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers} {
		server := dnsServer(t, func(q *testnet.DNSQuery) {
			if q.Msg.IsEdns0() == nil {
				z.Serve(q)
				return
			}
			m := q.Answer().SetEdns0(1232, false)
			m.Rcode = rcode
			q.ReplyMsg(m)
		})
		addrs, reason := begin().resolve(within(t, time.Minute), &router{family: 4, resolver: mustServer(t, server.Addr())}, "web.test")
		if reason != nil || len(addrs) != 1 {
			t.Errorf("%s: %v, %+v", dnsmsg.RcodeName(rcode), addrs, reason)
		}
	}
}

func firstServer(t *testing.T, s *system) string {
	t.Helper()
	config, err := s.config()
	if err != nil {
		t.Fatal(err)
	}
	return config.servers[0].Addr().String()
}

func TestSystemFollowsItsFiles(t *testing.T) {
	s := testSystem(t, "nameserver 192.0.2.1\n", "192.0.2.1 a\n")
	if got := firstServer(t, s); got != "192.0.2.1" {
		t.Errorf("server %s", got)
	}
	if got, err := s.lookup("a"); err != nil || len(got) != 1 {
		t.Errorf("hosts %v", got)
	}
	write(t, s.confPath, "nameserver 192.0.2.200\n")
	write(t, s.hostsPath, "192.0.2.1 a\n192.0.2.2 a\n")
	if got := firstServer(t, s); got != "192.0.2.200" {
		t.Errorf("server %s after the change", got)
	}
	if got, err := s.lookup("a"); err != nil || len(got) != 2 {
		t.Errorf("hosts %v after the change", got)
	}
}

func TestParseResolvConf(t *testing.T) {
	tests := []struct {
		name, text string
		want       resolvConf
	}{
		{"empty", "", resolvConf{servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}, ndots: 1, timeout: 5 * time.Second}},
		{
			"all", "# c\n; c\nnameserver 192.0.2.1\nnameserver fe80::1%lo\nnameserver [192.0.2.3]:5353\nnameserver 192.0.2.4\nnameserver x\n" +
				"domain old.test\nsearch Corp.Test. other.test\noptions ndots:3 timeout:1 rotate attempts:x ndots:-1\nsortlist\n",
			resolvConf{
				servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[fe80::1%lo]:53"), netip.MustParseAddrPort("192.0.2.3:5353")},
				search:  []string{"corp.test.", "other.test."}, ndots: 3, timeout: time.Second,
			},
		},
	}
	for _, tt := range tests {
		got := parseResolvConf([]byte(tt.text))
		if diff := cmp.Diff(&tt.want, got, cmp.AllowUnexported(resolvConf{}), equateAddrs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		host   string
		search bool
		ndots  int
		want   string
	}{
		{"db", false, 1, "db.corp.test. db."},
		{"db.", false, 1, "db."},
		{"example.com", false, 5, "example.com."},
		{"example.com", true, 1, "example.com. example.com.corp.test."},
		{"example.com", true, 5, "example.com.corp.test. example.com."},
	}
	for _, tt := range tests {
		c := resolvConf{search: []string{"corp.test."}, ndots: tt.ndots}
		if got := strings.Join(c.names(tt.host, tt.search), " "); got != tt.want {
			t.Errorf("names(%q, %v) with ndots %d = %q, want %q", tt.host, tt.search, tt.ndots, got, tt.want)
		}
	}
}

func TestParseServer(t *testing.T) {
	tests := []struct{ text, want string }{
		{"192.0.2.1", "udp 192.0.2.1:53"},
		{"192.0.2.1:5353", "udp 192.0.2.1:5353"},
		{"2001:db8::1", "udp [2001:db8::1]:53"},
		{"[2001:db8::1]", "udp [2001:db8::1]:53"},
		{"udp://[2001:db8::1]:54", "udp [2001:db8::1]:54"},
		{"tcp://192.0.2.1", "tcp 192.0.2.1:53"},
		{"tls://192.0.2.1", "tls 192.0.2.1:853"},
		{"quic://192.0.2.1", "quic 192.0.2.1:853"},
		{"tls://[fe80::1%lo]:8853", "tls [fe80::1%lo]:8853"},
		{"", "error"}, {"example.com", "error"}, {"192.0.2.1:", "error"}, {"192.0.2.1:0", "error"},
		{"ftp://192.0.2.1", "error"}, {"192.0.2.1:x", "error"}, {"192.0.2.1/", "error"},
	}
	for _, tt := range tests {
		got := "error"
		if s, err := parseServer(tt.text); err == nil {
			got = s.transport + " " + s.String()
		}
		if got != tt.want {
			t.Errorf("parseServer(%q) = %s, want %s", tt.text, got, tt.want)
		}
	}
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add([]byte("nameserver [::1]:53\nsearch a b\noptions ndots:3"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := parseResolvConf(text)
		if len(c.servers) == 0 || len(c.servers) > maxServers || len(c.search) > maxSearch {
			t.Errorf("%+v", c)
		}
		parseHosts(text)
	})
}
