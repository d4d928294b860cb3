package check

import "slices"

// WithDefaults returns the expectations of a check: those of the kind whose facts
// no expectation of the user mentions, and then the user's. A preference does not
// count: who prefers all packets back still wants to know when none comes. A user
// who expects a failure takes over from what the failure keeps from being seen.
func WithDefaults(defaults []Default, user []Expectation, compile func(text string) (Test, error)) ([]Expectation, error) {
	all := make([]Expectation, 0, len(defaults)+len(user))
	expects := func(fact string) bool {
		return slices.ContainsFunc(user, func(e Expectation) bool {
			return e.Level == Expect && slices.Contains(e.Test.Facts(), fact)
		})
	}
	expectsError := expects("error")
	for _, d := range defaults {
		test, err := compile(d.Expect)
		if err != nil {
			return nil, err
		}
		lifts := test.Facts()
		if d.Fact != "" {
			lifts = []string{d.Fact}
		}
		if !slices.ContainsFunc(lifts, expects) {
			all = append(all, Expectation{Text: d.Expect, Level: d.Level, Test: test, WhenSeen: d.WhenSeen || expectsError})
		}
	}
	return append(all, user...), nil
}
