package check

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is one kind of probe: its facts, its options and how to build it. A
// kind is a value; package probes registers them and hands them around.
type Kind struct {
	Name string // the key in the file: http, tcp, dns, icmp
	Doc  string // one line, lower case, no full stop
	// Schemes are those of targets on the command line that mean this kind; none
	// when its options are no [Targeter], and the kind is for files alone.
	Schemes []string
	Facts   []Fact
	// New returns the kind's options, a pointer to a struct that holds the
	// defaults. Its exported fields carry tags: `yaml:"name"`, `doc:"..."`, and
	// where they apply `enum:"a,b"`, `secret:"true"` (the value is masked),
	// `path:"true"` (a file name, relative to the file that names it),
	// `over:"name"` (the items of the list, structs, have a part that begins with the value of that option),
	// `address:"true"` (where the probe goes; host and port stay readable even
	// when they come from a variable) and `required:"true"`. Field types are
	// string, bool, int, float64, time.Duration, [Size], [JSON], *regexp.Regexp,
	// slices and map[string]string of these, structs and pointers to structs.
	New func() Options
}

// AllFacts returns the kind's facts and the common ones.
func (k Kind) AllFacts() []Fact { return append(CommonFacts(), k.Facts...) }

// Options are the decoded options of one check.
type Options interface {
	// Build validates the options and makes the probe. Its errors are
	// *[OptionError]s, joined when there are several. It opens no connection
	// but may read the files that the options name.
	Build(Setup) (Plan, error)
}

// Targeter is implemented by options that can be given as one target on the
// command line.
type Targeter interface {
	// SetTarget fills the options from a target such as
	// "https://example.com/" or a bare host name.
	SetTarget(target string) error
}

// FactLister is implemented by options that bring facts of one check's own, in
// addition to those of its kind.
type FactLister interface{ ListFacts() []Fact }

// Linter is implemented by options that hold expressions. Lint finds what is wrong
// with them where the check is not built, for it is disabled or not selected. Texts
// with a variable in them are empty then: known tells whether the facts that
// ListFacts returns are all the same those of the check.
type Linter interface {
	Lint(compile func(text string, facts []Fact) (Test, error)) (known bool, errs error)
}

// Deferring is implemented by options whose texts may hold references that only
// a run can expand, such as ${steps.login.status}. They reach Build as [Deferred]
// splits them.
type Deferring interface {
	// Defers returns what the references begin with, "steps." here.
	Defers() string
}

// deferral encloses the name of a deferred reference in an option's text. It is a
// noncharacter of Unicode, for use inside of a program (section 23.7), and no
// other text of such options holds it.
const deferral = "\uFDD0"

// Defer returns the reference of the name as it stands in an option's text.
func Defer(name string) string { return deferral + name + deferral }

// Deferred splits an option's text into literals and, in every other place, the
// names of references that are to be expanded in a run.
func Deferred(text string) []string { return strings.Split(text, deferral) }

// Setup is what a kind may know of its surroundings when it builds a probe.
type Setup struct {
	// Needs reports whether an expectation names the fact, so that a probe can
	// save the cost of facts that nobody asked for. Never nil.
	Needs func(fact string) bool
	// Getenv looks up an environment variable. Never nil.
	Getenv func(name string) string
	// Version of sonde, for the User-Agent.
	Version string
	// Compile compiles an expectation over the facts, for a kind that has some of
	// its own. The error is an *[OptionError] without an option. Never nil where
	// the kind is [Deferring].
	Compile func(text string, facts []Fact) (Test, error)
	// Last is what the kind's Build before this one in the same load has left
	// here. Checks that differ in their target alone, of which there can be a
	// million, can so share the rest, and read a file once. Nil: build alone.
	Last *any
}

// Plan is a built check of some kind.
type Plan struct {
	Probe  Probe
	Target string // as people read it: a URL or host:port
	// Defaults are expectations that hold unless the user expects something of
	// one of their facts.
	Defaults []Default
	// Secrets are values that must not appear in any output, beyond those of
	// fields tagged secret: an Authorization header, a URL's password.
	Secrets []string
}

// Default is an expectation that a kind brings along.
type Default struct {
	Expect string
	Level  Level // Prefer: a miss is degraded
	// WhenSeen makes it count only when its facts were observed.
	WhenSeen bool
	// Fact is the one that lifts the default when an expectation of the user
	// mentions it; empty: each fact that Expect mentions does.
	Fact string
}

// OptionError is a wrong option. Its path names the option inside the kind's
// block ("tls.min_version", "steps[1].expect"); empty means the whole block.
type OptionError struct {
	Option string
	Err    error
	Hint   string // what to do, may be empty
	// Text is the option's text as the file has it and Offset where in it the
	// error is, in bytes. Empty: the option as a whole is wrong.
	Text   string
	Offset int
}

// Error returns the option and what is wrong with it.
func (e *OptionError) Error() string {
	if e.Option == "" {
		return e.Err.Error()
	}
	return e.Option + ": " + e.Err.Error()
}

// Unwrap returns what is wrong without the option.
func (e *OptionError) Unwrap() error { return e.Err }

// OptionErrorf makes an OptionError.
func OptionErrorf(option, format string, args ...any) error {
	return &OptionError{Option: option, Err: fmt.Errorf(format, args...)}
}

// OptionErrors flattens what Build returned into its parts; an error that is
// no OptionError becomes one of the whole block.
func OptionErrors(err error) []*OptionError {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*OptionError
		for _, e := range joined.Unwrap() {
			all = append(all, OptionErrors(e)...)
		}
		return all
	}
	var oe *OptionError
	if errors.As(err, &oe) {
		return []*OptionError{oe}
	}
	return []*OptionError{{Err: err}}
}
