package probes

import (
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// BenchmarkDNS compares a whole observation over UDP with the bare exchange of
// miekg/dns, each on a socket of its own.
func BenchmarkDNS(b *testing.B) {
	z, err := testnet.NewZone("web.test. 60 IN A 192.0.2.1")
	if err != nil {
		b.Fatal(err)
	}
	server, err := testnet.ListenDNS(z.Serve)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	o := newDNSOptions()
	o.Name, o.Server = "web.test", server.Addr()
	plan, err := o.Build(needs())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("observe", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
			if o := plan.Probe.Observe(ctx); !o.Failure.IsZero() {
				b.Fatal(o.Failure)
			}
			cancel()
		}
	})
	b.Run("miekg", func(b *testing.B) {
		b.ReportAllocs()
		client := dns.Client{Timeout: 5 * time.Second}
		for b.Loop() {
			m := new(dns.Msg).SetQuestion("web.test.", dns.TypeA)
			m.SetEdns0(1232, false)
			if _, _, err := client.Exchange(m, server.Addr()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
