package check

import (
	"iter"
	"maps"
	"slices"
	"time"
)

// Type is the type of a fact's values.
type Type uint8

// The fact types, with the Go type that a [Facts] value must have.
const (
	Bool     Type = iota // bool
	Int                  // int
	Float                // float64
	String               // string
	Duration             // time.Duration
	Time                 // time.Time
	Strings              // []string
	Map                  // map[string]string
	Any                  // whatever encoding/json decodes to
)

var typeNames = [...]string{"bool", "int", "float", "string", "duration", "time", "list", "map", "any"}

// String returns the type's name as documentation shows it.
func (t Type) String() string { return typeNames[t] }

// Accepts reports whether v is a value of the type.
func (t Type) Accepts(v any) bool {
	switch v.(type) {
	case bool:
		return t == Bool || t == Any
	case int:
		return t == Int || t == Any
	case float64:
		return t == Float || t == Any
	case string:
		return t == String || t == Any
	case time.Duration:
		return t == Duration
	case time.Time:
		return t == Time
	case []string:
		return t == Strings
	case map[string]string:
		return t == Map
	default:
		return t == Any
	}
}

// Fact declares one thing that a kind observes. The declarations type the
// expectations and fill the JSON schema, `sonde kinds` and the docs.
type Fact struct {
	Name string // dotted lower case, such as cert.expires_in
	Type Type
	Unit string // for numbers: "bytes", "ratio", "hops"; empty for a plain number
	Doc  string // one line, lower case, no full stop
	// Code is the reason's code when an expectation about the fact fails;
	// empty means expect.<name>.
	Code Code
	// Option is the kind's option without which the fact is never observed, with
	// the value that it must have where that matters: "ping", "family: both". An
	// expectation of the fact without it is refused.
	Option string
	// Sample tells that it is a fact over a whole sample, not of one observation.
	Sample bool
	// Hidden facts can be expected but are left out of results, because they
	// are large (a body).
	Hidden bool
}

// Facts holds the values of observed facts, in the order in which they were
// set. A fact that was not observed is absent. There are a few dozen at most: a
// list takes a third of a map's memory, and each run makes one.
type Facts []NamedValue

// NamedValue is one observed fact.
type NamedValue struct {
	Name  string
	Value any
}

// FactsOf returns facts in the order of their names.
func FactsOf(values map[string]any) Facts {
	facts := make(Facts, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		facts = append(facts, NamedValue{name, values[name]})
	}
	return facts
}

func (f Facts) index(name string) int {
	for i := range f {
		if f[i].Name == name {
			return i
		}
	}
	return -1
}

// Get returns the fact's value, nil when it is absent.
func (f Facts) Get(name string) any {
	v, _ := f.Lookup(name)
	return v
}

// Lookup returns the fact's value and whether there is one.
func (f Facts) Lookup(name string) (any, bool) {
	if i := f.index(name); i >= 0 {
		return f[i].Value, true
	}
	return nil, false
}

// Set records the fact's value.
func (f *Facts) Set(name string, value any) {
	if i := f.index(name); i >= 0 {
		(*f)[i].Value = value
		return
	}
	*f = append(*f, NamedValue{name, value})
}

// Delete makes the fact absent.
func (f *Facts) Delete(name string) {
	if i := f.index(name); i >= 0 {
		*f = slices.Delete(*f, i, i+1)
	}
}

// All returns the facts, in the order in which they were set.
func (f Facts) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for i := range f {
			if !yield(f[i].Name, f[i].Value) {
				return
			}
		}
	}
}

// Names returns the facts' names, in the order in which they were set.
func (f Facts) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range f {
			if !yield(f[i].Name) {
				return
			}
		}
	}
}

// CommonFacts returns the facts that every kind has.
func CommonFacts() []Fact {
	facts := []Fact{
		{Name: "latency", Type: Duration, Doc: "time from the start of the probe to its end, without queueing"},
		{Name: "error", Type: String, Doc: "reason code of what stopped the probe, '' when nothing did"},
	}
	for _, name := range PhaseNames() {
		facts = append(facts, Fact{Name: "phase." + name, Type: Duration, Doc: "time of the phase " + name})
	}
	return append(facts, sampleFacts()...)
}

// Phase names, in the order of a probe's journey.
const (
	PhaseResolve  = "resolve"  // name to addresses
	PhaseConnect  = "connect"  // transport connection, with the proxy's part
	PhaseTLS      = "tls"      // TLS handshake
	PhaseSend     = "send"     // writing the request
	PhaseWait     = "wait"     // from the request's end to the first byte of the answer
	PhaseTransfer = "transfer" // from the first byte of the answer to its last
)

// PhaseNames returns all phase names in the order of a probe's journey.
func PhaseNames() []string {
	return []string{PhaseResolve, PhaseConnect, PhaseTLS, PhaseSend, PhaseWait, PhaseTransfer}
}

// Phase is the time that one part of a probe took.
type Phase struct {
	Name     string
	Duration time.Duration
}

// Phases lists the phases that took place, in order.
type Phases []Phase

// Add adds d to the phase's time, so that a phase that happens twice (a
// redirect connects again) is shown once with the sum.
func (p *Phases) Add(name string, d time.Duration) {
	i := slices.IndexFunc(*p, func(ph Phase) bool { return ph.Name == name })
	if i < 0 {
		*p = append(*p, Phase{Name: name, Duration: d})
		return
	}
	(*p)[i].Duration += d
}

// Get returns the phase's time and whether it took place.
func (p Phases) Get(name string) (time.Duration, bool) {
	for _, ph := range p {
		if ph.Name == name {
			return ph.Duration, true
		}
	}
	return 0, false
}
