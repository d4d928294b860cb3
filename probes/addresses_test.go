package probes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// spreadPlan builds a tcp check of a name and returns how it spreads.
func spreadPlan(t *testing.T, o tcpOptions) check.Spreader {
	t.Helper()
	o.MaxBanner = defaultMaxBanner
	if o.Port == 0 {
		o.Port = 80
	}
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	return plan.Probe.(check.Spreader)
}

func partNames(s check.Spread) (names []string) {
	for _, p := range s.Parts {
		names = append(names, p.Name)
	}
	return names
}

// TestSpreadAddresses finds every address of a name.
func TestSpreadAddresses(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("many.test. 60 IN A 192.0.2.%d", i+1))
	}
	records := append(many, "two.test. 60 IN A 192.0.2.9", "two.test. 60 IN A 192.0.2.1", "two.test. 60 IN AAAA 2001:db8::1",
		"six.test. 60 IN AAAA 2001:db8::1", "none.test. 60 IN TXT x", "alias.test. 60 IN CNAME two.test.")
	server := dnsServer(t, zone(t, records...).Serve)
	halfZone := zone(t, "half.test. 60 IN A 192.0.2.1")
	half := dnsServer(t, func(q *testnet.DNSQuery) {
		if q.Msg.Question[0].Qtype == 28 { // AAAA
			m := q.Answer()
			m.Rcode = 2
			q.ReplyMsg(m)
			return
		}
		halfZone.Serve(q)
	})
	for _, tc := range []struct {
		host, require, family string
		want                  []string
		need, found           int
		code                  check.Code
	}{
		{"two.test", "", "", []string{"192.0.2.1", "192.0.2.9", "2001:db8::1"}, 3, 3, ""},
		{"two.test", "any", "", []string{"192.0.2.1", "192.0.2.9", "2001:db8::1"}, 1, 3, ""},
		{"two.test", "2", "4", []string{"192.0.2.1", "192.0.2.9"}, 2, 2, ""},
		{"alias.test", "all", "6", []string{"2001:db8::1"}, 1, 1, ""},
		{"six.test", "", "", []string{"2001:db8::1"}, 1, 1, ""},
		{"192.0.2.7", "", "", []string{"192.0.2.7"}, 1, 1, ""},
		{"half.test", "", "", []string{"192.0.2.1", "AAAA records"}, 2, 1, ""},
		{"none.test", "", "", nil, 0, 0, check.DNSNoData},
		{"six.test", "", "4", nil, 0, 0, check.DNSNoData},
		{"missing.test", "", "", nil, 0, 0, check.DNSNXDomain},
		{"many.test", "", "", nil, maxSpread, 100, ""},
	} {
		resolver := server
		if tc.host == "half.test" {
			resolver = half
		}
		p := spreadPlan(t, tcpOptions{Host: tc.host, Route: Route{Address: "all", Require: tc.require, Family: tc.family, Resolver: resolver.Addr()}})
		s := p.Spread(timeout(t, patience))
		if s.Found.Failure.Code != tc.code {
			t.Errorf("%s: %+v, want %s", tc.host, s.Found.Failure, tc.code)
		}
		if tc.code != "" {
			continue
		}
		if tc.want != nil {
			if diff := cmp.Diff(tc.want, partNames(s)); diff != "" {
				t.Errorf("%s family %s: %s", tc.host, tc.family, diff)
			}
		} else if len(s.Parts) != maxSpread {
			t.Errorf("%s has %d parts", tc.host, len(s.Parts))
		}
		if s.Need != tc.need || s.Found.Facts.Get(foundFact) != tc.found || s.Found.Facts.Get(probedFact) != min(tc.found, maxSpread) {
			t.Errorf("%s: %d needed, %v", tc.host, s.Need, s.Found.Facts)
		}
		if tc.host == "half.test" {
			wantFailure(t, s.Parts[1].Probe.Observe(timeout(t, patience)), check.DNSServFail)
		}
	}
}

// TestSpreadEveryKind goes to one address of a name with each kind, and back to
// the name for what is said to the server.
func TestSpreadEveryKind(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"web.test"}})
	secure := httpSite(t, cfg, testnet.Site())
	_, port := split(t, strings.TrimPrefix(secure, "https://"))
	number, _ := strconv.Atoi(port)
	server := dnsServer(t, zone(t, "web.test. 60 IN A 127.0.0.1").Serve)
	route := Route{Address: "all", Resolver: server.Addr()}
	web := newHTTPOptions()
	web.URL, web.TLS.CA, web.Route = "https://web.test:"+port+"/redirect/1", caFile(t), route
	for name, o := range map[string]check.Options{
		"http":      web,
		"tcp":       &tcpOptions{Host: "web.test", Port: number, MaxBanner: defaultMaxBanner, Route: route, TLS: &TLS{CA: caFile(t)}},
		"tls":       &tlsOptions{Host: "web.test", Port: number, Route: route, TLS: TLS{CA: caFile(t)}},
		"websocket": &wsOptions{URL: "wss://web.test:" + port + "/", MaxMessage: defaultMaxMessage, Route: route, TLS: TLS{CA: caFile(t)}},
		"grpc":      &grpcOptions{Host: "web.test", Port: number, Route: route, TLS: &TLS{CA: caFile(t)}},
		"icmp":      &icmpOptions{Host: "web.test", Count: 1, Interval: time.Second, Size: 56, Route: route},
	} {
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(name, err)
		}
		s := plan.Probe.(check.Spreader).Spread(timeout(t, patience))
		if got := partNames(s); !slices.Equal(got, []string{"127.0.0.1"}) {
			t.Errorf("%s: %v %+v", name, got, s.Found.Failure)
			continue
		}
		seen := s.Parts[0].Probe.Observe(timeout(t, patience))
		if name != "icmp" && (seen.Facts.Get("ip") != "127.0.0.1" || seen.Facts.Get("cert.hostname_ok") != true) {
			t.Errorf("%s: %+v %v", name, seen.Failure, seen.Facts)
		}
		if _, resolved := seen.Phases.Get(check.PhaseResolve); resolved {
			t.Errorf("%s resolves once more", name)
		}
		if line := seen.Reproduce(); !strings.Contains(line, "127.0.0.1") {
			t.Errorf("%s: %s", name, line)
		}
		if name == "http" && seen.Facts.Get("status") != 200 && seen.Facts.Get("redirects") != 1 {
			t.Errorf("http: %v", seen.Facts)
		}
		if c, ok := plan.Probe.(check.Closer); ok && c.Close() != nil {
			t.Errorf("%s does not close", name)
		}
	}
}

// TestA16BothFamilies tells IPv6 that is broken from IPv6 that is not there.
func TestA16BothFamilies(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Silence)
	if host != "127.0.0.1" {
		t.Fatal(host)
	}
	number, _ := strconv.Atoi(port)
	server := dnsServer(t, zone(t, "both.test. 60 IN A 127.0.0.1", "both.test. 60 IN AAAA ::1", "four.test. 60 IN A 127.0.0.1").Serve)
	for name, want := range map[string]struct {
		verdict check.Verdict
		six     []check.Code // one of them
	}{
		// Nothing listens on ::1; a machine without IPv6 has no route to it.
		"both.test": {check.Degraded, []check.Code{check.ConnectRefused, check.LocalRoute}},
		"four.test": {check.Up, []check.Code{check.DNSNoData}},
	} {
		o := tcpOptions{Host: name, Port: number, MaxBanner: defaultMaxBanner, Route: Route{Family: "both", Resolver: server.Addr()}}
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		s := plan.Probe.(check.Spreader).Spread(timeout(t, patience))
		if diff := cmp.Diff([]string{part4, part6}, partNames(s)); diff != "" || s.Whole == nil {
			t.Fatal(diff)
		}
		c := &check.Check{FactList: tcpFacts()}
		whole := s.Whole.Observe(timeout(t, patience))
		if whole.Facts.Get("family") != 4 {
			t.Errorf("%s: a client gets there by %v: %+v", name, whole.Facts, whole.Failure)
		}
		results := make([]check.Result, len(s.Parts))
		for i, p := range s.Parts {
			results[i] = c.PartResult(&s, p.Probe.Observe(timeout(t, patience)))
		}
		r := c.SpreadResult(&s, results, &whole)
		if !slices.Contains(want.six, r.Parts[1].Reason.Code) || r.Facts.Get("v4.up") != true {
			t.Errorf("%s: %+v %v", name, r.Parts, r.Facts)
		}
		if r.Parts[1].Reason.Code.Local() {
			want.verdict = check.Unknown
		}
		if r.Verdict != want.verdict {
			t.Errorf("%s: %s %v", name, r.Verdict, r.Reason)
		}
	}
}

func TestSpreadOptionErrors(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]tcpOptions{
		`address: "every" is not an IP address`:       {Host: "a.test", Route: Route{Address: "every"}},
		"require: needs address: all":                 {Host: "a.test", Route: Route{Require: "any"}},
		`require: "most" is not all, any or a number`: {Host: "a.test", Route: Route{Address: "all", Require: "most"}},
		`require: "0" is not all`:                     {Host: "a.test", Route: Route{Address: "all", Require: "0"}},
		`require: "65" is not all`:                    {Host: "a.test", Route: Route{Address: "all", Require: "65"}},
		"family: both needs a name":                   {Host: "127.0.0.1", Route: Route{Family: "both"}},
		"address: all and family: both":               {Host: "a.test", Route: Route{Family: "both", Address: "all"}},
		"address: 192.0.2.1 and family: both":         {Host: "a.test", Route: Route{Family: "both", Address: "192.0.2.1"}},
		"source: is of one family":                    {Host: "a.test", Route: Route{Family: "both", Source: []string{"127.0.0.1"}}},
		"address: goes with no proxy":                 {Host: "a.test", Route: Route{Address: "all"}, Proxied: Proxied{Proxy: "p.test"}},
		"family: both goes with no proxy":             {Host: "a.test", Route: Route{Family: "both"}, Proxied: Proxied{Proxy: "p.test"}},
		`family: "5" is not any, 4, 6 or both`:        {Host: "a.test", Route: Route{Family: "5"}},
	} {
		o.Port, o.MaxBanner = 80, defaultMaxBanner
		if _, err := o.Build(needs()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	web := newHTTPOptions()
	web.URL, web.Connection, web.Route.Address = "http://a.test/", "reuse", "all"
	if _, err := web.Build(needs()); err == nil || !strings.Contains(err.Error(), "connection: reuse keeps one connection") {
		t.Error(err)
	}
	names := newDNSOptions()
	names.Name, names.Server, names.Route.Address = "a.test", "b.test", "all"
	if _, err := names.Build(needs()); err == nil || !strings.Contains(err.Error(), "address: all is not for this kind") {
		t.Error(err)
	}
}
