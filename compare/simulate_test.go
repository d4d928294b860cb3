package compare

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/aclements/go-moremath/stats"
)

// simulations is how many comparisons each rate is measured with.
const simulations = 1000

// world makes the latencies that one observation after another would see, in
// seconds, as a machine and a network do.
type world struct {
	name string
	// next returns a function for one comparison; observation i of it sees the
	// i-th value.
	next  func(r *rand.Rand) func(i int) float64
	finds []power
}

// power is the rate at which n samples find that B is slower by the factor.
type power struct {
	n            int
	factor, rate float64
}

func worlds() []world {
	// Observations of 20ms, spread by a third or a tenth.
	lognormal := func(r *rand.Rand) float64 { return 0.020 * math.Exp(0.3*r.NormFloat64()) }
	calm := func(r *rand.Rand) float64 { return 0.020 * math.Exp(0.1*r.NormFloat64()) }
	heavy := func(r *rand.Rand) float64 {
		if r.Float64() < 0.05 { // a retransmission, a collector's pause
			return lognormal(r) + 0.2*math.Exp(r.NormFloat64())
		}
		return lognormal(r)
	}
	each := func(draw func(*rand.Rand) float64) func(*rand.Rand) func(int) float64 {
		return func(r *rand.Rand) func(int) float64 {
			return func(int) float64 { return draw(r) }
		}
	}
	return []world{
		{"calm", each(calm), []power{{40, 1.2, 0.9}, {40, 1.3, 1}}},
		{"heavy tail", each(heavy), []power{{40, 1.2, 0.1}, {40, 1.3, 0.41}, {40, 1.5, 0.95}, {100, 1.3, 0.85}}},
		{"two modes", each(func(r *rand.Rand) float64 { // a cache's hit and miss
			if r.Float64() < 0.3 {
				return 3 * lognormal(r)
			}
			return lognormal(r)
		}), []power{{40, 1.2, 0.05}, {40, 1.3, 0.15}, {40, 1.5, 0.57}, {100, 1.3, 0.47}}},
		{"coarse clock", each(func(r *rand.Rand) float64 { return math.Ceil(heavy(r)*1000) / 1000 }),
			[]power{{40, 1.2, 0.1}, {40, 1.3, 0.42}, {40, 1.5, 0.95}}},
		{"drift", func(r *rand.Rand) func(int) float64 { // a runner with neighbours: AR(1) and a trend
			level, trend := 0.4*r.NormFloat64(), 0.01*r.NormFloat64()
			return func(i int) float64 {
				level = 0.95*level + 0.4*math.Sqrt(1-0.95*0.95)*r.NormFloat64()
				return lognormal(r) * math.Exp(level+trend*float64(i))
			}
		}, []power{{40, 1.2, 0.02}, {40, 1.3, 0.14}, {40, 1.5, 0.68}}},
		{"backends in turn", func(r *rand.Rand) func(int) float64 { // four behind one name, one of them slow
			return func(i int) float64 {
				if i%4 == 3 {
					return 2 * lognormal(r)
				}
				return lognormal(r)
			}
		}, []power{{40, 1.2, 0.06}, {40, 1.3, 0.23}, {40, 1.5, 0.84}}},
	}
}

// interleaved measures A and B in turn, n times each, in the order of Order; B
// takes longer by the factor.
func (w world) interleaved(r *rand.Rand, n int, factor float64) Pair {
	return w.measure(r, Order(n, r), factor)
}

// measure observes B where order is true.
func (w world) measure(r *rand.Rand, order []bool, factor float64) Pair {
	next := w.next(r)
	p := Pair{ID: w.name}
	for i, b := range order {
		latency := next(i)
		if b {
			p.B.Latencies = append(p.B.Latencies, time.Duration(factor*latency*1e9))
		} else {
			p.A.Latencies = append(p.A.Latencies, time.Duration(latency*1e9))
		}
	}
	return p
}

// rates are those of an outcome over all simulations.
type rates struct {
	slower  int
	covered int // intervals that hold the true ratio
}

func (w world) simulate(n int, factor float64, o Options) rates {
	var seen rates
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for range simulations {
		c := Compare([]Pair{w.interleaved(r, n, factor)}, o)[0]
		if c.Outcome == Slower {
			seen.slower++
		}
		if c.Low <= factor && factor <= c.High {
			seen.covered++
		}
	}
	return seen
}

// TestFalseAlarms holds the comparison to its promise: where nothing changed,
// or only by as much as does not matter, it says slower at most as often as
// alpha says, and its intervals miss the true ratio at most as often.
func TestFalseAlarms(t *testing.T) {
	standard := Options{Alpha: DefaultAlpha, MinEffect: DefaultMinEffect}
	for _, w := range worlds() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range []struct {
				n      int
				factor float64
				o      Options
			}{
				{40, 1, standard},
				{40, 1 + DefaultMinEffect, standard}, // the worst that does not matter
				{40, 1, Options{Alpha: 0.05}},
				{10, 1, Options{Alpha: 0.05}},
			} {
				got := w.simulate(c.n, c.factor, c.o)
				t.Logf("%d samples, B/A %g, alpha %g, minimum effect %g: slower %.1f%%, interval holds the ratio %.1f%%",
					c.n, c.factor, c.o.Alpha, c.o.MinEffect, percent(got.slower), percent(got.covered))
				if most := most(c.o.Alpha); got.slower > most || simulations-got.covered > most {
					t.Errorf("of %d: %d alarms and %d intervals without the ratio, want at most %d of each",
						simulations, got.slower, simulations-got.covered, most)
				}
			}
		})
	}
}

// TestPower holds the comparison to what docs/compare.md says of the slowdowns
// that it finds.
func TestPower(t *testing.T) {
	o := Options{Alpha: DefaultAlpha, MinEffect: DefaultMinEffect}
	for _, w := range worlds() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			for _, want := range w.finds {
				got := w.simulate(want.n, want.factor, o)
				t.Logf("%d samples, B/A %g: slower %.1f%%", want.n, want.factor, percent(got.slower))
				if least := least(want.rate); got.slower < least {
					t.Errorf("%d samples, B/A %g: %d of %d found, want at least %d", want.n, want.factor, got.slower, simulations, least)
				}
			}
		})
	}
}

// TestDriftBetweenRuns shows why A and B are to be measured in turn: with first
// all of A and then all of B, as with a baseline, drift raises false alarms far
// above alpha.
func TestDriftBetweenRuns(t *testing.T) {
	const n = 40
	order := slices.Concat(make([]bool, n), slices.Repeat([]bool{true}, n))
	r := rand.New(rand.NewPCG(1, n))
	alarms := 0
	for _, w := range worlds() {
		if w.name != "drift" {
			continue
		}
		for range simulations {
			if Compare([]Pair{w.measure(r, order, 1)}, Options{Alpha: DefaultAlpha, MinEffect: DefaultMinEffect})[0].Outcome == Slower {
				alarms++
			}
		}
	}
	t.Logf("%.1f%% of the comparisons", percent(alarms))
	if alarms < least(0.3) {
		t.Errorf("%d of %d alarms: docs/compare.md warns of more", alarms, simulations)
	}
}

// TestManyChecks holds the promise for a run of many checks: alpha is for all
// of them together.
func TestManyChecks(t *testing.T) {
	const runs, checks = 1000, 10
	o := Options{Alpha: 0.05} // without a minimum effect, as it is harder
	r := rand.New(rand.NewPCG(7, 3))
	alarmed := 0
	for range runs {
		pairs := make([]Pair, checks)
		for i := range pairs {
			pairs[i] = worlds()[i%2].interleaved(r, 40, 1)
		}
		for _, c := range Compare(pairs, o) {
			if c.Outcome == Slower {
				alarmed++
				break
			}
		}
	}
	t.Logf("%.1f%% of the runs", 100*float64(alarmed)/runs)
	d := stats.BinomialDist{N: runs, P: o.Alpha}
	if 1-d.CDF(float64(alarmed-1)) < 0.001 {
		t.Errorf("%d of %d runs have an alarm, at an alpha of %g", alarmed, runs, o.Alpha)
	}
}

func percent(n int) float64 { return 100 * float64(n) / simulations }

// most returns how often an event of probability p may be seen in all
// simulations: more would happen once in a thousand of such tests.
func most(p float64) int {
	d := stats.BinomialDist{N: simulations, P: p}
	n := int(p * simulations)
	for d.CDF(float64(n)) < 0.999 {
		n++
	}
	return n
}

// least is the same from below.
func least(p float64) int { return simulations - most(1-p) }
