package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// closable counts how often it was closed.
type closable struct {
	instant
	closed int
}

func (c *closable) Close() error {
	c.closed++
	return nil
}

func closableCheck(id string) (*check.Check, *closable) {
	p := new(closable)
	return &check.Check{ID: id, Interval: time.Second, Probe: p}, p
}

func TestOnceClosesItsChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, probe := closableCheck("a")
		b := &check.Check{ID: "b", Probe: instant{}}
		var once Once
		if err := once.Run(context.Background(), []*check.Check{a, b}, nothing{}); err != nil || probe.closed != 1 {
			t.Errorf("closed %d times, error %v", probe.closed, err)
		}
	})
}

func TestLoopClosesWhatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, goneProbe := closableCheck("gone")
		old, oldProbe := closableCheck("changed")
		changed, changedProbe := closableCheck("changed")
		stays, staysProbe := closableCheck("stays")
		l := newLoop(LoopOptions{Sink: nothing{}}, systemClock())
		l.Replace([]*check.Check{gone, old, stays})
		done := make(chan error)
		go func() { done <- l.Run(context.Background()) }()
		<-time.After(time.Minute)
		l.Replace([]*check.Check{changed, stays})
		if goneProbe.closed != 1 || oldProbe.closed != 1 || changedProbe.closed != 0 || staysProbe.closed != 0 {
			t.Errorf("after Replace: gone %d, old %d, changed %d, stays %d", goneProbe.closed, oldProbe.closed, changedProbe.closed, staysProbe.closed)
		}
		l.Stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if goneProbe.closed != 1 || oldProbe.closed != 1 || changedProbe.closed != 1 || staysProbe.closed != 1 {
			t.Errorf("at the end: gone %d, old %d, changed %d, stays %d", goneProbe.closed, oldProbe.closed, changedProbe.closed, staysProbe.closed)
		}
	})
}
