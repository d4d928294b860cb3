package dnssec

import (
	"context"
	"testing"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// FuzzJudge validates any answer, with any answer to all questions of the
// chain.
func FuzzJudge(f *testing.F) {
	m := new(dns.Msg).SetQuestion("web.test.", dns.TypeA)
	m.Response = true
	for _, text := range []string{
		"web.test. 60 IN A 192.0.2.1", "web.test. 60 IN RRSIG A 15 2 60 20380101000000 20200101000000 1 test. AAAA",
		"test. 60 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=", "a.test. 60 IN NSEC z.test. A RRSIG NSEC",
		"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.test. 60 IN NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG",
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer, m.Ns = append(m.Answer, rr), append(m.Ns, rr)
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	trusted := Anchors{"test.": {{Hdr: dns.RR_Header{Name: "test."}, KeyTag: 1, Algorithm: dns.ED25519, DigestType: dns.SHA256, Digest: "00"}}}
	zone := &signedZone{name: "test."}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > dns.MaxMsgSize || len(raw) < dnsmsg.HeaderSize {
			return
		}
		v := New(trusted, func(context.Context, string, uint16) (dnsmsg.Message, *check.Reason) { return raw, nil })
		if got := v.Judge(t.Context(), "web.test.", dns.TypeA, raw); got.Status == Secure {
			t.Error("secure without a key")
		}
		s, doubt := readSigned(raw)
		if doubt != nil {
			return
		}
		p := &denials{v: v, zone: zone.name, known: make(map[string]string)}
		for _, set := range s.authority {
			for _, rr := range set.records {
				p.keep(rr)
			}
		}
		p.deny("web.test.", dns.TypeA)
		p.noCloser("web.test.", 1)
		if v.verified > maxVerified || v.queries > maxChainQueries+1 || v.hashed > maxHashed+1 {
			t.Errorf("%d verified, %d asked, %d hashed", v.verified, v.queries, v.hashed)
		}
	})
}
