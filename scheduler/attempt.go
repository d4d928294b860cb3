package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// DefaultTimeout is the time of one attempt for a check that has none.
const DefaultTimeout = 5 * time.Second

// Limits of what an attempt may suffer before its failure is blamed on us.
const (
	stopped    = 5 * time.Second        // held up so long, the process was stopped rather than busy
	slack      = 250 * time.Millisecond // by which a probe may return after its deadline
	overshare  = 5                      // held up for more than a fifth of the timeout ...
	leastStall = 100 * time.Millisecond // ... and for longer than this
)

// meter makes runs: attempts, retries and what the process itself did to them.
type meter struct {
	watch *watch
}

func newMeter(c *clock) *meter {
	return &meter{watch: newWatch(c)}
}

// run measures the check, with its retries or its samples, and fills r. A result that is good
// after a failed attempt is flaky, unless that failure was our own. ctx must not have a
// deadline: to the probe, one that passes would be the target's fault.
func (m *meter) run(ctx context.Context, c *check.Check, r *check.Result) {
	if c.Samples.Many() {
		m.sample(ctx, c, r)
		return
	}
	var failed []check.Attempt
	for n := 1; ; n++ {
		m.attempt(ctx, c, Timeout(c), r)
		r.Attempts, r.Failed = n, failed
		if r.Verdict == check.Up || r.Verdict == check.Degraded {
			r.Flaky = slices.ContainsFunc(failed, func(f check.Attempt) bool { return !f.Code.Local() })
			return
		}
		if n >= c.Retry.Attempts || r.Reason.Code == check.LocalShutdown {
			return
		}
		failed = append(failed, check.Attempt{Reason: r.Reason, Latency: r.Latency})
		if !pause(ctx, c.Retry.Delay(n)) {
			r.Verdict, r.Failed = check.Unknown, failed
			r.Reason = check.Reason{
				Code:    check.LocalShutdown,
				Message: fmt.Sprintf("cut short before attempt %d: %s; attempt %d: %s", n+1, endWords(ctx), n, r.Reason.Message),
			}
			return
		}
	}
}

// pause waits and reports whether ctx left it the time.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// attempt makes one attempt. It reports whether a failure stopped the probe.
func (m *meter) attempt(ctx context.Context, c *check.Check, timeout time.Duration, r *check.Result) bool {
	mark := m.watch.begin()
	defer m.watch.end()
	started := time.Now()
	failed := m.observe(ctx, c, timeout, func(r *check.Result) {
		if r.Verdict == check.Down {
			m.excuse(c, r, timeout, time.Since(started), mark)
		}
	}, r)
	r.Started = m.watch.clock.wall().Add(-time.Since(started))
	return failed
}

// observe lets the probe look, judges what it saw, and excuses it where this
// process is to blame. A panic of either is a result too. It reports whether a
// failure stopped the probe.
func (m *meter) observe(ctx context.Context, c *check.Check, timeout time.Duration, excuse func(*check.Result), r *check.Result) bool {
	defer recovered(c, r)
	actx := &attemptContext{Context: ctx, deadline: time.Now().Add(timeout)}
	defer actx.end(context.Canceled)
	if spreader, ok := c.Probe.(check.Spreader); ok {
		return m.spread(ctx, actx, c, spreader, excuse, r)
	}
	o := c.Probe.Observe(actx)
	unlessCut(ctx, &o)
	*r = c.Result(&o, c.Judge(&o))
	excuse(r)
	return !o.Failure.IsZero()
}

// unlessCut makes the failure of a probe that was interrupted the interruption,
// whatever the probe took it for.
func unlessCut(ctx context.Context, o *check.Observation) {
	if !o.Failure.IsZero() && ctx.Err() != nil {
		o.Failure = check.Reason{Code: check.LocalShutdown, Message: "cut short: " + endWords(ctx)}
	}
}

// recovered, deferred, makes a result of a panic.
func recovered(c *check.Check, r *check.Result) {
	if p := recover(); p != nil {
		*r = c.Result(&check.Observation{}, check.Judgement{Reason: panicReason(p)})
	}
}

// panicReason words a panic in one line, without its stack.
func panicReason(p any) check.Reason {
	line, _, _ := strings.Cut(fmt.Sprint(p), "\n")
	return check.Reason{Code: check.LocalPanic, Message: "sonde has a defect, please report it: panic: " + line}
}

// excuse makes a failure unknown when this process was in no state to measure.
func (m *meter) excuse(c *check.Check, r *check.Result, timeout, took time.Duration, at mark) {
	stalled, slept, stepped := m.watch.since(at)
	late := took - timeout
	var code check.Code
	var words string
	switch {
	case slept > 0:
		code, words = check.LocalSuspended, "the machine was suspended for "+check.FormatDuration(slept)
	case stalled >= stopped:
		code, words = check.LocalSuspended, "sonde was stopped for "+check.FormatDuration(stalled)
	case !timely(r.Reason.Code):
	case stalled > max(timeout/overshare, leastStall):
		code, words = check.LocalOverload, "the machine was too busy, sonde was held up for "+check.FormatDuration(stalled)
	case late > slack && late > timeout/overshare:
		code, words = check.LocalOverload, "the machine was too busy, the run ended "+check.FormatDuration(late)+" late"
	}
	if code == "" && stepped > 0 && (r.Reason.Code == check.TLSExpired || r.Reason.Code == check.TLSNotYetValid) {
		code, words = check.LocalClock, "the clock was set by "+check.FormatDuration(stepped)
	}
	if code == "" {
		return
	}
	r.Verdict = check.Unknown
	r.Reason = check.Reason{Code: code, Message: fmt.Sprintf("%s during the run, which failed with %s: %s", words, r.Reason.Code, r.Reason.Message)}
}

// timely reports whether the failure is one of time, which a busy machine can
// bring about. A refused connection is refused however busy we are.
func timely(code check.Code) bool {
	s := string(code)
	return strings.HasSuffix(s, "timeout") || code == check.ICMPLoss || s == "expect.dialogue" || s == "expect.banner" ||
		strings.HasPrefix(s, "expect.latency") || strings.HasPrefix(s, "expect.phase.") || strings.HasPrefix(s, "expect.rtt.")
}

// endWords says why ctx ended.
func endWords(ctx context.Context) string {
	switch cause := context.Cause(ctx); {
	case cause == nil, errors.Is(cause, context.Canceled):
		return "interrupted"
	case errors.Is(cause, context.DeadlineExceeded):
		return "the time for the whole run is over"
	default:
		return cause.Error()
	}
}

// withoutDeadline returns a context that ends when ctx does, with the same
// cause, but has no deadline and is always cancelled, never exceeded.
func withoutDeadline(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	if ctx.Err() != nil {
		cancel(context.Cause(ctx))
	}
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return inner, func(cause error) {
		stop()
		cancel(cause)
	}
}

// notRun is the result of a check whose run never began.
func notRun(c *check.Check, message string, r *check.Result) {
	*r = c.Result(&check.Observation{}, check.Judgement{Reason: check.Reason{Code: check.LocalShutdown, Message: message}})
	r.Attempts = 0
	r.Started = time.Now()
}
