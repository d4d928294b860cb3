package dnsmsg

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
)

// packed returns the wire form of an answer to a question for web.test. A.
func packed(t testing.TB, change func(m *dns.Msg), answers ...string) Message {
	t.Helper()
	m := new(dns.Msg).SetQuestion("web.test.", dns.TypeA)
	m.Id, m.Response, m.Compress = 0, true, true
	for _, text := range answers {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	change(m)
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestFlags(t *testing.T) {
	for want, set := range map[string]func(m *dns.Msg){
		"[qr rd]":    func(*dns.Msg) {},
		"[qr aa rd]": func(m *dns.Msg) { m.Authoritative = true },
		"[qr tc]":    func(m *dns.Msg) { m.Truncated, m.RecursionDesired = true, false },
		"[qr ra ad]": func(m *dns.Msg) { m.RecursionAvailable, m.AuthenticatedData, m.RecursionDesired = true, true, false },
		"[cd]":       func(m *dns.Msg) { m.CheckingDisabled, m.Response, m.RecursionDesired = true, false, false },
	} {
		if got := fmt.Sprint(packed(t, set).Flags()); got != want {
			t.Errorf("flags %s, want %s", got, want)
		}
	}
}

// TestRefusesEDNS has response codes with and without upper bits.
func TestRefusesEDNS(t *testing.T) {
	for rcode, want := range map[int]bool{
		dns.RcodeSuccess: false, dns.RcodeFormatError: true, dns.RcodeServerFailure: false, dns.RcodeNotImplemented: true,
		dns.RcodeBadVers: true, dns.RcodeBadTrunc: false,
	} {
		m := packed(t, func(m *dns.Msg) { m.Rcode = rcode; m.SetEdns0(1232, false) })
		if got := m.RefusesEDNS(); got != want {
			t.Errorf("%s: %v", RcodeName(rcode), got)
		}
		if err := m.Records(func(_ Section, rr dns.RR) error {
			if got := m.FullRcode(rr.(*dns.OPT)); got != rcode {
				t.Errorf("%s reads %d", RcodeName(rcode), got)
			}
			return nil
		}); err != nil || m.FullRcode(nil) != m.Rcode() {
			t.Errorf("%s: %v", RcodeName(rcode), err)
		}
	}
}

// TestAliases has names that are aliases, or not, or in a circle.
func TestAliases(t *testing.T) {
	m := packed(t, func(*dns.Msg) {}, "Web.test. 1 IN CNAME b.test.", "b.test. 1 IN CNAME C.test.", "C.test. 1 IN A 192.0.2.1", "loop.test. 1 IN CNAME loop.test.")
	var aliases Aliases
	if err := m.Records(func(_ Section, rr dns.RR) error { aliases.Add(rr); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		qtype uint16
		want  []string
	}{
		{"WEB.test.", dns.TypeA, []string{"b.test.", "C.test."}}, {"c.test.", dns.TypeA, nil},
		{"web.test.", dns.TypeCNAME, nil}, {"web.test.", dns.TypeANY, nil},
	} {
		if got, err := aliases.Follow(c.name, c.qtype); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s %s leads to %v, %v", c.name, TypeName(c.qtype), got, err)
		}
	}
	var bad *MalformedError
	if got, err := aliases.Follow("loop.test.", dns.TypeA); !errors.As(err, &bad) || len(got) != MaxAliases {
		t.Errorf("a circle: %v, %v", got, err)
	}
}

func TestRcodeReason(t *testing.T) {
	for rcode, want := range map[int]check.Reason{
		dns.RcodeNameError:     {Code: check.DNSNXDomain, Message: "web.test does not exist, says ns"},
		dns.RcodeRefused:       {Code: check.DNSRefused, Message: "ns refused the question for web.test"},
		dns.RcodeServerFailure: {Code: check.DNSServFail, Message: "ns failed to answer for web.test: SERVFAIL"},
		dns.RcodeBadVers:       {Code: check.DNSServFail, Message: "ns failed to answer for web.test: BADVERS"},
		4000:                   {Code: check.DNSServFail, Message: "ns failed to answer for web.test: RCODE4000"},
	} {
		if got := RcodeReason(rcode, "web.test.", "ns"); got == nil || *got != want {
			t.Errorf("%d: %+v", rcode, got)
		}
	}
	if got := RcodeReason(dns.RcodeSuccess, ".", "ns"); got != nil || Shown(".") != "." {
		t.Errorf("NOERROR: %+v", got)
	}
}

// FuzzMessage reads anything that has the size of a header.
func FuzzMessage(f *testing.F) {
	answers := []string{"web.test. 60 IN CNAME a.test.", "a.test. 1 IN A 192.0.2.1", "a.test. 1 IN TXT x y", "a.test. 1 IN TYPE65280 \\# 1 00"}
	for i := range answers {
		f.Add([]byte(packed(f, func(m *dns.Msg) { m.SetEdns0(1232, true) }, answers[:i+1]...)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < HeaderSize || len(raw) > dns.MaxMsgSize {
			return
		}
		m := Message(raw)
		var aliases Aliases
		records := 0
		err := m.Records(func(s Section, rr dns.RR) error {
			if records++; s < Answer || s > Additional {
				t.Errorf("section %d", s)
			}
			aliases.Add(rr)
			return nil
		})
		var bad *MalformedError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("error %v is no *MalformedError", err)
		}
		if counted := m.section(Answer) + m.section(Authority) + m.section(Additional); err == nil && records != counted || records > counted {
			t.Errorf("%d records of %d, %v", records, counted, err)
		}
		if got, err := aliases.Follow("web.test.", dns.TypeA); len(got) > MaxAliases || err != nil && !errors.As(err, &bad) {
			t.Errorf("%d aliases, %v", len(got), err)
		}
		m.RefusesEDNS()
		m.Flags()
	})
}
