package compare

import (
	"math"
	"slices"

	"github.com/aclements/go-moremath/stats"
)

// maxExact is the largest sample, of the larger side, whose test is exact; the
// exact distribution of larger ones costs milliseconds and tells no more.
const maxExact = 20

// above returns the one-sided p-value of the Mann-Whitney U test: how probable
// it is that xs lie so far above factor*ys when they do not tend to. It is 1
// when the values say nothing: there are none, or all are equal.
func above(xs, ys []float64, factor float64) float64 {
	scaled := make([]float64, len(ys))
	for i, y := range ys {
		scaled[i] = y * factor
	}
	if max(len(xs), len(ys)) > maxExact {
		return approximate(xs, scaled)
	}
	r, err := stats.MannWhitneyUTest(xs, scaled, stats.LocationGreater)
	if err != nil {
		return 1
	}
	return min(max(r.P, 0), 1)
}

// approximate is the normal approximation of the test, with corrections for
// ties and continuity (E. L. Lehmann, Nonparametrics, 1975, chapter 1).
func approximate(xs, ys []float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(xs, ys)))
	ranks := make(map[float64]float64, len(all))
	ties := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j] == all[i] {
			j++
		}
		t := float64(j - i)
		ties += t*t*t - t
		ranks[all[i]] = float64(i+j+1) / 2 // the mean of i+1 ... j
		i = j
	}
	n, m := float64(len(xs)), float64(len(ys))
	u := -n * (n + 1) / 2
	for _, x := range xs {
		u += ranks[x]
	}
	deviation := math.Sqrt(n * m / 12 * (n + m + 1 - ties/((n+m)*(n+m-1))))
	if len(xs) == 0 || len(ys) == 0 || deviation == 0 {
		return 1
	}
	return stats.StdNormal.CDF(-(u - n*m/2 - 0.5) / deviation)
}

// interval is an estimate of a ratio with its confidence interval.
type interval struct{ low, middle, high float64 }

// ratio estimates by which factor bs are greater than as, all above 0. The
// interval has no bounds (0, +Inf) when the samples are too small for the
// confidence.
func ratio(as, bs []float64, confidence float64) interval {
	r := interval{low: 0, middle: math.NaN(), high: math.Inf(1)}
	pairs := len(as) * len(bs)
	if pairs == 0 {
		return r
	}
	as, bs = slices.Sorted(slices.Values(as)), slices.Sorted(slices.Values(bs))
	// The middle one, or the mean of both on the logarithms.
	r.middle = math.Sqrt(ratioAt(as, bs, (pairs-1)/2) * ratioAt(as, bs, pairs/2))
	n, m := float64(len(as)), float64(len(bs))
	z := stats.StdNormal.InvCDF((1 + confidence) / 2)
	// The order statistics of the ratios that Moses' interval ends at, rounded
	// to the wider one; half a step for continuity.
	k := int(math.Floor(n*m/2 - z*math.Sqrt(n*m*(n+m+1)/12) - 0.5))
	if k >= 0 {
		r.low, r.high = ratioAt(as, bs, k), ratioAt(as, bs, pairs-1-k)
	}
	return r
}

// ratioAt returns the k-th smallest of the ratios b/a of all pairs, from 0, of
// sorted samples. It does not make the list, which is long for large samples,
// but halves the range that the ratio is in.
func ratioAt(as, bs []float64, k int) float64 {
	low, high := bs[0]/as[len(as)-1], bs[len(bs)-1]/as[0]
	for range 60 {
		if middle := (low + high) / 2; atMost(as, bs, middle) > k {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// atMost counts the pairs of sorted samples whose ratio b/a is at most x.
func atMost(as, bs []float64, x float64) int {
	count, j := 0, 0
	for _, a := range as {
		for j < len(bs) && bs[j] <= x*a {
			j++
		}
		count += j
	}
	return count
}

// holm corrects p-values for being many (S. Holm, A simple sequentially
// rejective multiple test procedure, 1979): to call those at most alpha
// significant errs anywhere with a probability of at most alpha.
func holm(ps []float64) []float64 {
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case ps[i] < ps[j]:
			return -1
		case ps[i] > ps[j]:
			return 1
		}
		return 0
	})
	corrected := make([]float64, len(ps))
	worst := 0.0
	for rank, i := range order {
		worst = max(worst, min(1, ps[i]*float64(len(ps)-rank)))
		corrected[i] = worst
	}
	return corrected
}

// fewest returns how many values a side needs so that the test can reject at
// the level at all: 1/C(2n, n), the p-value when all bs are above all as, must
// not exceed it.
func fewest(level float64) int {
	p := 1.0
	for n := 1; n < maxNeeded; n++ {
		if p *= float64(n) / float64(2*(2*n-1)); p <= level {
			return n
		}
	}
	return maxNeeded
}
