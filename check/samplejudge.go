package check

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// needed is how many observations must pass.
func (s Samples) needed() int {
	const noise = 1e-9 // of 0.95 * 20, which is not quite 19
	return int(math.Ceil(s.Pass*float64(s.Count) - noise))
}

// Tolerated is how many observations may fail. With one more the sample is
// down, whatever the others are.
func (s Samples) Tolerated() int { return s.Count - s.needed() }

// JudgeSample judges a sample as a whole. It is a pure function, as Judge is.
//
// More failures than are tolerated make it down. Up is a sample of which enough
// observations are up, degraded one of which enough passed. An observation that
// could not be made is neither: where those decide, or are more than half, the
// sample is unknown. Then the expectations over a sample are evaluated, unless
// it is unknown or was ended early: they speak of a whole sample.
func (c *Check) JudgeSample(s *Sample) Judgement {
	j := c.Samples.judge(s)
	if j.Verdict == Unknown || s.Early {
		return j
	}
	l := newLatencies(s.Latencies())
	lookup := s.lookup(l)
	for i := range c.Expectations {
		e := &c.Expectations[i]
		if !e.Sample {
			continue
		}
		out := e.Test.Eval(lookup)
		if out.Missing && j.Verdict == Down {
			continue // what failed is itself the reason
		}
		note := fewNote(e.Test.Facts(), len(l.sorted))
		j.Findings = append(j.Findings, Finding{
			Expect: e.Text, Level: e.Level, OK: out.OK, Got: out.Got, Note: note, File: e.File, Line: e.Line,
		})
		if out.OK {
			continue
		}
		if note != "" {
			out.Message += " (" + note + ")"
		}
		reason := c.reason(&Observation{}, out)
		if v := missed(e.Level, reason); v.Worse(j.Verdict) {
			j.Verdict, j.Reason = v, reason
		}
	}
	return j
}

// fewNote says which percentiles are the maximum of so few latencies.
func fewNote(facts []string, n int) string {
	var notes []string
	for _, fact := range facts {
		if note := TooFew(fact, n); note != "" {
			notes = append(notes, note)
		}
	}
	return strings.Join(notes, ", ")
}

// judge applies the ratio that must pass.
func (s Samples) judge(sample *Sample) Judgement {
	var n [len(verdictNames)]int
	for i := range sample.Points {
		n[sample.Points[i].Verdict]++
	}
	passed, known := n[Up]+n[Degraded], n[Up]+n[Degraded]+n[Down]
	switch needed := s.needed(); {
	case n[Down] > s.Tolerated():
		return Judgement{Verdict: Down, Reason: s.reason(sample, Down, "%d of %d passed", passed)}
	case known == 0 || 2*known < s.Count || passed < needed:
		return Judgement{Verdict: Unknown, Reason: s.reason(sample, Unknown, "%d of %d could be measured", known)}
	case n[Up] >= needed && (s.Pass > 0 || n[Degraded] == 0):
		return Judgement{Verdict: Up}
	default:
		return Judgement{Verdict: Degraded, Reason: s.reason(sample, Degraded, "%d of %d met every preference", n[Up])}
	}
}

// reason is the most frequent one of the points with the verdict, or else of
// all that are not up, with the counts in words: "27 of 30 passed (90%), want
// 95%; 3 connect.timeout: no answer within 5s".
func (s Samples) reason(sample *Sample, v Verdict, counts string, n int) Reason {
	seen := make(map[Code]*tally)
	for i := range sample.Points {
		p := &sample.Points[i]
		if p.Verdict != v || p.Reason.IsZero() {
			continue
		}
		t := seen[p.Reason.Code]
		if t == nil {
			t = &tally{first: i}
			seen[p.Reason.Code] = t
		}
		t.n, t.message = t.n+1, cmp.Or(p.Reason.Message, t.message)
	}
	taken := len(sample.Points)
	// Cut to a tenth of a percent, so that not quite all is never 100%.
	tenths := n * 1000 / max(taken, 1)
	text := fmt.Sprintf(counts, n, taken) + " (" + percent(float64(tenths)/10) + ")"
	if s.Pass > 0 {
		text += ", want " + percent(s.Pass*100)
	}
	if sample.Early {
		text += fmt.Sprintf(" of %d, ended early", sample.Planned)
	}
	// The most frequent comes last, beside its sentence, which may have lines of
	// advice below.
	codes := slices.SortedFunc(maps.Keys(seen), func(a, b Code) int {
		return cmp.Or(seen[a].n-seen[b].n, seen[b].first-seen[a].first)
	})
	words := make([]string, len(codes))
	for i, code := range codes {
		words[i] = fmt.Sprintf("%d %s", seen[code].n, code)
	}
	if len(codes) == 0 { // the sample is not whole
		return Reason{Code: LocalShutdown, Message: text}
	}
	main := codes[len(codes)-1]
	return Reason{Code: main, Message: text + "; " + strings.Join(words, ", ") + ": " + seen[main].message}
}

// tally is how often a reason came.
type tally struct {
	n, first int
	message  string // of the last that has one
}

// percent writes a percentage with as many decimals as it has, six at most.
func percent(p float64) string {
	return strconv.FormatFloat(math.Round(p*1e6)/1e6, 'f', -1, 64) + "%"
}
