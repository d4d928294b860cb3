package probes

import (
	"context"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// BenchmarkICMP is one probe of the kind icmp, of one packet. Where nobody may
// ping it is how long that takes to find out.
func BenchmarkICMP(b *testing.B) {
	o := &icmpOptions{Host: "127.0.0.1", Count: 1, Interval: time.Second, Size: 56}
	plan, err := o.Build(needs())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), pingSlack)
		obs := plan.Probe.Observe(ctx)
		cancel()
		if obs.Facts.Get("received") != 1 && obs.Failure.Code != check.LocalPermission {
			b.Fatal(obs.Failure, obs.Because)
		}
	}
}
