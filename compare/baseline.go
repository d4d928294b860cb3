package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// baselineSchema is the number of the form of a baseline.
const baselineSchema = 1

// baselineFormat tells a baseline from any other JSON.
const baselineFormat = "sonde-baseline"

// maxBaseline bounds what is read of a baseline, in bytes: that of a thousand
// checks of 10,000 samples.
const maxBaseline = 256 << 20

// Bounds of what a baseline may hold. A file that sonde wrote keeps them; one
// that somebody else made costs no more memory and time than that.
const (
	maxKept      = 1 << 20                 // checks
	maxLatencies = 10_000                  // of a check, which are as many as samples can have
	maxWritten   = maxLatencies * (24 + 2) // bytes of their text: 24 are what a float64 takes at most
)

// Origin says where and when a baseline was measured.
type Origin struct {
	Created time.Time
	Host    string // name of the machine; empty when it has none
	Version string // of sonde
}

// Baseline holds the samples of a run, by the id of the check.
type Baseline struct {
	Origin
	Sides map[string]Side
}

type wireBaseline struct {
	Schema  int        `json:"schema"`
	Format  string     `json:"format"`
	Created time.Time  `json:"created"`
	Host    string     `json:"host,omitempty"`
	Version string     `json:"sonde"`
	Checks  keptChecks `json:"checks"`
}

// keptChecks are the checks of a baseline.
type keptChecks []wireKept

// UnmarshalJSON reads the checks one by one, until there are too many.
func (k *keptChecks) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return errors.New("checks is no list")
	}
	for d.More() {
		if len(*k) == maxKept {
			return fmt.Errorf("more than %d checks", maxKept)
		}
		var one wireKept
		if err := d.Decode(&one); err != nil {
			return err
		}
		*k = append(*k, one)
	}
	return nil
}

// keptLatencies are the latencies of a check, in seconds.
type keptLatencies []float64

// UnmarshalJSON refuses more than a sample can have.
func (k *keptLatencies) UnmarshalJSON(text []byte) error {
	var all []float64
	if len(text) <= maxWritten {
		if err := json.Unmarshal(text, &all); err != nil {
			return err
		}
	}
	if len(text) > maxWritten || len(all) > maxLatencies {
		return fmt.Errorf("more than %d latencies of a check", maxLatencies)
	}
	*k = all
	return nil
}

// wireKept is one check of a baseline.
type wireKept struct {
	ID        string        `json:"id"`
	Target    string        `json:"target"`
	Verdict   check.Verdict `json:"verdict"`
	Reason    *check.Reason `json:"reason,omitempty"`
	Failed    int           `json:"failed"`
	Latencies keptLatencies `json:"latencies_seconds"`
	Facts     Facts         `json:"facts"`
}

// WriteBaseline writes the samples of the results, which are masked and bounded
// already, as JSON with a line for each check.
func WriteBaseline(w io.Writer, o Origin, results []check.Result) error {
	head, err := json.Marshal(wireBaseline{
		Schema: baselineSchema, Format: baselineFormat, Created: o.Created.UTC().Truncate(time.Second), Host: o.Host, Version: o.Version,
	})
	if err != nil {
		return fmt.Errorf("encode the baseline: %w", err)
	}
	const empty = "null}" // the checks, which follow one by one
	if _, err := fmt.Fprintf(w, "%s[", head[:len(head)-len(empty)]); err != nil {
		return err
	}
	separator := "\n"
	for _, r := range results {
		s := SideOf(r)
		kept := wireKept{ID: r.ID, Target: s.Target, Verdict: s.Verdict, Failed: s.Failed, Latencies: seconds(s.Latencies), Facts: s.Facts}
		if !s.Reason.IsZero() {
			kept.Reason = &s.Reason
		}
		line, err := json.Marshal(kept)
		if err != nil {
			return fmt.Errorf("encode the baseline of %s: %w", r.ID, err)
		}
		if _, err := fmt.Fprintf(w, "%s%s", separator, line); err != nil {
			return err
		}
		separator = ",\n"
	}
	_, err = fmt.Fprintln(w, "\n]}")
	return err
}

// ReadBaseline reads what WriteBaseline wrote, and says what else it is.
func ReadBaseline(r io.Reader) (*Baseline, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxBaseline+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxBaseline:
		return nil, fmt.Errorf("it is larger than %d MiB", maxBaseline>>20)
	}
	var head struct {
		Schema int    `json:"schema"`
		Format string `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("it is no whole JSON: %w", err)
	}
	switch {
	case head.Format != baselineFormat:
		return nil, errors.New("it is JSON, but no baseline")
	case head.Schema != baselineSchema:
		return nil, fmt.Errorf("it has the schema %d, and this sonde reads %d", head.Schema, baselineSchema)
	}
	var kept wireBaseline
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fmt.Errorf("it is no sound baseline: %w", err)
	}
	return kept.baseline()
}

func (w *wireBaseline) baseline() (*Baseline, error) {
	b := &Baseline{Origin: Origin{Created: w.Created, Host: w.Host, Version: w.Version}, Sides: make(map[string]Side, len(w.Checks))}
	for _, k := range w.Checks {
		s := Side{Target: k.Target, Verdict: k.Verdict, Failed: k.Failed, Facts: k.Facts}
		if k.Failed < 0 {
			return nil, fmt.Errorf("it has %d failures of %s", k.Failed, k.ID)
		}
		if k.Reason != nil {
			s.Reason = *k.Reason
		}
		for _, l := range k.Latencies {
			d := math.Round(l * float64(time.Second))
			if !(d > 0) || d > math.MaxInt64/2 {
				return nil, fmt.Errorf("it has a latency of %gs for %s", l, k.ID)
			}
			s.Latencies = append(s.Latencies, time.Duration(d))
		}
		if _, twice := b.Sides[k.ID]; twice {
			return nil, fmt.Errorf("it has %s twice", k.ID)
		}
		b.Sides[k.ID] = s
	}
	return b, nil
}

// SideOf returns what a result says for a comparison.
func SideOf(r check.Result) Side {
	s := Side{Target: r.Target, Verdict: r.Verdict, Reason: r.Reason, Facts: FactsOf(r.Facts)}
	switch {
	case r.Sample != nil:
		s.Latencies = r.Sample.Latencies()
		s.Failed = len(r.Sample.Points) - r.Sample.Passed() - r.Sample.Unknown()
	case r.Verdict == check.Up || r.Verdict == check.Degraded:
		s.Latencies = []time.Duration{r.Latency}
	case r.Verdict == check.Down:
		s.Failed = 1
	}
	return s
}
