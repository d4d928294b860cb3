package check

import "fmt"

// Level tells what a miss of an expectation means.
type Level uint8

// The levels.
const (
	Expect Level = iota // a miss is down
	Prefer              // a miss is degraded
)

// String returns the level as in the file and in JSON.
func (l Level) String() string {
	if l == Prefer {
		return "prefer"
	}
	return "expect"
}

// MarshalText writes the level as String does.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Level) UnmarshalText(text []byte) error {
	switch string(text) {
	case "expect":
		*l = Expect
	case "prefer":
		*l = Prefer
	default:
		return fmt.Errorf("unknown level %q", text)
	}
	return nil
}

// Test is a compiled expression over facts. Implementations are safe for
// concurrent use.
type Test interface {
	// Facts returns the names of the declared facts that the expression names.
	Facts() []string
	// Eval evaluates the expression. A fact that lookup does not know makes
	// the outcome not OK, unless the expression gets by without it.
	Eval(lookup func(fact string) (any, bool)) Outcome
}

// Outcome is the result of evaluating a [Test].
type Outcome struct {
	OK bool
	// Got holds the values of the facts that were looked at, by the name that
	// the expression uses (json.status); nil stands for an absent one.
	Got map[string]any
	// Fact is the declared fact at fault when not OK; empty when none is.
	Fact string
	// Missing tells that a fact at fault was not observed.
	Missing bool
	// Message says in words what was seen and wanted: "status 503, want 200".
	Message string
}

// Expectation is one boolean expression over facts with its level and origin.
type Expectation struct {
	Text  string // as the user wrote it
	Level Level
	Test  Test
	// WhenSeen marks an expectation that a kind brings and that only counts
	// when its facts were observed (a certificate's, where there may be none).
	WhenSeen bool
	// Sample marks one over the facts of a sample, which is judged once.
	Sample bool
	File   string // where it stands; empty for the command line and defaults
	Line   int
}

// Finding is what became of one expectation.
type Finding struct {
	Expect string         `json:"expect"`
	Level  Level          `json:"level"`
	OK     bool           `json:"ok"`
	Got    map[string]any `json:"got"`
	// Note says what a reader must know of the values: that a percentile is the
	// maximum.
	Note string `json:"note,omitempty"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}
