package probes

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/expect"
)

// judgeDNS judges an observation by the defaults of the plan, or by the
// expectation when there is one, as config puts them together.
func judgeDNS(t *testing.T, o check.Observation, text string) check.Judgement {
	t.Helper()
	facts := check.Kind{Facts: dnsFacts()}.AllFacts()
	test, err := expect.Compile(text, facts)
	if err != nil {
		t.Fatal(err)
	}
	c := check.Check{FactList: facts, Expectations: []check.Expectation{{Text: text, Test: test}}}
	return c.Judge(&o)
}

// What becomes of each class of answer by default, and when the check expects
// just that class.
func TestDNSVerdicts(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1", "mail.test. 60 IN MX 10 web.test.").
		Fail("servfail.test.", dns.RcodeServerFailure).Fail("refused.test.", dns.RcodeRefused).Fail("odd.test.", dns.RcodeNotZone)
	server := dnsServer(t, z.Serve)
	byDefault := dnsDefault
	tests := []struct {
		name, expect string
		verdict      check.Verdict
		code         check.Code
	}{
		{"web.test", byDefault, check.Up, ""},
		{"mail.test", byDefault, check.Down, check.DNSNoData},
		{"none.test", byDefault, check.Down, check.DNSNXDomain},
		{"servfail.test", byDefault, check.Down, check.DNSServFail},
		{"refused.test", byDefault, check.Down, check.DNSRefused},
		{"odd.test", byDefault, check.Down, "expect.rcode"},
		{"none.test", "rcode == 'NXDOMAIN'", check.Up, ""},
		{"web.test", "rcode == 'NXDOMAIN'", check.Down, "expect.rcode"},
		{"web.test", "any(answers, # == '192.0.2.1')", check.Up, ""},
		{"web.test", "answers == ['192.0.2.2']", check.Down, "expect.answers"},
		{"mail.test", "answer_count >= 1", check.Down, check.DNSNoData},
		{"mail.test", "answer_count == 0", check.Up, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.expect, func(t *testing.T) {
			o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Name = tt.name }), time.Minute)
			j := judgeDNS(t, o, tt.expect)
			if j.Verdict != tt.verdict || j.Reason.Code != tt.code {
				t.Errorf("%s, %+v; want %s, %s", j.Verdict, j.Reason, tt.verdict, tt.code)
			}
		})
	}
}
