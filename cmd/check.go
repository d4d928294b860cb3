package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/report"
	"github.com/sonde-cli/sonde/scheduler"
)

const checkLong = `Look at targets now, without a file.

A TARGET is https://host/path, http://host/path, tcp://host:port, tls://host:port,
dns://server[:port]/name?type=MX, dns:name?type=A (asks the system's resolver),
icmp://host, wss://host/path, grpc://host:port/service, ssh://host, ntp://host,
udp://host:port?send=TEXT&expect=REGEXP, or a bare host name or host:port. 'sonde kinds' lists all that there is.

On a terminal each target gets a card with its phases, facts and findings; in a
pipe they share a table. The flags are those that a curl user looks for; --set
reaches every option of a kind, by its name in the file. A flag that a target's
kind does not have is a mistake.

An argument is seen by everybody on the machine (ps). Name a secret instead of
writing it, in single quotes: --header 'Authorization: Bearer ${TOKEN}' takes
it from the environment, ${file:PATH} from a file, and neither is ever shown.`

const checkExamples = `  sonde check https://example.com tcp://db.example.com:5432 icmp://192.0.2.1
  sonde check https://example.com --expect 'status == 200' --prefer 'latency < 300ms'
  sonde check 'dns://1.1.1.1/example.com?type=MX' --expect "any(answers, # contains 'mail')"
  sonde check tcp://db.example.com:5432 --samples 100 --expect 'latency.p95 < 20ms'
  sonde check https://example.com -H 'Authorization: Bearer ${TOKEN}' -X POST -d @body.json
  sonde check https://example.com --address 192.0.2.7 --prefer 'cert.expires_in > 21d'`

// checkFlags are the flags of `sonde check`.
type checkFlags struct {
	verdictFlags
	expect, prefer list
	timeout        durationFlag
	retry          count
	samples        samplesFlag
	options        optionFlags
}

func newCheck(a *App) *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:               "check TARGET...",
		Short:             "Look at targets now, without a file",
		Long:              checkLong,
		Example:           checkExamples,
		Args:              atLeast(1, "a target", "sonde check https://example.com"),
		ValidArgsFunction: a.targets,
		RunE:              func(c *cobra.Command, targets []string) error { return a.check(c.Context(), &f, targets) },
	}
	flags := c.Flags()
	flags.SortFlags = false
	f.expect.arg, f.prefer.arg = "EXPRESSION", "EXPRESSION"
	flags.VarP(&f.expect, "expect", "e", "what must hold of the facts, else the target is down; repeatable")
	flags.VarP(&f.prefer, "prefer", "p", "what should hold of the facts, else the target is degraded; repeatable")
	flags.VarP(&f.timeout, "timeout", "m", "how long one attempt may take; 5s unless said otherwise")
	flags.Var(&f.retry, "retry", "more attempts when one fails; a check that needed one is flaky")
	flags.Var(&f.samples, "samples", "observe so often, 100ms apart, and judge the sample: pass_rate, latency.p95 and the like")
	f.options.register(c)
	f.register(a, c)
	f.registerExitStyle(c)
	complete(c, "set", a.optionPaths)
	return c
}

func (a *App) check(ctx context.Context, f *checkFlags, targets []string) error {
	if f.retry > 0 && f.samples > 1 {
		return usagef("leave out one of them", "--retry does not go with --samples: no observation is tried again")
	}
	destinations, err := a.destinations(&f.verdictFlags, a.cardOrTable())
	if err != nil {
		return err
	}
	settings, err := f.options.settings(a.Stdin)
	if err != nil {
		return err
	}
	checks, err := a.targetChecks(targets, config.TargetOptions{
		Expect: f.expect.values, Prefer: f.prefer.values, Timeout: time.Duration(f.timeout), Retry: retry(int(f.retry)),
		Samples: int(f.samples), Settings: settings,
	})
	if err != nil {
		return err
	}
	a.warnOfFew(checks)
	m := &measurement{
		app: a, flags: &f.verdictFlags, checks: checks, destinations: destinations,
		concurrency: scheduler.DefaultConcurrency,
	}
	return m.run(ctx)
}

// cardOrTable returns what `check` shows when no report is asked for.
func (a *App) cardOrTable() report.Format {
	if a.StdoutWidth > 0 {
		return report.Format{Name: "card", New: report.Card}
	}
	return tableFormat()
}

// targetChecks makes a check of each target. The mistakes of all targets are
// told at once; the same target twice is measured twice.
func (a *App) targetChecks(targets []string, o config.TargetOptions) ([]*check.Check, error) {
	loader := a.loader()
	var checks []*check.Check
	var problems config.Errors
	ids := make(map[string]int)
	for _, target := range targets {
		c, err := loader.Target(target, o)
		var several config.Errors
		switch {
		case errors.As(err, &several):
			problems = append(problems, several...)
			continue
		case err != nil:
			return nil, err
		}
		if ids[c.ID]++; ids[c.ID] > 1 {
			c.ID = fmt.Sprintf("%s#%d", c.ID, ids[c.ID])
		}
		checks = append(checks, c)
	}
	if len(problems) > 0 {
		return nil, once(problems)
	}
	return checks, nil
}

// warnOfFew warns of percentiles that there are too few samples for, each once.
func (a *App) warnOfFew(checks []*check.Check) {
	told := make(map[string]bool)
	for _, c := range checks {
		for _, e := range c.Expectations {
			for _, fact := range e.Test.Facts() {
				if few := check.TooFew(fact, c.Samples.Count); few != "" && !told[few] {
					told[few] = true
					a.warn(few, config.FewHint)
				}
			}
		}
	}
}

// once drops what was said before: a mistake in a flag comes back for each
// target.
func once(problems config.Errors) config.Errors {
	seen := make(map[string]bool)
	var kept config.Errors
	for _, p := range problems {
		if text := p.String(); !seen[text] {
			seen[text] = true
			kept = append(kept, p)
		}
	}
	return kept
}

// retry returns how to try again n times; zero leaves it to the default.
func retry(n int) check.Retry {
	if n == 0 {
		return check.Retry{}
	}
	return check.Retry{Attempts: 1 + n, Wait: 500 * time.Millisecond, Factor: 2, MaxWait: 10 * time.Second}
}

// optionPaths offers the options of all kinds for --set.
func (a *App) optionPaths(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var all []cobra.Completion
	seen := make(map[string]bool)
	for _, k := range a.Kinds {
		for _, o := range optionsOf(k) {
			if !seen[o.Path] && strings.HasPrefix(o.Path, word) {
				seen[o.Path] = true
				all = append(all, cobra.CompletionWithDesc(o.Path+"=", o.Doc))
			}
		}
	}
	return all, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
