// Package config turns files of checks into [check.Check]s. It is strict: what
// it does not know or understand is an error with its place, and all errors of
// all files are reported at once.
//
// # Merging
//
// A check is merged from the file's defaults, then the templates that it uses
// in their order, then its own keys. A template may use others; they come
// before its own keys. Maps merge key by key at every depth; a list or a
// scalar replaces what was there. Blocks of kinds in defaults apply to checks
// of that kind. Each file stands for itself: its defaults and templates do not
// reach other files.
//
// # References
//
// ${VAR}, ${VAR:-default}, ${VAR:?message}, ${file:path} and ${each.key} (or
// ${each}, when each is a plain list) expand inside of values, after parsing,
// and $${ stands for a literal ${. As in a shell, :- and :? also apply to an
// empty variable. What came from the environment or a file is masked in
// results, with these exceptions: where a probe goes (host, port), names, tags
// and labels, numbers and durations, and what a default gave.
package config

import (
	"context"
	"fmt"
	"io"

	"github.com/sonde-cli/sonde/check"
)

// maxChecks is the largest number of checks of one Load.
const maxChecks = 1_000_000

// maxVisits bounds the work that a file can cause by repeating large templates
// and lists, in decoded values.
const maxVisits = 200_000_000

// Loader loads checks.
type Loader struct {
	Kinds     []check.Kind
	LookupEnv func(string) (string, bool) // nil: no variable is set
	Version   string                      // of sonde, for the kinds
	Stdin     io.Reader                   // what "-" reads
	StdinName string                      // what "-" is called in messages; empty: <stdin>
	// Filter selects checks; nil selects all. It is applied before probes are
	// built, so a check that is left out may have unset variables and missing
	// files.
	Filter func(id, name string, tags []string) bool
	// Samples, when above 0, replaces the count of samples of every check. Retries
	// give way to it.
	Samples int
	// Needs names facts that are wanted although no expectation names them.
	Needs []string
	// Modules keeps the templates that have a kind, which holds on to the
	// text of the files.
	Modules bool
}

// Set is what was loaded.
type Set struct {
	Checks   []*check.Check // in the order of the files
	Warnings []Problem      // doubtful, but no reason to refuse
	Files    []string       // those read, in order
	Limits   Limits         // of a loop
	Total    int            // enabled checks, before the Filter
	Disabled int            // checks with enabled: false
	Modules  []*Module      // when the Loader keeps them, by file and name
}

// Load reads files, directories and, for "-", standard input. Bad input gives
// [Errors] with everything that is wrong; the only other error is ctx's.
func (l *Loader) Load(ctx context.Context, paths ...string) (*Set, error) {
	in := l.begin(ctx)
	if len(paths) == 0 {
		in.errors.add(Problem{Message: "no file to load", Hint: "name a file, a directory, or - for standard input"})
	}
	for _, path := range expandPaths(paths, in.errors.add) {
		in.loadFile(path)
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
	}
	in.settle()
	if in.exhausted {
		in.errors.add(Problem{Message: fmt.Sprintf("the checks hold more than %d values when all templates and lists are applied", maxVisits)})
	}
	if len(in.errors.list) > 0 {
		return nil, Errors(in.errors.sorted())
	}
	in.set.Warnings = in.warnings.sorted()
	return in.set, nil
}

// load is the state of one Load or Target.
type load struct {
	*Loader
	ctx       context.Context
	set       *Set
	kinds     []*kind
	errors    problems
	warnings  problems
	ids       map[string]place
	templates map[string]parsed
	windows   map[string]parsedWindow
	limitsAt  place

	names      map[string]bool // of checks that each made
	nameless   bool            // there are checks whose names are not known, for an error
	dependents []*dependent

	visits    int
	exhausted bool
}

func (l *Loader) begin(ctx context.Context) *load {
	in := &load{
		Loader: l, ctx: ctx, set: &Set{},
		ids: make(map[string]place), names: make(map[string]bool), templates: make(map[string]parsed), windows: make(map[string]parsedWindow),
	}
	for _, k := range l.Kinds {
		in.kinds = append(in.kinds, &kind{Kind: k, facts: k.AllFacts(), tests: make(map[string]compiled)})
	}
	return in
}

func (in *load) kind(name string) *kind {
	for _, k := range in.kinds {
		if k.Name == name {
			return k
		}
	}
	return nil
}

func (in *load) kindNames() []string {
	names := make([]string, len(in.kinds))
	for i, k := range in.kinds {
		names[i] = k.Name
	}
	return names
}

func (in *load) getenv(name string) string {
	if in.LookupEnv == nil {
		return ""
	}
	value, _ := in.LookupEnv(name)
	return value
}

// visit counts a decoded value and reports whether there may be more.
func (in *load) visit() bool {
	in.visits++
	if in.visits > maxVisits {
		in.exhausted = true
	}
	return !in.exhausted
}

// stopped reports whether going on is pointless.
func (in *load) stopped() bool { return in.exhausted || in.errors.more || in.ctx.Err() != nil }

type parsed struct {
	template template
	err      *varError
}

// template takes a text apart, once for all checks that share it.
func (in *load) template(text string) (template, *varError) {
	if t, ok := in.templates[text]; ok {
		return t.template, t.err
	}
	t, err := parseTemplate(text)
	in.templates[text] = parsed{t, err}
	return t, err
}
