// Package check holds sonde's nouns: Check, Probe, Fact, Observation,
// Expectation, Finding, Verdict, Reason, Result, Sink and Stage. It depends on
// the standard library alone and knows no protocol, no file format and no
// output format; every other package speaks in these words.
//
// The life of one run: a [Probe] observes and never judges, [Check.Judge] turns
// its [Observation] into a [Judgement], and [Check.Result] makes the plain,
// masked [Result] that sinks receive.
package check
