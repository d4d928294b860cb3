package web

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// wireCheck is a check in /api/v1/checks.
type wireCheck struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Kind     string            `json:"kind"`
	Target   string            `json:"target"`
	Tags     []string          `json:"tags"`
	Labels   map[string]string `json:"labels"`
	Interval float64           `json:"interval_seconds"`
	Timeout  float64           `json:"timeout_seconds"`
	Optional bool              `json:"optional,omitempty"`
	File     string            `json:"file,omitempty"`
	Line     int               `json:"line,omitempty"`
	Verdict  *check.Verdict    `json:"verdict"`         // null before the first run
	Since    *time.Time        `json:"since,omitempty"` // when it got the verdict
	Started  *time.Time        `json:"started,omitempty"`
}

func wire(st *state) wireCheck {
	c := st.check
	w := wireCheck{
		ID: st.id, Name: c.Mask.String(c.Name), Kind: c.Kind, Target: c.Mask.String(c.Target),
		Tags: make([]string, len(c.Tags)), Labels: make(map[string]string, len(c.Labels)),
		Interval: c.Interval.Seconds(), Timeout: c.Timeout.Seconds(), Optional: c.Optional, File: c.File, Line: c.Line,
	}
	for i, tag := range c.Tags {
		w.Tags[i] = c.Mask.String(tag)
	}
	for name, value := range c.Labels {
		w.Labels[name] = c.Mask.String(value)
	}
	if st.seen {
		verdict, since, started := st.verdict, st.since.UTC(), st.started.UTC()
		w.Verdict, w.Since, w.Started = &verdict, &since, &started
	}
	return w
}

// filter is what a request wants to see.
type filter struct {
	ids      map[string]bool // nil: all
	verdicts []string
	tags     []string
}

// parseFilter reads ?check=, ?verdict= and ?tag=, each of which can be
// repeated.
func parseFilter(q url.Values) filter {
	f := filter{verdicts: q["verdict"], tags: q["tag"]}
	if ids := q["check"]; len(ids) > 0 {
		f.ids = make(map[string]bool, len(ids))
		for _, id := range ids {
			f.ids[id] = true
		}
	}
	return f
}

// wants reports whether the request wants to see the check.
func (f *filter) wants(st *state) bool {
	return f.named(st.id, st.check.Tags) && (len(f.verdicts) == 0 || st.seen && slices.Contains(f.verdicts, st.verdict.String()))
}

// wantsResult reports whether the request wants to see the result.
func (f *filter) wantsResult(r *check.Result) bool {
	return f.named(clean(r.ID), r.Tags) && (len(f.verdicts) == 0 || slices.Contains(f.verdicts, r.Verdict.String()))
}

func (f *filter) named(id string, tags []string) bool {
	return (f.ids == nil || f.ids[id]) &&
		(len(f.tags) == 0 || slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(f.tags, tag) }))
}

func (s *Server) listChecks(w http.ResponseWriter, r *http.Request) {
	f := parseFilter(r.URL.Query())
	w.Header().Set("Content-Type", "application/json")
	writeLines(w, s.pick(f.wants), func(st *state) ([]byte, error) {
		line, err := json.Marshal(wire(st))
		return append(line, '\n'), err
	}, fmt.Sprintf(`{"schema":%d,"checks":[`, check.Schema), ",", "]}\n")
}

// listResults answers with the latest result of each check: as one document,
// as lines for Accept: application/x-ndjson, or, for ?stream or Accept:
// text/event-stream, with results as they come.
func (s *Server) listResults(w http.ResponseWriter, r *http.Request) {
	q, accept := r.URL.Query(), r.Header.Get("Accept")
	f := parseFilter(q)
	if q.Has("stream") || strings.Contains(accept, "text/event-stream") {
		s.events(w, r, f)
		return
	}
	latest := s.pick(func(st *state) bool { return st.latest != nil && f.wants(st) })
	line := func(st *state) ([]byte, error) { return report.Line(*st.latest) }
	if strings.Contains(accept, "application/x-ndjson") {
		w.Header().Set("Content-Type", "application/x-ndjson")
		writeLines(w, latest, line, "", "", "")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	writeLines(w, latest, line, fmt.Sprintf(`{"schema":%d,"results":[`+"\n", check.Schema), ",", "]}\n")
}

// writeLines writes a line for each state, in pieces. No lock is held while a
// slow client reads.
func writeLines(w http.ResponseWriter, states iter.Seq[*state], line func(*state) ([]byte, error), head, separator, tail string) {
	text, between := []byte(head), ""
	for st := range states {
		line, err := line(st)
		if err != nil { // cannot happen: it is plain data
			continue
		}
		text = append(append(text, between...), line...)
		if between = separator; len(text) > 64<<10 {
			if _, err := w.Write(text); err != nil {
				return
			}
			text = text[:0]
		}
	}
	_, _ = w.Write(append(text, tail...)) // whoever went away misses it
}
