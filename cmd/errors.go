package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/internal/nearest"
)

// usageError is a mistake in how a command was called.
type usageError struct{ message, hint string }

func (e *usageError) Error() string { return e.message }

// usagef makes a usage error; an empty hint is left out.
func usagef(hint, format string, args ...any) error {
	return &usageError{message: fmt.Sprintf(format, args...), hint: hint}
}

// explain tells the user, on standard error, why a command failed: the one
// place that words a fatal error.
func (a *App) explain(err error) {
	var said status
	if err == nil || errors.As(err, &said) || unread(err) {
		return
	}
	a.fail(err, a.exitCode(err))
	if a.isNagios() && !a.wantsJSON() {
		// A plugin has to say something, and nobody sees its standard error.
		what, _, _ := strings.Cut(err.Error(), "\n")
		_, _ = fmt.Fprintf(a.Stdout, "SONDE UNKNOWN - %s\n", strings.ReplaceAll(printable(what), "|", "¦"))
	}
}

// fail words an error that makes the process end with the code.
func (a *App) fail(err error, code int) {
	if a.wantsJSON() {
		a.stderrJSON(wireMessage{Schema: check.Schema, Error: wireError(err), ExitCode: code})
		return
	}
	var problems config.Errors
	if errors.As(err, &problems) {
		for _, p := range problems {
			a.stderr("%s\n", strings.TrimRight(p.String(), "\n"))
		}
		a.stderr("sonde: %s, nothing was measured\n", plural(len(problems), "problem"))
		return
	}
	a.stderr("sonde: %s\n", err)
	if hint := hintOf(err); hint != "" {
		a.stderr("hint: %s\n", hint)
	}
}

// warn writes something that the user should know and that does not end the
// command.
func (a *App) warn(message, hint string) {
	if a.wantsJSON() {
		a.stderrJSON(wireMessage{Schema: check.Schema, Warning: &wireProblem{Message: message, Hint: hint}})
		return
	}
	a.stderr("warning: %s\n", message)
	if hint != "" {
		a.stderr("hint: %s\n", hint)
	}
}

// warnAll writes what a loader warns of.
func (a *App) warnAll(problems []config.Problem) {
	for _, p := range problems {
		if a.wantsJSON() {
			a.stderrJSON(wireMessage{Schema: check.Schema, Warning: asWire(p)})
			continue
		}
		a.stderr("warning: %s\n", strings.TrimRight(p.String(), "\n"))
	}
}

// wireMessage is a line of standard error in JSON.
type wireMessage struct {
	Schema   int          `json:"schema"`
	Warning  *wireProblem `json:"warning,omitempty"`
	Error    *wireProblem `json:"error,omitempty"`
	ExitCode int          `json:"exit_code,omitempty"`
}

// wireProblem is a problem in JSON.
type wireProblem struct {
	Message string `json:"message"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Hint    string `json:"hint,omitempty"`
	// Problems lists all of them when there are several.
	Problems []*wireProblem `json:"problems,omitempty"`
}

func asWire(p config.Problem) *wireProblem {
	return &wireProblem{Message: p.Message, File: p.File, Line: p.Line, Column: p.Column, Hint: p.Hint}
}

func wireError(err error) *wireProblem {
	var problems config.Errors
	if !errors.As(err, &problems) || len(problems) == 0 {
		return &wireProblem{Message: err.Error(), Hint: hintOf(err)}
	}
	if len(problems) == 1 {
		return asWire(problems[0])
	}
	w := &wireProblem{Message: plural(len(problems), "problem")}
	for _, p := range problems {
		w.Problems = append(w.Problems, asWire(p))
	}
	return w
}

func hintOf(err error) string {
	var usage *usageError
	var command *commandError
	switch {
	case errors.As(err, &usage):
		return usage.hint
	case errors.As(err, &command):
		return command.hint
	}
	return ""
}

// wantsJSON reports whether standard output is to be JSON, so that what goes
// to standard error is, too.
func (a *App) wantsJSON() bool {
	asked := append(a.given("--report"), a.given("--format")...)
	return slices.ContainsFunc(asked, func(value string) bool {
		format := strings.TrimSuffix(value, "=-")
		return format == "json" || format == "ndjson"
	})
}

// isNagios reports whether the exit code is to be the state of a plugin.
func (a *App) isNagios() bool { return slices.Contains(a.given("--exit-style"), "nagios") }

// given returns the values of a flag. It looks at the bare arguments, because
// the mistake may be in the flags themselves.
func (a *App) given(flag string) []string {
	var values []string
	for i, arg := range a.Args {
		switch value, ok := strings.CutPrefix(arg, flag+"="); {
		case arg == "--": // what follows is another's
			return values
		case ok:
			values = append(values, value)
		case arg == flag && i+1 < len(a.Args):
			values = append(values, a.Args[i+1])
		}
	}
	return values
}

// stderr writes text for people. When that fails there is nobody left to tell.
func (a *App) stderr(format string, args ...any) {
	_, _ = fmt.Fprint(a.Stderr, printable(fmt.Sprintf(format, args...)))
}

func (a *App) stderrJSON(v any) {
	line, err := json.Marshal(v)
	if err != nil { // cannot happen: v is made of strings and numbers
		line = []byte(`{"schema":1}`)
	}
	_, _ = fmt.Fprintf(a.Stderr, "%s\n", line)
}

// printable replaces what could steer a terminal: control characters other
// than the end of a line and the tab, and invalid UTF-8.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// inRow makes a text fit into one row of a table, where it cannot pass for a line
// of its own.
func inRow(s string) string {
	return printable(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, s))
}

// known returns a hint about a wrong name: the one that it was probably meant
// to be, or all that there are.
func known(all, wrong string, names []string) string {
	if meant := nearest.To(wrong, names); meant != "" {
		return "did you mean " + meant + "?"
	}
	return all + strings.Join(names, ", ")
}

// plural returns "1 check" or "3 checks".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
