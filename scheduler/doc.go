// Package scheduler decides when checks run and how many at once. It knows no
// protocol: a check arrives with its probe and its compiled judgement inside.
//
// [Once] runs each check one time, [Until] again and again until it is what is
// wanted, [Loop] for ever at its interval. All make every attempt in the same way:
// with a deadline of its own, safe from a panic of the probe, and with an eye on
// this process itself, so that a failure while it was stopped, starved or suspended
// is unknown and never down.
package scheduler
