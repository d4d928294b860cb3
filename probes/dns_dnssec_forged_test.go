package probes

import (
	"crypto"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
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
func (z *signingZone) expanded(t *testing.T, wildcard, name string) []dns.RR {
	t.Helper()
	set := z.sign(t, z.records[wildcard][dns.TypeA])
	for i := range set {
		set[i] = dns.Copy(set[i])
		set[i].Header().Name = name
	}
	return set
}

// signAs is sign after change has looked at the signature's fields.
func (z *signingZone) signAs(t *testing.T, set []dns.RR, change func(sig *dns.RRSIG)) []dns.RR {
	t.Helper()
	signed := z.sign(t, set)
	sig := signed[len(signed)-1].(*dns.RRSIG)
	change(sig)
	if err := sig.Sign(z.private, set); err != nil {
		t.Fatal(err)
	}
	return signed
}

// E22: what is signed, but does not say what the answer makes of it; and what
// looks wrong and is right.
func TestE22ForgedDNSSEC(t *testing.T) {
	child := newSigningZone(t, "child.test.", "www.child.test. 60 IN A 192.0.2.3")
	z := newSigningZone(t, "test.", "child.test. 60 IN NS ns.test.", "web.test. 60 IN A 192.0.2.1", "web.test. 60 IN A 192.0.2.2", "alias.test. 60 IN CNAME web.test.",
		"*.test. 60 IN A 192.0.2.66", "a.test. 60 IN TXT x", "x.ent.test. 60 IN TXT x", "old.test. 60 IN DNAME test.",
		"alien.test. 60 IN NS ns.test.", "alien.test. 60 IN DS 1 200 2 "+strings.Repeat("00", 32), "half.test. 60 IN NS ns.test.", "half.test. 60 IN DS 1 200 2 "+strings.Repeat("00", 32))
	half := newSigningZone(t, "half.test.", "www.half.test. 60 IN A 192.0.2.4")
	for _, zone := range []*signingZone{child, half} {
		z.add(zone.key.ToDS(dns.SHA256))
	}
	second := *child
	second.key = dns.Copy(child.key).(*dns.DNSKEY)
	private, err := second.key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	second.private = private.(crypto.Signer)
	forged := readRecords(t, "web.test. 60 IN CNAME evil.example.", "evil.example. 60 IN A 203.0.113.6", "web.test. 60 CH A 203.0.113.7", "alias.test. 60 IN A 203.0.113.8")
	var junk []dns.RR
	for i := range maxChain + 1 {
		junk = append(junk, readRecords(t, fmt.Sprintf("junk%d.test. 60 IN CNAME junk.test.", i))...)
	}
	// Long after and long before, where times on the wire wrap around.
	far := func(sig *dns.RRSIG) { sig.Expiration += 1<<31 - 1 }
	backwards := func(sig *dns.RRSIG) {
		sig.Inception, sig.Expiration = sig.Inception-1<<30-1<<29, sig.Expiration+1<<30-1<<29+1<<28
	}
	tests := []struct {
		name, ask, qtype, status, says string
		answers                        []string // nil: any
		change                         func(m *dns.Msg)
	}{
		{"wildcard", "c.test.", "A", dnssecSecure, "", []string{"192.0.2.66"}, func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, z.expanded(t, "*.test.", "c.test."), z.nsecs(t)
		}},
		{"wildcard beside a name that exists", "b.a.test.", "A", dnssecBogus, "nothing proves that the name does not exist", nil, func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, z.expanded(t, "*.test.", "b.a.test."), z.nsecs(t)
		}},
		{"wildcard at an empty name", "ent.test.", "A", dnssecBogus, "nothing proves that the name does not exist", nil, func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, z.expanded(t, "*.test.", "ent.test."), z.nsecs(t)
		}},
		{"wildcard without proof", "c.test.", "A", dnssecBogus, "nothing proves that the name does not exist", nil, func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, z.expanded(t, "*.test.", "c.test."), nil
		}},
		{"wildcard below a delegation", "www.child.test.", "A", dnssecBogus, "nothing proves that the name does not exist", nil, func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = 0, z.expanded(t, "*.test.", "www.child.test."), z.nsecs(t)
		}},
		{"alias beside the answer", "web.test.", "A", dnssecBogus, "web.test CNAME has no signature", []string{"203.0.113.6"}, func(m *dns.Msg) {
			m.Answer = append(m.Answer, forged[:2]...)
		}},
		{"record of another class", "web.test.", "A", dnssecSecure, "", []string{"192.0.2.1", "192.0.2.2"}, func(m *dns.Msg) {
			m.Answer = append(m.Answer, forged[2])
		}},
		{"too many aliases for the true one", "alias.test.", "A", dnssecBogus, "alias.test A has no signature", nil, func(m *dns.Msg) {
			m.Answer = append(append(append(junk, m.Answer...), z.sign(t, z.records["web.test."][dns.TypeA])...), forged[3])
		}},
		{"other code", "web.test.", "A", dnssecBogus, "NXDOMAIN with web.test A", nil, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }},
		{"letters", "web.test.", "A", dnssecSecure, "", nil, func(m *dns.Msg) {
			m.Answer[0] = dns.Copy(m.Answer[0])
			m.Answer[0].Header().Name = "wEb.tEst."
		}},
		{"CNAME of a DNAME", "web.old.test.", "CNAME", dnssecSecure, "", []string{"web.test."}, func(m *dns.Msg) {
			m.Rcode, m.Ns = 0, nil
			m.Answer = append(z.sign(t, z.records["old.test."][dns.TypeDNAME]), readRecords(t, "web.old.test. 60 IN CNAME web.test.")...)
		}},
		{"wrong CNAME of a DNAME", "web.old.test.", "CNAME", dnssecBogus, "nothing proves", nil, func(m *dns.Msg) {
			m.Rcode, m.Ns = 0, nil
			m.Answer = append(z.sign(t, z.records["old.test."][dns.TypeDNAME]), readRecords(t, "web.old.test. 60 IN CNAME web2.test.")...)
		}},
		{"the child's key", "web.test.", "A", dnssecBogus, "has no signature", nil, func(m *dns.Msg) {
			m.Answer = child.sign(t, z.records["web.test."][dns.TypeA])
		}},
		{"the child's proof of no DS", "child.test.", "DS", dnssecBogus, "has no signature of test", nil, func(m *dns.Msg) {
			m.Answer, m.Ns = nil, child.nsecs(t)
		}},
		{"the parent's proof of no record", "child.test.", "A", dnssecBogus, "nothing proves", nil, func(m *dns.Msg) {
			m.Answer, m.Ns = nil, z.nsecs(t)
		}},
		{"the parent's proof of no name", "www.child.test.", "A", dnssecBogus, "nothing proves", nil, func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = dns.RcodeNameError, nil, z.nsecs(t)
		}},
		{"more labels than the name", "web.test.", "A", dnssecBogus, "no signature of test with a known key", nil, func(m *dns.Msg) {
			m.Answer = z.sign(t, z.records["web.test."][dns.TypeA])
			m.Answer[2].(*dns.RRSIG).Labels++
		}},
		{"expires behind the horizon", "web.test.", "A", dnssecBogus, "is valid from", nil, func(m *dns.Msg) {
			m.Answer = z.signAs(t, z.records["web.test."][dns.TypeA], far)
		}},
		{"expires before it begins", "web.test.", "A", dnssecBogus, "is valid from", nil, func(m *dns.Msg) {
			m.Answer = z.signAs(t, z.records["web.test."][dns.TypeA], backwards)
		}},
		{"unknown algorithm", "www.alien.test.", "A", dnssecInsecure, "unknown algorithms only", nil, func(m *dns.Msg) {
			m.Rcode, m.Ns, m.Answer = 0, nil, readRecords(t, "www.alien.test. 60 IN A 192.0.2.9")
		}},
		{"one known algorithm of two", "www.half.test.", "A", dnssecBogus, "www.half.test A has no signature", nil, func(m *dns.Msg) {
			m.Answer = m.Answer[:1]
		}},
		{"many signatures", "web.test.", "A", dnssecSecure, "", nil, func(m *dns.Msg) {
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
				if q := m.Question[0]; q.Name == tt.ask && typeName(q.Qtype) == tt.qtype {
					tt.change(m)
				}
			}
			o := judged(t, signedServer(t, change, child, half, z).Addr(), z, tt.ask, tt.qtype, time.Minute)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"dnssec.status": tt.status}))
			if got, _ := o.Facts.Get("dnssec.reason").(string); !strings.Contains(got, tt.says) {
				t.Errorf("reason %q, want %q in it", got, tt.says)
			}
			if got := o.Facts.Get("answers").([]string); tt.answers != nil && !slices.Equal(got, tt.answers) {
				t.Errorf("answers %v, want %v", got, tt.answers)
			}
		})
	}
	t.Run("keys that a key without DS signed", func(t *testing.T) {
		both := func(m *dns.Msg) {
			if q := m.Question[0]; q.Name == "child.test." && q.Qtype == dns.TypeDNSKEY {
				m.Answer = second.sign(t, []dns.RR{child.key, second.key})
			}
		}
		o := judged(t, signedServer(t, both, child, z).Addr(), z, "www.child.test.", "A", time.Minute)
		wantFacts(t, o, check.FactsOf(map[string]any{"dnssec.status": dnssecBogus}))
	})
}

// Signatures have no signatures, which is no fault of the zone.
func TestDNSSECOfSignatures(t *testing.T) {
	o := newDNSOptions()
	o.Name, o.Server, o.Type, o.DNSSEC.Validate = "web.test", "192.0.2.53", "RRSIG", true
	if _, err := o.Build(needs()); err == nil || !strings.Contains(err.Error(), "nobody signs signatures") {
		t.Errorf("error %v", err)
	}
}
