// Package compare tells whether checks became slower: it compares two samples
// of latencies of each check, A (before) and B (now), and the facts seen with
// them. It measures nothing and writes nothing.
//
// # Method
//
// A check is slower when the Mann-Whitney U test rejects, at the level alpha,
// that B is at most the minimum effect slower: B against A*(1+effect), with
// the one-sided alternative that B is greater. The p-values of all checks are
// corrected with Holm's method, so that alpha bounds the probability that any
// check of a run is called slower wrongly. Faster is the same with A and B
// exchanged.
//
// The ratio is the Hodges-Lehmann estimate on the logarithms, the median of
// b/a over all pairs; its interval has Moses' order statistics of those ratios
// as its ends. A check is the same when the interval lies within the minimum
// effect on both sides, and unclear when the sample shows neither.
package compare
