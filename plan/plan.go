// Package plan tells what checks will ask of this machine and of their targets,
// before anything is measured: how many probes a second, on average and at the
// peak, how many at once, and what that takes.
//
// Three cases are looked at. Steady: every check is up at its first attempt.
// Failing: every check is down at once, each attempt fails at once, so that
// there are the most probes. Hanging: every attempt takes its timeout, so that
// the most are under way. A sample is taken whole in each: one that ends early
// asks for less.
package plan

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/scheduler"
)

// TimeWait is how long Linux keeps the port of a connection that was closed
// (TCP_TIMEWAIT_LEN in include/net/tcp.h).
const TimeWait = 60 * time.Second

// Options are what a plan is made from.
type Options struct {
	Checks      []*check.Check
	Limits      scheduler.Limits // of a loop; InFlight is set
	Concurrency int              // of one run
	Machine     Machine
	Caps        Caps
	// Endpoint returns where a check goes. Limits apply per host, ports are
	// needed for each of its ports.
	Endpoint func(*check.Check) (host, port string)
}

// Machine is what a process has.
type Machine struct {
	Descriptors int // that it may have open; 0 for no limit
	Ports       int // local ports for connections to one address and port
	PerProbe    int // descriptors of a probe under way
	Spare       int // descriptors of one run for other uses
	SpareLoop   int // descriptors of a loop for other uses
}

// Plan is what was found.
type Plan struct {
	Checks       []Check
	Kinds        []Kind        // by name
	Destinations []Destination // those with the most probes first
	Loop         Loop
	Run          Run
	Limits       scheduler.Limits
	Machine      Machine
	Warnings     []Warning
	Exceeded     []Excess
}

// Check is one of the checks.
type Check struct {
	*check.Check
	Interval, IntervalFailing, Timeout time.Duration // that apply; the second is Interval when it has none
	Longest                            time.Duration // of one run, when all its probes time out

	host, port string
	ports      int // local ports that an attempt leaves in TIME_WAIT
	parts      int // probes that an attempt is made of at most
	atOnce     int // of them that are under way together at most
	single     int // attempts of a run that are looked at one by one
}

// Attempts returns how many attempts a run makes at most.
func (c *Check) Attempts() int { return max(c.Retry.Attempts, 1) }

// Probes returns how many probes a run makes at most.
func (c *Check) Probes() int { return c.tries() * c.parts }

// Parts returns how many probes an attempt or an observation is made of at most.
func (c *Check) Parts() int { return c.parts }

// tries returns how often a run observes at most: its attempts, or the
// observations of its sample.
func (c *Check) tries() int {
	if c.Samples.Many() {
		return c.Samples.Count
	}
	return c.Attempts()
}

// usual returns how often a run observes that is up at once.
func (c *Check) usual() int {
	if c.Samples.Many() {
		return c.Samples.Count
	}
	return 1
}

// Kind counts the checks of one kind.
type Kind struct {
	Name      string
	Checks    int
	PerSecond float64 // probes, steady
}

// Rate is how many probes begin in a second.
type Rate struct {
	Average float64
	Peak    int  // in any one second
	Exact   bool // else the peak is the most that it can be
}

// Destination is a host to which checks go.
type Destination struct {
	Host            string
	Checks          int
	Steady, Failing Rate
	// Ports is how many local ports are in TIME_WAIT on average, of connections
	// to that one of its ports that has the most.
	Ports int
}

// Peak returns the larger one of both peaks.
func (d *Destination) Peak() int { return max(d.Steady.Peak, d.Failing.Peak) }

// Loop is what `sonde serve` and `sonde watch` do.
type Loop struct {
	Steady, Failing Rate
	Scheduled       int  // checks with windows, which are taken to be open
	InFlight        int  // probes under way at the peak when all hang
	InFlightExact   bool // else it is the most that it can be
	Descriptors     int  // that takes, within the limits
	Ports           int  // the most of a destination
}

// Run is what `sonde run` does.
type Run struct {
	Concurrency int
	Usual       int           // probes, when every check is up at its first attempt
	Probes      int           // at most, with all retries
	Longest     time.Duration // when all probes time out
	Descriptors int
}

// New makes a plan.
func New(o Options) *Plan {
	p := &Plan{Limits: o.Limits, Machine: o.Machine, Checks: make([]Check, len(o.Checks))}
	for i, c := range o.Checks {
		p.Checks[i] = newCheck(c)
		p.Checks[i].host, p.Checks[i].port = o.Endpoint(c)
	}
	p.bound()
	p.Kinds = kinds(p.Checks)
	p.Loop = p.loop()
	p.Destinations = destinations(p.Checks)
	for _, d := range p.Destinations {
		p.Loop.Ports = max(p.Loop.Ports, d.Ports)
	}
	p.Run = p.run(o.Concurrency)
	p.warn(o.Caps)
	p.judge(o.Caps)
	return p
}

func newCheck(c *check.Check) Check {
	out := Check{
		Check: c, Interval: scheduler.Period(c, false), IntervalFailing: scheduler.Period(c, true), Timeout: scheduler.Timeout(c),
		ports: c.Footprint().Ports, parts: max(c.Footprint().Probes, 1), atOnce: max(c.Footprint().AtOnce, 1),
	}
	out.Longest = out.lasts(out.tries(), out.Timeout)
	return out
}

// How many probes are looked at one by one: of a run, and of all samples.
const (
	mostProbes   = 1000
	mostSampling = 1 << 20
)

// bound sums up each sample where there are too many to look at every
// observation.
func (p *Plan) bound() {
	sampling := 0
	for i := range p.Checks {
		if c := &p.Checks[i]; c.Samples.Many() {
			sampling += min(c.Samples.Count, mostSampling)
		}
	}
	for i := range p.Checks {
		c := &p.Checks[i]
		if c.single = mostProbes; c.Samples.Many() && (sampling > mostSampling || c.Samples.Count > mostProbes) {
			c.single = 0 // they are evenly spaced, so that one train tells of all
		}
	}
}

// pause returns the wait between the probe n and the next one, when each takes
// so long.
func (c *Check) pause(n int, takes time.Duration) time.Duration {
	if c.Samples.Many() {
		return max(c.Samples.Spacing-takes, 0)
	}
	return c.Retry.Delay(n)
}

// lasts returns how long a run with so many probes is under way, when each takes
// so long.
func (c *Check) lasts(probes int, takes time.Duration) time.Duration {
	total := times(probes, takes)
	var wait time.Duration
	for n := 1; n <= min(probes-1, mostProbes); n++ {
		wait = c.pause(n, takes)
		total = sum(total, wait)
	}
	return sum(total, times(probes-1-mostProbes, wait))
}

// sum adds durations up to the longest there is.
func sum(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// times multiplies up to the longest duration that there is; nothing for n below 1.
func times(n int, d time.Duration) time.Duration {
	switch {
	case n <= 0 || d <= 0:
		return 0
	case d > math.MaxInt64/time.Duration(n):
		return math.MaxInt64
	}
	return time.Duration(n) * d
}

// every returns the time between two runs that take so long each: a check never
// runs twice at once, and what it misses is not made up for.
func every(interval, took time.Duration) time.Duration {
	n := took/interval + 1
	if n > math.MaxInt64/interval {
		return math.MaxInt64
	}
	return n * interval
}

// perSecond returns how many probes begin, on average.
func (c *Check) perSecond(failing bool) float64 {
	interval, tries := c.Interval, c.usual()
	if failing {
		interval, tries = c.IntervalFailing, c.tries()
	}
	return float64(tries*c.parts) / every(interval, c.lasts(tries, 0)).Seconds()
}

// begins appends the seconds that follow the begin of each probe.
func (c *Check) begins(trains []train, failing bool) []train {
	if failing {
		return c.trains(trains, c.IntervalFailing, c.tries(), c.parts, 0, time.Second)
	}
	return c.trains(trains, c.Interval, c.usual(), c.parts, 0, time.Second)
}

// hangs appends the times of attempts that take their timeout.
func (c *Check) hangs(trains []train) []train {
	return c.trains(trains, c.IntervalFailing, c.tries(), c.atOnce, c.Timeout, c.Timeout)
}

// trains appends a train for each of so many tries of a run, of so many parts: it
// takes so long and counts for so long.
func (c *Check) trains(trains []train, interval time.Duration, tries, parts int, takes, counts time.Duration) []train {
	at := scheduler.Phase(c.ID, interval)
	period := every(interval, c.lasts(tries, takes))
	single := min(tries, c.single)
	for n := 1; n <= single; n++ {
		trains = append(trains, newTrain(at, period, counts, parts))
		at = sum(at, sum(takes, c.pause(n, takes)))
	}
	rest := tries - single
	if rest == 0 {
		return trains
	}
	step := sum(takes, c.pause(mostProbes, takes))
	if step == 0 { // all at once
		return append(trains, newTrain(at, period, counts, rest*parts))
	}
	// One after the other: as many overlap as begin while one counts.
	most := min(int(min((counts-1)/step+1, 1<<30)), rest)
	return append(trains, newTrain(at, period, min(sum(times(rest-1, step), counts), period), most*parts))
}

// pointers returns a list that can be put in another order.
func pointers(checks []Check) []*Check {
	all := make([]*Check, len(checks))
	for i := range checks {
		all[i] = &checks[i]
	}
	return all
}

// rate returns how many probes of checks begin; the budget is as of peak.
func rate(checks []*Check, failing bool, budget int64) Rate {
	var r Rate
	trains := make([]train, 0, len(checks))
	single := true
	for _, c := range checks {
		r.Average += c.perSecond(failing)
		trains = c.begins(trains, failing)
		single = single && c.single > 0 && c.parts == 1
	}
	r.Peak, r.Exact = peak(trains, budget)
	r.Exact = r.Exact && single
	return r
}

func kinds(checks []Check) []Kind {
	byName := make(map[string]*Kind)
	var all []*Kind
	for i := range checks {
		c := &checks[i]
		k := byName[c.Check.Kind]
		if k == nil {
			k = &Kind{Name: c.Check.Kind}
			byName[k.Name], all = k, append(all, k)
		}
		k.Checks++
		k.PerSecond += c.perSecond(false)
	}
	slices.SortFunc(all, func(a, b *Kind) int { return cmp.Compare(a.Name, b.Name) })
	out := make([]Kind, len(all))
	for i, k := range all {
		out[i] = *k
	}
	return out
}

// all returns the checks as they were given.
func (p *Plan) all() []*check.Check {
	all := make([]*check.Check, len(p.Checks))
	for i := range p.Checks {
		all[i] = p.Checks[i].Check
	}
	return all
}

func (p *Plan) loop() Loop {
	all := pointers(p.Checks)
	l := Loop{Steady: rate(all, false, mostEdges), Failing: rate(all, true, mostEdges)}
	var trains []train
	kept, allOfThem, widest, single := 0, 0, 0, true
	for i := range p.Checks {
		c := &p.Checks[i]
		trains = c.hangs(trains)
		kept += c.Footprint().Kept
		allOfThem += c.atOnce
		widest = max(widest, c.atOnce)
		single = single && c.single > 0
		if c.Schedule != nil {
			l.Scheduled++
		}
	}
	l.InFlight, l.InFlightExact = peak(trains, mostEdges)
	l.InFlightExact = l.InFlightExact && single
	l.InFlight = min(l.InFlight, allOfThem) // a check never runs twice at once
	// A run of more probes than there are places is alone.
	l.Descriptors = min(l.InFlight, max(p.Limits.InFlight, widest))*p.Machine.PerProbe + kept + p.Machine.SpareLoop
	return l
}

// destinations sums up the checks by host.
func destinations(checks []Check) []Destination {
	sorted := pointers(checks)
	slices.SortFunc(sorted, func(a, b *Check) int {
		if d := strings.Compare(a.host, b.host); d != 0 {
			return d
		}
		return strings.Compare(a.port, b.port)
	})
	hosts := make(map[string]bool)
	for _, c := range sorted {
		hosts[c.host] = true
	}
	budget := max(mostEdges/int64(max(len(hosts), 1)), leastEdges)
	all := make([]Destination, 0, len(hosts))
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && sorted[n].host == sorted[0].host {
			n++
		}
		own := sorted[:n]
		all = append(all, Destination{
			Host: own[0].host, Checks: n, Steady: rate(own, false, budget), Failing: rate(own, true, budget), Ports: waiting(own),
		})
		sorted = sorted[n:]
	}
	slices.SortStableFunc(all, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(b.Steady.Average, a.Steady.Average), cmp.Compare(b.Failing.Average, a.Failing.Average))
	})
	return all
}

// waiting returns how many local ports are in TIME_WAIT for one port of the host,
// the most of all; the checks are sorted by port.
func waiting(checks []*Check) int {
	var most, now float64
	for i, c := range checks {
		if i > 0 && c.port != checks[i-1].port {
			now = 0
		}
		now += float64(c.ports) * max(c.perSecond(false), c.perSecond(true)) / float64(c.parts)
		most = max(most, now)
	}
	return int(math.Ceil(most * TimeWait.Seconds()))
}

func (p *Plan) run(concurrency int) Run {
	r := Run{Concurrency: concurrency}
	var places ends
	for i := range p.Checks {
		c := &p.Checks[i]
		r.Usual += c.usual() * c.parts
		r.Probes += c.Probes()
		end := c.Longest
		if len(places) < concurrency {
			heap.Push(&places, end)
		} else { // it takes the place that is free first
			end = sum(places[0], end)
			places[0] = end
			heap.Fix(&places, 0)
		}
		r.Longest = max(r.Longest, end)
	}
	r.Descriptors = check.Descriptors(p.all(), concurrency, p.Machine.PerProbe) + p.Machine.Spare
	return r
}

// ends are when places become free, a heap.
type ends []time.Duration

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i] < e[j] }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push adds x to the end.
func (e *ends) Push(x any) { *e = append(*e, x.(time.Duration)) }

// Pop removes the last one.
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
