package plan

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/scheduler"
)

func endpoint(c *check.Check) (host, port string) {
	u, _ := url.Parse(c.Target)
	return u.Hostname(), u.Port()
}

// web is a check whose probe leaves a port behind.
func web(id string, change func(*check.Check)) *check.Check {
	c := &check.Check{
		ID: id, Name: id, Kind: "http", Target: "http://" + id + ".example:80/", File: "checks.yaml", Line: 3,
		Interval: 30 * time.Second, Timeout: 5 * time.Second, Retry: check.Retry{Attempts: 1}, Probe: connecting{},
	}
	if change != nil {
		change(c)
	}
	return c
}

// connecting is the probe of a connection.
type connecting struct{ check.Probe }

func (connecting) Footprint() check.Footprint { return check.Footprint{Ports: 1, Kept: 0} }

func options(checks ...*check.Check) Options {
	return Options{
		Checks: checks, Concurrency: 64, Endpoint: endpoint, Limits: scheduler.Limits{InFlight: 1024},
		Machine: Machine{Descriptors: 1024, Ports: 28232, PerProbe: 2, Spare: 10, SpareLoop: 70},
	}
}

func TestPlan(t *testing.T) {
	p := New(options(
		web("a", func(c *check.Check) {
			c.Interval, c.IntervalFailing = time.Minute, 10*time.Second
			c.Retry = check.Retry{Attempts: 3, Wait: time.Second, Factor: 2, MaxWait: time.Minute}
		}),
		web("b", func(c *check.Check) { c.Kind, c.Probe, c.Schedule = "icmp", nil, &check.Schedule{} }),
	))
	if diff := cmp.Diff([]Kind{{"http", 1, 1. / 60}, {"icmp", 1, 1. / 30}}, p.Kinds); diff != "" {
		t.Error(diff)
	}
	// 3 attempts of 5s, 1s and 2s in between; they fail after 3s and run again
	// at 10s.
	if got, want := p.Checks[0].Longest, 18*time.Second; got != want {
		t.Errorf("longest %s, want %s", got, want)
	}
	want := Loop{
		Steady: Rate{Average: 1./60 + 1./30, Peak: p.Loop.Steady.Peak, Exact: true}, Failing: Rate{Average: 3./10 + 1./30, Peak: p.Loop.Failing.Peak, Exact: true},
		Scheduled: 1, InFlight: p.Loop.InFlight, InFlightExact: true, Descriptors: 2*p.Loop.InFlight + 70, Ports: 18,
	}
	if diff := cmp.Diff(want, p.Loop); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Run{Concurrency: 64, Usual: 2, Probes: 4, Longest: 18 * time.Second, Descriptors: 14}, p.Run); diff != "" {
		t.Error(diff)
	}
	if len(p.Warnings)+len(p.Exceeded) > 0 {
		t.Errorf("%v %v", p.Warnings, p.Exceeded)
	}
}

// TestRunLongest knows the longest run: checks begin in their order as places
// become free.
func TestRunLongest(t *testing.T) {
	lasting := func(seconds ...int) Options {
		var checks []*check.Check
		for i, s := range seconds {
			checks = append(checks, web(fmt.Sprint("c", i), func(c *check.Check) { c.Timeout = time.Duration(s) * time.Second }))
		}
		return options(checks...)
	}
	for _, tt := range []struct {
		concurrency int
		seconds     []int
		want        time.Duration
	}{
		{1, []int{5, 3, 2}, 10 * time.Second}, {2, []int{5, 3, 2}, 5 * time.Second}, {2, []int{3, 2, 5}, 7 * time.Second}, {3, []int{5, 3, 2}, 5 * time.Second},
	} {
		o := lasting(tt.seconds...)
		o.Concurrency = tt.concurrency
		if got := New(o).Run.Longest; got != tt.want {
			t.Errorf("%v, %d at once: %s, want %s", tt.seconds, tt.concurrency, got, tt.want)
		}
	}
}

// TestSamples counts every observation of a sample.
func TestSamples(t *testing.T) {
	for name, tt := range map[string]struct {
		count             int
		spacing, interval time.Duration
		average           float64
		peak              int
		longest           time.Duration
		inFlight          int
	}{
		"close":                 {30, 100 * time.Millisecond, time.Minute, 0.5, 10, 150 * time.Second, 1},
		"wider than timeouts":   {3, 10 * time.Second, time.Minute, 0.05, 1, 25 * time.Second, 1},
		"longer than intervals": {5, time.Second, 3 * time.Second, 5. / 6, 1, 25 * time.Second, 1},
		"very many":             {10_000, 10 * time.Millisecond, 200 * time.Second, 50, 100, 50_000 * time.Second, 1},
	} {
		p := New(options(web("a", func(c *check.Check) {
			c.Interval, c.Samples = tt.interval, check.Samples{Count: tt.count, Spacing: tt.spacing, Pass: 1}
		})))
		rate := Rate{Average: tt.average, Peak: tt.peak, Exact: tt.count <= 1000}
		if diff := cmp.Diff([]Rate{rate, rate}, []Rate{p.Loop.Steady, p.Loop.Failing}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(Run{Concurrency: 64, Usual: tt.count, Probes: tt.count, Longest: tt.longest, Descriptors: 12}, p.Run); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if p.Loop.InFlight != tt.inFlight || len(p.Kinds) != 1 || p.Kinds[0].PerSecond != tt.average {
			t.Errorf("%s: %d under way, %v", name, p.Loop.InFlight, p.Kinds)
		}
	}
}

// TestManySamples sums samples up where there are too many observations to look
// at each, and never says less.
func TestManySamples(t *testing.T) {
	var checks []*check.Check
	for i := range 5 {
		checks = append(checks, web(fmt.Sprint("c", i), func(c *check.Check) {
			c.Interval, c.Samples = time.Minute, check.Samples{Count: 900, Spacing: 30 * time.Millisecond, Pass: 1}
		}))
	}
	few := New(options(checks...))
	for i := range 1200 {
		checks = append(checks, web(fmt.Sprint("d", i), func(c *check.Check) {
			c.Target, c.Interval, c.Samples = "http://d.example/", time.Minute, check.Samples{Count: 900, Spacing: 30 * time.Millisecond, Pass: 1}
		}))
	}
	many := New(options(checks...))
	if !few.Loop.Steady.Exact || few.Loop.Steady.Peak < 34 || many.Loop.Steady.Exact || many.Loop.InFlightExact {
		t.Errorf("few %+v, many %+v", few.Loop, many.Loop)
	}
	if peak := many.Loop.Steady.Peak; peak < int(many.Loop.Steady.Average) || peak > 1205*34 {
		t.Errorf("%+v", many.Loop.Steady)
	}
}

// TestPeak compares with what a walk over all ticks of the common period finds.
func TestPeak(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var trains []train
		for range 1 + random.IntN(12) {
			every := []int64{1000, 1500, 2000, 3000, 6000}[random.IntN(5)]
			trains = append(trains, train{at: random.Int64N(every), every: every, long: 1 + random.Int64N(2*every), times: 1 + random.Int64N(2)})
		}
		var want int
		for tick := int64(12000); tick < 24000; tick++ {
			now := int64(0)
			for _, tr := range trains {
				for begin := tr.at; begin <= tick; begin += tr.every {
					if tick < begin+tr.long {
						now += tr.times
					}
				}
			}
			want = max(want, int(now))
		}
		groups := byPeriod(append([]train(nil), trains...))
		if byTick, byEdge := highestTick(groups, 6000), highestEdge(groups, 6000); byTick != want || byEdge != want {
			t.Fatalf("%v: %d tick by tick, %d from edge to edge, want %d", trains, byTick, byEdge, want)
		}
		if got, exact := peak(trains, mostEdges); got != want || !exact {
			t.Fatalf("%v: %d, exact %t, want %d", trains, got, exact, want)
		}
	}
}

// TestPeakWithoutCommonPeriod is never too low.
func TestPeakWithoutCommonPeriod(t *testing.T) {
	var trains []train
	for _, seconds := range []int64{7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 86400} {
		trains = append(trains, train{every: seconds * 1000, long: 1000, times: 1})
	}
	if got, exact := peak(trains, mostEdges); got != len(trains) || exact {
		t.Errorf("%d, exact %t: all begin at once one day, which nobody looks for", got, exact)
	}
}

// TestPeakIsTheLoops counts the runs of the loop's own schedule.
func TestPeakIsTheLoops(t *testing.T) {
	var checks []*check.Check
	begins := make(map[time.Duration]int)
	for i := range 500 {
		c := web(fmt.Sprint("c", i), func(c *check.Check) { c.Interval = 10 * time.Second })
		checks = append(checks, c)
		begins[scheduler.Phase(c.ID, c.Interval).Truncate(time.Millisecond)]++
	}
	want := 0
	for from := time.Duration(0); from < 10*time.Second; from += time.Millisecond {
		n := 0
		for at := from; at < from+time.Second; at += time.Millisecond {
			n += begins[at%(10*time.Second)]
		}
		want = max(want, n)
	}
	if got := New(options(checks...)).Loop.Steady; got.Peak != want || !got.Exact {
		t.Errorf("%+v, want a peak of %d", got, want)
	}
}

func TestDestinations(t *testing.T) {
	p := New(options(
		web("a", nil), web("b", nil),
		web("a2", func(c *check.Check) { c.Target = "http://a.example:80/2" }),
		web("a3", func(c *check.Check) { c.Target = "http://a.example:81/" }),
		web("a4", func(c *check.Check) { c.Target, c.Probe = "http://a.example:80/3", nil }),
	))
	a := p.Destinations[0]
	if a.Host != "a.example" || a.Checks != 4 || a.Ports != 4 || len(p.Destinations) != 2 {
		t.Errorf("%+v", p.Destinations)
	}
}

func TestCaps(t *testing.T) {
	many := func() Options {
		var checks []*check.Check
		for i := range 60 {
			checks = append(checks, web(fmt.Sprintf("c[%d]", i), func(c *check.Check) {
				c.Target, c.Interval, c.Line = "http://one.example:80/", time.Second, 10+i/50
			}))
		}
		return options(checks...)
	}
	for name, tt := range map[string]struct {
		change  func(*Options)
		message string // of the excess; empty for none
		lines   int
	}{
		"fits":             {func(o *Options) { o.Caps = Caps{Rate: 60, HostRate: 60, Duration: 15 * time.Second, Descriptors: 190} }, "", 0},
		"rate":             {func(o *Options) { o.Caps.Rate = 59 }, "60 probes a second at the peak, more than 59/s", 2},
		"host":             {func(o *Options) { o.Caps.HostRate = 10 }, "60 probes a second to one.example at the peak, more than 10/s", 2},
		"host, limited":    {func(o *Options) { o.Caps.HostRate, o.Limits.PerHostRate = 10, 10 }, "", 0},
		"host, too little": {func(o *Options) { o.Caps.HostRate, o.Limits.PerHostRate = 10, 11 }, "60 probes a second", 2},
		"duration":         {func(o *Options) { o.Caps.Duration, o.Concurrency = 59*time.Second, 1 }, "a run may take 5m, more than 59s", 2},
		"descriptors":      {func(o *Options) { o.Caps.Descriptors = 100 }, "190 open files, more than 100", 2},
		"in flight":        {func(o *Options) { o.Caps.Descriptors, o.Limits.InFlight = 130, 10 }, "", 0},
	} {
		o := many()
		tt.change(&o)
		o.Concurrency = min(o.Concurrency, 20)
		p := New(o)
		switch {
		case tt.message == "" && len(p.Exceeded) > 0:
			t.Errorf("%s: %+v", name, p.Exceeded)
		case tt.message != "" && (len(p.Exceeded) != 1 || !strings.HasPrefix(p.Exceeded[0].Message, tt.message) || len(p.Exceeded[0].Lines) != tt.lines):
			t.Errorf("%s: %+v, want %q with %d lines", name, p.Exceeded, tt.message, tt.lines)
		case tt.message != "" && (p.Exceeded[0].Lines[0].Number != 10 || p.Exceeded[0].Lines[0].Checks != 50) && tt.lines > 0:
			t.Errorf("%s: the line at fault is %+v", name, p.Exceeded[0].Lines[0])
		}
	}
}

func TestWarnings(t *testing.T) {
	o := options(web("a", func(c *check.Check) { c.Interval = time.Second }), web("b", nil))
	o.Limits = scheduler.Limits{InFlight: 1, PerHostRate: 0.5}
	o.Machine.Ports, o.Machine.Descriptors = 50, 71
	var got []string
	for _, w := range New(o).Warnings {
		got = append(got, w.Message)
	}
	want := []string{
		"72 open files, and this process may have 71: fewer probes would be under way at once",
		"60 local ports wait for their end at once, of 50 that there are for connections to one port of a host",
		"2 probes are under way at once when all hang, and 1 may be: runs would wait or be missed",
		"a.example needs 1 probes a second, and its limit is 0.5: runs would be missed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestAbsurd has numbers that no arithmetic may trip over.
func TestAbsurd(t *testing.T) {
	const long = 1<<63 - 1
	p := New(options(
		web("a", func(c *check.Check) {
			c.Interval, c.Timeout, c.Retry = long, long, check.Retry{Attempts: 1 << 40, Wait: long, Factor: 1e300}
		}),
		web("b", func(c *check.Check) { c.Interval, c.Timeout, c.Retry.Attempts = 0, 0, 0 }),
		web("c", func(c *check.Check) { c.Interval, c.Retry = 1, check.Retry{Attempts: 1 << 40} }),
	))
	if p.Run.Longest != long || p.Run.Probes <= 0 || p.Loop.InFlight < 1 || p.Loop.InFlight > 3 {
		t.Errorf("%+v %+v", p.Run, p.Loop)
	}
	if empty := New(options()); empty.Loop.Steady.Peak != 0 || empty.Run.Longest != 0 {
		t.Errorf("%+v", empty)
	}
}

// spreading is the probe of a run to many addresses, all at once.
type spreading struct{ check.Probe }

func (spreading) Footprint() check.Footprint {
	return check.Footprint{Ports: 1, Probes: 64, AtOnce: 64}
}

// TestParts counts the probes of a run that goes to many addresses, and what they
// take; the ports are those to one address.
func TestParts(t *testing.T) {
	p := New(options(web("a", func(c *check.Check) { c.Probe = spreading{}; c.Retry.Attempts = 2 }), web("b", nil)))
	if p.Run.Usual != 65 || p.Run.Probes != 129 || p.Run.Descriptors != 65*2+10 || p.Checks[0].Probes() != 128 || p.Checks[0].Longest != 10*time.Second {
		t.Errorf("%+v, %d probes, %s", p.Run, p.Checks[0].Probes(), p.Checks[0].Longest)
	}
	if l := p.Loop; l.Steady.Exact || l.Steady.Peak < 64 || l.Failing.Peak < 128 || l.Descriptors != 65*2+70 || l.InFlight != 65 {
		t.Errorf("%+v", l)
	}
	if got, want := p.Loop.Steady.Average, 65./30; got != want {
		t.Errorf("%v probes a second, want %v", got, want)
	}
	one := New(options(web("a", func(c *check.Check) { c.Retry.Attempts = 2 })))
	if p.Loop.Ports != one.Loop.Ports || one.Loop.Ports == 0 {
		t.Errorf("%d ports, want %d", p.Loop.Ports, one.Loop.Ports)
	}
}

// TestManyHosts has no more work with many hosts than with few.
func TestManyHosts(t *testing.T) {
	hosts := func(n int) Rate {
		var checks []*check.Check
		for i := range n {
			for _, interval := range []time.Duration{7 * time.Second, time.Minute, 24 * time.Hour} {
				checks = append(checks, web(fmt.Sprint("c", i, interval), func(c *check.Check) {
					c.Target, c.Interval = fmt.Sprintf("http://h%d.example/", i), interval
				}))
			}
		}
		return New(options(checks...)).Destinations[0].Steady
	}
	if few, many := hosts(1), hosts(500); !few.Exact || many.Exact || many.Peak != 3 {
		t.Errorf("few %+v, many %+v", few, many)
	}
}

// TestMillion plans a million checks of some intervals.
func TestMillion(t *testing.T) {
	checks := make([]*check.Check, 1_000_000)
	intervals := []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 7 * time.Second, 24 * time.Hour}
	for i := range checks {
		checks[i] = web(fmt.Sprint("c", i), func(c *check.Check) { c.Interval = intervals[i%len(intervals)] })
	}
	p := New(options(checks...))
	if average := p.Loop.Steady.Average; p.Loop.Steady.Peak < int(average) || p.Loop.Steady.Peak > int(2*average) {
		t.Errorf("%+v", p.Loop.Steady)
	}
	if p.Run.Longest != 1_000_000/64*5*time.Second || len(p.Destinations) != len(checks) {
		t.Errorf("%+v, %d destinations", p.Run, len(p.Destinations))
	}
}
