package probes

import (
	"math"
	"slices"
	"time"

	"github.com/sonde-cli/sonde/probes/echo"
)

// rttSummary describes the round-trip times of one round.
type rttSummary struct {
	min, avg, median, p95, max time.Duration
	stddev                     time.Duration // of the population
	jitter                     time.Duration // mean difference of neighbours
	pairs                      int           // differences that jitter is the mean of
}

// summarise describes the replies among rtts, which are in the order of
// sending. It reports false when there is none.
func summarise(rtts []time.Duration) (rttSummary, bool) {
	seen := slices.DeleteFunc(slices.Clone(rtts), func(d time.Duration) bool { return d == echo.NoReply })
	if len(seen) == 0 {
		return rttSummary{}, false
	}
	var s rttSummary
	var sum, squares, steps float64
	for i, d := range seen {
		sum += float64(d)
		if i > 0 {
			steps += math.Abs(float64(d - seen[i-1]))
			s.pairs++
		}
	}
	n := float64(len(seen))
	for _, d := range seen {
		squares += (float64(d) - sum/n) * (float64(d) - sum/n)
	}
	if s.pairs > 0 {
		s.jitter = time.Duration(steps / float64(s.pairs))
	}
	s.avg, s.stddev = time.Duration(sum/n), time.Duration(math.Sqrt(squares/n))
	slices.Sort(seen)
	s.min, s.max = seen[0], seen[len(seen)-1]
	s.median, s.p95 = nearestRank(seen, 50), nearestRank(seen, 95)
	return s, true
}

// nearestRank returns the smallest value that at least percent % of the sorted
// values do not exceed: one of the values, never something between two. Of an
// even number of values the median is so the lower of the two in the middle.
func nearestRank(sorted []time.Duration, percent int) time.Duration {
	rank := (percent*len(sorted) + 99) / 100
	return sorted[max(rank, 1)-1]
}
