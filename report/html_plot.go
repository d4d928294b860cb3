package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// htmlPlot is a distribution of latencies on a logarithmic axis: a mark for
// each where they are few, else bars.
type htmlPlot struct {
	Label string // all of it in words
	Most  int    // what the highest bar counts; 0 where each has its own mark
	Dots  []htmlDot
	Bars  []htmlBar
	Ranks []htmlRank
	Ticks []htmlMark
	// Failed is how many did not pass.
	Failed int
}

// htmlRank is a percentile. Each has a line of its own for its label, so that
// those of close ones don't meet.
type htmlRank struct {
	htmlMark
	Y, TextY, Shift int
}

type htmlDot struct {
	X      string
	Y      int
	Failed bool
}

// htmlBar is a column; the failed ones are its upper part.
type htmlBar struct {
	X, W      string
	Y, Height int
	FailedY   int
	FailedH   int
	Title     string
}

// Of a distribution: pixels, and how many columns it has.
const (
	plotBase   = 132 // y of the axis
	plotHeight = 96  // of the highest bar
	dotSize    = 8
	maxDots    = plotHeight / dotSize // on each other
	dotBins    = 40
	minBins    = 16
)

// overall is the sample of the latencies of all checks. Those that are down may
// tell how long a timeout is, so they count as not answered.
func overall(results []check.Result) *check.Sample {
	s := &check.Sample{}
	for _, r := range results {
		if r.Latency > 0 {
			s.Points = append(s.Points, check.Point{Latency: r.Latency, Verdict: r.Verdict, Failed: r.Verdict == check.Down})
		}
	}
	return s
}

// distribution plots what could be measured; nil when that is less than two.
func distribution(s *check.Sample) *htmlPlot {
	points := slices.DeleteFunc(slices.Clone(s.Points), func(p check.Point) bool { return p.Verdict == check.Unknown })
	if len(points) < 2 {
		return nil
	}
	byLatency := func(a, b check.Point) int { return cmp.Compare(a.Latency, b.Latency) }
	least, most := slices.MinFunc(points, byLatency).Latency, slices.MaxFunc(points, byLatency).Latency
	axis := newLogAxis(least, most)
	p := &htmlPlot{Ticks: axis.ticks(), Failed: len(points) - s.Passed()}
	if bins := axis.bins(points, dotBins); highest(bins) <= maxDots {
		p.dots(bins)
	} else {
		n := int(2 * math.Sqrt(float64(len(points))))
		p.bars(axis, axis.bins(points, max(minBins, min(dotBins, n))))
	}
	p.Label = fmt.Sprintf("%d latencies from %s to %s", len(points), check.FormatDuration(least), check.FormatDuration(most))
	facts := s.Facts()
	for _, name := range []string{"p50", "p95"} {
		if d, ok := facts.Get("latency." + name).(time.Duration); ok {
			label := name + " " + check.FormatDuration(d)
			p.Ranks = append(p.Ranks, rank(len(p.Ranks), axis.at(d), label))
			p.Label += ", " + label
		}
	}
	if p.Failed > 0 {
		p.Label += fmt.Sprintf(", %d failed", p.Failed)
	}
	return p
}

// rank places the label of the percentile that is the nth of the plot beside its
// line, on the side where there is more room.
func rank(n int, x float64, label string) htmlRank {
	y := 2 + n*16
	r := htmlRank{htmlMark: htmlMark{X: percent(x), Label: label, Anchor: "start"}, Y: y, TextY: y + 10, Shift: 5}
	if x > 50 {
		r.Anchor, r.Shift = "end", -5
	}
	return r
}

// dots marks each observation, those of a column on each other.
func (p *htmlPlot) dots(bins []bin) {
	for i, b := range bins {
		for n := range b.all {
			p.Dots = append(p.Dots, htmlDot{
				X: percent((float64(i) + 0.5) * 100 / float64(len(bins))),
				Y: plotBase - dotSize/2 - 1 - n*dotSize, Failed: n >= b.all-b.failed,
			})
		}
	}
}

// bars draws a column for each bin that is not empty.
func (p *htmlPlot) bars(axis logAxis, bins []bin) {
	p.Most = highest(bins)
	size := 100 / float64(len(bins))
	for i, b := range bins {
		if b.all == 0 {
			continue
		}
		x := float64(i) * size
		bar := htmlBar{X: percent(x + size*0.06), W: percent(size * 0.88)}
		bar.Height = p.pixels(b.all)
		bar.Y = plotBase - bar.Height
		if b.failed > 0 {
			bar.FailedY, bar.FailedH = bar.Y, p.pixels(b.failed)
		}
		bar.Title = fmt.Sprintf("%s to %s: %d", seconds(axis.value(x)), seconds(axis.value(x+size)), b.all)
		if b.failed > 0 {
			bar.Title += fmt.Sprintf(", %d failed", b.failed)
		}
		p.Bars = append(p.Bars, bar)
	}
}

// pixels returns the height of n observations; even one can be seen.
func (p *htmlPlot) pixels(n int) int { return max(2, n*plotHeight/p.Most) }

// bin counts the observations of one column.
type bin struct{ all, failed int }

func highest(bins []bin) int {
	return slices.MaxFunc(bins, func(a, b bin) int { return a.all - b.all }).all
}

// logAxis maps durations to percent of the plot's width.
type logAxis struct{ from, size float64 } // logarithms of seconds

// newLogAxis leaves some room on both sides, and does not stretch what is
// nearly equal over the whole width.
func newLogAxis(least, most time.Duration) logAxis {
	low, high := math.Log(max(1, float64(least))/1e9), math.Log(max(1, float64(most))/1e9)
	room := max(0.04*(high-low), math.Log(1.1))
	return logAxis{from: low - room, size: high - low + 2*room}
}

func (a logAxis) at(d time.Duration) float64 {
	return 100 * (math.Log(max(1, float64(d))/1e9) - a.from) / a.size
}

// value returns the seconds at a percentage of the width.
func (a logAxis) value(x float64) float64 { return math.Exp(a.from + x/100*a.size) }

func (a logAxis) bins(points []check.Point, n int) []bin {
	bins := make([]bin, n)
	for i := range points {
		b := &bins[max(0, min(n-1, int(a.at(points[i].Latency)/100*float64(n))))]
		b.all++
		if !points[i].Passed() {
			b.failed++
		}
	}
	return bins
}

// ticks labels round durations: evenly below a decade, else 1, 2 and 5 of each
// decade or only its 1.
func (a logAxis) ticks() []htmlMark {
	const longest = 9e9 // seconds of a duration
	low, high := a.value(0), a.value(100)
	var ticks []htmlMark
	add := func(v float64) {
		if v >= low && v <= min(high, longest) {
			ticks = append(ticks, mark(100*(math.Log(v)-a.from)/a.size, seconds(v)))
		}
	}
	if high < 10*low {
		step := niceStep((high - low) / 5)
		for n := math.Ceil(low / step); n*step <= high; n++ {
			add(n * step)
		}
		return ticks
	}
	first, last := int(math.Floor(math.Log10(low))), int(math.Ceil(math.Log10(high)))
	every, few := (last-first)/6+1, high < 300*low
	for e := first; e <= last; e++ {
		if (e-first)%every != 0 {
			continue
		}
		add(math.Pow10(e))
		if few {
			add(2 * math.Pow10(e))
			add(5 * math.Pow10(e))
		}
	}
	return ticks
}

// niceStep returns the number of the form 1, 2 or 5 times a power of ten that
// is not below s.
func niceStep(s float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(s)))
	for _, n := range []float64{1, 2, 5} {
		if n*unit >= s {
			return n * unit
		}
	}
	return 10 * unit
}

// mark places a text so that it stays inside the plot.
func mark(x float64, label string) htmlMark {
	m := htmlMark{X: percent(x), Label: label, Anchor: "middle"}
	switch {
	case x < 6:
		m.Anchor = "start"
	case x > 94:
		m.Anchor = "end"
	}
	return m
}
