package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// parts is a probe that spreads.
type parts struct{ spread check.Spread }

func (p parts) Observe(context.Context) check.Observation { panic("observed as one") }
func (p parts) Spread(context.Context) check.Spread       { return p.spread }

// TestSpreadRuns observes all parts at the same time within the one timeout, and
// takes a panic for the result of the part that it is in.
func TestSpreadRuns(t *testing.T) {
	const ms = time.Millisecond
	silent := probeFunc(func(ctx context.Context) check.Observation {
		<-ctx.Done()
		return failure(check.ConnectUnreachable, "no answer")
	})
	wild := probeFunc(func(context.Context) check.Observation { panic("wild") })
	for name, tc := range map[string]struct {
		spread  check.Spread
		verdict check.Verdict
		code    check.Code
		took    time.Duration
	}{
		"together": {check.Spread{Need: 2, Parts: []check.SpreadPart{{Name: "a", Probe: takes(30 * ms)}, {Name: "b", Probe: takes(40 * ms)}}}, check.Up, "", 40 * ms},
		"silent":   {check.Spread{Need: 1, Parts: []check.SpreadPart{{Name: "a", Probe: silent}, {Name: "b", Probe: takes(40 * ms)}}}, check.Up, "", time.Second},
		"down":     {check.Spread{Need: 2, Parts: []check.SpreadPart{{Name: "a", Probe: silent}, {Name: "b", Probe: silent}}}, check.Down, check.ConnectUnreachable, time.Second},
		"wild":     {check.Spread{Need: 2, Parts: []check.SpreadPart{{Name: "a", Probe: wild}, {Name: "b", Probe: takes(ms)}}}, check.Unknown, check.LocalPanic, ms},
		"none":     {check.Spread{Found: failure(check.DNSNXDomain, "no such name")}, check.Down, check.DNSNXDomain, 0},
		"whole":    {check.Spread{Whole: takes(20 * ms), Parts: []check.SpreadPart{{Name: "a", Probe: takes(10 * ms)}}}, check.Up, "", 20 * ms},
		"wild one": {check.Spread{Whole: wild, Parts: []check.SpreadPart{{Name: "a", Probe: takes(10 * ms)}}}, check.Unknown, check.LocalPanic, 10 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &check.Check{ID: "a", Timeout: time.Second, Probe: parts{tc.spread}}
				start := time.Now()
				var r check.Result
				newMeter(newFakeClock().clock()).run(t.Context(), c, &r)
				if took := time.Since(start); took != tc.took || r.Verdict != tc.verdict || r.Reason.Code != tc.code {
					t.Errorf("%s %v after %v", r.Verdict, r.Reason, took)
				}
			})
		})
	}
}

// TestSpreadStalls takes what failed for want of time while the process was held
// up for unknown in each part, and so in what they make together.
func TestSpreadStalls(t *testing.T) {
	const ms = time.Millisecond
	for name, spread := range map[string]func(check.SpreadPart, check.SpreadPart) check.Spread{
		"needed": func(a, b check.SpreadPart) check.Spread {
			return check.Spread{Need: 2, Parts: []check.SpreadPart{a, b}}
		},
		"whole": func(a, b check.SpreadPart) check.Spread {
			return check.Spread{Whole: takes(ms), Parts: []check.SpreadPart{a, b}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMeter(newFakeClock().clock())
				held := probeFunc(func(context.Context) check.Observation {
					m.watch.mu.Lock()
					m.watch.last -= time.Second + beat
					m.watch.mu.Unlock()
					m.watch.look()
					return failure(check.ConnectTimeout, "no answer")
				})
				c := &check.Check{ID: "a", Timeout: time.Second, Probe: parts{spread(check.SpreadPart{Name: "a", Probe: held}, check.SpreadPart{Name: "b", Probe: takes(ms)})}}
				var r check.Result
				m.run(t.Context(), c, &r)
				if r.Verdict != check.Unknown || r.Reason.Code != check.LocalOverload {
					t.Errorf("%s %v", r.Verdict, r.Reason)
				}
				if a, b := r.Parts[0], r.Parts[1]; a.Verdict != check.Unknown || a.Reason.Code != check.LocalOverload || b.Verdict != check.Up {
					t.Errorf("%s %v, %s", a.Verdict, a.Reason, b.Verdict)
				}
			})
		})
	}
}
