package check

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

// wire is the JSON form of a Result, a contract with a schema number.
type wire struct {
	Origin    string            `json:"origin,omitempty"`
	Seq       uint64            `json:"seq,omitempty"`
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Kind      string            `json:"kind"`
	Target    string            `json:"target"`
	Verdict   Verdict           `json:"verdict"`
	Reason    *Reason           `json:"reason,omitempty"`
	Optional  bool              `json:"optional,omitempty"`
	Scheduled *time.Time        `json:"scheduled,omitempty"`
	Started   time.Time         `json:"started"`
	Latency   float64           `json:"latency_seconds"`
	Queued    float64           `json:"queued_seconds"`
	Missed    int               `json:"missed,omitempty"`
	Attempts  int               `json:"attempts"`
	Flaky     bool              `json:"flaky"`
	Failed    []Attempt         `json:"failed_attempts,omitempty"`
	Samples   *wireSample       `json:"samples,omitempty"`
	Parts     []wirePart        `json:"parts,omitempty"`
	Phases    map[string]any    `json:"phases"`
	Facts     map[string]any    `json:"facts"`
	Findings  []Finding         `json:"findings"`
	Reproduce string            `json:"reproduce,omitempty"`
	Tags      []string          `json:"tags"`
	Labels    map[string]string `json:"labels"`
	File      string            `json:"file,omitempty"`
	Line      int               `json:"line,omitempty"`
}

// MarshalJSON writes the result in the form that DESIGN calls the JSON
// contract: snake case, durations in seconds with the unit in the name, dotted
// facts as nested objects.
func (r Result) MarshalJSON() ([]byte, error) {
	w := wire{
		Origin: r.Origin, Seq: r.Seq, ID: r.ID, Name: r.Name, Kind: r.Kind, Target: r.Target,
		Verdict: r.Verdict, Optional: r.Optional, Started: r.Started.UTC(),
		Latency: seconds(r.Latency), Queued: seconds(r.Queued), Missed: r.Missed,
		Attempts: r.Attempts, Flaky: r.Flaky, Failed: r.Failed, Samples: r.Sample.wire(), Parts: wireParts(r.Parts),
		Phases: wirePhases(r.Phases), Facts: nest(r.Facts), Findings: wireFindings(r.Findings), Reproduce: r.Reproduce,
		Tags: r.Tags, Labels: r.Labels, File: r.File, Line: r.Line,
	}
	if !r.Reason.IsZero() {
		w.Reason = &r.Reason
	}
	if !r.Scheduled.IsZero() {
		t := r.Scheduled.UTC()
		w.Scheduled = &t
	}
	if w.Tags == nil {
		w.Tags = []string{}
	}
	if w.Labels == nil {
		w.Labels = map[string]string{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // left to the caller's encoder, which escapes by default
	err := e.Encode(w)
	return b.Bytes(), err
}

// MarshalJSON writes the attempt's reason and its latency in seconds.
func (a Attempt) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		Reason
		Latency float64 `json:"latency_seconds"`
	}{a.Reason, seconds(a.Latency)})
	return b.Bytes(), err
}

func wirePhases(phases Phases) map[string]any {
	out := make(map[string]any, len(phases))
	for _, p := range phases {
		out[p.Name+"_seconds"] = seconds(p.Duration)
	}
	return out
}

func wireFindings(findings []Finding) []Finding {
	out := make([]Finding, len(findings))
	for i, f := range findings {
		f.Got = flat(f.Got)
		out[i] = f
	}
	return out
}

func seconds(d time.Duration) float64 { return d.Seconds() }

// flat gives durations their unit and keeps the names dotted, as the user
// wrote them.
func flat(facts map[string]any) map[string]any {
	out := make(map[string]any, len(facts))
	for name, v := range facts {
		name, v = wireValue(name, v)
		out[name] = v
	}
	return out
}

// group is an object that nest made; facts whose values are objects are not
// touched.
type group map[string]any

// nest turns {"cert.issuer": x} into {"cert": {"issuer": x}}. A fact that is
// also the beginning of another's name (body and body.size) keeps its value,
// and the longer name stays dotted beside it.
func nest(facts Facts) map[string]any {
	out := make(group, len(facts))
	for _, fact := range slices.Sorted(facts.Names()) { // the shorter name first
		name, v := wireValue(fact, facts.Get(fact))
		out.put(name, v)
	}
	return out
}

func (g group) put(name string, v any) {
	first, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		g[name] = v
		return
	}
	inner, ok := g[first].(group)
	if !ok {
		if _, taken := g[first]; taken {
			g[name] = v
			return
		}
		inner = make(group)
		g[first] = inner
	}
	inner.put(rest, v)
}

func wireValue(name string, v any) (string, any) {
	switch v := v.(type) {
	case time.Duration:
		return name + "_seconds", seconds(v)
	case time.Time:
		return name, v.UTC().Format(time.RFC3339)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) { // JSON has neither
			return name, nil
		}
		return name, v
	default:
		return name, v
	}
}
