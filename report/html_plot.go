package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// observed is one latency of a distribution.
type observed struct {
	latency  time.Duration
	failed   bool // it did not pass
	answered bool // it is that of an answer and counts for the percentiles
}

// htmlPlot is a distribution of latencies on a logarithmic axis: a mark for
// each where they are few, else bars.
type htmlPlot struct {
	Label string // all of it in words
	Most  int    // what the highest bar counts; 0 where each has its own mark
	Dots  []htmlDot
	Bars  []htmlBar
	Marks []htmlRank
	Ticks []htmlMark
	// Failed tells that some failed, which needs a legend.
	Failed bool
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

// fewest are the observations below which a p95 is but the largest of them.
const fewest = 20

// overall is the distribution of the latencies of all checks that could be
// measured. Those that are down may tell how long a timeout is, hence the
// percentiles are of the others.
func overall(results []check.Result) *htmlPlot {
	var all []observed
	for _, r := range results {
		if r.Latency > 0 && r.Verdict != check.Unknown {
			all = append(all, observed{r.Latency, r.Verdict == check.Down, r.Verdict != check.Down})
		}
	}
	return distribution(all)
}

// sampled is the distribution of the observations of a sample.
func sampled(s *check.Sample) *htmlPlot {
	if s == nil {
		return nil
	}
	var all []observed
	for i := range s.Points {
		if p := &s.Points[i]; p.Verdict != check.Unknown {
			all = append(all, observed{p.Latency, !p.Passed(), p.Answered()})
		}
	}
	return distribution(all)
}

// distribution plots latencies. It returns nil for fewer than two.
func distribution(all []observed) *htmlPlot {
	if len(all) < 2 {
		return nil
	}
	slices.SortFunc(all, func(a, b observed) int { return cmp.Compare(a.latency, b.latency) })
	axis := newLogAxis(all[0].latency, all[len(all)-1].latency)
	p := &htmlPlot{Ticks: axis.ticks()}
	if bins := axis.bins(all, dotBins); highest(bins) <= maxDots {
		p.dots(bins)
	} else {
		p.bars(axis, axis.bins(all, max(minBins, min(dotBins, int(2*math.Sqrt(float64(len(all))))))))
	}
	failed := 0
	var answers []time.Duration
	for _, o := range all {
		if o.failed {
			failed++
		}
		if o.answered {
			answers = append(answers, o.latency)
		}
	}
	p.Label = fmt.Sprintf("%d latencies from %s to %s", len(all), check.FormatDuration(all[0].latency), check.FormatDuration(all[len(all)-1].latency))
	p.percentile(axis, answers, 50)
	if len(answers) >= fewest {
		p.percentile(axis, answers, 95)
	}
	p.Failed = failed > 0
	if p.Failed {
		p.Label += fmt.Sprintf(", %d failed", failed)
	}
	return p
}

// percentile marks the nearest rank: the smallest latency that at least n
// percent of all do not exceed.
func (p *htmlPlot) percentile(axis logAxis, sorted []time.Duration, n int) {
	if len(sorted) == 0 {
		return
	}
	d := sorted[(len(sorted)*n+99)/100-1]
	label := fmt.Sprintf("p%d %s", n, check.FormatDuration(d))
	p.Marks = append(p.Marks, rank(len(p.Marks), axis.at(d), label))
	p.Label += ", " + label
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

func (a logAxis) bins(all []observed, n int) []bin {
	bins := make([]bin, n)
	for _, o := range all {
		b := &bins[max(0, min(n-1, int(a.at(o.latency)/100*float64(n))))]
		b.all++
		if o.failed {
			b.failed++
		}
	}
	return bins
}

// ticks labels round durations: evenly below a decade, else 1, 2 and 5 of each
// decade or only its 1.
func (a logAxis) ticks() []htmlMark {
	low, high := a.value(0), a.value(100)
	var ticks []htmlMark
	add := func(v float64) {
		if v >= low && v <= high {
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
	every := (last-first)/6 + 1
	for e := first; e <= last; e++ {
		if (e-first)%every != 0 {
			continue
		}
		add(math.Pow10(e))
		if last-first <= 2 {
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
