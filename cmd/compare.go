package cmd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/compare"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/report"
	"github.com/sonde-cli/sonde/scheduler"
)

const compareLong = `Measure A and B in turn, in one run, and tell whether B is slower.

A and B are two files, whose checks are paired by their ids, or two targets. B
can also be the file A with another value for a variable of the environment:
--vs SITE_URL=https://staging.example.com. Because the observations of both
alternate, what drifts on the machine or in the network hits both alike: this is
the form for noisy runners.

B is slower when a Mann-Whitney U test says so at the level --alpha, corrected
for the number of checks, after B was given --min-effect for free. Facts that
differ (status, TLS version, certificate, DNS answers ...) are listed.

Exit codes: 0 no check is slower, 1 some is slower, or down in B alone, 2 usage
or configuration error, 3 some could not be compared or is unknown in B, 124
--timeout ran out, 130 interrupted.`

const compareExamples = `  sonde compare before.yaml after.yaml
  sonde compare https://www.example.com https://next.example.com --samples 100
  sonde compare checks.yaml --vs SITE_URL=https://staging.example.com --tag smoke
  sonde compare old.yaml new.yaml --min-effect 20% --facts 'headers.server' --report markdown`

// The defaults of `sonde compare`.
const (
	defaultSamples = 40
	defaultPairs   = 4 // at once
)

// compareFlags are the flags of `sonde compare`.
type compareFlags struct {
	verdictFlags
	comparisonFlags
	selection
	vs          string
	spacing     durationFlag
	timeout     durationFlag
	concurrency count
	failOnDiff  bool
}

func newCompare(a *App) *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:               "compare A B | A --vs B",
		Short:             "Tell whether B is slower than A, measuring both in turn",
		Long:              compareLong,
		Example:           compareExamples,
		Args:              atLeast(1, "two files or targets", "sonde compare before.yaml after.yaml"),
		ValidArgsFunction: yamlFiles,
		RunE:              func(c *cobra.Command, args []string) error { return a.compare(c.Context(), &f, args) },
	}
	flags := c.Flags()
	flags.SortFlags = false
	f.samples, f.concurrency = defaultSamples, defaultPairs
	flags.StringVar(&f.vs, "vs", "", "`B`: a file or target as A is, or NAME=VALUE for the file A with another environment")
	flags.Var(&f.samples, "samples", "observations of each side")
	flags.Var(&f.spacing, "spacing", "from the start of one observation of a check to the next, of either side; the file's or 100ms")
	f.comparisonFlags.register(flags)
	flags.BoolVar(&f.failOnDiff, "fail-on-diff", false, "exit with 1 when a fact differs, too")
	f.registerSelection(a, c)
	flags.Var(&f.timeout, "timeout", "end the whole run after this time, with exit code 124")
	flags.Var(&f.concurrency, "concurrency", "how many checks are compared at once")
	f.registerReports(c, report.ComparisonFormats())
	f.registerColor(c)
	return c
}

func (a *App) compare(ctx context.Context, f *compareFlags, args []string) error {
	if f.concurrency < 1 {
		return usagef("", "--concurrency %d: it takes at least 1", f.concurrency)
	}
	if d := time.Duration(f.spacing); d > 0 && d < config.MinSpacing {
		return usagef("", "--spacing %s: it takes at least %s", f.spacing.String(), check.FormatDuration(config.MinSpacing))
	}
	options, err := f.options()
	if err != nil {
		return err
	}
	formats := report.ComparisonFormats()
	destinations, err := parseReportsOf(formats, f.reports.values, formats[0])
	if err != nil {
		return err
	}
	p, err := a.pair(ctx, f, args)
	if err != nil {
		return err
	}
	if err := enoughSamples(p.sideB(), len(p.pairs), options); err != nil {
		return err
	}
	m := &measurement{
		app: a, flags: &f.verdictFlags, checks: slices.Concat(p.sideA(), p.sideB()), destinations: destinations,
		deadline: time.Duration(f.timeout), progress: a.animate(),
	}
	m.measure = func(ctx context.Context) error { return p.measure(ctx, m, int(f.concurrency), options) }
	m.exit = func(cause error) int { return comparisonCode(m.comparison, f.failOnDiff, cause) }
	return m.run(ctx)
}

// comparisonCode is the exit code of a comparison that cause ended early; nil
// when nothing did.
func comparisonCode(r *compare.Report, failOnDiff bool, cause error) int {
	differs := func(c compare.Comparison) bool { return len(c.Changes) > 0 && !c.Optional }
	unknown := func(c compare.Comparison) bool { return c.B.Verdict == check.Unknown && !c.Optional } // it may be down
	switch {
	case errors.Is(cause, errInterrupted), errors.Is(cause, errUnread):
		return ExitInterrupted
	case errors.Is(cause, errDeadline):
		return ExitDeadline
	case r.Count(compare.Slower, compare.Failing) > 0, failOnDiff && slices.ContainsFunc(r.Checks, differs):
		return ExitDown
	case r.Count(compare.TooFew) > 0, slices.ContainsFunc(r.Checks, unknown):
		return ExitUnknown
	}
	return ExitOK
}

// pairing is the checks of both sides.
type pairing struct {
	pairs        [][2]*check.Check
	onlyA, onlyB []string
}

func (p *pairing) sideA() []*check.Check { return p.side(0) }
func (p *pairing) sideB() []*check.Check { return p.side(1) }

func (p *pairing) side(i int) []*check.Check {
	checks := make([]*check.Check, len(p.pairs))
	for n, pair := range p.pairs {
		checks[n] = pair[i]
	}
	return checks
}

// measure takes both samples of every pair and compares them.
func (p *pairing) measure(ctx context.Context, m *measurement, concurrency int, o compare.Options) error {
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	orders := make(chan []bool, len(p.pairs)) // made here, because random is not for several goroutines
	for _, pair := range p.pairs {
		orders <- compare.Order(pair[0].Samples.Count, random)
	}
	run := scheduler.Pairs{Concurrency: concurrency, Order: func(int) []bool { return <-orders }}
	if m.live != nil {
		run.OnStart, run.OnEnd = m.live.Start, func(r check.Result) { _ = m.live.Put(r) }
	}
	var pairs []compare.Pair
	for _, both := range run.Run(ctx, p.pairs) {
		m.take(both[0])
		m.take(both[1])
		pairs = append(pairs, compare.Pair{
			ID: both[0].ID, Optional: both[1].Optional, A: compare.SideOf(both[0]), B: compare.SideOf(both[1]),
		})
	}
	m.comparison = &compare.Report{Options: o, Checks: compare.Compare(pairs, o), OnlyA: p.onlyA, OnlyB: p.onlyB}
	return nil
}

// pair loads both sides and pairs their checks.
func (a *App) pair(ctx context.Context, f *compareFlags, args []string) (*pairing, error) {
	switch {
	case f.vs != "":
		args = append(args, f.vs)
	case len(args) < 2:
		return nil, usagef("for example: sonde compare before.yaml after.yaml", "sonde compare needs something to compare %s with", withoutUser(args[0]))
	}
	if len(args) > 2 {
		return nil, usagef("", "sonde compare takes two files or targets, not %d", len(args))
	}
	for _, pattern := range f.facts.values { // such as headers.server
		fact, _, _ := strings.Cut(pattern, ".")
		f.needs = append(f.needs, fact)
	}
	first, second := args[0], args[1]
	fileA, fileB := isFile(first), isFile(second)
	name, value, isVariable := strings.Cut(second, "=")
	var p *pairing
	var err error
	switch {
	case fileA && fileB:
		p, err = a.pairFiles(ctx, f, [2]string{first, second}, a.LookupEnv)
	case fileA && f.vs != "" && isVariable && !strings.Contains(name, "/"):
		p, err = a.pairFiles(ctx, f, [2]string{first, first}, func(v string) (string, bool) {
			if v == name {
				return value, true
			}
			return a.LookupEnv(v)
		})
	case !fileA && !fileB:
		p, err = a.pairTargets(f, first, second)
	default:
		return nil, usagef("write the address as ${SITE_URL} in the file: sonde compare FILE --vs SITE_URL=https://other.example.com",
			"%s and %s are not of the same kind: compare two files or two targets", withoutUser(first), withoutUser(second))
	}
	if err != nil {
		return nil, err
	}
	for _, both := range p.pairs {
		f.prepare(both[0], both[1])
	}
	return p, nil
}

// isFile reports whether an argument is a file of checks, and not a target.
func isFile(arg string) bool {
	if arg == "-" || slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(arg)) && !strings.Contains(arg, "://") {
		return true
	}
	_, err := os.Stat(arg)
	return err == nil
}

// prepare makes the observations of both sides alike.
func (f *compareFlags) prepare(checkA, checkB *check.Check) {
	if f.spacing > 0 {
		checkA.Samples.Spacing = time.Duration(f.spacing)
	}
	for _, c := range []*check.Check{checkA, checkB} {
		c.FactList = slices.Clone(c.FactList)
		for i := range c.FactList {
			// Headers are hidden because they are many; those chosen are shown.
			if fact := &c.FactList[i]; fact.Type == check.Map && slices.Contains(f.needs, fact.Name) {
				fact.Hidden = false
			}
		}
	}
}

func (a *App) pairTargets(f *compareFlags, first, second string) (*pairing, error) {
	if f.selects() {
		return nil, usagef("", "--only and --tag choose checks of files, and these are targets")
	}
	loader := a.loader()
	loader.Needs = f.needs
	var both [2]*check.Check
	for i, target := range []string{first, second} {
		var err error
		if both[i], err = loader.Target(target, config.TargetOptions{Samples: int(f.samples)}); err != nil {
			return nil, err
		}
	}
	return &pairing{pairs: [][2]*check.Check{both}}, nil
}

// pairFiles loads a file for each side, B's with an environment of its own.
func (a *App) pairFiles(ctx context.Context, f *compareFlags, files [2]string, environB func(string) (string, bool)) (*pairing, error) {
	if files[0] == "-" && files[1] == "-" {
		return nil, usagef("write it to a file", "standard input can be read once, not for both sides")
	}
	setA, err := a.load(ctx, &f.selection, files[:1])
	if err != nil {
		return nil, err
	}
	other := *a
	other.LookupEnv = environB
	setB, err := other.load(ctx, &f.selection, files[1:])
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*check.Check, len(setB.Checks))
	for _, c := range setB.Checks {
		byID[c.ID] = c
	}
	p := &pairing{}
	for _, c := range setA.Checks {
		partner, ok := byID[c.ID]
		if !ok {
			p.onlyA = append(p.onlyA, c.Mask.String(c.ID))
			continue
		}
		delete(byID, c.ID)
		p.pairs = append(p.pairs, [2]*check.Check{c, partner})
	}
	for _, c := range setB.Checks {
		if byID[c.ID] != nil {
			p.onlyB = append(p.onlyB, c.Mask.String(c.ID))
		}
	}
	if len(p.pairs) == 0 {
		return nil, usagef("checks are paired by their ids, which 'sonde validate --verbose' lists",
			"no check of %s has a partner in %s", files[0], files[1])
	}
	if lonely := slices.Concat(p.onlyA, p.onlyB); len(lonely) > 0 {
		a.warn(fmt.Sprintf("%s on one side alone: %s", plural(len(lonely), "check"), some(lonely)), "checks are paired by their ids")
	}
	return p, nil
}
