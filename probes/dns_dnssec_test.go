package probes

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/dnssec"
)

func signedZone(t *testing.T, name string, records ...string) *testnet.SignedZone {
	t.Helper()
	z, err := testnet.NewSignedZone(name, records...)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// signedServer serves the zones, children before their parents, after change
// has looked at each answer.
func signedServer(t *testing.T, change func(m *dns.Msg), zones ...*testnet.SignedZone) *testnet.DNSServer {
	t.Helper()
	return dnsServer(t, func(q *testnet.DNSQuery) {
		m := testnet.AnswerSigned(q.Msg, zones...)
		if change != nil {
			change(m)
		}
		q.ReplyMsg(m)
	})
}

// judged validates an answer with the zone's key as the anchor.
func judged(t *testing.T, server string, anchor *testnet.SignedZone, name, qtype string, timeout time.Duration) check.Observation {
	t.Helper()
	return observeDNS(t, buildDNS(t, server, func(o *dnsOptions) {
		o.Name, o.Type, o.Transport = name, qtype, "tcp"
		o.DNSSEC = dnsDNSSEC{Validate: true, Anchor: []string{anchor.Anchor().String()}}
	}), timeout)
}

// TestDNSSEC has the facts of each state.
func TestDNSSEC(t *testing.T) {
	child := signedZone(t, "child.test.", "www.child.test. 60 IN A 192.0.2.3")
	parent := signedZone(t, "test.", "child.test. 60 IN NS ns.test.", "plain.test. 60 IN NS ns.test.", "b.test. 60 IN A 192.0.2.4")
	parent.Add(child.Anchor())
	server := signedServer(t, func(m *dns.Msg) {
		switch q := m.Question[0]; {
		case q.Name == "held.test." && !m.CheckingDisabled:
			m.Rcode, m.Ns = dns.RcodeServerFailure, nil
		case q.Name == "b.test." && q.Qtype == dns.TypeA:
			m.Answer = m.Answer[:1]
		case q.Name == "www.plain.test." && q.Qtype == dns.TypeA:
			m.Answer, m.Ns, m.Rcode = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: []byte{192, 0, 2, 9}}}, nil, 0
		}
	}, child, parent)
	tests := []struct {
		name, status, says string
		chain              []string
		queries            int
		code               check.Code
	}{
		{"WWW.child.test", dnssec.Secure, "", []string{"test.", "child.test."}, 3, ""},
		{"none.child.test", dnssec.Secure, "", []string{"test.", "child.test."}, 3, ""},
		{"held.test", dnssec.Secure, "", []string{"test."}, 2, ""},
		{"www.plain.test", dnssec.Insecure, "plain.test is not signed", []string{"test."}, 2, check.ExpectCode("dnssec.status")},
		{"b.test", dnssec.Bogus, "b.test A has no signature", []string{"test."}, 2, check.DNSBogus},
		{"example.org", dnssec.Indeterminate, "no trust anchor is above example.org", nil, 0, check.ExpectCode("dnssec.status")},
	}
	for _, tt := range tests {
		o := judged(t, server.Addr(), parent, tt.name, "A", time.Minute)
		wantFailure(t, o, "")
		wantFacts(t, o, check.FactsOf(map[string]any{"dnssec.status": tt.status, "dnssec.chain": tt.chain, "dnssec.queries": tt.queries}))
		reason, _ := o.Facts.Get("dnssec.reason").(string)
		because := o.Because["dnssec.status"]
		if !strings.Contains(reason, tt.says) || because.Code != tt.code || tt.code != "" && because.Message != tt.status+": "+reason {
			t.Errorf("%s: reason %q, explained as %+v", tt.name, reason, because)
		}
		left, _ := o.Facts.Get("dnssec.expires_in").(time.Duration)
		if tt.chain != nil && (left < 29*24*time.Hour || left > 30*24*time.Hour) {
			t.Errorf("%s expires in %v", tt.name, left)
		}
	}
}

// E22: the answers that are shown are those that are judged.
func TestE22ShownIsJudged(t *testing.T) {
	z := signedZone(t, "test.", "web.test. 60 IN A 192.0.2.1", "web.test. 60 IN A 192.0.2.2", "alias.test. 60 IN CNAME web.test.", "old.test. 60 IN DNAME test.")
	forged := func(texts ...string) (rrs []dns.RR) {
		for _, text := range texts {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			rrs = append(rrs, rr)
		}
		return rrs
	}
	for _, tt := range []struct {
		name, ask, qtype, status string
		answers                  []string
		change                   func(m *dns.Msg)
	}{
		{"alias beside the answer", "web.test.", "A", dnssec.Bogus, []string{"203.0.113.6"}, func(m *dns.Msg) {
			m.Answer = append(m.Answer, forged("web.test. 60 IN CNAME evil.example.", "evil.example. 60 IN A 203.0.113.6")...)
		}},
		{"another record of an alias", "alias.test.", "A", dnssec.Secure, []string{"192.0.2.1", "192.0.2.2"}, func(m *dns.Msg) {
			m.Answer = slices.Concat(forged("alias.test. 60 IN A 203.0.113.8"), m.Answer, z.Sign(z.Set("web.test.", dns.TypeA)...))
		}},
		{"record of another class", "web.test.", "A", dnssec.Secure, []string{"192.0.2.1", "192.0.2.2"}, func(m *dns.Msg) {
			m.Answer = append(m.Answer, forged("web.test. 60 CH A 203.0.113.7")...)
		}},
		{"CNAME of a DNAME", "web.old.test.", "CNAME", dnssec.Secure, []string{"web.test."}, func(m *dns.Msg) {
			m.Rcode, m.Ns = 0, nil
			m.Answer = append(z.Sign(z.Set("old.test.", dns.TypeDNAME)...), forged("web.old.test. 60 IN CNAME web.test.")...)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			change := func(m *dns.Msg) {
				if q := m.Question[0]; q.Name == tt.ask && q.Qtype == dns.StringToType[tt.qtype] {
					tt.change(m)
				}
			}
			o := judged(t, signedServer(t, change, z).Addr(), z, tt.ask, tt.qtype, time.Minute)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"dnssec.status": tt.status, "answers": tt.answers}))
		})
	}
}

// A chain whose server falls silent is waited for no longer than the rest of
// the time, and says so.
func TestDNSSECSilentChain(t *testing.T) {
	z := signedZone(t, "test.", "web.test. 60 IN A 192.0.2.1")
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
	o := inTime(short, func(d time.Duration) check.Observation { return judged(t, server.Addr(), z, "web.test", "A", d) }, endsAs(""))
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"dnssec.status": dnssec.Indeterminate, "answer_count": 1}))
	if o.Because["dnssec.status"].Code != check.DNSTimeout {
		t.Errorf("explained as %+v", o.Because["dnssec.status"])
	}
}

func TestDNSSECOptions(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "anchors")
		write(t, path, text)
		return path
	}
	key := signedZone(t, "test.").Key.String()
	ds := ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
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

// Signatures have no signatures, which is no fault of the zone.
func TestDNSSECOfSignatures(t *testing.T) {
	o := newDNSOptions()
	o.Name, o.Server, o.Type, o.DNSSEC.Validate = "web.test", "192.0.2.53", "RRSIG", true
	if _, err := o.Build(needs()); err == nil || !strings.Contains(err.Error(), "nobody signs signatures") {
		t.Errorf("error %v", err)
	}
}
