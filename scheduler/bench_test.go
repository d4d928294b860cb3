package scheduler

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// nothing is a sink that forgets.
type nothing struct{}

func (nothing) Put(check.Result) error { return nil }
func (nothing) Close() error           { return nil }

// instant observes without waiting.
type instant struct{}

func (instant) Observe(context.Context) check.Observation { return check.Observation{} }

// BenchmarkRun is the cost of one run without a probe: deadline, watch,
// judgement and result.
func BenchmarkRun(b *testing.B) {
	m := newMeter(systemClock())
	c := &check.Check{ID: "a", Timeout: time.Second, Probe: instant{}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var r check.Result
	b.ReportAllocs()
	for b.Loop() {
		m.run(ctx, c, &r)
	}
}

// BenchmarkLoop is the engine's cost of a run with n checks resident: the
// dispatcher's turn, a worker and the sink.
func BenchmarkLoop(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := newLoop(LoopOptions{Sink: nothing{}}, systemClock())
			checks := make([]*check.Check, n)
			for i := range checks {
				checks[i] = &check.Check{ID: fmt.Sprint("check", i), Interval: time.Duration(n) * time.Second / 36_000, Timeout: time.Second, Probe: instant{}}
			}
			l.Replace(checks)
			done := make(chan error)
			b.ReportAllocs()
			b.ResetTimer()
			go func() { done <- l.Run(context.Background()) }()
			for l.Stats().Started < uint64(b.N) {
				runtime.Gosched()
				<-time.After(time.Millisecond)
			}
			l.Stop()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			s := l.Stats()
			b.ReportMetric(float64(s.Missed), "missed")
			b.ReportMetric(float64(s.LatenessSum.Microseconds())/float64(s.Started), "late-us/op")
		})
	}
}
