package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/sonde-cli/sonde/internal/nearest"
)

// Problem is something wrong, or doubtful, at one place of a file or on the
// command line. It shows no secret.
type Problem struct {
	File         string // as the user wrote it; empty for the command line
	Line, Column int    // from 1, the column in characters; 0 when the whole file is meant
	Message      string
	Hint         string // what to do next; may be empty
	Excerpt      string // the line in question with a caret below; may be empty
}

// String returns the problem as people read it: the place and the message, the
// excerpt, and the hint on a line of its own.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(printable(p.File))
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(printable(p.Message))
	if p.Excerpt != "" {
		b.WriteString("\n" + p.Excerpt)
	}
	if p.Hint != "" {
		b.WriteString("\nhint: " + printable(p.Hint))
	}
	return b.String()
}

// Errors is everything that is wrong with the input, in the order of the files
// and the places in them.
type Errors []Problem

// Error returns all problems, one after the other.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems is how many problems are reported. Nobody reads more.
const maxProblems = 1000

// problems collects each problem once.
type problems struct {
	more  bool // some were left out
	list  []Problem
	seen  map[Problem]bool
	files map[string]int // the order in which the files were met
}

// add keeps the problem unless the same message stands at the same place
// already, as when many checks share a bad template.
func (ps *problems) add(p Problem) {
	key := Problem{File: p.File, Line: p.Line, Column: p.Column, Message: p.Message}
	if ps.seen[key] {
		return
	}
	if ps.full() {
		ps.more = true
		return
	}
	ps.order(p.File)
	ps.seen[key] = true
	ps.list = append(ps.list, p)
}

// order makes the file's problems come after those of the files named before.
func (ps *problems) order(file string) {
	if ps.files == nil {
		ps.seen, ps.files = make(map[Problem]bool), make(map[string]int)
	}
	if _, known := ps.files[file]; !known {
		ps.files[file] = len(ps.files)
	}
}

// full reports whether there is no room for another problem.
func (ps *problems) full() bool { return len(ps.list) >= maxProblems }

// sorted returns the problems in the order of files and places, and says so
// when some were left out.
func (ps *problems) sorted() []Problem {
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		if d := ps.files[a.File] - ps.files[b.File]; d != 0 {
			return d
		}
		if d := a.Line - b.Line; d != 0 {
			return d
		}
		return a.Column - b.Column
	})
	if ps.more {
		return append(ps.list, Problem{Message: fmt.Sprintf("there are more problems than the %d shown here", maxProblems)})
	}
	return ps.list
}

// printable replaces what could steer a terminal; a message may quote a file.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r)) {
			return '·'
		}
		return r
	}, s)
}

// suggest returns a hint about the known name that is nearest to the wrong
// one, or the list of what is known when none is near.
func suggest(wrong string, known []string) string {
	if best := nearest.To(wrong, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	known = slices.Sorted(slices.Values(known))
	const most = 40
	if len(known) == 0 {
		return ""
	}
	if len(known) > most {
		known = append(known[:most:most], "…")
	}
	return "known here: " + joined(known, ", ")
}

// joined lists names on one line, whatever they hold: a line of its own could
// pass for something else, such as a command of a CI system.
func joined(names []string, between string) string {
	return strings.ReplaceAll(strings.Join(names, between), "\n", "·")
}
