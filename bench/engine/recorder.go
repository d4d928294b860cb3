package main

import (
	"maps"
	"math/bits"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// histogram counts durations in buckets that are at most a sixteenth wide.
type histogram struct {
	counts [1024]uint64
	n      uint64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.n++
	h.max = max(h.max, d)
	us := uint64(max(d, 0) / time.Microsecond)
	e := max(bits.Len64(us)-5, 0)
	h.counts[e*16+int(us>>e)]++
}

// quantile returns the upper edge of the bucket that holds the quantile.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.n))
	for i, n := range h.counts {
		if rank < n {
			e := max(i/16-1, 0)
			return min(time.Duration((i-e*16+1)<<e)*time.Microsecond, h.max)
		}
		rank -= n
	}
	return h.max
}

// recorder is the sink of the measured loop. It keeps no result: it counts,
// for each value of the label "group".
type recorder struct {
	mu     sync.Mutex
	groups map[string]*tally
	began  time.Time
	second []uint64 // results of each second since it began
}

type tally struct {
	results, up, missed uint64
	reused              uint64 // over a connection that was kept
	reasons             map[string]uint64
	late, latency       histogram
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.groups, r.began, r.second = make(map[string]*tally), time.Now(), nil
}

// Put counts a result.
func (r *recorder) Put(res check.Result) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.groups[res.Labels["group"]]
	if t == nil {
		t = &tally{reasons: make(map[string]uint64)}
		r.groups[res.Labels["group"]] = t
	}
	t.results++
	t.missed += uint64(res.Missed)
	t.late.add(res.Queued)
	t.latency.add(res.Latency)
	if res.Facts.Get("connection") == "reused" {
		t.reused++
	}
	if res.Verdict == check.Up {
		t.up++
	} else {
		t.reasons[string(res.Reason.Code)]++
	}
	s := int(time.Since(r.began) / time.Second)
	for len(r.second) <= s {
		r.second = append(r.second, 0)
	}
	r.second[s]++
	return nil
}

// Close does nothing.
func (*recorder) Close() error { return nil }

// Group is what is told of the checks with one value of the label "group".
type Group struct {
	Results, Up, Missed, Reused uint64            // reused: over a connection that was kept
	Reasons                     map[string]uint64 // of those that were not up
	LateP50, LateP99, LateMax   time.Duration
	LatencyP50, LatencyP99      time.Duration
	LatencyMax                  time.Duration
}

func (r *recorder) report() (map[string]Group, []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	groups := make(map[string]Group)
	var late, latency histogram
	all := Group{Reasons: make(map[string]uint64)}
	for name, t := range r.groups {
		groups[name] = t.group()
		late.merge(&t.late)
		latency.merge(&t.latency)
		all.Results += t.results
		all.Up += t.up
		all.Missed += t.missed
		all.Reused += t.reused
		for reason, n := range t.reasons {
			all.Reasons[reason] += n
		}
	}
	all.summarise(&late, &latency)
	groups[""] = all
	return groups, r.second
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

func (t *tally) group() Group {
	g := Group{Results: t.results, Up: t.up, Missed: t.missed, Reused: t.reused, Reasons: maps.Clone(t.reasons)}
	g.summarise(&t.late, &t.latency)
	return g
}

func (g *Group) summarise(late, latency *histogram) {
	g.LateP50, g.LateP99, g.LateMax = late.quantile(.5), late.quantile(.99), late.max
	g.LatencyP50, g.LatencyP99, g.LatencyMax = latency.quantile(.5), latency.quantile(.99), latency.max
}
