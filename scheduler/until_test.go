package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

func isUp(r check.Result) bool { return r.Verdict == check.Up }

func isDown(r check.Result) bool { return r.Verdict == check.Down }

var refused = failure(check.ConnectRefused, "nothing listens there")

// upAfter fails until d has passed, and notes when it was asked.
func upAfter(d time.Duration, asked *[]time.Duration) probeFunc {
	begin := time.Now()
	var mu sync.Mutex
	return func(context.Context) check.Observation {
		mu.Lock()
		defer mu.Unlock()
		now := time.Since(begin)
		if asked != nil {
			*asked = append(*asked, now)
		}
		if now < d {
			return refused
		}
		return check.Observation{}
	}
}

// until runs it and returns the results by id.
func until(t *testing.T, ctx context.Context, u *Until, checks ...*check.Check) map[string]check.Result {
	t.Helper()
	var sink memory
	if err := u.Run(ctx, checks, &sink); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]check.Result)
	for _, r := range sink.results {
		all[r.ID] = r
	}
	if len(all) != len(checks) || len(sink.results) != len(checks) {
		t.Fatalf("%d results of %d checks for %d checks", len(sink.results), len(all), len(checks))
	}
	return all
}

func TestUntilBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Duration
		c := &check.Check{ID: "a", Retry: check.Retry{Attempts: 5, Wait: time.Hour}, Probe: upAfter(3*time.Second, &asked)}
		seen := 0
		r := until(t, t.Context(), &Until{Reached: isUp, For: time.Minute, Attempted: func(got *check.Check, r check.Result) {
			if seen++; got != c || r.Attempts != seen {
				t.Errorf("attempt %d is told as %d", seen, r.Attempts)
			}
		}}, c)["a"]
		const ms = time.Millisecond
		want := []time.Duration{0, 50 * ms, 150 * ms, 350 * ms, 750 * ms, 1550 * ms, 2550 * ms, 3550 * ms}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Error(diff)
		}
		if r.Verdict != check.Up || r.Attempts != len(want) || seen != len(want) || r.Flaky {
			t.Errorf("%d seen, %+v", seen, r)
		}
	})
}

func TestUntilEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Duration
		c := &check.Check{ID: "a", Probe: upAfter(time.Hour, &asked)}
		until(t, t.Context(), &Until{Reached: isUp, Every: 20 * time.Millisecond, For: 70 * time.Millisecond}, c)
		const ms = time.Millisecond
		if diff := cmp.Diff([]time.Duration{0, 20 * ms, 40 * ms, 60 * ms}, asked); diff != "" {
			t.Error(diff)
		}
	})
}

// Checks wait for what they depend on, by id or name, and for that alone.
func TestUntilIsOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(map[string]*[]time.Duration)
		make := func(id, name string, up time.Duration, needs ...string) *check.Check {
			asked[id] = new([]time.Duration)
			return &check.Check{ID: id, Name: name, DependsOn: needs, Probe: upAfter(up, asked[id])}
		}
		checks := []*check.Check{
			make("app", "app", 0, "db", "left out"),
			make("db[1]", "db", time.Second),
			make("db[2]", "db", 5*time.Second, "net"),
			make("one", "one", 0, "db[1]"),
			make("net", "net", 2*time.Second),
			make("free", "free", 0),
		}
		var held []string
		u := &Until{Reached: isUp, Ordered: true, For: time.Minute, Held: func(c *check.Check, by string) { held = append(held, c.ID+" by "+by) }}
		until(t, t.Context(), u, checks...)
		first := func(id string) time.Duration { return (*asked[id])[0].Round(10 * time.Millisecond) }
		last := func(id string) time.Duration {
			return (*asked[id])[len(*asked[id])-1].Round(10 * time.Millisecond)
		}
		if first("free") != 0 || first("net") != 0 || first("db[1]") != 0 {
			t.Error("a check without dependencies had to wait")
		}
		if first("one") != last("db[1]") || first("db[2]") != last("net") || first("app") != last("db[2]") {
			t.Errorf("one began after %v, db[2] after %v, app after %v", first("one"), first("db[2]"), first("app"))
		}
		slices.Sort(held)
		if diff := cmp.Diff([]string{"app by db", "db[2] by net", "one by db[1]"}, held); diff != "" {
			t.Error(diff)
		}

		u.Ordered, held = false, nil
		if until(t, t.Context(), u, checks...); len(held) > 0 {
			t.Errorf("without an order, %v were held", held)
		}
	})
}

func TestUntilTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		asked := false
		n := 0
		results := until(t, t.Context(), &Until{Reached: isUp, Ordered: true, For: 10 * time.Second},
			&check.Check{ID: "up", Probe: takes(time.Second)},
			&check.Check{ID: "down", Probe: upAfter(time.Hour, nil)},
			&check.Check{ID: "behind", DependsOn: []string{"down"}, Probe: probeFunc(func(context.Context) check.Observation {
				asked = true
				return check.Observation{}
			})},
			&check.Check{ID: "black", Timeout: 4 * time.Second, Probe: takes(time.Hour)},
			&check.Check{ID: "black from the start", Timeout: time.Minute, Probe: takes(time.Hour)},
			// Its last attempt is cut short.
			&check.Check{ID: "slow", Timeout: time.Minute, Probe: probeFunc(func(ctx context.Context) check.Observation {
				if n++; n < 3 {
					wait(4 * time.Second)
					return refused
				}
				return takes(time.Hour)(ctx)
			})},
		)
		if took := time.Since(begin); took != 10*time.Second || asked {
			t.Errorf("it took %v; asked what is behind: %t", took, asked)
		}
		for id, want := range map[string]struct {
			verdict  check.Verdict
			code     check.Code
			attempts int
		}{
			"up":                   {check.Up, "", 1},
			"down":                 {check.Down, check.ConnectRefused, 14},
			"behind":               {check.Unknown, check.LocalShutdown, 0},
			"black":                {check.Down, check.ConnectTimeout, 2},
			"black from the start": {check.Down, check.ConnectTimeout, 1},
			"slow":                 {check.Down, check.ConnectRefused, 2},
		} {
			if r := results[id]; r.Verdict != want.verdict || r.Reason.Code != want.code || r.Attempts != want.attempts {
				t.Errorf("%s: %s %v after %d attempts, want %+v", id, r.Verdict, r.Reason, r.Attempts, want)
			}
		}
		if r := results["behind"]; !strings.Contains(r.Reason.Message, "waits for down") {
			t.Errorf("%v", r.Reason)
		}
	})
}

// Neither what sonde could not measure nor an attempt that had too little time
// shows that a target is down.
func TestUntilDownIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := until(t, t.Context(), &Until{Reached: isDown, For: 12 * time.Second},
			&check.Check{ID: "goes", Probe: inTurn(check.Observation{}, check.Observation{}, refused)},
			&check.Check{ID: "unknown", Probe: inTurn(check.Observation{}, failure(check.LocalResolver, "no resolver answers"))},
			&check.Check{ID: "hangs at last", Timeout: 10 * time.Second, Probe: inTurnFunc(takes(5*time.Second), takes(time.Hour))},
		)
		for id, want := range map[string]check.Verdict{"goes": check.Down, "unknown": check.Unknown, "hangs at last": check.Up} {
			if r := results[id]; r.Verdict != want {
				t.Errorf("%s: %+v", id, r)
			}
		}
	})
}

// inTurnFunc observes with the first, the second ... of the list, and then the
// last.
func inTurnFunc(list ...probeFunc) probeFunc {
	n := -1
	return func(ctx context.Context) check.Observation {
		n = min(n+1, len(list)-1)
		return list[n](ctx)
	}
}

// TestUntilSamples tries whole samples: one that is down ends early and is
// followed by another, and one that the end of the wait cuts short proves
// nothing.
func TestUntilSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		samples := check.Samples{Count: 4, Spacing: time.Second, Pass: 1}
		var asked []time.Duration
		results := until(t, t.Context(), &Until{Reached: isUp, For: 10 * time.Second},
			&check.Check{ID: "later", Samples: samples, Probe: upAfter(2*time.Second, &asked)},
			&check.Check{ID: "too slow", Samples: check.Samples{Count: 9, Spacing: 3 * time.Second, Pass: 1}, Probe: takes(0)},
			&check.Check{ID: "cut short", Samples: samples, Timeout: time.Minute, Probe: inTurnFunc(upAfter(time.Hour, nil), takes(time.Hour))},
			&check.Check{ID: "hangs", Samples: samples, Timeout: time.Minute, Probe: takes(time.Hour)},
		)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("it took %v", took)
		}
		for id, want := range map[string]struct {
			verdict         check.Verdict
			code            check.Code
			attempts, taken int
		}{
			"later":     {check.Up, "", 7, 4},
			"too slow":  {check.Unknown, check.LocalShutdown, 1, 4},
			"cut short": {check.Down, check.ConnectRefused, 1, 1},
			"hangs":     {check.Unknown, check.LocalShutdown, 1, 0},
		} {
			r := results[id]
			if r.Verdict != want.verdict || r.Reason.Code != want.code || r.Attempts != want.attempts || len(r.Sample.Points) != want.taken {
				t.Errorf("%s: %s %v after %d attempts with %d observations, want %+v", id, r.Verdict, r.Reason, r.Attempts, len(r.Sample.Points), want)
			}
		}
		const ms = time.Millisecond
		want := []time.Duration{0, 50 * ms, 150 * ms, 350 * ms, 750 * ms, 1550 * ms, 2550 * ms, 3550 * ms, 4550 * ms, 5550 * ms}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Error(diff)
		}
	})
}

func TestUntilIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(errors.New("somebody said so")) })
		results := until(t, ctx, &Until{Reached: isUp, Ordered: true},
			&check.Check{ID: "down", Probe: upAfter(time.Hour, nil)},
			&check.Check{ID: "behind", DependsOn: []string{"down"}, Probe: takes(0)},
			&check.Check{ID: "first", Timeout: time.Minute, Probe: takes(time.Hour)},
			&check.Check{ID: "second", Timeout: time.Minute, Probe: inTurnFunc(upAfter(time.Hour, nil), takes(time.Hour))},
		)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		for id, want := range map[string]check.Code{
			"down": check.ConnectRefused, "behind": check.LocalShutdown, "first": check.LocalShutdown, "second": check.ConnectRefused,
		} {
			if r := results[id]; r.Reason.Code != want {
				t.Errorf("%s: %+v", id, r)
			}
		}
		if m := results["first"].Reason.Message; !strings.Contains(m, "somebody said so") {
			t.Error(m)
		}
	})
}

func TestUntilBoundsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		begin := time.Now()
		probe := probeFunc(func(context.Context) check.Observation {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			wait(10 * time.Millisecond)
			mu.Lock()
			now--
			mu.Unlock()
			if time.Since(begin) < 2*time.Second {
				return refused
			}
			return check.Observation{}
		})
		var checks []*check.Check
		for i := range 40 {
			checks = append(checks, &check.Check{ID: fmt.Sprint(i), Probe: probe})
		}
		until(t, t.Context(), &Until{Reached: isUp, Concurrency: 5}, checks...)
		if most != 5 {
			t.Errorf("%d at once", most)
		}
	})
}

func TestUntilEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until(t, t.Context(), &Until{Reached: isUp})
		c, probe := closableCheck("a")
		sink := memory{err: errors.New("full")}
		u := &Until{Reached: isUp}
		if err := u.Run(t.Context(), []*check.Check{c}, &sink); !errors.Is(err, sink.err) || probe.closed != 1 {
			t.Errorf("closed %d times, error %v", probe.closed, err)
		}
		panics := &check.Check{ID: "p", Probe: probeFunc(func(context.Context) check.Observation { panic("boo") })}
		if r := until(t, t.Context(), &Until{Reached: isUp, For: time.Second}, panics)["p"]; r.Reason.Code != check.LocalPanic {
			t.Errorf("%+v", r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := until(t, ctx, u, &check.Check{ID: "late", Probe: takes(0)})["late"]; r.Reason.Code != check.LocalShutdown || r.Attempts != 0 {
			t.Errorf("%+v", r)
		}
	})
}
