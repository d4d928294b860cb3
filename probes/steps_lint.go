package probes

import (
	"errors"

	"github.com/sonde-cli/sonde/check"
)

// Lint looks at what the steps capture, expect, prefer and take from steps before.
// What refers to values of variables is looked at where the check is built.
func (o *stepsOptions) Lint(compile func(string, []check.Fact) (check.Test, error)) (known bool, errs error) {
	b := &stepsBuilder{
		setup: check.Setup{Compile: compile}, options: o, probe: new(stepsProbe), users: make(map[*step][]check.Expectation), lint: true,
	}
	for i := range o.Requests {
		if o.Requests[i].Name == "" { // or a variable's value
			return false, nil
		}
	}
	b.begin()
	for i, st := range b.probe.requests {
		b.refer(st, b.probe.requests[:i], b.probe.requests[i:])
		b.expect(st, &o.Requests[i], b.probe.requests[:i])
	}
	for i, st := range b.probe.cleanup {
		b.refer(st, b.probe.requests, nil)
		b.expect(st, &o.Cleanup[i], b.probe.requests)
	}
	return true, errors.Join(b.errs...)
}
