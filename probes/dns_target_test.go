package probes

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

func TestDNSBadOptions(t *testing.T) {
	tests := map[string]func(*dnsOptions){
		"type":        func(o *dnsOptions) { o.Type = "AXFR" },
		"type ":       func(o *dnsOptions) { o.Type = "NOPE" },
		"type  ":      func(o *dnsOptions) { o.Type = "TYPE70000" },
		"type   ":     func(o *dnsOptions) { o.Type = "OPT" },
		"class":       func(o *dnsOptions) { o.Class = "XX" },
		"edns.size":   func(o *dnsOptions) { o.EDNS.Size = 100 },
		"edns.size ":  func(o *dnsOptions) { o.EDNS.Size = 70000 },
		"edns.size  ": func(o *dnsOptions) { o.EDNS.Size, o.EDNS.DO = 0, true },
		"server":      func(o *dnsOptions) { o.Server = "tls://192.0.2.1" },
		"server ":     func(o *dnsOptions) { o.Server = "192.0.2.1:0" },
		"server  ":    func(o *dnsOptions) { o.Server = "a b" },
		"server   ":   func(o *dnsOptions) { o.Server = "a..b" },
		"transport":   func(o *dnsOptions) { o.Server, o.Transport = "", "tls" },
		"transport ":  func(o *dnsOptions) { o.Transport = "sctp" },
		"transport  ": func(o *dnsOptions) { o.Server, o.Transport, o.Resolver = "", "udp", "tcp://192.0.2.1" },
		"address":     func(o *dnsOptions) { o.Server, o.Address = "", "192.0.2.1" },
		"tls":         func(o *dnsOptions) { o.TLS.Insecure = true },
		"resolver":    func(o *dnsOptions) { o.Resolver = "nope" },
		"family":      func(o *dnsOptions) { o.Family = "5" },
	}
	for option, change := range tests {
		o := newDNSOptions()
		o.Name, o.Server = "web.test", "192.0.2.53"
		change(o)
		_, err := o.Build(needs())
		var oe *check.OptionError
		if !errors.As(err, &oe) || oe.Option != strings.TrimSpace(option) {
			t.Errorf("%s: error %v", option, err)
		}
	}
}

func TestDNSSetTarget(t *testing.T) {
	tests := []struct{ target, want string }{
		{"dns:example.com", "dns:example.com?type=A"},
		{"dns:example.com?type=mx", "dns:example.com?type=MX"},
		{"dns://example.com?type=MX", "dns:example.com?type=MX"},
		{"dns:///example.com", "dns:example.com?type=A"},
		{"dns://192.0.2.53/example.com", "dns://192.0.2.53/example.com?type=A"},
		{"dns://192.0.2.53:5353/example.com?type=TXT&class=ch", "dns://192.0.2.53:5353/example.com?type=TXT&class=CH"},
		{"dns://[2001:db8::53]/example.com?TYPE=NS;CLASS=IN", "dns://[2001:db8::53]/example.com?type=NS"},
		{"dns://[2001:db8::53]:54/example.com", "dns://[2001:db8::53]:54/example.com?type=A"},
		{"dns://ns.example.com/.?type=NS", "dns://ns.example.com/.?type=NS"},
		{"dns+tls://192.0.2.53/example.com", "dns://192.0.2.53/example.com?type=A&transport=tls"},
		{"dns+quic://192.0.2.53/example.com", "dns://192.0.2.53/example.com?type=A&transport=quic"},
		{"dns+tcp://192.0.2.53/example.com", "dns://192.0.2.53/example.com?type=A&transport=tcp"},
		{"dns://192.0.2.53:853/example.com?transport=tls", "dns://192.0.2.53/example.com?type=A&transport=tls"},
		{"dns:example.com?recursion=false&dnssec=true", "dns:example.com?type=A&recursion=false&dnssec=true"},
		{"dns:example.com?do=true", "dns:example.com?type=A&do=true"},
		{"dns:example.com?trace=true&recursion=false&do=true", "dns:example.com?type=A&trace=true&do=true"},
		{"dns:a%3Fb%2525.test?recursion=true&do=false&dnssec=false", "dns:a%3Fb%2525.test?type=A"},
		{"dns:_sip._tcp.example.com?type=SRV", "dns:_sip._tcp.example.com?type=SRV"},
		{"dns:b%C3%BCcher.example", "dns:xn--bcher-kva.example?type=A"},
		{"dns://192.0.2.53", "error"}, {"dns://192.0.2.53/", "error"}, {"dns://ns.test:53?type=A", "error"},
		{"dns:", "error"}, {"dns:a?kind=MX", "error"}, {"dns:a?dnssec=maybe", "error"}, {"dns:%zz", "error"},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			got := "error"
			o := newDNSOptions()
			if err := o.SetTarget(tt.target); err == nil {
				plan, err := o.Build(needs())
				if err != nil {
					t.Fatal(err)
				}
				got = plan.Target
				again := newDNSOptions()
				if err := again.SetTarget(got); err != nil {
					t.Fatal(err)
				}
				if plan, err = again.Build(needs()); err != nil || plan.Target != got {
					t.Errorf("%s is read back as %s, %v", got, plan.Target, err)
				}
			}
			if got != tt.want {
				t.Errorf("target %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDNSReproduce(t *testing.T) {
	tests := []struct {
		change func(*dnsOptions)
		want   string
	}{
		{func(o *dnsOptions) {}, "dig @127.0.0.1 -p 1 -t A -q web.test. +bufsize=1232"},
		{func(o *dnsOptions) { o.Transport, o.Type, o.Name = "tcp", "MX", "a'b.test" }, `dig @127.0.0.1 -p 1 -t MX -q 'a\'\''b.test.' +tcp +bufsize=1232`},
		{func(o *dnsOptions) { o.Recursion, o.EDNS.Size, o.Class, o.Transport = false, 0, "CH", "udp" }, "dig @127.0.0.1 -p 1 -c CH -t A -q web.test. +ignore +norecurse +noedns"},
		{func(o *dnsOptions) { o.EDNS.DO, o.Transport = true, "tls" }, "dig @127.0.0.1 -p 1 -t A -q web.test. +tls +tls-ca +tls-hostname=127.0.0.1 +bufsize=1232 +dnssec"},
	}
	for _, tt := range tests {
		o := observeDNS(t, buildDNS(t, "127.0.0.1:1", tt.change), time.Minute)
		if got := o.Reproduce(); got != tt.want {
			t.Errorf("reproduce with\n%s\nwant\n%s", got, tt.want)
		}
	}
}
