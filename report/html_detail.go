package report

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// htmlDetail is what the page knows of one result.
type htmlDetail struct {
	ID      string // of the element; empty when there are no details
	Open    bool
	Class   string
	Symbol  string
	Verdict string
	Name    string // the check's id
	Kind    string
	Target  string // empty when it is the name
	Latency string
	Passed  string // of the samples; empty when there are none
	Remarks string // beside the verdict: why it is not simply up, on one line

	Code      string
	Message   string
	Advice    []string
	Findings  []htmlFinding
	Waterfall *htmlWaterfall
	Sample    *htmlSample
	Parts     []htmlPart
	Attempts  []htmlAttempt
	Reproduce string
	About     []htmlPair // where it is defined, tags, labels, times
	Facts     []htmlPair
}

type htmlFinding struct {
	OK                        bool
	Level, Expect, Got, Where string
	Note                      string
}

// htmlPart is an address or a family of a check that goes to several.
type htmlPart struct{ Class, Symbol, Verdict, Name, Latency, Code, Message string }

type htmlAttempt struct{ Code, Message string }

type htmlPair struct{ Name, Value string }

// tidy makes a text fit for the page: clean and at most so many columns.
func tidy(s string, columns int) string { return short(clean(s), columns) }

func htmlDetailOf(r check.Result) htmlDetail {
	what, advice := sentences(r.Reason)
	d := htmlDetail{
		Class: htmlClass(r), Symbol: symbol(r), Verdict: r.Verdict.String(),
		Name: tidy(r.ID, htmlName), Kind: tidy(r.Kind, htmlName), Latency: latency(r),
		Remarks: tidy(remarks(r), htmlName),
		Code:    tidy(string(r.Reason.Code), htmlText), Message: tidy(what, htmlText),
		Waterfall: waterfall(r), Sample: htmlSampleOf(r.Sample), Reproduce: clean(r.Reproduce), About: htmlAbout(r),
	}
	if r.Flaky {
		d.Verdict += ", flaky"
	}
	if r.Sample != nil {
		d.Passed = sampleCount(r.Sample) + " passed"
	}
	if r.Target != r.ID {
		d.Target = tidy(r.Target, htmlName)
	}
	for _, line := range advice {
		d.Advice = append(d.Advice, tidy(line, htmlText))
	}
	for _, f := range r.Findings {
		d.Findings = append(d.Findings, htmlFinding{
			OK: f.OK, Level: f.Level.String(), Expect: tidy(f.Expect, htmlText), Got: tidy(got(f), htmlText), Note: tidy(f.Note, htmlText),
			Where: tidy(place(f.File, f.Line), htmlName),
		})
	}
	for _, p := range worstFirst(r.Parts) {
		like := check.Result{Verdict: p.Verdict, Latency: p.Latency}
		d.Parts = append(d.Parts, htmlPart{
			Class: htmlClass(like), Symbol: symbol(like), Verdict: p.Verdict.String(), Name: tidy(p.Name, htmlName), Latency: latency(like),
			Code: tidy(string(p.Reason.Code), htmlText), Message: tidy(sentence(p.Reason), htmlText),
		})
	}
	for _, a := range r.Failed {
		d.Attempts = append(d.Attempts, htmlAttempt{tidy(string(a.Code), htmlText), tidy(sentence(a.Reason), htmlText)})
	}
	for _, f := range factLines(r, true) {
		d.Facts = append(d.Facts, htmlPair{tidy(f.name, htmlText), tidy(f.value, htmlText)})
	}
	return d
}

// htmlSample is what the page tells of a check's samples.
type htmlSample struct {
	Words   string
	Plot    *htmlPlot
	Reasons []htmlReason // of the observations that did not pass, the most frequent first
}

type htmlReason struct {
	N             int
	Code, Message string // the message of the first
}

func htmlSampleOf(s *check.Sample) *htmlSample {
	if s == nil {
		return nil
	}
	h := &htmlSample{Words: sampleWords(s), Plot: distribution(s)}
	at := make(map[check.Code]int)
	for i := range s.Points {
		r := s.Points[i].Reason
		if s.Points[i].Passed() || r.IsZero() {
			continue
		}
		if _, seen := at[r.Code]; !seen {
			at[r.Code] = len(h.Reasons)
			h.Reasons = append(h.Reasons, htmlReason{Code: tidy(string(r.Code), htmlText), Message: tidy(sentence(r), htmlText)})
		}
		h.Reasons[at[r.Code]].N++
	}
	slices.SortStableFunc(h.Reasons, func(a, b htmlReason) int { return b.N - a.N })
	return h
}

// sentence returns the words of a reason on one line, without advice.
func sentence(r check.Reason) string {
	what, _ := sentences(r)
	return what
}

// htmlAbout lists what is known of a result beside what was measured.
func htmlAbout(r check.Result) []htmlPair {
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
		labels = append(labels, name+"="+r.Labels[name])
	}
	pairs := []htmlPair{
		{"defined at", place(r.File, r.Line)},
		{"tags", strings.Join(r.Tags, ", ")},
		{"labels", strings.Join(labels, ", ")},
		{"node", r.Origin},
	}
	if r.Optional {
		pairs = append(pairs, htmlPair{"optional", "it does not change the exit code"})
	}
	if !r.Started.IsZero() {
		pairs = append(pairs, htmlPair{"started", r.Started.UTC().Format("2006-01-02 15:04:05.000 UTC")})
	}
	if r.Queued > 0 {
		pairs = append(pairs, htmlPair{"queued", check.FormatDuration(r.Queued) + ", not part of the latency"})
	}
	if r.Missed > 0 {
		pairs = append(pairs, htmlPair{"missed", plural(r.Missed, "run") + " before"})
	}
	pairs = slices.DeleteFunc(pairs, func(p htmlPair) bool { return p.Value == "" })
	for i := range pairs {
		pairs[i].Value = tidy(pairs[i].Value, htmlText)
	}
	return pairs
}

// htmlWaterfall shows the phases one below the other, each beginning where the
// one before ended.
type htmlWaterfall struct {
	Label  string // all of it in words
	Took   string
	Height int // pixels
	Bottom int // y of the scale
	Axis   int // y of its labels
	Lanes  []htmlLane
	Ticks  []htmlMark
}

// htmlLane is one phase. Its label stands after the bar, before it, or in it,
// where there is room.
type htmlLane struct {
	Class         string // early: getting there; later: waiting for the answer
	Y, TextY      int
	X, W          string
	Label         string
	TextX, Anchor string
	Shift         int
	Inside        bool
}

// htmlMark is a text at a place of the horizontal axis.
type htmlMark struct{ X, Label, Anchor string }

// Pixels of a waterfall.
const (
	laneHeight = 24
	laneText   = 16 // baseline of a lane's text
	axisHeight = 20
)

func waterfall(r check.Result) *htmlWaterfall {
	if len(r.Phases) == 0 {
		return nil
	}
	sum := 0.0 // a float, since hostile durations could overflow
	for _, ph := range r.Phases {
		sum += max(0, ph.Duration.Seconds())
	}
	total := max(sum, r.Latency.Seconds(), 1e-9)
	bottom := laneHeight * len(r.Phases)
	w := &htmlWaterfall{Took: latency(r), Height: bottom + axisHeight, Bottom: bottom, Axis: bottom + laneText}
	var words []string
	at := 0.0
	for i, ph := range r.Phases {
		d := max(0, ph.Duration.Seconds())
		label := tidy(ph.Name, phaseColumn*2) + " " + check.FormatDuration(ph.Duration)
		w.Lanes = append(w.Lanes, lane(i, ph.Name, label, 100*at/total, 100*d/total))
		words = append(words, label)
		at += d
	}
	w.Label = "Phases: " + strings.Join(words, ", ")
	step := niceStep(total / 4)
	for v := 0.0; v <= total; v += step {
		w.Ticks = append(w.Ticks, mark(100*v/total, seconds(v)))
	}
	return w
}

// lane places a phase's bar and label; from and size are percentages.
func lane(i int, phase, label string, from, size float64) htmlLane {
	l := htmlLane{
		Class: "early", Y: i*laneHeight + 4, TextY: i*laneHeight + laneText, X: percent(from), W: percent(size),
		Label: label, TextX: percent(from + size), Anchor: "start", Shift: 6,
	}
	if phase == check.PhaseWait || phase == check.PhaseTransfer {
		l.Class = "later"
	}
	switch {
	case from+size <= 60:
	case from >= 40:
		l.TextX, l.Anchor, l.Shift = percent(from), "end", -6
	default:
		l.Anchor, l.Shift, l.Inside = "end", -6, true
	}
	return l
}

// percent writes a coordinate.
func percent(f float64) string {
	return strconv.FormatFloat(f, 'f', 2, 64) + "%"
}

// seconds writes a number of seconds for people.
func seconds(s float64) string {
	const most = float64(1 << 62) // a sum of hostile durations may be no duration
	return check.FormatDuration(time.Duration(min(most, math.Round(s*float64(time.Second)))))
}
