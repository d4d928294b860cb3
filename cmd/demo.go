package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/internal/playground"
	"github.com/sonde-cli/sonde/scheduler"
)

const demoLong = `Run checks.example.yaml against servers on loopback that this command starts
itself: some healthy, some slow, failing, expired or closed. It needs no network
and exits 0 when every verdict is the one that it meant to show.`

func newDemo(a *App) *cobra.Command {
	var f verdictFlags
	c := &cobra.Command{
		Use:     "demo",
		Short:   "Show all of it on loopback, with nothing to set up",
		Long:    demoLong,
		Example: "  sonde demo\n  sonde demo --report json",
		Args:    atMost(0),
		RunE:    func(c *cobra.Command, _ []string) error { return a.demo(c.Context(), &f) },
	}
	f.register(a, c)
	return c
}

// meant is what the demo means to show of each check of checks.example.yaml.
// A machine too busy for the latencies that the file prefers turns up into
// degraded, and one without permission to ping turns it into unknown.
func meant(id string) []check.Verdict {
	name, _, _ := strings.Cut(id, "[")
	switch name {
	case "expired", "database":
		return []check.Verdict{check.Down}
	case "vpn":
		return []check.Verdict{check.Unknown}
	case "gateway":
		return []check.Verdict{check.Up, check.Degraded, check.Unknown}
	default:
		return []check.Verdict{check.Up, check.Degraded}
	}
}

func (a *App) demo(ctx context.Context, f *verdictFlags) (err error) {
	destinations, err := parseReports(f.reports.values, tableFormat())
	if err != nil {
		return err
	}
	p, err := playground.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	set, err := a.loadExample(ctx, p)
	if err != nil {
		return err
	}
	var seen demoSeen
	m := &measurement{
		app: a, flags: f, checks: set.Checks, destinations: destinations,
		concurrency: scheduler.DefaultConcurrency, progress: a.animate(), tap: seen.add,
	}
	if err := m.run(ctx); err != nil && !isVerdict(err) {
		return err
	}
	return seen.judge()
}

// loadExample loads the embedded sample as if the playground's variables, and
// no others, were the environment.
func (a *App) loadExample(ctx context.Context, p *playground.Playground) (*config.Set, error) {
	loader := a.loader()
	loader.LookupEnv = p.Lookup
	loader.Stdin, loader.StdinName = bytes.NewReader(a.Example), "checks.example.yaml"
	return loader.Load(ctx, "-")
}

// isVerdict reports whether the error is the exit code of a run that measured
// everything.
func isVerdict(err error) bool {
	var s status
	return errors.As(err, &s) && slices.Contains([]status{ExitDown, ExitUnknown, ExitDegraded}, s)
}

// demoSeen is what came out of the demo.
type demoSeen struct {
	summary  check.Summary
	surprise []string
}

func (d *demoSeen) add(r check.Result) {
	d.summary.Add(r)
	if !slices.Contains(meant(r.ID), r.Verdict) {
		d.surprise = append(d.surprise, fmt.Sprintf("%s is %s (%s)", r.ID, r.Verdict, r.Reason.Message))
	}
}

// judge tells whether the demo showed each verdict, and flaky, where it meant
// to.
func (d *demoSeen) judge() error {
	s := d.summary
	if len(d.surprise) > 0 {
		return fmt.Errorf("the demo did not show what it meant to: %s", strings.Join(d.surprise, "; "))
	}
	if s.Up == 0 || s.Degraded == 0 || s.Down == 0 || s.Unknown == 0 || s.Flaky == 0 {
		return fmt.Errorf("the demo did not show every verdict: %d up, %d degraded, %d down, %d unknown, %d flaky",
			s.Up, s.Degraded, s.Down, s.Unknown, s.Flaky)
	}
	return nil
}
