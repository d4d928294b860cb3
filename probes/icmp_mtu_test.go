package probes

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/echo"
)

// fakePath is a way to a target. The sizes are of whole packets.
type fakePath struct {
	link   int // what the own interface takes
	hop    int // what a router takes, that says so
	says   int // MTU that it reports
	hole   int // what gets through a hop that is silent
	loss   float64
	report *echo.Report // instead of every reply
	random *rand.Rand
	header int
}

func (p *fakePath) send(_ context.Context, plan *echo.Plan) (echo.Result, *check.Reason) {
	size := plan.Size + p.header
	if size > p.link {
		return echo.Result{Oversize: true}, &check.Reason{Code: check.LocalRoute}
	}
	got := echo.Result{Sent: plan.Count, Report: p.report}
	for range plan.Count {
		switch {
		case p.report != nil, p.random.Float64() < p.loss:
		case size > p.hop:
			got.Report = &echo.Report{Type: typeUnreachable4, Code: 4, MTU: uint32(p.says)}
		case size <= p.hole:
			got.Received++
		}
	}
	return got, nil
}

func (p *fakePath) search(seed uint64, to string) *mtuSearch {
	s := newMTUSearch(&sharedPinger, &echo.Plan{To: netip.MustParseAddr(to), Count: 9, Size: 56}, time.Millisecond)
	p.header, p.random = s.header, rand.New(rand.NewPCG(seed, 1))
	s.send = p.send
	return s
}

func TestPathMTU(t *testing.T) {
	const all = 1 << 16
	for name, tc := range map[string]struct {
		path    fakePath
		mtu     int
		hole    bool
		packets int // at most
	}{
		"own interface":               {fakePath{link: 1500, hop: all, hole: all}, 1500, false, 2},
		"jumbo frames":                {fakePath{link: 9000, hop: all, hole: all}, 9000, false, 20},
		"loopback":                    {fakePath{link: all, hop: all, hole: all}, 65535, false, 20},
		"reported":                    {fakePath{link: 1500, hop: 1400, says: 1400, hole: all}, 1400, false, 5},
		"reported, and jumbo frames":  {fakePath{link: 9000, hop: 1400, says: 1400, hole: all}, 1400, false, 5},
		"reported without a number":   {fakePath{link: 1500, hop: 1400, hole: all}, 1400, false, 20},
		"reported with a wrong one":   {fakePath{link: 1500, hop: 1400, says: 1200, hole: all}, 1400, false, 20},
		"reported with a larger one":  {fakePath{link: 1500, hop: 1400, says: 9000, hole: all}, 1400, false, 20},
		"reported with none that can": {fakePath{link: 1500, hop: 1400, says: 1, hole: all}, 1400, false, 20},
		"black hole":                  {fakePath{link: 1500, hop: all, hole: 1400}, 1400, true, 60},
		"black hole for jumbo frames": {fakePath{link: 9000, hop: all, hole: 1500}, 1500, true, 80},
		"black hole behind a report":  {fakePath{link: 9000, hop: 1450, says: 1450, hole: 1400}, 1400, true, 60},
		"smallest":                    {fakePath{link: 1500, hop: 576, says: 576, hole: all}, 576, false, 20},
	} {
		s := tc.path.search(1, "192.0.2.1")
		mtu, hole, err := s.run(t.Context())
		if mtu != tc.mtu || hole != tc.hole || err != nil || s.packets > tc.packets {
			t.Errorf("%s: %d, black hole %t, %v after %d packets", name, mtu, hole, err, s.packets)
		}
	}
	s := (&fakePath{link: 1500, hop: all, hole: 1280}).search(1, "2001:db8::1")
	if mtu, hole, err := s.run(t.Context()); mtu != 1280 || !hole || err != nil {
		t.Errorf("IPv6: %d, %t, %v", mtu, hole, err)
	}
}

// TestPathMTUWithLoss looks that packets which are lost for another reason than
// their size do not make a wrong result: there may be none, or the right one.
func TestPathMTUWithLoss(t *testing.T) {
	const all = 1 << 16
	for name, path := range map[string]fakePath{
		"reported": {link: 9000, hop: 1400, says: 1400, hole: all, loss: 0.2}, "silent": {link: 9000, hop: all, hole: 1400, loss: 0.2},
	} {
		found, hole := 0, name == "silent"
		for seed := range uint64(500) {
			mtu, black, err := path.search(seed, "192.0.2.1").run(t.Context())
			switch {
			case err == nil && (mtu != 1400 || black != hole):
				t.Errorf("%s, seed %d: %d, %t", name, seed, mtu, black)
			case err == nil:
				found++
			}
		}
		if found < 450 {
			t.Errorf("%s: found only %d times in 500", name, found)
		}
	}
}

func TestPathMTUIsNotFound(t *testing.T) {
	const all = 1 << 16
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for name, tc := range map[string]struct {
		ctx  context.Context
		path fakePath
		want check.Reason
	}{
		"silence":    {t.Context(), fakePath{link: 1500, hop: all}, check.Reason{Code: check.ICMPLoss, Message: "no packet of 576 bytes, the smallest to be tried, came back"}},
		"heavy loss": {t.Context(), fakePath{link: 1500, hop: all, hole: 1400, loss: 0.75}, check.Reason{Code: check.ICMPLoss, Message: "lost"}},
		"no time":    {late, fakePath{link: 1500, hop: all}, check.Reason{Code: check.ICMPTimeout, Message: "which is 576 to 65535"}},
		"refused": {t.Context(), fakePath{link: 1500, report: &echo.Report{From: netip.MustParseAddr("127.0.0.10"), Type: typeUnreachable4, Code: 13}},
			check.Reason{Code: check.ICMPUnreachable, Message: "127.0.0.10 reports admin prohibited to a packet of 576 bytes"}},
	} {
		var why *errMTU
		_, _, err := tc.path.search(1, "192.0.2.1").run(tc.ctx)
		if !errors.As(err, &why) || why.Code != tc.want.Code || !strings.Contains(why.Message, tc.want.Message) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func TestPathMTUOfLoopback(t *testing.T) {
	if !echo.MarksPackets {
		return // refused when the file is loaded
	}
	plan, err := icmpPlan(t, "127.0.0.1", fastPing, func(o *icmpOptions) { o.PathMTU, o.Whole, o.TOS = true, true, 184 })
	if err != nil {
		t.Fatal(err)
	}
	obs := plan.Probe.Observe(pingTimeout(t, pingSlack))
	if !measured(t, obs) {
		return
	}
	for fact, want := range map[string]any{pathMTUFact: 65535, blackHoleFact: false, "tos": 184, "out_of_order": 0} {
		if diff := cmp.Diff(want, obs.Facts.Get(fact)); diff != "" {
			t.Errorf("%s: %s (%v, %v)", fact, diff, obs.Failure, obs.Because)
		}
	}
	if wait, _ := obs.Phases.Get(check.PhaseWait); obs.Latency < wait {
		t.Errorf("latency %s, wait %s", obs.Latency, wait)
	}
	const again = "ping -c 3 -i 0.001 -s 56 -Q 184 -M do -W 30 -4 127.0.0.1 ; tracepath -n 127.0.0.1"
	if diff := cmp.Diff(again, obs.Reproduce()); diff != "" {
		t.Error(diff)
	}
}

func TestMeanOpinion(t *testing.T) {
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	for _, tc := range []struct {
		rtt, jitter, loss, want float64
	}{
		// Table B.1 of G.107: R of 90, 80, 70, 60 and 50.
		{226.7, 0, 0, 4.34}, {448.1, 0, 0, 4.03}, {597.4, 0, 0, 3.60}, {746.6, 0, 0, 3.10}, {895.9, 0, 0, 2.58},
		{0, 56.67, 0, 4.34}, // jitter counts like delay
		{0, 0, 0, 4.4}, {0, 0, 0.251, 2.33}, {0, 0, 1, 1.16}, {60000, 0, 0, 1}, {1700, 0, 0, 1},
	} {
		if got := meanOpinion(ms(tc.rtt), ms(tc.jitter), tc.loss); math.Abs(got-tc.want) > 0.0101 { // the table rounds its last digit up
			t.Errorf("%+v: %v", tc, got)
		}
	}
}
