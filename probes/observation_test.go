package probes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonde-cli/sonde/check"
)

// wantFailure checks the code of a failure, "" for none, and that its message
// has all the parts.
func wantFailure(t *testing.T, o check.Observation, code check.Code, parts ...string) {
	t.Helper()
	if o.Failure.Code != code {
		t.Errorf("failure %s %q, want %q", o.Failure.Code, o.Failure.Message, code)
	}
	for _, part := range parts {
		if !strings.Contains(o.Failure.Message, part) {
			t.Errorf("failure message %q, want %q in it", o.Failure.Message, part)
		}
	}
}

// wantFacts checks the facts that are named, and no others; nil wants it absent.
func wantFacts(t *testing.T, o check.Observation, want check.Facts) {
	t.Helper()
	got := check.Facts{}
	for name := range want.All() {
		got.Set(name, o.Facts.Get(name))
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("facts (-want +got):\n%s\nfailure: %+v", diff, o.Failure)
	}
}
