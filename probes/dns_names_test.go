package probes

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// TestDNSNamesWithAnyByte asks for names that are written in more than one way:
// services have them (RFC 6763 section 4.1.1).
func TestDNSNamesWithAnyByte(t *testing.T) {
	t.Parallel()
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		if q.Msg == nil {
			return
		}
		m := q.Answer()
		m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Msg.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"x"}})
		q.ReplyMsg(m)
	})
	for name, want := range map[string]string{
		"Bob's Printer (2)._ipp._tcp.test": `Bob\'s\ Printer\ \(2\)._ipp._tcp.test.`,
		`Bob\'s\032Printer._ipp._tcp.test`: `Bob\'s\ Printer._ipp._tcp.test.`,
		`\119eb.test`:                      "web.test.",
		`a\.b.test`:                        `a\.b.test.`,
		`\200.test`:                        `\200.test.`,
		"0/25.2.0.192.in-addr.arpa":        "0/25.2.0.192.in-addr.arpa.",
	} {
		o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Name, o.Type = name, "TXT" }), patience)
		wantFailure(t, o, "")
		wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{`"x"`}, "query_name": want}))
	}
}

// A record that is there twice is there.
func TestDNSServersDuplicates(t *testing.T) {
	t.Parallel()
	once := dnsServer(t, zone(t, "web.test. 60 IN A 192.0.2.1").Serve)
	twice := dnsServer(t, zone(t, "web.test. 60 IN A 192.0.2.1", "web.test. 60 IN A 192.0.2.1").Serve)
	other := dnsServer(t, zone(t, "web.test. 60 IN A 192.0.2.1", "web.test. 60 IN A 192.0.2.2").Serve)
	for want, last := range map[bool]string{true: twice.Addr(), false: other.Addr()} {
		o := observeServers(t, buildServers(t, []string{once.Addr(), last}, nil), patience)
		wantFacts(t, o, check.FactsOf(map[string]any{"consistent": want, "servers.answered": 2}))
	}
}
