package cmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/plan"
	"github.com/sonde-cli/sonde/scheduler"
)

// silent is the probe of checks that are not measured.
type silent struct{}

func (silent) Observe(context.Context) check.Observation { panic("a plan measures nothing") }

func (silent) Footprint() check.Footprint { return check.Footprint{Ports: 1} }

// samplePlan has one of everything, on a machine that is always the same.
func samplePlan() *plan.Plan {
	named := func(id, kind, target string, line int) *check.Check {
		return &check.Check{
			ID: id, Name: id, Kind: kind, Target: target, File: "checks.yaml", Line: line, Probe: silent{},
			Interval: 30 * time.Second, Timeout: 5 * time.Second, Retry: check.Retry{Attempts: 1},
		}
	}
	checks := []*check.Check{
		named("orders[eu]", "http", "https://eu.example.com/health", 3),
		named("orders[us]", "http", "https://us.example.com/health", 3),
		named("evil\t\n \x1b[31m\u202e", "tcp", "db.example.com:5432", 8),
		named("secret", "http", "https://eu.example.com/?key=hunter2", 12),
	}
	checks[0].IntervalFailing = 5 * time.Second
	checks[1].Retry = check.Retry{Attempts: 3, Wait: time.Second, Factor: 2, MaxWait: 30 * time.Second}
	checks[2].Schedule = &check.Schedule{}
	checks[3].Mask = check.NewMask("hunter2")
	for range 18 {
		checks = append(checks, named("ping["+string(rune('a'+len(checks)-4))+"]", "icmp", "icmp://10.0.0."+string(rune('a'+len(checks)-4)), 20))
	}
	return plan.New(plan.Options{
		Checks: checks, Concurrency: 4, Endpoint: endpointOf,
		Limits:  scheduler.Limits{InFlight: 5, PerHost: 2, PerHostRate: 10, Kinds: map[string]int{"icmp": 3}},
		Machine: plan.Machine{Descriptors: 1024, Ports: 28232, PerProbe: 2, Spare: 16, SpareLoop: 72},
		Caps:    plan.Caps{Rate: 1, HostRate: 1, Duration: time.Minute, Descriptors: 50},
	})
}

func TestPlanGolden(t *testing.T) {
	p := samplePlan()
	var out, errs bytes.Buffer
	a := &App{Stderr: &errs}
	if err := writePlan(&out, p, 1, false); err != nil {
		t.Fatal(err)
	}
	a.refusePlan(p)
	golden(t, "plan.text", out.String()+"\nstderr:\n"+errs.String())
	out.Reset()
	if err := writePlanJSON(&out, p, 1); err != nil {
		t.Fatal(err)
	}
	golden(t, "plan.json", out.String())
}

// golden compares with a file of testdata/golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s, which -update writes anew: %s", path, diff)
	}
}
