package dnssec

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

func newZone(t *testing.T, name string, records ...string) *testnet.SignedZone {
	t.Helper()
	z, err := testnet.NewSignedZone(name, records...)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// server answers the questions of a chain from the zones, children before their
// parents, after change has looked at each answer.
func server(t *testing.T, change func(m *dns.Msg), zones ...*testnet.SignedZone) Fetch {
	return func(_ context.Context, name string, qtype uint16) (dnsmsg.Message, *check.Reason) {
		m := testnet.AnswerSigned(new(dns.Msg).SetQuestion(name, qtype), zones...)
		if change != nil {
			change(m)
		}
		raw, err := m.Pack()
		if err != nil {
			t.Error(err)
			return nil, &check.Reason{Code: check.DNSMalformed, Message: err.Error()}
		}
		return raw, nil
	}
}

// judged validates an answer with the zone's key as the anchor.
func judged(t *testing.T, ask Fetch, anchor *testnet.SignedZone, name, qtype string) Verdict {
	t.Helper()
	trusted := make(Anchors)
	if err := trusted.Add(anchor.Anchor().String()); err != nil {
		t.Fatal(err)
	}
	answer, reason := ask(t.Context(), name, dns.StringToType[qtype])
	if reason != nil {
		t.Fatal(reason.Message)
	}
	return New(trusted, ask).Judge(t.Context(), name, dns.StringToType[qtype], answer)
}

// want compares the state and looks for a part of the reason.
func want(t *testing.T, got Verdict, status, says string) {
	t.Helper()
	if got.Status != status || !strings.Contains(got.Reason, says) || (got.Reason == "") != (status == Secure) || (got.Code == check.DNSBogus) != (status == Bogus) {
		t.Errorf("%+v, want %s with %q", got, status, says)
	}
}

func TestJudge(t *testing.T) {
	child := newZone(t, "child.test.", "www.child.test. 60 IN A 192.0.2.3")
	parent := newZone(t, "test.", "web.test. 60 IN A 192.0.2.1", "child.test. 60 IN NS ns.test.", "plain.test. 60 IN NS ns.test.", "a.b.test. 60 IN TXT x")
	parent.Add(child.Anchor())
	ask := server(t, func(m *dns.Msg) {
		if m.Question[0].Name == "www.plain.test." && m.Question[0].Qtype == dns.TypeA {
			m.Answer, m.Ns, m.Rcode = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "www.plain.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: []byte{192, 0, 2, 9}}}, nil, 0
		}
	}, child, parent)
	tests := []struct {
		name, qtype, status string
		chain               []string
	}{
		{"web.test.", "A", Secure, []string{"test."}},
		{"WEB.test.", "MX", Secure, []string{"test."}},
		{"none.test.", "A", Secure, []string{"test."}},
		{"b.test.", "A", Bogus, []string{"test."}}, // the server says NXDOMAIN of an empty non-terminal
		{"www.child.test.", "A", Secure, []string{"test.", "child.test."}},
		{"none.child.test.", "TXT", Secure, []string{"test.", "child.test."}},
		{"child.test.", "DS", Secure, []string{"test."}},
		{"plain.test.", "DS", Secure, []string{"test."}},
		{"www.plain.test.", "A", Insecure, []string{"test."}},
		{"example.org.", "A", Indeterminate, nil},
	}
	for _, tt := range tests {
		got := judged(t, ask, parent, tt.name, tt.qtype)
		want(t, got, tt.status, "")
		if !slices.Equal(got.Chain, tt.chain) {
			t.Errorf("%s: chain %v, want %v", tt.name, got.Chain, tt.chain)
		}
		if left := time.Until(got.Expires); tt.status == Secure && (left < 29*24*time.Hour || left > 30*24*time.Hour) {
			t.Errorf("%s expires in %v", tt.name, left)
		}
	}
}

// E22: answers that somebody changed, and chains that are broken.
func TestE22Bogus(t *testing.T) {
	child := newZone(t, "child.test.", "www.child.test. 60 IN A 192.0.2.3")
	parent := newZone(t, "test.", "child.test. 60 IN NS ns.test.", "loop.test. 60 IN CNAME pool.test.", "pool.test. 60 IN CNAME loop.test.")
	parent.Add(child.Anchor())
	other := newZone(t, "child.test.")
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
		{"changed address", "www.child.test.", Bogus, "does not verify", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				a := *m.Answer[0].(*dns.A)
				a.A = []byte{198, 51, 100, 66}
				m.Answer[0] = &a
			}
		}},
		{"signature left out", "www.child.test.", Bogus, "has no signature", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				m.Answer = unsigned(m.Answer)
			}
		}},
		{"name hidden", "www.child.test.", Bogus, "nothing proves", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				m.Rcode, m.Answer, m.Ns = dns.RcodeNameError, nil, child.Denials()
			}
		}},
		{"denied without proof", "www.child.test.", Bogus, "nothing proves", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				m.Rcode, m.Answer = dns.RcodeNameError, nil
			}
		}},
		{"DS hidden", "www.child.test.", Bogus, "nothing proves", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDS) {
				m.Answer = nil
			}
		}},
		{"other key", "www.child.test.", Bogus, "no key of child.test has a trusted DS", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDNSKEY) {
				m.Answer = other.Sign(other.Key)
			}
		}},
		{"keys hidden", "www.child.test.", Bogus, "has no DNSKEY", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDNSKEY) {
				m.Answer = nil
			}
		}},
		{"a stranger's signature", "www.child.test.", Bogus, "no signature of child.test with a known key", func(m *dns.Msg) {
			if asks(m, "www.child.test.", dns.TypeA) {
				m.Answer = other.Sign(unsigned(m.Answer)...)
			}
		}},
		{"chain fails", "www.child.test.", Indeterminate, "child.test DNSKEY", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDNSKEY) {
				m.Rcode, m.Answer = dns.RcodeServerFailure, nil
			}
		}},
		{"CNAME loop", "loop.test.", Indeterminate, "loop", func(m *dns.Msg) {
			if m.Question[0].Qtype == dns.TypeA {
				m.Answer = append(parent.Sign(parent.Set("loop.test.", dns.TypeCNAME)...), parent.Sign(parent.Set("pool.test.", dns.TypeCNAME)...)...)
			}
		}},
		{"many keys", "www.child.test.", Bogus, "more than 32 keys", func(m *dns.Msg) {
			if asks(m, "child.test.", dns.TypeDNSKEY) {
				m.Answer = append(m.Answer, sameTag(child.Key, maxDNSKEYs)...)
			}
		}},
		{"KeyTrap", "www.child.test.", Bogus, "more than 8 signatures and keys", func(m *dns.Msg) {
			switch {
			case asks(m, "child.test.", dns.TypeDNSKEY):
				m.Answer = child.Sign(append(sameTag(child.Key, 20), child.Key)...)
			case asks(m, "www.child.test.", dns.TypeA):
				bad := *m.Answer[1].(*dns.RRSIG)
				bad.Signature = base64.StdEncoding.EncodeToString(make([]byte, 64))
				for range 200 {
					m.Answer = append(m.Answer, &bad)
				}
				m.Answer = slices.Delete(m.Answer, 1, 2)
			}
		}},
		{"many records", "www.child.test.", Indeterminate, "more than 512 records", func(m *dns.Msg) {
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
			want(t, judged(t, server(t, tt.change, child, parent), parent, tt.ask, "A"), tt.status, tt.says)
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

func TestTimes(t *testing.T) {
	for _, shift := range []time.Duration{-365 * 24 * time.Hour, 365 * 24 * time.Hour} {
		z := newZone(t, "test.", "web.test. 60 IN A 192.0.2.1")
		z.From, z.Until = z.From.Add(shift), z.Until.Add(shift)
		want(t, judged(t, server(t, nil, z), z, "web.test.", "A"), Bogus, "is valid from")
	}
}

// TestUnusable has answers that say nothing of the name.
func TestUnusable(t *testing.T) {
	z := newZone(t, "test.", "web.test. 60 IN A 192.0.2.1")
	for says, change := range map[string]func(m *dns.Msg){
		"the answer was cut":           func(m *dns.Msg) { m.Truncated = true },
		"the server answers SERVFAIL":  func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure },
		"the server answers BADCOOKIE": func(m *dns.Msg) { m.Rcode = dns.RcodeBadCookie },
	} {
		want(t, judged(t, server(t, change, z), z, "web.test.", "A"), Indeterminate, says)
	}
}

// TestHeldBack has an answer that is not given, but fetched.
func TestHeldBack(t *testing.T) {
	z := newZone(t, "test.", "web.test. 60 IN A 192.0.2.1")
	trusted := Anchors{z.Name: {z.Anchor()}}
	got := New(trusted, server(t, nil, z)).Judge(t.Context(), "web.test.", dns.TypeA, nil)
	want(t, got, Secure, "")
	if got.Queries != 2 { // for the answer and for the keys
		t.Errorf("%d questions", got.Queries)
	}
	silent := func(context.Context, string, uint16) (dnsmsg.Message, *check.Reason) {
		return nil, &check.Reason{Code: check.DNSTimeout, Message: "silence"}
	}
	got = New(trusted, silent).Judge(t.Context(), "web.test.", dns.TypeA, nil)
	want(t, got, Indeterminate, "no answer to the question for web.test A: silence")
	if got.Code != check.DNSTimeout {
		t.Errorf("code %s", got.Code)
	}
}
