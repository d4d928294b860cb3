package compare

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// The defaults of [Options].
const (
	DefaultAlpha     = 0.01
	DefaultMinEffect = 0.10
)

// maxNeeded is the largest number of samples that is worth recommending.
const maxNeeded = 10_000

// Options say what counts as slower.
type Options struct {
	// Alpha is the probability, in (0, 0.5], to call any check slower when
	// none is by more than MinEffect. The intervals have the confidence
	// 1-Alpha.
	Alpha float64
	// Chosen tells which facts are compared; nil: those of [DefaultFacts].
	Chosen func(fact string) bool
	// MinEffect is the slowdown that does not matter yet, as a share of A's
	// latency: 0.1 is 10%.
	MinEffect float64
}

// Fewest returns how many observations a side needs for a run of so many checks
// to show anything.
func (o Options) Fewest(checks int) int { return fewest(o.Alpha / float64(max(1, checks))) }

// Confidence is that of the intervals.
func (o Options) Confidence() float64 { return 1 - o.Alpha }

// Outcome is what the comparison of a check says.
type Outcome uint8

// The outcomes.
const (
	TooFew  Outcome = iota // too few good observations to show anything
	Unclear                // the samples show neither a change nor that there is none
	Same                   // no change by more than the minimum effect
	Faster                 // B is faster by more than the minimum effect
	Slower                 // B is slower by more than the minimum effect
	Failing                // B is down and A is not
)

var outcomeNames = [...]string{"too_few", "unclear", "same", "faster", "slower", "failing"}

// String returns the outcome as in JSON.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText writes the outcome as String does.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Regressed reports whether B is worse than A.
func (o Outcome) Regressed() bool { return o == Slower || o == Failing }

// Side is one of the two samples of a check.
type Side struct {
	Target    string
	Verdict   check.Verdict
	Reason    check.Reason
	Latencies []time.Duration // of the observations that are not down or unknown
	Failed    int             // observations that were down
	Facts     Facts
}

// Pair is a check with both of its samples.
type Pair struct {
	ID       string
	Optional bool // what comes out never fails a run
	A, B     Side
}

// Comparison is what came out for one check.
type Comparison struct {
	Pair
	Outcome Outcome
	// Ratio estimates B's latency over A's, between Low and High with the
	// confidence of the options. NaN without observations, and Low and High
	// are 0 and +Inf where these are too few.
	Ratio, Low, High float64
	// P is the p-value of the test for slower, corrected for the number of
	// checks.
	P float64
	// Needed is how many good observations a side would decide about what the
	// present ones do not; 0 when they do, or it is more than 10,000.
	Needed int
	// Changes are the chosen facts that differ.
	Changes []Change
}

// Report is the comparison of all checks of a run.
type Report struct {
	Options
	Baseline *Origin // where A comes from; nil when it was measured in the same run
	Checks   []Comparison
	// OnlyA and OnlyB are the ids of checks without a partner.
	OnlyA, OnlyB []string
}

// Count returns how many checks that are not optional have one of the outcomes.
func (r *Report) Count(outcomes ...Outcome) int {
	n := 0
	for i := range r.Checks {
		if !r.Checks[i].Optional && slices.Contains(outcomes, r.Checks[i].Outcome) {
			n++
		}
	}
	return n
}

// Compare compares the samples of all checks of a run.
func Compare(pairs []Pair, o Options) []Comparison {
	all := make([]Comparison, len(pairs))
	slower, faster := make([]float64, len(pairs)), make([]float64, len(pairs))
	for i, p := range pairs {
		as, bs := seconds(p.A.Latencies), seconds(p.B.Latencies)
		slower[i], faster[i] = above(bs, as, 1+o.MinEffect), above(as, bs, 1+o.MinEffect)
		r := ratio(as, bs, o.Confidence())
		all[i] = Comparison{Pair: p, Ratio: r.middle, Low: r.low, High: r.high, Changes: o.changes(p)}
	}
	slower, faster = holm(slower), holm(faster)
	least := o.Fewest(len(pairs))
	for i := range all {
		all[i].P = slower[i]
		all[i].judge(o, least, faster[i])
	}
	return all
}

// changes returns the chosen facts of the pair that differ.
func (o Options) changes(p Pair) []Change {
	if len(p.A.Latencies) == 0 || len(p.B.Latencies) == 0 {
		return nil // the facts of what did not answer have not changed
	}
	chosen := o.Chosen
	if chosen == nil {
		chosen = func(fact string) bool { return slices.Contains(DefaultFacts(), fact) }
	}
	return Differences(p.A.Facts, p.B.Facts, chosen)
}

// judge sets the outcome. least is the number of values that a test needs.
func (c *Comparison) judge(o Options, least int, pFaster float64) {
	switch {
	case c.B.Verdict == check.Down && c.A.Verdict != check.Down:
		c.Outcome = Failing
	case min(len(c.A.Latencies), len(c.B.Latencies)) < least:
		c.Outcome, c.Needed = TooFew, least
	case c.P <= o.Alpha:
		c.Outcome = Slower
	case pFaster <= o.Alpha:
		c.Outcome = Faster
	case c.Low > 1/(1+o.MinEffect) && c.High < 1+o.MinEffect:
		c.Outcome = Same
	default:
		c.Outcome, c.Needed = Unclear, c.needed(o)
	}
}

// needed estimates how many observations would decide: an interval's width
// falls with the root of their number, and it has to become narrower than the
// distance of the ratio from the minimum effect.
func (c *Comparison) needed(o Options) int {
	n := min(len(c.A.Latencies), len(c.B.Latencies))
	half := (math.Log(c.High) - math.Log(c.Low)) / 2
	distance := math.Abs(math.Abs(math.Log(c.Ratio)) - math.Log1p(o.MinEffect))
	need := math.Ceil(float64(n) * (half / distance) * (half / distance))
	if math.IsNaN(need) || need > maxNeeded {
		return 0
	}
	return max(int(need), n+1)
}

// Median returns the side's median latency, 0 without observations.
func (s *Side) Median() time.Duration {
	n := len(s.Latencies)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.Latencies))
	low, high := sorted[(n-1)/2], sorted[n/2]
	return low + (high-low)/2
}

func seconds(ds []time.Duration) []float64 {
	out := make([]float64, len(ds))
	for i, d := range ds {
		out[i] = max(d, 1).Seconds() // no clock is finer, and ratios need more than 0
	}
	return out
}
