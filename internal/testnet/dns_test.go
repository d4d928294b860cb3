package testnet_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/internal/testnet"
)

func TestZone(t *testing.T) {
	zone, err := testnet.NewZone(
		"www.example.test. 60 IN CNAME web.example.test.",
		"web.example.test. 30 IN A 192.0.2.1",
	)
	if err != nil {
		t.Fatal(err)
	}
	server, err := testnet.ListenDNS(zone.Fail("broken.test.", dns.RcodeServerFailure).Serve)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	tests := []struct {
		name    string
		qtype   uint16
		rcode   int
		answers int
	}{
		{"www.example.test.", dns.TypeA, dns.RcodeSuccess, 2},
		{"WWW.example.TEST.", dns.TypeA, dns.RcodeSuccess, 2},
		{"web.example.test.", dns.TypeA, dns.RcodeSuccess, 1},
		{"web.example.test.", dns.TypeMX, dns.RcodeSuccess, 0},
		{"example.test.", dns.TypeA, dns.RcodeSuccess, 0},
		{"none.example.test.", dns.TypeA, dns.RcodeNameError, 0},
		{"broken.test.", dns.TypeA, dns.RcodeServerFailure, 0},
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, tt := range tests {
			client := dns.Client{Net: network}
			answer, _, err := client.Exchange(new(dns.Msg).SetQuestion(tt.name, tt.qtype), server.Addr())
			if err != nil {
				t.Fatalf("%s %s: %v", network, tt.name, err)
			}
			got := [2]int{answer.Rcode, len(answer.Answer)}
			if diff := cmp.Diff([2]int{tt.rcode, tt.answers}, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", network, tt.name, diff)
			}
		}
	}
}
