package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/expect"
)

// ratio is a share from 0 to 1, written as 95% or 0.95.
type ratio float64

var ratioType = reflect.TypeFor[ratio]()

// ratioPattern describes what parseRatio reads of a text.
const ratioPattern = `^[0-9]+(\.[0-9]+)?%$|^[01](\.[0-9]+)?$`

func parseRatio(text string) (ratio, error) {
	number, hundredth := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(number, 64)
	if hundredth {
		n /= 100
	}
	if err != nil || !plainNumber(number) || n < 0 || n > 1 {
		return 0, errors.New("not a share")
	}
	return ratio(n), nil
}

// ratioHint helps with a number that is a percentage without its sign.
func ratioHint(text string) string {
	if n, err := strconv.ParseFloat(text, 64); err == nil && plainNumber(text) && n > 1 && n <= 100 {
		return "write " + text + "%"
	}
	return ""
}

// samples makes the samples of a check. Who expects something of pass_rate, and
// does not say what share must pass, has taken over from the default.
func (s samplesSpec) samples(user []check.Expectation, standard bool) check.Samples {
	made := check.Samples{Count: s.Count, Spacing: s.Spacing, Pass: float64(s.Pass)}
	if standard && slices.ContainsFunc(user, expectsPassRate) {
		made.Pass = 0
	}
	return made
}

func expectsPassRate(e check.Expectation) bool {
	return e.Level == check.Expect && slices.Contains(e.Test.Facts(), "pass_rate")
}

// overSample returns the first fact over a sample that the expression names,
// empty for none. Facts of one observation cannot stand beside it: it would not
// be known of which.
func (k *kind) overSample(text string, test check.Test) (string, *expect.Error) {
	var whole, single string
	for _, f := range k.facts {
		switch {
		case !slices.Contains(test.Facts(), f.Name):
		case f.Sample && whole == "":
			whole = f.Name
		case !f.Sample && single == "":
			single = f.Name
		}
	}
	if whole != "" && single != "" {
		return "", &expect.Error{
			Offset:  offsetOf(text, whole),
			Message: fmt.Sprintf("%s is a fact over the whole sample and %s one of each observation", whole, single),
			Hint:    "write two expectations",
		}
	}
	return whole, nil
}

// needsSamples is the error of a fact over a sample where there is none.
func needsSamples(text, fact, hint string) *expect.Error {
	return &expect.Error{Offset: offsetOf(text, fact), Message: fact + " is a fact over a sample, and the check observes once", Hint: hint}
}

func offsetOf(text, fact string) int { return max(strings.Index(text, fact), 0) }

// samples lets the command line have its say, and refuses what samples do not
// go with.
func (m *maker) samples(d *decoder, b *body) {
	count := m.file.in.Samples
	if count > 0 {
		b.Samples.Count = count
	}
	if b.Samples.Count <= 1 || d.failed {
		return
	}
	if b.Retry.Attempts > 1 {
		n := m.at("retry")
		if count > 0 {
			m.warn(n, "retry does not apply with --samples: no observation is tried again", "samples.pass says how many may fail")
			b.Retry.Attempts = 1
		} else {
			d.errorf(n, "leave out one of them, or write retry: {attempts: 1}; samples.pass says how many may fail",
				"a check has samples or retry, not both: a failure that is tried again would be missing in the sample")
		}
	}
	least := time.Duration(b.Samples.Count-1) * b.Samples.Spacing
	if n := m.at("samples"); n != nil && count == 0 && least > b.Interval {
		m.warn(n, fmt.Sprintf("the samples take at least %s, longer than the interval of %s", check.FormatDuration(least), check.FormatDuration(b.Interval)),
			"runs of a check never overlap, so a loop will skip some")
	}
}

// FewHint is what to do about a percentile that there are too few samples for.
const FewHint = "take more samples, or name latency.max"

// warnOfFew warns of percentiles that the samples are too few for.
func (m *maker) warnOfFew(d *decoder, n *yaml.Node, text string, test check.Test, count int) {
	for _, fact := range test.Facts() {
		if few := check.TooFew(fact, count); few != "" && !d.failed {
			m.warn(n, few, FewHint)
		}
	}
}

func (m *maker) warn(n *yaml.Node, message, hint string) {
	m.file.in.warnings.add(m.file.src.problem(n.Line, n.Column, message, hint))
}
