package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// buildDNS makes the probe of a dns check of the server.
func buildDNS(t *testing.T, server string, change func(*dnsOptions)) *dnsProbe {
	t.Helper()
	o := newDNSOptions()
	o.Name, o.Server = "web.test", server
	if change != nil {
		change(o)
	}
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	return plan.Probe.(*dnsProbe)
}

// observeDNS runs the probe with a timeout and checks that it ends in time and
// observes only facts that are declared, with their types.
func observeDNS(t *testing.T, p *dnsProbe, timeout time.Duration) check.Observation {
	t.Helper()
	o := promptly(t, p, timeout)
	declared := dnsFacts()
	for name, v := range o.Facts.All() {
		i := slices.IndexFunc(declared, func(f check.Fact) bool { return f.Name == name })
		if i < 0 || !declared[i].Type.Accepts(v) {
			t.Errorf("fact %s = %#v is not as declared", name, v)
		}
	}
	return o
}

const short = 400 * time.Millisecond // a timeout that has to run out

func TestDNSFacts(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1", "web.test. 30 IN A 192.0.2.2", "www.test. 300 IN CNAME web.test.")
	server := dnsServer(t, z.Serve)
	o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Name = "WWW.test" }), time.Minute)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{
		"rcode": "NOERROR", "answers": []string{"192.0.2.1", "192.0.2.2"}, "answer_count": 2, "cnames": []string{"web.test."},
		"authority": []string{}, "additional": []string{}, "ttl.min": 30 * time.Second, "ttl.max": 300 * time.Second,
		"flags": []string{"qr", "aa", "rd", "ra"}, "authoritative": true, "authenticated": false, "recursion_available": true,
		"truncated": false, "edns.size": 1232, "edns.version": 0, "edns.fallback": false, "ede": []string{},
		"query_name": "WWW.test.", "server": server.Addr(), "transport": "udp", "retransmits": 0, "mismatched": 0,
		"ip": "127.0.0.1", "family": 4,
	}))
	if len(o.Because) > 0 {
		t.Errorf("explanations %v", o.Because)
	}
	var phases []string
	for _, p := range o.Phases {
		phases = append(phases, p.Name)
	}
	if diff := cmp.Diff([]string{"send", "wait"}, phases); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

// E1: four ways to have no answer, each with its own reason.
func TestE1Classes(t *testing.T) {
	z := zone(t, "web.test. 60 IN MX 10 mail.test.").
		Fail("servfail.test.", dns.RcodeServerFailure).Fail("refused.test.", dns.RcodeRefused).Fail("odd.test.", dns.RcodeNotZone)
	server := dnsServer(t, z.Serve)
	tests := []struct {
		name, rcode string
		want        check.Code // of the missing answer
		rcodeWant   check.Code
	}{
		{"none.test", "NXDOMAIN", check.DNSNXDomain, check.DNSNXDomain},
		{"web.test", "NOERROR", check.DNSNoData, ""},
		{"servfail.test", "SERVFAIL", check.DNSServFail, check.DNSServFail},
		{"refused.test", "REFUSED", check.DNSRefused, check.DNSRefused},
		{"odd.test", "NOTZONE", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Name = tt.name }), time.Minute)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"rcode": tt.rcode, "answer_count": 0, "answers": []string{}}))
			if got := o.Because["answer_count"].Code; got != tt.want {
				t.Errorf("answer_count is explained by %q, want %q", got, tt.want)
			}
			if got := o.Because["rcode"].Code; got != tt.rcodeWant {
				t.Errorf("rcode is explained by %q, want %q", got, tt.rcodeWant)
			}
		})
	}
}

// E2: silence of the server that the check is about is down; silence of the
// machine's own resolver is unknown.
func TestE2Silence(t *testing.T) {
	silent := dnsServer(t, (*testnet.DNSQuery).Hang)
	waiting := dnsServer(t, answersOnly(zone(t, ". 60 IN NS a.root-servers.net."), "."))
	asSystem := func(conf string) *dnsProbe {
		p := buildDNS(t, "", nil)
		p.router.system = testSystem(t, conf, "")
		return p
	}
	tests := []struct {
		name  string
		probe *dnsProbe
		want  check.Code
	}{
		{"server", buildDNS(t, silent.Addr(), nil), check.DNSTimeout},
		{"server over TCP", buildDNS(t, silent.Addr(), func(o *dnsOptions) { o.Transport = "tcp" }), check.DNSTimeout},
		{"closed port", buildDNS(t, "127.0.0.1:1", nil), check.ConnectRefused},
		{"closed port over TCP", buildDNS(t, "127.0.0.1:1", func(o *dnsOptions) { o.Transport = "tcp" }), check.ConnectRefused},
		{"resolver option", buildDNS(t, "", func(o *dnsOptions) { o.Resolver = silent.Addr() }), check.DNSTimeout},
		{"system", asSystem(nameserverLine(silent)), check.LocalResolver},
		{"system answers others", asSystem(nameserverLine(waiting)), check.DNSTimeout},
		{"system, closed port", asSystem("nameserver [127.0.0.1]:1\n"), check.LocalResolver},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			limit := short
			if tt.want == check.ConnectRefused {
				limit = patience
			}
			there := endsAs(tt.want)
			if tt.name == "system answers others" { // the control question is asked and answered in time
				there = func(o *check.Observation) bool { return o.Failure.Code == tt.want }
			}
			o := inTime(limit, func(d time.Duration) check.Observation { return observeDNS(t, tt.probe, d) }, there)
			wantFailure(t, o, tt.want)
			if _, ok := o.Facts.Lookup("rcode"); ok {
				t.Errorf("rcode %v of no answer", o.Facts.Get("rcode"))
			}
		})
	}
}

// The system's servers are asked as any program would ask them.
func TestDNSSystem(t *testing.T) {
	good := dnsServer(t, zone(t, "web.test. 60 IN A 192.0.2.1").Serve)
	failing := dnsServer(t, zone(t).Fail("web.test.", dns.RcodeServerFailure).Serve)
	silent := dnsServer(t, (*testnet.DNSQuery).Hang)
	tests := []struct {
		name, conf, server, rcode string
		timeout                   time.Duration
	}{
		{"first", nameserverLine(good) + nameserverLine(silent), good.Addr(), "NOERROR", time.Minute},
		{"second after silence", nameserverLine(silent) + nameserverLine(good), good.Addr(), "NOERROR", 3 * time.Second},
		{"second after SERVFAIL", nameserverLine(failing) + nameserverLine(good), good.Addr(), "NOERROR", time.Minute},
		{"SERVFAIL before silence", nameserverLine(failing) + nameserverLine(silent), failing.Addr(), "SERVFAIL", short},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := buildDNS(t, "", nil)
			p.router.system = testSystem(t, tt.conf, "")
			o := inTime(tt.timeout, func(d time.Duration) check.Observation { return observeDNS(t, p, d) },
				func(o *check.Observation) bool { return o.Facts.Get("server") == tt.server })
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"server": tt.server, "rcode": tt.rcode}))
		})
	}
}

// E3: a lost packet costs a third of the time and is reported.
func TestE3FirstPacketLost(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	lost := make(chan bool, 1)
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		select {
		case lost <- true: // the first one
		default:
			z.Serve(q)
		}
	})
	o := inTime(3*time.Second, func(d time.Duration) check.Observation {
		select {
		case <-lost: // of the attempt before
		default:
		}
		return observeDNS(t, buildDNS(t, server.Addr(), nil), d)
	}, endsAs(""))
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"answer_count": 1}))
	if n := o.Facts.Get("retransmits").(int); n < 1 { // more, when the answer is as late as the next one
		t.Errorf("%d retransmits", n)
	}
}

// E4: an answer that does not fit and that TCP does not give either.
func TestE4Truncated(t *testing.T) {
	cut := func(q *testnet.DNSQuery) {
		m := q.Answer()
		m.Truncated = true
		q.ReplyMsg(m)
	}
	udpOnly, err := testnet.ListenDNSUDP(cut)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udpOnly.Close() })
	overTCP := func(then testnet.DNSHandler) string {
		return dnsServer(t, func(q *testnet.DNSQuery) {
			if q.Network == "udp" {
				cut(q)
				return
			}
			then(q)
		}).Addr()
	}
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	tests := []struct {
		name, server, transport string
		want                    check.Code
		facts                   check.Facts
	}{
		{"TCP refused", udpOnly.Addr(), "auto", check.DNSTruncated, nil},
		{"TCP hangs", overTCP((*testnet.DNSQuery).Hang), "auto", check.DNSTruncated, nil},
		{"TCP closes", overTCP(func(q *testnet.DNSQuery) { q.Conn().Close() }), "auto", check.DNSTruncated, nil},
		{"TCP answers", overTCP(z.Serve), "auto", "", check.FactsOf(map[string]any{"transport": "tcp", "truncated": true, "answer_count": 1})},
		{"no TCP wanted", overTCP(z.Serve), "udp", "", check.FactsOf(map[string]any{"transport": "udp", "truncated": true, "answer_count": 0})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if tt.name == "TCP hangs" {
				timeout = short
			}
			p := buildDNS(t, tt.server, func(o *dnsOptions) { o.Transport = tt.transport })
			o := inTime(timeout, func(d time.Duration) check.Observation { return observeDNS(t, p, d) }, endsAs(tt.want))
			wantFailure(t, o, tt.want)
			wantFacts(t, o, tt.facts)
			if tt.transport == "udp" && o.Because["answer_count"].Code != check.DNSTruncated {
				t.Errorf("explanations %v", o.Because)
			}
		})
	}
	t.Run("resolver", func(t *testing.T) {
		_, reason := begin().resolve(within(t, time.Minute), &router{resolver: mustServer(t, udpOnly.Addr())}, "web.test")
		if resolveCode(reason) != check.DNSTruncated {
			t.Errorf("reason %+v", reason)
		}
	})
}

// E18: names in every form, and those that are none.
func TestE18Names(t *testing.T) {
	good := []struct{ name, qtype, want string }{
		{"example.com", "A", "example.com."},
		{"example.com.", "A", "example.com."},
		{".", "NS", "."},
		{"com", "NS", "com."},
		{"Bücher.example", "A", "xn--bcher-kva.example."},
		{"_dmarc.example.com", "TXT", "_dmarc.example.com."},
		{"*.example.com", "A", "*.example.com."},
		{"192.0.2.1", "PTR", "1.2.0.192.in-addr.arpa."},
		{"2001:db8::1", "PTR", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."},
	}
	for _, tt := range good {
		p := buildDNS(t, "192.0.2.53", func(o *dnsOptions) { o.Name, o.Type = tt.name, tt.qtype })
		if p.question.name != tt.want {
			t.Errorf("%q is asked for as %q, want %q", tt.name, p.question.name, tt.want)
		}
	}
	for _, name := range []string{"", "a..b", "..", ".a", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "bc", "\u0378.test"} {
		o := newDNSOptions()
		o.Name = name
		_, err := o.Build(needs())
		var oe *check.OptionError
		if !errors.As(err, &oe) || oe.Option != "name" {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

func TestDNSOverTLS(t *testing.T) {
	ca, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(testnet.CertOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := testnet.ListenDoT(&tls.Config{Certificates: []tls.Certificate{cert}}, zone(t, "web.test. 60 IN A 192.0.2.1").Serve)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	roots := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(roots, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, trusted := range []bool{true, false} {
		o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) {
			o.Transport = "tls"
			if trusted {
				o.TLS.CA = roots
			}
		}), time.Minute)
		wantFailure(t, o, "")
		wantFacts(t, o, check.FactsOf(map[string]any{"transport": "tls", "answer_count": 1, "cert.trusted": trusted}))
		for _, phase := range []string{check.PhaseConnect, check.PhaseTLS, check.PhaseSend, check.PhaseWait} {
			if _, ok := o.Phases.Get(phase); !ok {
				t.Errorf("no phase %s", phase)
			}
		}
	}
	// The route's resolver cannot be told to trust the test's authority.
	_, reason := begin().resolve(within(t, time.Minute), &router{resolver: mustServer(t, "tls://"+server.Addr())}, "web.test")
	if reason == nil || reason.Code.Local() {
		t.Errorf("an untrusted resolver: %+v", reason)
	}
	plain := dnsServer(t, zone(t).Serve)
	o := observeDNS(t, buildDNS(t, plain.Addr(), func(o *dnsOptions) { o.Transport = "tls" }), short) // whatever comes first
	if o.Failure.IsZero() || o.Failure.Code.Local() {
		t.Errorf("no TLS: %+v", o.Failure)
	}
}

func TestDNSCancelled(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		ctx, cancel := context.WithCancel(t.Context())
		server := dnsServer(t, func(q *testnet.DNSQuery) {
			cancel()
			q.Hang()
		})
		o := buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Transport = transport }).Observe(ctx)
		wantFailure(t, o, check.LocalShutdown)
		cancel()
	}
}

func FuzzReadAnswer(f *testing.F) {
	q, err := newQuestion("web.test.", dns.TypeA, dns.ClassINET, queryFlags{})
	if err != nil {
		f.Fatal(err)
	}
	m := new(dns.Msg).SetQuestion("web.test.", dns.TypeA)
	m.Id, m.Response, m.Compress = 0, true, true
	for _, text := range []string{"web.test. 60 IN CNAME a.test.", "a.test. 1 IN A 192.0.2.1", "a.test. 1 IN TXT x y", "a.test. 1 IN TYPE65280 \\# 1 00"} {
		rr, _ := dns.NewRR(text)
		m.Answer = append(m.Answer, rr)
		raw, err := m.SetEdns0(1232, true).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, dns.TypeA)
	}
	f.Fuzz(func(t *testing.T, raw []byte, qtype uint16) {
		asked := *q
		asked.qtype = qtype
		if len(raw) > dns.MaxMsgSize || asked.accept(raw, 0) != nil {
			return
		}
		a, err := readAnswer(raw, &asked)
		var bad *dnsmsg.MalformedError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("error %v is no *dnsmsg.MalformedError", err)
		}
		var o check.Observation
		a.record(&o, &asked, "192.0.2.53:53")
		if len(a.answers) > a.count || a.text > maxAnswerText || len(a.cnames) > dnsmsg.MaxAliases {
			t.Errorf("%+v", a)
		}
		addresses(raw, &asked, "192.0.2.53:53")
	})
}

func FuzzDNSTarget(f *testing.F) {
	for _, s := range []string{"dns:example.com", "dns://[::1]:53/a?type=MX;class=IN", "dns+tls://a/b", "dns:%zz", "dns://[::\x93]:53/a", "dns://a／b/c", "dns://[::0]:53/a", "dns://///"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		o := newDNSOptions()
		if o.SetTarget(target) != nil {
			return
		}
		plan, err := o.Build(needs())
		if err != nil {
			return
		}
		again := newDNSOptions()
		if err := again.SetTarget(plan.Target); err != nil {
			t.Fatalf("%q becomes %q: %v", target, plan.Target, err)
		}
		if same, err := again.Build(needs()); err != nil || same.Target != plan.Target {
			t.Errorf("%q becomes %q becomes %q, %v", target, plan.Target, same.Target, err)
		}
	})
}
