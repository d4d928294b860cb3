package scheduler

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAttemptContext holds the context of an attempt to one of package context,
// however its end comes and whoever waits for it.
func TestAttemptContext(t *testing.T) {
	type end func(cancelRun, cancelOwn func())
	for name, c := range map[string]struct {
		end  end
		want error
	}{
		"deadline":  {func(_, _ func()) { time.Sleep(2 * time.Second) }, context.DeadlineExceeded},
		"run":       {func(run, _ func()) { run() }, context.Canceled},
		"over":      {func(_, own func()) { own() }, context.Canceled},
		"run first": {func(run, _ func()) { run(); time.Sleep(2 * time.Second) }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run, cancel := context.WithCancel(t.Context())
				defer cancel()
				deadline := time.Now().Add(time.Second)
				silent := &attemptContext{Context: run, deadline: deadline} // nobody waits
				waited := &attemptContext{Context: run, deadline: deadline}
				defer waited.end(context.Canceled)
				child, stop := context.WithCancel(waited)
				defer stop()
				called := 0
				waited.AfterFunc(func() { called++ })
				if !waited.AfterFunc(func() { t.Error("called though stopped") })() {
					t.Error("nothing to stop")
				}
				if d, ok := waited.Deadline(); !ok || !d.Equal(deadline) || waited.Err() != nil || silent.Err() != nil {
					t.Errorf("deadline %v, errors %v, %v", d, waited.Err(), silent.Err())
				}
				select {
				case <-waited.Done():
					t.Fatal("it has ended")
				default:
				}
				c.end(cancel, func() { waited.end(context.Canceled); silent.end(context.Canceled) })
				<-waited.Done()
				<-child.Done()
				<-silent.Done()
				synctest.Wait()
				for _, err := range []error{waited.Err(), child.Err(), silent.Err()} {
					if !errors.Is(err, c.want) {
						t.Errorf("%v, want %v", err, c.want)
					}
				}
				if called != 1 {
					t.Errorf("called %d times", called)
				}
				late := make(chan bool)
				if waited.AfterFunc(func() { close(late) })() {
					t.Error("what was begun after the end can be stopped")
				}
				<-late
			})
		})
	}
}
