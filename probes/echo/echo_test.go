package echo

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// TestOverhead is that of a datagram of the largest payload in IPv4.
func TestOverhead(t *testing.T) {
	if n := MaxSize + Overhead(netip.MustParseAddr("192.0.2.1")); n != 65535 {
		t.Errorf("the largest packet of IPv4 has %d bytes", n)
	}
	if n := Overhead(netip.IPv6Loopback()); n != 48 {
		t.Errorf("%d bytes of headers in IPv6", n)
	}
}

func TestPaceEchoes(t *testing.T) {
	for name, tc := range map[string]struct {
		timeout time.Duration
		want    []time.Duration
	}{
		"all":                        {time.Minute, []time.Duration{0, time.Second, 2 * time.Second}},
		"the last has no time left":  {2400 * time.Millisecond, []time.Duration{0, time.Second}},
		"only one fits":              {100 * time.Millisecond, []time.Duration{0}},
		"the last has just the time": {2500 * time.Millisecond, []time.Duration{0, time.Second, 2 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
				defer cancel()
				start := time.Now()
				var got []time.Duration
				why := pace(ctx, &Plan{Count: 3, Interval: time.Second}, func(int) *check.Reason {
					got = append(got, time.Since(start))
					return nil
				})
				if diff := cmp.Diff(tc.want, got); diff != "" || why != nil {
					t.Error(why, diff)
				}
			})
		})
	}
}

func TestPaceEchoesEndsWithAFailure(t *testing.T) {
	calls := 0
	why := pace(t.Context(), &Plan{Count: 3}, func(int) *check.Reason {
		calls++
		return &check.Reason{Code: check.LocalRoute}
	})
	if calls != 1 || why == nil || why.Code != check.LocalRoute {
		t.Errorf("%d calls, %v", calls, why)
	}
}
