package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// passRate is the fact over a sample that is no latency.
const passRate = "pass_rate"

// percentilePrefix begins the names of the percentiles: latency.p95.
const percentilePrefix = "latency.p"

// sampleFacts returns the facts over a sample.
func sampleFacts() []Fact {
	facts := []Fact{
		{Name: passRate, Type: Float, Unit: "ratio", Doc: "share of the observations that passed, of those that could be made"},
		{Name: "latency.min", Type: Duration, Doc: "shortest latency"},
		{Name: "latency.mean", Type: Duration, Doc: "mean latency"},
	}
	for _, p := range []string{"50", "90", "95", "99"} {
		facts = append(facts, Fact{Name: percentilePrefix + p, Type: Duration, Doc: p + "th percentile of the latencies (nearest rank)"})
	}
	facts = append(facts,
		Fact{Name: "latency.max", Type: Duration, Doc: "longest latency"},
		Fact{Name: "latency.jitter", Type: Duration, Doc: "mean absolute difference between the latencies of two observations in a row"},
	)
	for i := range facts {
		facts[i].Sample, facts[i].Doc = true, "over a sample: "+facts[i].Doc
	}
	return facts
}

// percentile returns the percentage of a fact such as latency.p95.
func percentile(fact string) (int, bool) {
	rest, ok := strings.CutPrefix(fact, percentilePrefix)
	p, err := strconv.Atoi(rest)
	return p, ok && err == nil
}

// TooFew says in words that so many samples are too few to tell a percentile
// from their maximum; empty when they are not, and for any other fact.
func TooFew(fact string, n int) string {
	p, ok := percentile(fact)
	if !ok {
		return ""
	}
	// The smallest number whose nearest rank is not the last: 100/(100-p), rounded up.
	if needs := (100 + 100 - p - 1) / (100 - p); n < needs {
		return fmt.Sprintf("%s of %d samples is their maximum, it needs at least %d", fact, n, needs)
	}
	return ""
}

// latencies are those of a sample, sorted.
type latencies struct {
	sorted []time.Duration
	jitter time.Duration
}

// newLatencies sorts latencies that are in the order of the observations. The
// jitter is the mean of |D| of RFC 3550, section 6.4.1, over all that follow
// each other, without the smoothing there, which would weigh the last most.
func newLatencies(inOrder []time.Duration) latencies {
	var sum time.Duration
	for i := 1; i < len(inOrder); i++ {
		sum += (inOrder[i] - inOrder[i-1]).Abs()
	}
	l := latencies{sorted: slices.Sorted(slices.Values(inOrder))}
	if pairs := len(inOrder) - 1; pairs > 0 {
		l.jitter = sum / time.Duration(pairs)
	}
	return l
}

// rank returns the percentile by the nearest rank: the smallest latency that at
// least p of a hundred are not above. There must be one.
func (l latencies) rank(p int) time.Duration {
	return l.sorted[(p*len(l.sorted)+99)/100-1]
}

func (l latencies) mean() time.Duration {
	var sum time.Duration
	for _, d := range l.sorted {
		sum += d
	}
	return sum / time.Duration(len(l.sorted))
}

// fact returns a fact over the latencies, and false where they are too few for
// it. A percentile is the maximum then.
func (l latencies) fact(name string) (any, bool) {
	n := len(l.sorted)
	if n == 0 {
		return nil, false
	}
	if p, ok := percentile(name); ok {
		return l.rank(p), true
	}
	switch name {
	case "latency.min":
		return l.sorted[0], true
	case "latency.mean":
		return l.mean(), true
	case "latency.max":
		return l.sorted[n-1], true
	case "latency.jitter":
		return l.jitter, n > 1
	}
	return nil, false
}

// lookup returns a function that finds the facts over the sample.
func (s *Sample) lookup(l latencies) func(string) (any, bool) {
	return func(name string) (any, bool) {
		if name == passRate {
			rate, ok := s.PassRate()
			return rate, ok
		}
		return l.fact(name)
	}
}

// Facts returns the facts over the sample, without the percentiles that there
// are too few latencies for.
func (s *Sample) Facts() Facts {
	l := newLatencies(s.Latencies())
	lookup := s.lookup(l)
	var facts Facts
	for _, f := range sampleFacts() {
		if TooFew(f.Name, len(l.sorted)) != "" {
			continue
		}
		if v, ok := lookup(f.Name); ok {
			facts.Set(f.Name, v)
		}
	}
	return facts
}

// Median returns the index of the point that has the median latency, the 50th
// percentile, and whether any point was answered.
func (s *Sample) Median() (int, bool) {
	l := newLatencies(s.Latencies())
	if len(l.sorted) == 0 {
		return 0, false
	}
	middle := l.rank(50)
	i := slices.IndexFunc(s.Points, func(p Point) bool { return p.Answered() && p.Latency == middle })
	return i, i >= 0
}
