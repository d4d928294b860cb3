package dnssec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// readRecords reads records, to be signed or forged.
func readRecords(t *testing.T, texts ...string) (rrs []dns.RR) {
	t.Helper()
	for _, text := range texts {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// expanded returns a wildcard's set of addresses with its signature, as it is
// for a name.
func expanded(z *testnet.SignedZone, wildcard, name string) []dns.RR {
	set := z.Sign(z.Set(wildcard, dns.TypeA)...)
	for i := range set {
		set[i] = dns.Copy(set[i])
		set[i].Header().Name = name
	}
	return set
}

// E22: what is signed, but does not say what the answer makes of it; and what
// looks wrong and is right.
func TestE22Forged(t *testing.T) {
	child := newZone(t, "child.test.", "www.child.test. 60 IN A 192.0.2.3")
	z := newZone(t, "test.", "child.test. 60 IN NS ns.test.", "web.test. 60 IN A 192.0.2.1", "web.test. 60 IN A 192.0.2.2", "alias.test. 60 IN CNAME web.test.",
		"*.test. 60 IN A 192.0.2.66", "a.test. 60 IN TXT x", "x.ent.test. 60 IN TXT x", "old.test. 60 IN DNAME test.",
		"alien.test. 60 IN NS ns.test.", "alien.test. 60 IN DS 1 200 2 "+strings.Repeat("00", 32), "half.test. 60 IN NS ns.test.", "half.test. 60 IN DS 1 200 2 "+strings.Repeat("00", 32))
	half := newZone(t, "half.test.", "www.half.test. 60 IN A 192.0.2.4")
	for _, zone := range []*testnet.SignedZone{child, half} {
		z.Add(zone.Anchor())
	}
	second := newZone(t, "child.test.")
	forged := readRecords(t, "web.test. 60 IN CNAME evil.example.", "evil.example. 60 IN A 203.0.113.6", "web.test. 60 CH A 203.0.113.7", "alias.test. 60 IN A 203.0.113.8")
	var junk []dns.RR
	for i := range dnsmsg.MaxAliases + 1 {
		junk = append(junk, readRecords(t, fmt.Sprintf("junk%d.test. 60 IN CNAME junk.test.", i))...)
	}
	// Long after and long before, where times on the wire wrap around.
	far := func(sig *dns.RRSIG) { sig.Expiration += 1<<31 - 1 }
	backwards := func(sig *dns.RRSIG) {
		sig.Inception, sig.Expiration = sig.Inception-1<<30-1<<29, sig.Expiration+1<<30-1<<29+1<<28
	}
	tests := []struct {
		name, ask, qtype, status, says string
		change                         func(m *dns.Msg)
	}{
		{"wildcard", "c.test.", "A", Secure, "", func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, expanded(z, "*.test.", "c.test."), z.Denials()
		}},
		{"wildcard beside a name that exists", "b.a.test.", "A", Bogus, "nothing proves that the name does not exist", func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, expanded(z, "*.test.", "b.a.test."), z.Denials()
		}},
		{"wildcard at an empty name", "ent.test.", "A", Bogus, "nothing proves that the name does not exist", func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, expanded(z, "*.test.", "ent.test."), z.Denials()
		}},
		{"wildcard without proof", "c.test.", "A", Bogus, "nothing proves that the name does not exist", func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, expanded(z, "*.test.", "c.test."), nil
		}},
		{"wildcard below a delegation", "www.child.test.", "A", Bogus, "nothing proves that the name does not exist", func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, expanded(z, "*.test.", "www.child.test."), z.Denials()
		}},
		{"alias beside the answer", "web.test.", "A", Bogus, "web.test CNAME has no signature", func(m *dns.Msg) {
			m.Answer = append(m.Answer, forged[:2]...)
		}},
		{"record of another class", "web.test.", "A", Secure, "", func(m *dns.Msg) {
			m.Answer = append(m.Answer, forged[2])
		}},
		{"too many aliases for the true one", "alias.test.", "A", Bogus, "alias.test A has no signature", func(m *dns.Msg) {
			m.Answer = append(append(append(junk, m.Answer...), z.Sign(z.Set("web.test.", dns.TypeA)...)...), forged[3])
		}},
		{"other code", "web.test.", "A", Bogus, "NXDOMAIN with web.test A", func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }},
		{"letters", "web.test.", "A", Secure, "", func(m *dns.Msg) {
			m.Answer[0] = dns.Copy(m.Answer[0])
			m.Answer[0].Header().Name = "wEb.tEst."
		}},
		{"CNAME of a DNAME", "web.old.test.", "CNAME", Secure, "", func(m *dns.Msg) {
			m.Rcode, m.Ns = 0, nil
			m.Answer = append(z.Sign(z.Set("old.test.", dns.TypeDNAME)...), readRecords(t, "web.old.test. 60 IN CNAME web.test.")...)
		}},
		{"wrong CNAME of a DNAME", "web.old.test.", "CNAME", Bogus, "nothing proves", func(m *dns.Msg) {
			m.Rcode, m.Ns = 0, nil
			m.Answer = append(z.Sign(z.Set("old.test.", dns.TypeDNAME)...), readRecords(t, "web.old.test. 60 IN CNAME web2.test.")...)
		}},
		{"the child's key", "web.test.", "A", Bogus, "has no signature", func(m *dns.Msg) {
			m.Answer = child.Sign(z.Set("web.test.", dns.TypeA)...)
		}},
		{"the child's proof of no DS", "child.test.", "DS", Bogus, "has no signature of test", func(m *dns.Msg) {
			m.Answer, m.Ns = nil, child.Denials()
		}},
		{"the parent's proof of no record", "child.test.", "A", Bogus, "nothing proves", func(m *dns.Msg) {
			m.Answer, m.Ns = nil, z.Denials()
		}},
		{"the parent's proof of no name", "www.child.test.", "A", Bogus, "nothing proves", func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = dns.RcodeNameError, nil, z.Denials()
		}},
		{"more labels than the name", "web.test.", "A", Bogus, "no signature of test with a known key", func(m *dns.Msg) {
			m.Answer = z.Sign(z.Set("web.test.", dns.TypeA)...)
			m.Answer[2].(*dns.RRSIG).Labels++
		}},
		{"expires behind the horizon", "web.test.", "A", Bogus, "is valid from", func(m *dns.Msg) {
			m.Answer = z.SignAs(far, z.Set("web.test.", dns.TypeA)...)
		}},
		{"expires before it begins", "web.test.", "A", Bogus, "is valid from", func(m *dns.Msg) {
			m.Answer = z.SignAs(backwards, z.Set("web.test.", dns.TypeA)...)
		}},
		{"unknown algorithm", "www.alien.test.", "A", Insecure, "unknown algorithms only", func(m *dns.Msg) {
			m.Rcode, m.Ns, m.Answer = 0, nil, readRecords(t, "www.alien.test. 60 IN A 192.0.2.9")
		}},
		{"one known algorithm of two", "www.half.test.", "A", Bogus, "www.half.test A has no signature", func(m *dns.Msg) {
			m.Answer = m.Answer[:1]
		}},
		{"many signatures", "web.test.", "A", Secure, "", func(m *dns.Msg) {
			for range 400 {
				stale := dns.Copy(m.Answer[2]).(*dns.RRSIG)
				stale.KeyTag++
				m.Answer = append(m.Answer, stale)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			change := func(m *dns.Msg) {
				if q := m.Question[0]; q.Name == tt.ask && dnsmsg.TypeName(q.Qtype) == tt.qtype {
					tt.change(m)
				}
			}
			want(t, judged(t, server(t, change, child, half, z), z, tt.ask, tt.qtype), tt.status, tt.says)
		})
	}
	t.Run("keys that a key without DS signed", func(t *testing.T) {
		both := func(m *dns.Msg) {
			if q := m.Question[0]; q.Name == "child.test." && q.Qtype == dns.TypeDNSKEY {
				m.Answer = second.Sign(child.Key, second.Key)
			}
		}
		want(t, judged(t, server(t, both, child, z), z, "www.child.test.", "A"), Bogus, "")
	})
}
