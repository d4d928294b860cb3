package probes

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// signingZone is a signed zone: each set of records is signed when asked for,
// and an answer without records carries all NSEC records of the zone.
type signingZone struct {
	name    string
	key     *dns.DNSKEY
	private crypto.Signer
	records map[string]map[uint16][]dns.RR
	from    time.Time
	until   time.Time
}

func newSigningZone(t *testing.T, name string, records ...string) *signingZone {
	t.Helper()
	z := &signingZone{
		name: name, records: make(map[string]map[uint16][]dns.RR),
		from: time.Now().Add(-time.Hour), until: time.Now().Add(30 * 24 * time.Hour),
		key: &dns.DNSKEY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 60}, Flags: 257, Protocol: 3, Algorithm: dns.ED25519},
	}
	private, err := z.key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	z.private = private.(crypto.Signer)
	z.add(z.key)
	for _, text := range append(records, name+" 60 IN SOA ns.test. admin.test. 1 2 3 4 5", name+" 60 IN NS ns.test.") {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		z.add(rr)
	}
	return z
}

func (z *signingZone) add(rr dns.RR) {
	name := dns.CanonicalName(rr.Header().Name)
	if z.records[name] == nil {
		z.records[name] = make(map[uint16][]dns.RR)
	}
	z.records[name][rr.Header().Rrtype] = append(z.records[name][rr.Header().Rrtype], rr)
}

// sign returns the records with their signature.
func (z *signingZone) sign(t *testing.T, set []dns.RR) []dns.RR {
	t.Helper()
	h := set[0].Header()
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: h.Ttl},
		Inception: uint32(z.from.Unix()), Expiration: uint32(z.until.Unix()),
		KeyTag: z.key.KeyTag(), SignerName: z.name, Algorithm: z.key.Algorithm,
	}
	if err := sig.Sign(z.private, set); err != nil {
		t.Fatal(err)
	}
	return append(slices.Clone(set), sig)
}

// nsecs returns the zone's chain of NSEC records, signed.
func (z *signingZone) nsecs(t *testing.T) (all []dns.RR) {
	t.Helper()
	var names []string
	for name := range z.records {
		names = append(names, name)
	}
	slices.SortFunc(names, nameOrder)
	for i, name := range names {
		types := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
		for rrtype := range z.records[name] {
			types = append(types, rrtype)
		}
		slices.Sort(types)
		all = append(all, z.sign(t, []dns.RR{&dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 60},
			NextDomain: names[(i+1)%len(names)], TypeBitMap: types,
		}})...)
	}
	return all
}

// signedServer serves the zones, children before their parents, after change
// has looked at each answer.
func signedServer(t *testing.T, change func(m *dns.Msg), zones ...*signingZone) *testnet.DNSServer {
	t.Helper()
	return dnsServer(t, func(q *testnet.DNSQuery) {
		m := q.Answer()
		m.SetEdns0(1232, true)
		name, qtype := dns.CanonicalName(q.Msg.Question[0].Name), q.Msg.Question[0].Qtype
		for _, z := range zones {
			if !dns.IsSubDomain(z.name, name) || qtype == dns.TypeDS && z.name == name {
				continue
			}
			switch types := z.records[name]; {
			case types[qtype] != nil:
				m.Answer = z.sign(t, types[qtype])
			case types[dns.TypeCNAME] != nil:
				m.Answer = z.sign(t, types[dns.TypeCNAME])
			default:
				if types == nil {
					m.Rcode = dns.RcodeNameError
				}
				m.Ns = append(z.sign(t, z.records[z.name][dns.TypeSOA]), z.nsecs(t)...)
			}
			break
		}
		if change != nil {
			change(m)
		}
		q.ReplyMsg(m)
	})
}

// judged validates an answer with the zone's key as the anchor.
func judged(t *testing.T, server string, anchor *signingZone, name, qtype string, timeout time.Duration) check.Observation {
	t.Helper()
	o := observeDNS(t, buildDNS(t, server, func(o *dnsOptions) {
		o.Name, o.Type, o.Transport = name, qtype, "tcp"
		o.DNSSEC = dnsDNSSEC{Validate: true, Anchor: []string{anchor.key.ToDS(dns.SHA256).String()}}
	}), timeout)
	return o
}

func TestDNSSEC(t *testing.T) {
	child := newSigningZone(t, "child.test.", "www.child.test. 60 IN A 192.0.2.3")
	parent := newSigningZone(t, "test.", "web.test. 60 IN A 192.0.2.1", "child.test. 60 IN NS ns.test.", "plain.test. 60 IN NS ns.test.", "a.b.test. 60 IN TXT x")
	parent.add(child.key.ToDS(dns.SHA256))
	server := signedServer(t, func(m *dns.Msg) {
		if m.Question[0].Name == "www.plain.test." && m.Question[0].Qtype == dns.TypeA {
			m.Answer, m.Ns, m.Rcode = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "www.plain.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: []byte{192, 0, 2, 9}}}, nil, 0
		}
	}, child, parent)
	tests := []struct {
		name, qtype, status string
		chain               []string
	}{
		{"web.test", "A", dnssecSecure, []string{"test."}},
		{"WEB.test", "MX", dnssecSecure, []string{"test."}},
		{"none.test", "A", dnssecSecure, []string{"test."}},
		{"b.test", "A", dnssecBogus, []string{"test."}}, // the server says NXDOMAIN of an empty non-terminal
		{"www.child.test", "A", dnssecSecure, []string{"test.", "child.test."}},
		{"none.child.test", "TXT", dnssecSecure, []string{"test.", "child.test."}},
		{"child.test", "DS", dnssecSecure, []string{"test."}},
		{"plain.test", "DS", dnssecSecure, []string{"test."}},
		{"www.plain.test", "A", dnssecInsecure, []string{"test."}},
		{"example.org", "A", dnssecIndeterminate, nil},
	}
	for _, tt := range tests {
		o := judged(t, server.Addr(), parent, tt.name, tt.qtype, time.Minute)
		wantFailure(t, o, "")
		wantFacts(t, o, check.FactsOf(map[string]any{"dnssec.status": tt.status, "dnssec.chain": tt.chain}))
		if tt.status == dnssecSecure {
			left := o.Facts.Get("dnssec.expires_in").(time.Duration)
			if left < 29*24*time.Hour || left > 30*24*time.Hour {
				t.Errorf("%s expires in %v", tt.name, left)
			}
		} else if because := o.Because["dnssec.status"]; because.Message == "" || (because.Code == check.DNSBogus) != (tt.status == dnssecBogus) {
			t.Errorf("%s: explained as %+v", tt.name, because)
		}
	}
}

// E22: answers that somebody changed, and chains that are broken.
func TestE22BogusDNSSEC(t *testing.T) {
	child := newSigningZone(t, "child.test.", "www.child.test. 60 IN A 192.0.2.3")
	parent := newSigningZone(t, "test.", "child.test. 60 IN NS ns.test.", "loop.test. 60 IN CNAME pool.test.", "pool.test. 60 IN CNAME loop.test.")
	parent.add(child.key.ToDS(dns.SHA256))
	other := newSigningZone(t, "child.test.")
	asks := func(m *dns.Msg, name string, qtype uint16) bool {
		return m.Question[0].Name == name && m.Question[0].Qtype == qtype
	}
	unsigned := func(rrs []dns.RR) []dns.RR {
		return slices.DeleteFunc(rrs, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG })
	}
	tests := []struct {
		name, ask, status, says string
		change                  func(m *dns.Msg)
	}{
		{"changed address", "www.child.test.", dnssecBogus, "does not verify", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				a := *m.Answer[0].(*dns.A)
				a.A = []byte{198, 51, 100, 66}
				m.Answer[0] = &a
			}
		}},
		{"signature left out", "www.child.test.", dnssecBogus, "has no signature", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				m.Answer = unsigned(m.Answer)
			}
		}},
		{"name hidden", "www.child.test.", dnssecBogus, "nothing proves", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				m.Rcode, m.Answer, m.Ns = dns.RcodeNameError, nil, child.nsecs(t)
			}
		}},
		{"denied without proof", "www.child.test.", dnssecBogus, "nothing proves", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				m.Rcode, m.Answer = dns.RcodeNameError, nil
			}
		}},
		{"DS hidden", "www.child.test.", dnssecBogus, "nothing proves", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDS) {
				m.Answer = nil
			}
		}},
		{"other key", "www.child.test.", dnssecBogus, "no key of child.test has a trusted DS", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDNSKEY) {
				m.Answer = other.sign(t, []dns.RR{other.key})
			}
		}},
		{"keys hidden", "www.child.test.", dnssecBogus, "has no DNSKEY", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDNSKEY) {
				m.Answer = nil
			}
		}},
		{"a stranger's signature", "www.child.test.", dnssecBogus, "no signature of child.test with a known key", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				m.Answer = other.sign(t, unsigned(m.Answer))
			}
		}},
		{"chain fails", "www.child.test.", dnssecIndeterminate, "child.test DNSKEY", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDNSKEY) {
				m.Rcode, m.Answer = dns.RcodeServerFailure, nil
			}
		}},
		{"CNAME loop", "loop.test.", dnssecBogus, "loop", func(m *dns.Msg) {
			if m.Question[0].Qtype == dns.TypeA {
				m.Answer = append(parent.sign(t, parent.records["loop.test."][dns.TypeCNAME]), parent.sign(t, parent.records["pool.test."][dns.TypeCNAME])...)
			}
		}},
		{"many keys", "www.child.test.", dnssecBogus, "more than 32 keys", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDNSKEY) {
				m.Answer = append(m.Answer, sameTag(child.key, maxDNSKEYs)...)
			}
		}},
		{"KeyTrap", "www.child.test.", dnssecBogus, "more than 8 signatures and keys", func(m *dns.Msg) {
			switch {
			case asks(m, "child.test.", dns.TypeDNSKEY):
				m.Answer = child.sign(t, append(sameTag(child.key, 20), child.key))
			case asks(m, "www.child.test.", dns.TypeA):
				bad := *m.Answer[1].(*dns.RRSIG)
				bad.Signature = base64.StdEncoding.EncodeToString(make([]byte, 64))
				for range 200 {
					m.Answer = append(m.Answer, &bad)
				}
				m.Answer = slices.Delete(m.Answer, 1, 2)
			}
		}},
		{"many records", "www.child.test.", dnssecIndeterminate, "more than 512 records", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				for range maxSignedRecords {
					m.Answer = append(m.Answer, m.Answer[0])
				}
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := signedServer(t, tt.change, child, parent)
			o := judged(t, server.Addr(), parent, tt.ask, "A", time.Minute)
			if tt.name != "CNAME loop" { // which no reader of the answer follows
				wantFailure(t, o, "")
				wantFacts(t, o, check.FactsOf(map[string]any{"dnssec.status": tt.status}))
				if got, _ := o.Facts.Get("dnssec.reason").(string); !strings.Contains(got, tt.says) {
					t.Errorf("reason %q, want %q in it", got, tt.says)
				}
				return
			}
			wantFailure(t, o, check.DNSMalformed, tt.says)
		})
	}
}

// sameTag returns keys that are none but have the tag of a key: sums do not
// tell the order of what is added (RFC 4034 appendix B).
func sameTag(key *dns.DNSKEY, n int) (keys []dns.RR) {
	raw, _ := base64.StdEncoding.DecodeString(key.PublicKey)
	for i := range n {
		mixed := slices.Clone(raw)
		a, b := 2*(i%15), 2*(i%15)+2
		if i >= 15 {
			b = 0
			a = 2*(i%15) + 2
		}
		mixed[a], mixed[a+1], mixed[b], mixed[b+1] = mixed[b], mixed[b+1], mixed[a], mixed[a+1]
		if i >= 15 {
			mixed[28], mixed[29], mixed[30], mixed[31] = mixed[30], mixed[31], mixed[28], mixed[29]
		}
		twin := *key
		twin.PublicKey = base64.StdEncoding.EncodeToString(mixed)
		keys = append(keys, &twin)
	}
	return keys
}

// A chain whose server falls silent is waited for no longer than the rest of
// the time, and says so.
func TestDNSSECSilentChain(t *testing.T) {
	z := newSigningZone(t, "test.", "web.test. 60 IN A 192.0.2.1")
	answer := signedServer(t, nil, z)
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		if q.Msg.Question[0].Qtype == dns.TypeDNSKEY {
			q.Hang()
			return
		}
		m, err := dns.Exchange(q.Msg, answer.Addr())
		if err == nil {
			q.ReplyMsg(m)
		}
	})
	o := judged(t, server.Addr(), z, "web.test", "A", short)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"dnssec.status": dnssecIndeterminate, "answer_count": 1}))
	if o.Because["dnssec.status"].Code != check.DNSTimeout {
		t.Errorf("explained as %+v", o.Because["dnssec.status"])
	}
}

func TestDNSSECTimes(t *testing.T) {
	for _, shift := range []time.Duration{-365 * 24 * time.Hour, 365 * 24 * time.Hour} {
		z := newSigningZone(t, "test.", "web.test. 60 IN A 192.0.2.1")
		z.from, z.until = z.from.Add(shift), z.until.Add(shift)
		o := judged(t, signedServer(t, nil, z).Addr(), z, "web.test", "A", time.Minute)
		wantFacts(t, o, check.FactsOf(map[string]any{"dnssec.status": dnssecBogus}))
		if !strings.Contains(o.Facts.Get("dnssec.reason").(string), "is valid from") {
			t.Errorf("reason %v", o.Facts.Get("dnssec.reason"))
		}
	}
}

func TestDNSSECOptions(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "anchors")
		write(t, path, text)
		return path
	}
	key := newSigningZone(t, "test.").key.String()
	ds := rootAnchors[0]
	for option, d := range map[string]dnsDNSSEC{
		"":                     {Validate: true},
		" ":                    {Validate: true, Anchor: []string{ds, key}},
		"  ":                   {Validate: true, AnchorFile: file("; comment\n" + key + "\n" + ds + "\n")},
		"dnssec.anchor":        {Validate: true, Anchor: []string{"web.test. IN A 192.0.2.1"}},
		"dnssec.anchor ":       {Validate: true, Anchor: []string{"test. IN DS 1 1 1 00"}},
		"dnssec.anchor  ":      {Validate: true, Anchor: []string{""}},
		"dnssec.anchor_file":   {Validate: true, AnchorFile: file("test. IN A 192.0.2.1\n")},
		"dnssec.anchor_file ":  {Validate: true, AnchorFile: file("\n")},
		"dnssec.anchor_file  ": {Validate: true, AnchorFile: filepath.Join(dir, "none")},
		"dnssec.validate":      {Anchor: []string{ds}},
	} {
		o := newDNSOptions()
		o.Name, o.Server, o.DNSSEC = "web.test", "192.0.2.53", d
		_, err := o.Build(needs())
		var wrong *check.OptionError
		if want := strings.TrimSpace(option); errors.As(err, &wrong) && wrong.Option != want || (err == nil) != (want == "") {
			t.Errorf("%s: error %v", option, err)
		}
	}
}

func TestNameOrder(t *testing.T) {
	// RFC 4034 section 6.1
	sorted := []string{"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	for i := range sorted {
		for j := range sorted {
			if got := nameOrder(sorted[i], sorted[j]); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s: %d", sorted[i], sorted[j], got)
			}
		}
	}
}

// FuzzDNSSEC validates any answer, with any answer to all questions of the
// chain.
func FuzzDNSSEC(f *testing.F) {
	q, err := newQuestion("web.test.", dns.TypeA, dns.ClassINET, queryFlags{dnssec: true, ednsSize: ednsSize})
	if err != nil {
		f.Fatal(err)
	}
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
	trusted := anchors{"test.": {{Hdr: dns.RR_Header{Name: "test."}, KeyTag: 1, Algorithm: dns.ED25519, DigestType: dns.SHA256, Digest: "00"}}}
	zone := &signedZone{name: "test."}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > dns.MaxMsgSize || len(raw) < headerSize {
			return
		}
		v := &validator{anchors: trusted, now: time.Now(), ask: func(context.Context, string, uint16) (message, *check.Reason) { return raw, nil }}
		if doubt := v.judge(t.Context(), q, raw); doubt == nil {
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

// NSEC3 that costs too much counts as not signed (RFC 9276).
func TestNSEC3Iterations(t *testing.T) {
	for iterations, want := range map[uint16]int{maxIterations: 1, maxIterations + 1: 0} {
		p := &denials{v: &validator{}, zone: "test.", known: make(map[string]string)}
		p.keep(&dns.NSEC3{Hash: dns.SHA1, Iterations: iterations})
		if len(p.nsec3) != want || (p.doubt != nil) != (want == 0) {
			t.Errorf("%d iterations: %d proofs, %+v", iterations, len(p.nsec3), p.doubt)
		}
	}
	p := &denials{v: &validator{hashed: maxHashed}, nsec3: []*dns.NSEC3{{Hash: dns.SHA1}}, known: make(map[string]string)}
	if p.hash("web.test.") != "" || p.doubt == nil || p.doubt.status != dnssecIndeterminate {
		t.Errorf("too many hashes: %+v", p.doubt)
	}
}
