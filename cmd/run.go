package cmd

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/scheduler"
)

const runLong = `Measure all checks of the files once, many at a time, and report.

A FILE may be a folder, whose .yaml and .yml files are read, or - for standard
input. Without one, checks.yaml of the current folder is read.

All mistakes of all files are told at once, and then nothing is measured. An
--only or --tag that selects nothing is a mistake, too.

In GitHub Actions and GitLab, what the CI system shows (annotations and summary,
JUnit and code quality) comes beside the table unless there is a --report.`

const runExamples = `  sonde run checks.yaml
  sonde run checks.yaml --tag smoke --fail-on degraded --timeout 2m
  sonde run checks/ --only 'orders*' --verbose
  sonde run checks.yaml --report table --report json=sonde.json
  sonde run checks.yaml --samples 40 --save-baseline before.json
  sonde run checks.yaml --samples 40 --baseline before.json --fail-on degraded
  sonde run checks.yaml --report junit=junit.xml --flaky fail
  sonde run checks.yaml --report nagios --exit-style nagios
  sonde run - --report quiet < checks.yaml`

// runFlags are the flags of `sonde run`.
type runFlags struct {
	verdictFlags
	selection
	concurrency count
	explicit    bool // the user chose the concurrency
	timeout     durationFlag
	baseline    baselineFlags
}

func newRun(a *App) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:               "run [FILE|DIR|-]...",
		Short:             "Measure all checks of files once",
		Long:              runLong,
		Example:           runExamples,
		ValidArgsFunction: yamlFiles,
		RunE: func(c *cobra.Command, files []string) error {
			f.explicit = c.Flags().Changed("concurrency")
			return a.run(c.Context(), &f, files)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	f.registerSelection(a, c)
	flags.Var(&f.timeout, "timeout", "end the whole run after this time, with exit code 124")
	f.concurrency = scheduler.DefaultConcurrency
	flags.Var(&f.concurrency, "concurrency", "how many checks are measured at once")
	flags.Var(&f.samples, "samples", "observe each check so often, and judge the sample; replaces samples.count of the file")
	f.baseline.register(flags)
	f.register(a, c)
	f.registerExitStyle(c)
	return c
}

func (a *App) run(ctx context.Context, f *runFlags, files []string) error {
	if f.concurrency < 1 {
		return usagef("", "--concurrency %d: it takes at least 1", f.concurrency)
	}
	destinations, err := a.destinations(&f.verdictFlags, tableFormat())
	if err != nil {
		return err
	}
	set, err := a.load(ctx, &f.selection, files)
	if err != nil {
		return err
	}
	b, err := a.baselines(&f.baseline, set.Checks)
	if err != nil {
		return err
	}
	m := &measurement{
		app: a, flags: &f.verdictFlags, checks: set.Checks, destinations: destinations,
		concurrency: int(f.concurrency), deadline: time.Duration(f.timeout), progress: a.animate(),
	}
	if f.explicit {
		m.asked = "--concurrency " + f.concurrency.String()
	}
	if b == nil {
		return m.run(ctx)
	}
	b.attach(m)
	err = m.run(ctx)
	if lost := b.close(m.cause); lost != nil {
		if err == nil {
			err = status(a.unmeasured(ExitUsage))
		}
		a.fail(lost, a.exitCode(err))
	}
	return err
}

// load reads the files and keeps what is selected, which is never nothing.
func (a *App) load(ctx context.Context, s *selection, files []string) (*config.Set, error) {
	files, err := filesOrDefault(files)
	if err != nil {
		return nil, err
	}
	loader := a.loader()
	loader.Filter, loader.Samples, loader.Needs = s.filter(), int(s.samples), s.needs
	set, err := loader.Load(ctx, files...)
	if err != nil {
		return nil, err
	}
	a.warnAll(set.Warnings)
	return set, s.verify(set)
}

// filesOrDefault returns the files, or checks.yaml when none is named and it
// exists.
func filesOrDefault(files []string) ([]string, error) {
	switch {
	case slices.Contains(files, ""):
		return nil, usagef("is a variable of the shell unset?", "the name of a file is empty")
	case len(files) > 0:
		return files, nil
	}
	for _, name := range []string{"checks.yaml", "checks.yml"} {
		if _, err := os.Stat(name); err == nil {
			return []string{name}, nil
		}
	}
	return nil, usagef("name a file: sonde run FILE, or - for standard input", "no file named, and there is no checks.yaml here")
}
