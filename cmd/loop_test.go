package cmd

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/scheduler"
)

func TestHostOf(t *testing.T) {
	for target, want := range map[string]string{
		"https://Example.com:8443/x": "example.com", "db.example.com:5432": "db.example.com", "icmp://192.0.2.1": "192.0.2.1",
		"https://[2001:db8::1]/": "2001:db8::1", "[2001:db8::1]:53": "2001:db8::1", "host": "host", "": "",
	} {
		if got := hostOf(target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	files := config.Limits{InFlight: 10, PerHost: 2, PerHostRate: 0.5, Kinds: map[string]int{"toy": 3}}
	var none, some loopFlags
	if got, want := none.limits(files), (scheduler.Limits{InFlight: 10, PerHost: 2, PerHostRate: 0.5, Kinds: files.Kinds}); !cmp.Equal(got, want) {
		t.Errorf("of the files: %+v, want %+v", got, want)
	}
	some.inFlight, some.perHostRate = 5, 3
	if got, want := some.limits(files), (scheduler.Limits{InFlight: 5, PerHost: 2, PerHostRate: 3, Kinds: files.Kinds}); !cmp.Equal(got, want) {
		t.Errorf("with flags: %+v, want %+v", got, want)
	}
}

func TestGrace(t *testing.T) {
	var f loopFlags
	for _, tt := range []struct {
		timeouts []time.Duration
		want     time.Duration
	}{{nil, longestGrace}, {[]time.Duration{time.Second, 2 * time.Second}, 2 * time.Second}, {[]time.Duration{time.Minute}, longestGrace}} {
		var checks []*check.Check
		for _, timeout := range tt.timeouts {
			checks = append(checks, &check.Check{Timeout: timeout})
		}
		if got := f.graceOf(checks); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.timeouts, got, tt.want)
		}
	}
	f.grace = durationFlag(time.Hour)
	if got := f.graceOf(nil); got != time.Hour {
		t.Errorf("with the flag: %v", got)
	}
}

func TestLoopFlagValues(t *testing.T) {
	var b bound
	var r rate
	for _, bad := range []string{"", "0", "-1", "x", "1.5"} {
		if b.Set(bad) == nil {
			t.Errorf("bound %q is taken", bad)
		}
	}
	for _, bad := range []string{"", "0", "-1", "x", "NaN", "1e300", "Inf"} {
		if r.Set(bad) == nil {
			t.Errorf("rate %q is taken", bad)
		}
	}
	if err := errors.Join(b.Set("7"), r.Set("0.5/s")); err != nil || b.String() != "7" || r.String() != "0.5" {
		t.Errorf("%v, %v, %v", err, &b, &r)
	}
}

// failing is a sink that fails and counts.
type failing struct{ put, closed int }

func (f *failing) Put(check.Result) error { f.put++; return errors.New("put") }
func (f *failing) Close() error           { f.closed++; return errors.New("close") }

func TestFan(t *testing.T) {
	a, b := &failing{}, &failing{}
	f := fan{a, b}
	if f.Put(check.Result{}) == nil || f.Close() == nil || a.put+b.put != 2 || a.closed+b.closed != 2 {
		t.Errorf("%+v, %+v", a, b)
	}
}
