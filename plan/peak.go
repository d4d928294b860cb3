package plan

import (
	"cmp"
	"slices"
	"time"
)

// Bounds of the work that an exact peak is worth.
const (
	tick        = time.Millisecond // runs of a loop that are due within one begin together
	longestBase = 3_600_000        // ticks: an hour; the longest common period that is looked at tick by tick
	mostEdges   = 1 << 22          // begins and ends that are sorted, for all hosts together
	leastEdges  = 1 << 10          // for a host
)

// train is a span of time that comes again and again, in ticks: from at + n*every
// on, for so long, so many times at once.
type train struct{ at, every, long, times int64 }

func newTrain(at, every, long time.Duration, times int) train {
	e := max(int64(every/tick), 1)
	return train{at: int64(at/tick) % e, every: e, long: max(int64(long/tick), 1), times: int64(times)}
}

// edges are the begins and ends of a span that comes again after a period, and
// how many of its kind are under way when the period begins.
func (t train) edges() (begin, end, before int64) {
	before = t.long / t.every // one that lasts longer than its period is under way always
	begin, end = t.at, t.at+t.long%t.every
	if end >= t.every {
		end -= t.every
		before++
	}
	return begin, end, before
}

// peak returns how many spans there are at once at most. It is exact when the
// trains have a common period that is short enough to look at. Otherwise those
// that do not fit in are taken to be at their own peaks just then, which makes it
// the most that there can be. It looks at as many begins and ends, or ticks, as
// the budget says. It changes the order of the trains.
func peak(trains []train, budget int64) (most int, exact bool) {
	if len(trains) == 1 { // as for most hosts
		t := trains[0]
		return int(t.times * ((t.long + t.every - 1) / t.every)), true
	}
	groups := byPeriod(trains)
	base, within, others := common(groups, budget)
	most = highest(within, base)
	for _, g := range others {
		most += highest([][]train{g}, g[0].every)
	}
	return most, len(others) == 0
}

// byPeriod parts the trains by their periods, those that come most often first.
func byPeriod(trains []train) [][]train {
	slices.SortFunc(trains, func(a, b train) int { return cmp.Compare(a.every, b.every) })
	var groups [][]train
	for len(trains) > 0 {
		n := 1
		for n < len(trains) && trains[n].every == trains[0].every {
			n++
		}
		groups = append(groups, trains[:n:n])
		trains = trains[n:]
	}
	slices.SortStableFunc(groups, func(a, b []train) int {
		return cmp.Compare(float64(len(b))/float64(b[0].every), float64(len(a))/float64(a[0].every))
	})
	return groups
}

// common finds the longest common period that can be looked at, and the groups
// that do not fit in.
func common(groups [][]train, budget int64) (base int64, within, others [][]train) {
	base = 1
	for _, g := range groups {
		next := lcm(base, g[0].every)
		if next > min(longestBase, budget) && edges(append(within[:len(within):len(within)], g), next) > budget {
			others = append(others, g)
			continue
		}
		base, within = next, append(within, g)
	}
	return base, within, others
}

// edges counts the begins and ends within a period.
func edges(groups [][]train, base int64) int64 {
	var n int64
	for _, g := range groups {
		each := base / g[0].every
		if each > mostEdges {
			return mostEdges + 1
		}
		n += 2 * int64(len(g)) * each
	}
	return n
}

// highest returns the most spans at once within a period, tick by tick or, where
// there is little to see, from edge to edge.
func highest(groups [][]train, base int64) int {
	if len(groups) == 0 {
		return 0
	}
	if base <= longestBase && edges(groups, base) > base/16 {
		return highestTick(groups, base)
	}
	return highestEdge(groups, base)
}

func highestTick(groups [][]train, base int64) int {
	change := make([]int64, base)
	var now int64
	for _, g := range groups {
		every := g[0].every
		own := make([]int64, every)
		for _, t := range g {
			begin, end, before := t.edges()
			own[begin] += t.times
			own[end] -= t.times
			now += before * t.times
		}
		for from := int64(0); from < base; from += every {
			for i, n := range own {
				change[from+int64(i)] += n
			}
		}
	}
	most := now
	for _, n := range change {
		now += n
		most = max(most, now)
	}
	return int(most)
}

func highestEdge(groups [][]train, base int64) int {
	type edge struct{ at, change int64 }
	var all []edge
	var now int64
	for _, g := range groups {
		for _, t := range g {
			begin, end, before := t.edges()
			now += before * t.times
			if begin == end {
				continue // one after the other
			}
			for from := int64(0); from < base; from += t.every {
				all = append(all, edge{from + begin, t.times}, edge{from + end, -t.times})
			}
		}
	}
	slices.SortFunc(all, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.change, b.change)) })
	most := now
	for _, e := range all {
		now += e.change
		most = max(most, now)
	}
	return int(most)
}

func lcm(a, b int64) int64 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	if q := b / x; a <= (1<<62)/q {
		return a * q
	}
	return 1 << 62
}
