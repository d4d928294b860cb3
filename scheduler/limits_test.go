package scheduler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

func TestLimits(t *testing.T) {
	for _, tc := range []struct {
		name    string
		limits  Limits
		most    int // at once
		perHost int // at once for one host
	}{
		{"in all", Limits{InFlight: 7}, 7, 7},
		{"per host", Limits{InFlight: 100, PerHost: 2}, 8, 2},
		{"both", Limits{InFlight: 5, PerHost: 2}, 5, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				hosts, all, most, mostHost := map[string]int{}, 0, 0, 0
				var checks []*check.Check
				for i := range 400 {
					host := fmt.Sprint("host", i%4)
					checks = append(checks, &check.Check{ID: fmt.Sprint(i), Host: host, Interval: 100 * time.Second, Timeout: time.Minute,
						Probe: probeFunc(func(context.Context) check.Observation {
							mu.Lock()
							all++
							hosts[host]++
							most, mostHost = max(most, all), max(mostHost, hosts[host])
							mu.Unlock()
							wait(3 * time.Second)
							mu.Lock()
							all--
							hosts[host]--
							mu.Unlock()
							return check.Observation{}
						})})
				}
				l := startLoop(t, LoopOptions{Limits: tc.limits}, checks...)
				wait(10 * time.Minute)
				results := l.end(t)
				if most != tc.most || mostHost > tc.perHost {
					t.Errorf("%d at once, %d for a host; want %d and %d", most, mostHost, tc.most, tc.perHost)
				}
				slotsAreAccountedFor(t, results)
			})
		})
	}
}

// slotsAreAccountedFor checks that between two results of a check lie as many
// slots as the second calls missed.
func slotsAreAccountedFor(t *testing.T, results []check.Result) {
	t.Helper()
	for id, runs := range byID(results) {
		for i := 1; i < len(runs); i++ {
			slots := runs[i].Scheduled.Sub(runs[i-1].Scheduled).Round(10*time.Millisecond) / (100 * time.Second)
			if int(slots) != runs[i].Missed+1 || runs[i].Queued >= 100*time.Second+time.Millisecond {
				t.Errorf("%s: %d slots after the run before, %d missed, queued %v", id, slots, runs[i].Missed, runs[i].Queued)
			}
		}
	}
}

func TestRatePerHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checks := many(120, check.Check{ID: "a", Host: "one", Interval: time.Minute, Probe: takes(0)})
		l := startLoop(t, LoopOptions{Limits: Limits{PerHostRate: 1}}, checks...)
		wait(10 * time.Minute)
		results := l.end(t)
		if n := len(results); n < 590 || n > 601 {
			t.Errorf("%d runs in 600 s at one a second", n)
		}
		var last time.Time
		for _, r := range results {
			if d := r.Started.Sub(last); d < 990*time.Millisecond {
				t.Errorf("%v between two runs", d)
			}
			last = r.Started
		}
		if s := l.Stats(); s.Missed < 400 {
			t.Errorf("%d missed, want about as many as runs", s.Missed)
		}
	})
}

// Half of the targets swallow every packet until the timeout, more than there
// are places for.
func TestAnOutageDoesNotSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		healthy := many(200, check.Check{ID: "healthy", Interval: 10 * time.Second, Timeout: 5 * time.Second, Probe: takes(20 * time.Millisecond)})
		black := many(200, check.Check{ID: "black", Interval: 10 * time.Second, Timeout: 5 * time.Second, Probe: takes(time.Hour)})
		l := startLoop(t, LoopOptions{Limits: Limits{InFlight: 60}}, append(healthy, black...)...)
		wait(5 * time.Minute)
		var late []time.Duration
		for _, r := range l.end(t) {
			if r.ID[0] == 'h' {
				// In the first minute the outage is not known yet.
				if r.Scheduled.Sub(begin) > time.Minute {
					late = append(late, r.Queued)
				}
			} else if r.Verdict == check.Up {
				t.Errorf("%+v", r)
			}
		}
		slices.Sort(late)
		if p99 := late[len(late)*99/100]; p99 > 100*time.Millisecond {
			t.Errorf("p99 of the healthy ones' lateness is %v", p99)
		}
		if len(late) < 200*23 {
			t.Errorf("%d healthy runs of 4800", len(late))
		}
	})
}

func TestPlacesShrinkWithoutDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		probe := probeFunc(func(context.Context) check.Observation {
			wait(time.Second)
			if time.Since(begin) < time.Minute {
				return failure(check.LocalFD, "too many open files")
			}
			return check.Observation{}
		})
		l := startLoop(t, LoopOptions{Limits: Limits{InFlight: 64}}, many(64, check.Check{ID: "a", Interval: time.Second, Probe: probe})...)
		wait(time.Minute)
		if w := l.Stats().Width; w > 8 {
			t.Errorf("%d places after a minute without descriptors", w)
		}
		wait(10 * time.Minute)
		if w := l.Stats().Width; w != 64 {
			t.Errorf("%d places after ten good minutes", w)
		}
		l.end(t)
	})
}

// Checks of a kind at its limit wait, and the others do not, those to the same
// host included.
func TestLimitPerKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		slow := probeFunc(func(context.Context) check.Observation {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			wait(3 * time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return check.Observation{}
		})
		checks := many(200, check.Check{ID: "slow", Kind: "icmp", Host: "one", Interval: 100 * time.Second, Timeout: time.Minute, Probe: slow})
		checks = append(checks, many(200, check.Check{ID: "quick", Kind: "http", Host: "one", Interval: 100 * time.Second, Probe: takes(20 * time.Millisecond)})...)
		l := startLoop(t, LoopOptions{Limits: Limits{PerHost: 60, Kinds: map[string]int{"icmp": 5, "dns": 0}}}, checks...)
		wait(10 * time.Minute)
		results := l.end(t)
		if most != 5 {
			t.Errorf("%d of the kind at once, want 5", most)
		}
		runs := map[string]int{}
		for _, r := range results {
			runs[r.Kind]++
			if r.Kind == "http" && (r.Queued > time.Millisecond || r.Missed > 0) {
				t.Errorf("%s waited %v and missed %d for another kind's limit", r.ID, r.Queued, r.Missed)
			}
		}
		// 5 places for 3 s each.
		if runs["icmp"] < 980 || runs["icmp"] > 1000 || runs["http"] < 1190 {
			t.Errorf("%v runs", runs)
		}
		slotsAreAccountedFor(t, results)
	})
}

// Every limit is at work, and checks come, go and change their kind and host:
// no place is lost.
func TestLimitsGiveAllPlacesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := func(round int) []*check.Check {
			var checks []*check.Check
			for i := range 120 {
				if (i+round)%7 > 0 {
					checks = append(checks, &check.Check{
						ID: fmt.Sprint(i), Kind: fmt.Sprint("kind", (i+round)%3), Host: fmt.Sprint("host", (i+round/2)%5),
						Interval: 10 * time.Second, Timeout: 4 * time.Second, Probe: takes(time.Duration(1+i%6) * time.Second),
					})
				}
			}
			return checks
		}
		l := startLoop(t, LoopOptions{Limits: Limits{InFlight: 20, PerHost: 6, PerHostRate: 3, Kinds: map[string]int{"kind0": 4, "kind1": 8}}}, set(0)...)
		for round := range 100 {
			wait(1700 * time.Millisecond)
			l.Replace(set(round))
		}
		l.Replace(nil)
		wait(time.Minute)
		l.mu.Lock()
		for name, k := range l.kinds {
			if k.inFlight != 0 || k.suspects != 0 || k.healthy.len() != 0 || k.down.len() != 0 {
				t.Errorf("%s: %+v", name, k)
			}
		}
		if l.all.inFlight != 0 || l.stats.Waiting != 0 {
			t.Errorf("%+v", l.stats)
		}
		l.mu.Unlock()
		l.end(t)
	})
}

// An outage of most targets of a kind leaves room in its limit for the others.
func TestAnOutageDoesNotSpreadInsideAKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		healthy := many(50, check.Check{ID: "healthy", Kind: "icmp", Interval: 10 * time.Second, Timeout: 5 * time.Second, Probe: takes(20 * time.Millisecond)})
		black := many(200, check.Check{ID: "black", Kind: "icmp", Interval: 10 * time.Second, Timeout: 5 * time.Second, Probe: takes(time.Hour)})
		l := startLoop(t, LoopOptions{Limits: Limits{Kinds: map[string]int{"icmp": 20}}}, append(healthy, black...)...)
		wait(5 * time.Minute)
		for _, r := range l.end(t) {
			// The outage is not known before each has run once.
			if r.ID[0] == 'h' && r.Scheduled.Sub(begin) > 2*time.Minute && r.Queued > 100*time.Millisecond {
				t.Errorf("%s waited %v", r.ID, r.Queued)
			}
		}
	})
}

// A run that waited for a run's end, and must then wait for its host's rate,
// wakes the dispatcher, which sleeps until something else is due.
func TestRateAfterAWaitIsNotLate(t *testing.T) {
	const gap = 25 * time.Second // between two runs
	for name, limits := range map[string]Limits{
		"per host": {PerHost: 1, PerHostRate: 1 / gap.Seconds()},
		"kind":     {Kinds: map[string]int{"tcp": 1}, PerHostRate: 1 / gap.Seconds()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var checks []*check.Check
				// Their slots drift against each other, so that they meet.
				for _, interval := range []time.Duration{90 * time.Second, 100 * time.Second, 110 * time.Second} {
					checks = append(checks, &check.Check{ID: interval.String(), Kind: "tcp", Host: "one", Interval: interval, Timeout: time.Minute, Probe: takes(20 * time.Second)})
				}
				l := startLoop(t, LoopOptions{Limits: limits}, checks...)
				wait(time.Hour)
				waited := 0
				var before time.Time // when the run before began
				for _, r := range l.end(t) {
					at := r.Scheduled
					if ready := before.Add(gap); ready.After(at) {
						at, waited = ready, waited+1
					}
					if late := r.Started.Sub(at); late > 10*time.Millisecond {
						t.Errorf("%s began %v after it could", r.ID, late)
					}
					before = r.Started
				}
				if waited < 10 {
					t.Errorf("%d runs waited, too few to tell", waited)
				}
			})
		})
	}
}

// However many runs end, the places come back with time only.
func TestPlacesComeBackSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var once sync.Once
		begin := time.Now()
		probe := probeFunc(func(context.Context) check.Observation {
			wait(20 * time.Millisecond)
			var o check.Observation
			if time.Since(begin) > 3*time.Second {
				once.Do(func() { o = failure(check.LocalFD, "too many open files") })
			}
			return o
		})
		const most = 640 // 10 more at a time
		l := startLoop(t, LoopOptions{Limits: Limits{InFlight: most}}, many(400, check.Check{ID: "a", Interval: 100 * time.Millisecond, Probe: probe})...)
		for l.Stats().Width == most && time.Since(begin) < time.Minute {
			wait(time.Millisecond)
		}
		halved, least := time.Now(), l.Stats().Width
		if least > 100 {
			t.Fatalf("%d places after descriptors ran out, about 80 were in use", least)
		}
		for l.Stats().Width < most && time.Since(halved) < time.Minute {
			wait(10 * time.Millisecond)
			// The first step may come when the second is over.
			since := time.Since(halved) + 10*time.Millisecond
			bound := least
			if since >= time.Second {
				bound += 10 * (1 + int((since-time.Second)/(100*time.Millisecond)))
			}
			if w := l.Stats().Width; w > bound {
				t.Fatalf("%d places %v after there were %d", w, since, least)
			}
		}
		if took := time.Since(halved); took > 15*time.Second {
			t.Errorf("all places are back after %v", took)
		}
		l.end(t)
	})
}

func TestGateOpensSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(64)
		run := func(exhausted bool) {
			g.enter(t.Context())
			g.leave(exhausted)
		}
		run(true)
		for tenths := range 70 {
			for range 100 {
				run(false)
			}
			if want := min(1+tenths, 64); g.width != want {
				t.Fatalf("%d places after %d tenths of a second, want %d", g.width, tenths, want)
			}
			wait(growEvery)
		}
	})
}
