package probes

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/expect"
)

// judgeDNS judges an observation by the expectations and by the defaults that
// they do not lift, as config puts them together.
func judgeDNS(t *testing.T, o check.Observation, texts ...string) check.Judgement {
	t.Helper()
	c := check.Check{FactList: check.Kind{Facts: dnsFacts()}.AllFacts()}
	mentions := strings.Join(texts, " ")
	for _, d := range dnsDefaults(false) {
		if fact := cmp.Or(d.Fact, "rcode"); !strings.Contains(mentions, fact) {
			texts = append(texts, d.Expect)
		}
	}
	for _, text := range texts {
		test, err := expect.Compile(text, c.FactList)
		if err != nil {
			t.Fatal(err)
		}
		c.Expectations = append(c.Expectations, check.Expectation{Text: text, Test: test})
	}
	return c.Judge(&o)
}

// What becomes of each class of answer by default, and when the check expects
// just that class.
func TestDNSVerdicts(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1", "mail.test. 60 IN MX 10 web.test.").
		Fail("servfail.test.", dns.RcodeServerFailure).Fail("refused.test.", dns.RcodeRefused).Fail("odd.test.", dns.RcodeNotZone)
	server := dnsServer(t, z.Serve)
	tests := []struct {
		name    string
		expect  []string // none: the defaults
		verdict check.Verdict
		code    check.Code
	}{
		{"web.test", nil, check.Up, ""},
		{"mail.test", nil, check.Down, check.DNSNoData},
		{"none.test", nil, check.Down, check.DNSNXDomain},
		{"servfail.test", nil, check.Down, check.DNSServFail},
		{"refused.test", nil, check.Down, check.DNSRefused},
		{"odd.test", nil, check.Down, "expect.rcode"},
		{"none.test", []string{"rcode == 'NXDOMAIN'"}, check.Up, ""},
		{"web.test", []string{"rcode == 'NXDOMAIN'"}, check.Down, "expect.rcode"},
		{"web.test", []string{"any(answers, # == '192.0.2.1')"}, check.Up, ""},
		{"web.test", []string{"answers == ['192.0.2.2']"}, check.Down, "expect.answers"},
		{"mail.test", []string{"rcode == 'NOERROR'"}, check.Down, check.DNSNoData},
		{"mail.test", []string{"answer_count >= 1"}, check.Down, check.DNSNoData},
		{"mail.test", []string{"answer_count == 0"}, check.Up, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+strings.Join(tt.expect, " "), func(t *testing.T) {
			o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Name = tt.name }), time.Minute)
			j := judgeDNS(t, o, tt.expect...)
			if j.Verdict != tt.verdict || j.Reason.Code != tt.code {
				t.Errorf("%s, %+v; want %s, %s", j.Verdict, j.Reason, tt.verdict, tt.code)
			}
		})
	}
}
