package probes

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// testSecret is the password in targets of tests, which nothing may show.
const testSecret = "s3cret"

// wrong is a server that breaks its protocol, refuses, or says nothing, and what
// a probe says of it.
type wrong struct {
	handler func(net.Conn)
	code    check.Code
	says    string
}

// hold observes the server once; what ends at the timeout gets a short one.
func (w wrong) hold(t *testing.T, observe func(host, port string, d time.Duration) check.Observation) {
	t.Helper()
	host, port := listen(t, w.handler)
	d := patience
	if w.code == check.ReplyTimeout {
		d = brief
	}
	o := inTime(d, func(d time.Duration) check.Observation { return observe(host, port, d) }, endsAs(w.code, w.says))
	if o.Failure.Code != w.code || !strings.Contains(o.Failure.Message, w.says) {
		t.Errorf("got %v", o.Failure)
	}
	if strings.Contains(o.Failure.Message, testSecret) {
		t.Errorf("shows the password: %v", o.Failure)
	}
}

// wantTargets builds checks of targets and compares what show makes of them.
// Behind "error: " stands how the error begins.
func wantTargets(t *testing.T, wants map[string]string, options func() check.Options, show func(check.Plan) string) {
	t.Helper()
	const failed = "error: "
	for target, want := range wants {
		o := options()
		err := o.(check.Targeter).SetTarget(target)
		var plan check.Plan
		if err == nil {
			plan, err = o.Build(needs())
		}
		var got string
		if err != nil {
			got = failed + err.Error()
		} else {
			got = show(plan)
		}
		if got != want && !(strings.HasPrefix(want, failed) && strings.HasPrefix(got, want)) {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
		if strings.Contains(got, testSecret) {
			t.Errorf("%s: shows the password: %s", target, got)
		}
	}
}
