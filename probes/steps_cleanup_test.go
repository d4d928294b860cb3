package probes

import (
	"context"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// TestStepsCleanupHasItsTime runs out of time and cleans up all the same.
func TestStepsCleanupHasItsTime(t *testing.T) {
	t.Parallel()
	var s *shop
	var limit time.Duration
	o := inTime(brief*4, func(d time.Duration) check.Observation {
		s, limit = newShop(t), d
		c, err := loadSteps(t, s.URL, login+"        - {name: slow, url: /slow}\n      cleanup: [{url: /slow}, {url: /bye}]\n", "")
		if err != nil {
			t.Fatal(err)
		}
		return c.Probe.Observe(timeout(t, d))
	}, func(o *check.Observation) bool { return len(s.requests()) == 4 && o.Latency < limit })
	wantFailure(t, o, check.HTTPHeaderTimeout, "step slow: ", "a fifth of the timeout")
	if o.Facts.Get("cleanup") != false || o.Because["cleanup"].Code != check.HTTPHeaderTimeout {
		t.Errorf("%v %v", o.Facts, o.Because)
	}
	if asked := s.requests(); len(asked) != 4 || asked[3] != "GET /bye" || o.Latency >= limit {
		t.Errorf("asked %q, latency %v of %v", asked, o.Latency, limit)
	}
}

// TestStepsInterrupted does not begin anything after the end.
func TestStepsInterrupted(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	c, err := loadSteps(t, s.URL, login+"      cleanup: [{url: /bye}]\n", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := c.Probe.Observe(ctx)
	wantFailure(t, o, check.LocalShutdown)
	if asked := s.requests(); len(asked) != 0 || o.Facts.Get("cleanup") != nil {
		t.Errorf("asked %q, facts %v", asked, o.Facts)
	}
}

// TestStepsInterruptedBetween cleans up what a step before the interrupt has left.
func TestStepsInterruptedBetween(t *testing.T) {
	t.Parallel()
	for attempt := 1; ; attempt++ { // there is little time for cleanup then, which a busy machine may miss
		s := newShop(t)
		c, err := loadSteps(t, s.URL, login+`
        - {name: slow, url: /slow}
      cleanup: [{url: "/bye/${steps.login.json.user.id}"}, {url: "/undo/${steps.slow.status}"}]
`, "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s.on("/slow", cancel)
		wantFailure(t, c.Probe.Observe(ctx), check.LocalShutdown)
		asked := s.requests()
		if len(asked) == 3 && asked[2] == "GET /bye/42" {
			return
		} else if len(asked) != 2 || attempt == 20 {
			t.Fatalf("asked %q", asked)
		}
	}
}

// TestStepsInterruptedCleanup makes all requests of cleanup, though an interrupt
// comes while the first of them waits for an answer.
func TestStepsInterruptedCleanup(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	c, err := loadSteps(t, s.URL, login+"      cleanup: [{url: /slow}, {url: /bye}]\n", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(timeout(t, patience))
	s.on("/slow", cancel)
	c.Probe.Observe(ctx)
	if asked := s.requests(); len(asked) != 3 || asked[2] != "GET /bye" {
		t.Errorf("asked %q", asked)
	}
}

// TestStepsCleanUpAfterAPanic makes the requests of cleanup when a defect ends the
// journey, and lets the panic go on to who makes a result of it.
func TestStepsCleanUpAfterAPanic(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	c, err := loadSteps(t, s.URL, login+`
        - {name: next, url: /next}
      cleanup: [{url: "/bye/${steps.login.json.user.id}"}]
`, "")
	if err != nil {
		t.Fatal(err)
	}
	c.Probe.(*stepsProbe).requests[1].probe = nil
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		c.Probe.Observe(timeout(t, patience))
	}()
	if asked := s.requests(); len(asked) != 2 || asked[1] != "GET /bye/42" {
		t.Errorf("asked %q", asked)
	}
}
