package check

import (
	"context"
	"strings"
	"time"
)

// Probe observes a target and never judges it. Observe returns when ctx ends
// at the latest, is safe to call again and concurrently, does not retry and
// does not log.
type Probe interface {
	Observe(ctx context.Context) Observation
}

// Closer is implemented by a probe that keeps something between its runs, such
// as a connection. The scheduler calls Close once the check has left it. Close
// may be called while Observe is running, which it neither waits for nor
// disturbs: it frees what is kept now, and nothing is kept from then on.
// Observe still works after it.
type Closer interface{ Close() error }

// Observation is what one probe saw. Even a failed one keeps the phases and
// facts that it reached.
type Observation struct {
	Latency time.Duration // of the whole probe; never includes queueing
	Phases  Phases
	Facts   Facts
	// Failure is what stopped the probe before it had seen everything; zero
	// when nothing did. A local.* code makes the verdict unknown, any other
	// down unless an expectation mentions the fact error.
	Failure Reason
	// Because explains facts, by name: why one is absent, or has a value that
	// nobody wants. When an expectation about such a fact fails, this is the
	// result's reason.
	Because map[string]Reason
	// Secrets are values that must not appear in any output and that were not
	// known when the check was built, such as a token that the run fetched.
	// Those known before are in [Plan.Secrets].
	Secrets []string
	// Reproduce returns one shell line that shows a person the same thing, such
	// as a curl or dig command. Nil when there is none. It is called only for a
	// result that is not up, so a probe does not pay for it otherwise.
	Reproduce func() string
}

// Set records a fact's value.
func (o *Observation) Set(name string, value any) {
	if o.Facts == nil {
		o.Facts = make(Facts, 0, 16)
	}
	o.Facts.Set(name, value)
}

// Explain records why the fact has its value or is absent.
func (o *Observation) Explain(fact string, code Code, message string) {
	if o.Because == nil {
		o.Because = make(map[string]Reason, 1)
	}
	o.Because[fact] = Reason{Code: code, Message: message}
}

// Fact returns the value of an observed fact, common facts included, and
// whether it was observed.
func (o *Observation) Fact(name string) (any, bool) {
	switch {
	case name == "latency":
		return o.Latency, true
	case name == "error":
		return string(o.Failure.Code), true
	case strings.HasPrefix(name, "phase."):
		d, ok := o.Phases.Get(strings.TrimPrefix(name, "phase."))
		return d, ok
	}
	v, ok := o.Facts.Lookup(name)
	return v, ok
}
