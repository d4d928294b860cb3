package cmd

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/compare"
)

// staleAfter is the age at which a baseline is warned of.
const staleAfter = 7 * 24 * time.Hour

// comparisonFlags say what a comparison calls slower, and which facts it looks
// at.
type comparisonFlags struct {
	minEffect, alpha share
	facts            list
}

func (f *comparisonFlags) register(flags *pflag.FlagSet) {
	f.minEffect, f.alpha, f.facts.arg = compare.DefaultMinEffect, compare.DefaultAlpha, "GLOB"
	flags.Var(&f.minEffect, "min-effect", "slowdown that does not matter yet")
	flags.Var(&f.alpha, "alpha", "how often a run may raise a false alarm, all its checks together")
	flags.Var(&f.facts, "facts", "show changes of these facts, too, such as 'headers.server'; repeatable")
}

func (f *comparisonFlags) options() (compare.Options, error) {
	o := compare.Options{Alpha: float64(f.alpha), MinEffect: float64(f.minEffect), Chosen: f.chosen}
	if o.Alpha <= 0 || o.Alpha > 0.5 {
		return o, usagef("for example: --alpha 1%", "--alpha %s: it has to be above 0%% and at most 50%%", f.alpha.String())
	}
	return o, nil
}

// chosen reports whether the changes of a fact are shown.
func (f *comparisonFlags) chosen(fact string) bool {
	for _, pattern := range append(compare.DefaultFacts(), f.facts.values...) {
		if glob(pattern, fact) {
			return true
		}
	}
	return false
}

// baselineFlags are those of a run that is compared with one before.
type baselineFlags struct {
	comparisonFlags
	load, save string
}

func (f *baselineFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.load, "baseline", "", "compare with the samples of this `FILE`: what became slower is degraded")
	flags.StringVar(&f.save, "save-baseline", "", "write the samples to this `FILE`, for --baseline later")
	f.comparisonFlags.register(flags)
}

// baselines compares a run with a baseline, and makes one.
type baselines struct {
	app      *App
	options  compare.Options
	loaded   *compare.Baseline // nil: there is nothing to compare with
	path     string            // where to save
	file     *atomicFile       // nil: nothing is saved
	measured []check.Result
}

// baselines prepares what the flags ask for, so that mistakes are told before
// anything is measured. It returns nil when they ask for nothing.
func (a *App) baselines(f *baselineFlags, checks []*check.Check) (*baselines, error) {
	if f.load == "" && f.save == "" {
		return nil, nil
	}
	b := &baselines{app: a, path: f.save}
	var err error
	if b.options, err = f.options(); err != nil {
		return nil, err
	}
	if err := enoughSamples(checks, len(checks), b.options); err != nil {
		return nil, err
	}
	if f.load != "" {
		if b.loaded, err = readBaseline(f.load); err != nil {
			return nil, err
		}
		if err := b.match(f.load, checks); err != nil {
			return nil, err
		}
	}
	if f.save != "" {
		if b.file, err = createAtomic(f.save); err != nil {
			return nil, usagef("choose another path for --save-baseline", "cannot write the baseline: %v", err)
		}
	}
	return b, nil
}

// enoughSamples refuses samples of which no comparison can come.
func enoughSamples(checks []*check.Check, comparisons int, o compare.Options) error {
	least := o.Fewest(comparisons)
	for _, c := range checks {
		if n := max(c.Samples.Count, 1); n < least {
			return usagef("take more: --samples 40", "%s of %s cannot be compared: %s need at least %d at --alpha %s",
				plural(n, "sample"), c.Mask.String(c.ID), plural(comparisons, "comparison"), least, compare.Percent(o.Alpha))
		}
	}
	return nil
}

func readBaseline(path string) (*compare.Baseline, error) {
	hint := "write one with: sonde run FILE --samples 40 --save-baseline " + path
	file, err := os.Open(path)
	if err != nil {
		return nil, usagef(hint, "cannot read the baseline: %v", err)
	}
	defer file.Close()
	b, err := compare.ReadBaseline(file)
	if err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, usagef(hint, "cannot use the baseline %s: %v", path, err)
	}
	return b, nil
}

// match warns of what makes the baseline doubtful, and refuses one of which no
// check is in the run.
func (b *baselines) match(path string, checks []*check.Check) error {
	var missing, moved []string
	for _, c := range checks {
		id := c.Mask.String(c.ID)
		switch side, ok := b.loaded.Sides[id]; {
		case !ok:
			missing = append(missing, id)
		case side.Target != c.Mask.String(c.Target):
			moved = append(moved, fmt.Sprintf("%s (%s, then %s)", id, side.Target, c.Mask.String(c.Target)))
		}
	}
	const again = "save it again with --save-baseline"
	if len(missing) == len(checks) {
		return usagef(again, "the baseline %s holds none of %s; it holds %s", path, plural(len(checks), "check"), plural(len(b.loaded.Sides), "other"))
	}
	if len(missing) > 0 {
		b.app.warn(fmt.Sprintf("the baseline does not hold %s: %s", plural(len(missing), "check"), some(missing)), again)
	}
	if len(moved) > 0 {
		b.app.warn(fmt.Sprintf("the baseline has another target for %s: %s", plural(len(moved), "check"), some(moved)), again)
	}
	b.doubt()
	return nil
}

// doubt warns of a baseline that was measured long ago or elsewhere.
func (b *baselines) doubt() {
	var words []string
	switch age := b.app.Now().Sub(b.loaded.Created); {
	case age < -time.Hour:
		words = append(words, "is from the future, "+b.loaded.Created.UTC().Format(time.RFC3339))
	case age > staleAfter:
		words = append(words, fmt.Sprintf("is %d days old", int(age.Hours()/24)))
	}
	if here := b.app.hostname(); b.loaded.Host != here {
		words = append(words, fmt.Sprintf("was measured on %q, and this is %q", b.loaded.Host, here))
	}
	if len(words) > 0 {
		b.app.warn("the baseline "+strings.Join(words, " and ")+": what changed may be the machine or the network",
			"'sonde compare' measures both sides in one run")
	}
}

// attach lets the measurement compare and save.
func (b *baselines) attach(m *measurement) {
	m.revise = func(results []check.Result) {
		b.measured = slices.Clone(results) // before they are judged
		if b.loaded != nil {
			m.comparison = b.loaded.Against(results, b.options)
			m.comparison.Judge(results)
		}
	}
}

// close saves the samples of a run that came to its end.
func (b *baselines) close(cause error) error {
	switch {
	case b.file == nil:
		return nil
	case b.measured == nil: // a mistake, which is told
		b.file.discard()
		return nil
	case cause != nil:
		b.file.discard()
		b.app.warn("no baseline is saved, because the run did not end", "")
		return nil
	}
	var bad []string
	for _, r := range b.measured {
		if r.Verdict == check.Down || r.Verdict == check.Unknown {
			bad = append(bad, r.ID)
		}
	}
	if len(bad) > 0 {
		b.app.warn(fmt.Sprintf("the baseline holds %s down or unknown: %s", plural(len(bad), "check"), some(bad)), "save it again when all are up")
	}
	w := bufio.NewWriter(b.file)
	origin := compare.Origin{Created: b.app.Now(), Host: b.app.hostname(), Version: b.app.Build.Version}
	err := errors.Join(compare.WriteBaseline(w, origin, b.measured), w.Flush())
	if err != nil {
		b.file.discard()
	} else {
		err = b.file.commit()
	}
	var cannot *fs.PathError
	if errors.As(err, &cannot) {
		err = cannot.Err
	}
	if err != nil {
		return fmt.Errorf("cannot write the baseline to %s: %w", b.path, err)
	}
	return nil
}

// some lists the first few.
func some(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// hostname returns the name of this machine, empty when it has none.
func (a *App) hostname() string {
	if a.Hostname == nil {
		return ""
	}
	name, err := a.Hostname()
	if err != nil {
		return ""
	}
	return name
}
