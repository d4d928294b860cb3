package check

import "fmt"

// Verdict is the judgement of one run.
type Verdict uint8

// The verdicts. Unknown is the zero value, so that a forgotten verdict can
// never pass for a good one.
const (
	// Unknown means that the prober could not measure; nothing is said about
	// the target.
	Unknown Verdict = iota
	// Up means that every expectation and every preference holds.
	Up
	// Degraded means that every expectation holds and some preference does not.
	Degraded
	// Down means that the target failed, or an expectation does not hold.
	Down
)

var verdictNames = [...]string{Unknown: "unknown", Up: "up", Degraded: "degraded", Down: "down"}

// String returns the verdict in lower case, as in every output.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// MarshalText writes the verdict as String does.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, name := range verdictNames {
		if name == string(text) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("unknown verdict %q", text)
}

// Worse reports whether v outweighs w when many verdicts make one: down wins
// over unknown, unknown over degraded, degraded over up.
func (v Verdict) Worse(w Verdict) bool { return v.weight() > w.weight() }

func (v Verdict) weight() int {
	switch v {
	case Up:
		return 0
	case Degraded:
		return 1
	case Unknown:
		return 2
	default:
		return 3
	}
}
