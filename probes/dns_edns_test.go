package probes

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// sentOption returns an option of the query's EDNS record.
func sentOption[T dns.EDNS0](q *testnet.DNSQuery) (option T, ok bool) {
	opt := q.Msg.IsEdns0()
	if opt == nil {
		return option, false
	}
	for _, o := range opt.Option {
		if option, ok = o.(T); ok {
			return option, true
		}
	}
	return option, false
}

// withEDNS answers from the zone with options of EDNS.
func withEDNS(z *testnet.Zone, options func(q *testnet.DNSQuery) []dns.EDNS0) testnet.DNSHandler {
	return func(q *testnet.DNSQuery) {
		m := z.Reply(q)
		if opt := m.IsEdns0(); opt != nil {
			opt.Option = append(opt.Option, options(q)...)
		}
		q.ReplyMsg(m)
	}
}

func TestDNSEDNS(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	sizes := make(chan int, 2)
	server := dnsServer(t, withEDNS(z, func(q *testnet.DNSQuery) []dns.EDNS0 {
		sizes <- len(q.Raw)
		out := []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, 11)}}
		if _, ok := sentOption[*dns.EDNS0_NSID](q); ok {
			out = append(out, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte("fra1"))})
		}
		if s, ok := sentOption[*dns.EDNS0_SUBNET](q); ok {
			s.SourceScope = 20
			out = append(out, s)
		}
		if c, ok := sentOption[*dns.EDNS0_COOKIE](q); ok {
			out = append(out, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: c.Cookie + "0102030405060708"})
		}
		return out
	}))
	for subnet, family := range map[string]string{"198.51.100.0/24": "4", "2001:db8::/33": "6", "0.0.0.0/0": "4"} {
		o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) {
			o.EDNS = dnsEDNS{Size: 1232, Subnet: subnet, NSID: true, Cookie: true, Padding: 128}
		}), time.Minute)
		wantFailure(t, o, "")
		wantFacts(t, o, check.FactsOf(map[string]any{
			"edns.nsid": "fra1", "edns.subnet": subnet, "edns.scope": 20, "edns.cookie": true, "edns.badcookie": false, "edns.padding": 11,
		}))
		if n := <-sizes; n%128 != 0 {
			t.Errorf("IPv%s: a question of %d bytes is not padded", family, n)
		}
		want := "dig @127.0.0.1 -p " + o.Facts.Get("server").(string)[len("127.0.0.1:"):] +
			" -t A -q web.test. +bufsize=1232 +subnet=" + subnet + " +nsid +cookie +padding=128"
		if got := o.Reproduce(); got != want {
			t.Errorf("reproduce with %s, want %s", got, want)
		}
	}
	o := observeDNS(t, buildDNS(t, server.Addr(), nil), time.Minute)
	wantFacts(t, o, check.FactsOf(map[string]any{
		"edns.nsid": nil, "edns.subnet": nil, "edns.scope": nil, "edns.cookie": nil, "edns.badcookie": nil,
	}))
}

// A server may want its cookie back once. Each run has a client cookie of its
// own.
func TestDNSBadCookie(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	sent := make(chan string, 4)
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		m := z.Reply(q)
		c, _ := sentOption[*dns.EDNS0_COOKIE](q)
		sent <- c.Cookie
		if len(c.Cookie) == 2*clientCookie {
			m.Answer, m.Rcode = nil, dns.RcodeBadCookie
		}
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: c.Cookie[:2*clientCookie] + "0102030405060708"})
		q.ReplyMsg(m)
	})
	p := buildDNS(t, server.Addr(), func(o *dnsOptions) { o.EDNS.Cookie = true })
	for range 2 {
		o := observeDNS(t, p, time.Minute)
		wantFacts(t, o, check.FactsOf(map[string]any{"rcode": "NOERROR", "edns.cookie": true, "edns.badcookie": true, "answer_count": 1}))
	}
	seen := [4]string{<-sent, <-sent, <-sent, <-sent}
	if seen[1] != seen[0]+"0102030405060708" || seen[3] != seen[2]+"0102030405060708" || seen[0] == seen[2] {
		t.Errorf("cookies %q", seen)
	}
	never := dnsServer(t, withEDNS(zone(t).Fail("web.test.", dns.RcodeBadCookie), func(q *testnet.DNSQuery) []dns.EDNS0 {
		c, _ := sentOption[*dns.EDNS0_COOKIE](q)
		return []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: c.Cookie[:2*clientCookie] + "0102030405060708"}}
	}))
	o := observeDNS(t, buildDNS(t, never.Addr(), func(o *dnsOptions) { o.EDNS.Cookie = true }), time.Minute)
	wantFacts(t, o, check.FactsOf(map[string]any{"rcode": "BADCOOKIE", "edns.badcookie": true}))
}

// E20: an answer with somebody else's cookie is a forgery, and options that
// break their format are no reason to fail.
func TestE20HostileEDNS(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	forged := dnsServer(t, withEDNS(z, func(*testnet.DNSQuery) []dns.EDNS0 {
		return []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "00000000000000000102030405060708"}}
	}))
	p := buildDNS(t, forged.Addr(), func(o *dnsOptions) { o.EDNS.Cookie = true })
	o := inTime(short, func(d time.Duration) check.Observation { return observeDNS(t, p, d) },
		func(o *check.Observation) bool { return o.Facts.Get("mismatched").(int) > 0 })
	wantFailure(t, o, check.DNSTimeout)
	if o.Facts.Get("mismatched").(int) < 1 {
		t.Error("the forgery is not counted")
	}
	strange := dnsServer(t, withEDNS(z, func(*testnet.DNSQuery) []dns.EDNS0 {
		return []dns.EDNS0{
			&dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: []byte{1}},
			&dns.EDNS0_LOCAL{Code: dns.EDNS0NSID, Data: []byte("a\x1b[2Jb")},
			&dns.EDNS0_LOCAL{Code: 65001, Data: bytes.Repeat([]byte{9}, 300)},
		}
	}))
	o = observeDNS(t, buildDNS(t, strange.Addr(), func(o *dnsOptions) { o.EDNS.Cookie = true }), time.Minute)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"answer_count": 1, "edns.cookie": false, "edns.nsid": "611b5b324a62"}))
	garbage := dnsServer(t, func(q *testnet.DNSQuery) {
		// an EDNS record whose option claims more bytes than there are
		q.Reply(rawAnswer(q, 0, 0, 1, 0, 0, byte(dns.TypeOPT), 4, 208, 0, 0, 0, 0, 0, 4, 0, 10, 0, 99))
	})
	o = observeDNS(t, buildDNS(t, garbage.Addr(), func(o *dnsOptions) { o.EDNS.Cookie = true }), time.Minute)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"answer_count": 0, "edns.cookie": false}))
}

func TestDNSBadEDNS(t *testing.T) {
	for _, e := range []dnsEDNS{
		{Size: 1232, Subnet: "198.51.100.1/24"}, {Size: 1232, Subnet: "198.51.100.0"}, {Size: 1232, Padding: 469},
		{Size: 1232, Padding: -1}, {NSID: true}, {Size: 511},
	} {
		o := newDNSOptions()
		o.Name, o.Server, o.EDNS = "web.test", "192.0.2.53", e
		if _, err := o.Build(needs()); err == nil {
			t.Errorf("%+v is accepted", e)
		}
	}
}

// FuzzDNSOptions reads any EDNS record.
func FuzzDNSOptions(f *testing.F) {
	f.Add([]byte{0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 3, 0, 1, 'x'})
	f.Add([]byte{0, 8, 0, 7, 0, 1, 24, 20, 198, 51, 100})
	f.Add([]byte{0, 15, 0, 2, 0, 6, 0, 12, 0, 0})
	q, err := newQuestion("web.test.", dns.TypeA, dns.ClassINET, queryFlags{ednsSize: 1232, cookie: make([]byte, clientCookie)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, options []byte) {
		if len(options) > 1<<15 {
			return
		}
		msg := append(bytes.Clone(q.packed[:dnsmsg.HeaderSize+len("\x03web\x04test\x00")+4]),
			0, 0, byte(dns.TypeOPT), 4, 208, 0, 0, 0, 0, byte(len(options)>>8), byte(len(options)))
		msg[2] |= 1 << 7
		msg = append(msg, options...)
		if q.accept(msg, 0) != nil {
			return
		}
		a, err := readAnswer(msg, q)
		if err != nil {
			t.Fatal(err)
		}
		var o check.Observation
		a.record(&o, q, "192.0.2.53:53")
		if _, ok := o.Facts.Lookup("edns.cookie"); !ok {
			t.Error("no fact of the cookie")
		}
	})
}
