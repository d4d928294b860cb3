package scheduler

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// inPairs is A, B, B, A, A, B ...
func inPairs(n int) []bool {
	var order []bool
	for i := range n {
		order = append(order, i%2 == 1, i%2 == 0)
	}
	return order
}

// observing is a check of n observations that must all pass.
func observing(id string, n int, spacing time.Duration, p check.Probe) *check.Check {
	return &check.Check{ID: id, Probe: p, Timeout: time.Second, Samples: check.Samples{Count: n, Spacing: spacing, Pass: 1}}
}

func TestPairsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var turns []string
		side := func(name string, d time.Duration) probeFunc {
			return func(ctx context.Context) check.Observation {
				turns = append(turns, name+" "+time.Since(began).String())
				return takes(d)(ctx)
			}
		}
		a, b := observing("a", 3, 100*time.Millisecond, side("a", 10*time.Millisecond)), observing("b", 3, time.Hour, side("b", 150*time.Millisecond))
		var seen []string
		run := Pairs{
			Order:   inPairs,
			OnStart: func(c *check.Check) { seen = append(seen, "start "+c.ID) },
			OnEnd:   func(r check.Result) { seen = append(seen, "end "+r.ID) },
		}
		got := run.Run(t.Context(), [][2]*check.Check{{a, b}})[0]
		// What takes longer than the spacing is followed at once.
		want := []string{"a 0s", "b 100ms", "b 250ms", "a 400ms", "a 500ms", "b 600ms"}
		if diff := cmp.Diff(want, turns); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"start a", "start b", "end a", "end b"}, seen); diff != "" {
			t.Error(diff)
		}
		for i, r := range got {
			if r.Verdict != check.Up || len(r.Sample.Points) != 3 || r.Sample.Early || r.Latency != []time.Duration{10, 150}[i]*time.Millisecond {
				t.Errorf("%s: %s after %d of latency %s", r.ID, r.Verdict, len(r.Sample.Points), r.Latency)
			}
		}
	})
}

// TestPairsLeaveTheDeadAlone shows that a dead side costs one timeout and that
// the other's sample is whole.
func TestPairsLeaveTheDeadAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		a, b := observing("a", 40, 0, takes(time.Millisecond)), observing("b", 40, 0, takes(time.Hour))
		run := Pairs{Order: inPairs}
		got := run.Run(t.Context(), [][2]*check.Check{{a, b}})[0]
		if took := time.Since(began); took != time.Second+40*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		if got[0].Verdict != check.Up || len(got[0].Sample.Points) != 40 {
			t.Errorf("a is %s after %d", got[0].Verdict, len(got[0].Sample.Points))
		}
		if got[1].Verdict != check.Down || len(got[1].Sample.Points) != 1 || !got[1].Sample.Early {
			t.Errorf("b is %s after %d, early %v", got[1].Verdict, len(got[1].Sample.Points), got[1].Sample.Early)
		}
	})
}

func TestPairsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(25*time.Millisecond, func() { cancel(errors.New("enough")) })
		var pairs [][2]*check.Check
		for _, id := range []string{"first", "second"} {
			pairs = append(pairs, [2]*check.Check{
				observing(id, 40, 0, takes(10*time.Millisecond)), observing(id, 40, 0, takes(10*time.Millisecond)),
			})
		}
		run := Pairs{Order: inPairs}
		results := run.Run(ctx, pairs)
		for i, both := range results {
			for _, r := range both {
				if r.Verdict != check.Unknown || r.Reason.Code != check.LocalShutdown || !strings.Contains(r.Reason.Message, "enough") || r.ID != pairs[i][0].ID {
					t.Errorf("%s is %s: %+v", r.ID, r.Verdict, r.Reason)
				}
			}
		}
	})
}

func TestPairsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var pairs [][2]*check.Check
		for range 4 {
			pairs = append(pairs, [2]*check.Check{observing("a", 5, 0, takes(time.Second/2)), observing("b", 5, 0, takes(time.Second/2))})
		}
		run := Pairs{Order: inPairs, Concurrency: 2}
		run.Run(t.Context(), pairs)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestPairsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(closable), new(closable)
		run := Pairs{Order: inPairs}
		run.Run(t.Context(), [][2]*check.Check{{observing("a", 2, 0, a), observing("b", 2, 0, b)}})
		if a.closed != 1 || b.closed != 1 {
			t.Errorf("closed %d and %d times", a.closed, b.closed)
		}
	})
}
