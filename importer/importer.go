// Package importer turns the configuration of other probers into a file of
// checks: blackbox_exporter, Gatus, Cloudprober, Nagios plugins and Uptime Kuma.
// What has no equivalent is never dropped in silence: it is named in a comment
// where it would stand and in a warning with its place in the source.
package importer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/config"
)

// Formats are the names of what can be imported, for Source.Format.
func Formats() []string { return []string{"blackbox", "gatus", "cloudprober", "nagios", "kuma"} }

// Source is one file to import.
type Source struct {
	Name   string // as in messages
	Format string // one of Formats; empty: recognised by the content
	Text   string
	// Targets is a file of targets for the modules of blackbox_exporter: a
	// prometheus.yml, a file of file_sd_configs or a list. nil: none, which
	// leaves the modules as templates.
	Targets *Source
}

// Result is what was imported.
type Result struct {
	Format    string
	Text      []byte           // the file of checks
	Checks    int              // checks in it, before each makes more of them
	Templates int              // templates in it
	Warnings  []config.Problem // what has no equivalent, in the order of the source
	Variables []Variable       // what the file takes from the environment
}

// Variable is an environment variable that the imported file refers to.
type Variable struct {
	Name string
	Doc  string // what it holds; never the value
	Line int    // in the source
}

// Error tells why a source cannot be read at all.
type Error struct{ config.Problem }

// Error returns the place and the message, without the hint.
func (e *Error) Error() string {
	p := e.Problem
	p.Hint = ""
	return p.String()
}

// Import turns a source into a file of checks. The error is an *Error when the
// source cannot be read as its format.
func Import(src Source) (*Result, error) {
	j := &job{source: src, names: make(map[string]int), variables: make(map[string]string), literal: plain}
	if j.source.Format == "" {
		j.source.Format = recognise(src.Text)
	}
	read, ok := map[string]func(*job) error{
		"blackbox": blackbox, "gatus": gatus, "cloudprober": cloudprober, "nagios": nagios, "kuma": kuma,
	}[j.source.Format]
	if !ok {
		return nil, j.failure(1, 0, "this is no configuration that is recognised",
			"name its format: --from "+strings.Join(Formats(), "|"))
	}
	if err := read(j); err != nil {
		return nil, err
	}
	return j.result()
}

// Command turns the command line of a Nagios plugin into a file of checks.
func Command(args []string) (*Result, error) {
	j := &job{source: Source{Name: "command line", Format: "nagios"}, names: make(map[string]int),
		variables: make(map[string]string), literal: plain}
	j.plugin(command{args: args})
	if j.out.items[0].kind == "" {
		return nil, j.failure(0, 0, j.warnings[len(j.warnings)-1].Message, "these are known: "+strings.Join(pluginNames(), ", "))
	}
	return j.result()
}

// job is one import.
type job struct {
	source    Source
	out       document
	warnings  []config.Problem
	found     []Variable
	names     map[string]int    // of checks and variables that are taken, with the last number that was added
	variables map[string]string // names by value
	// literal turns a text of the source into one of sonde's.
	literal func(string) text
}

func (j *job) result() (*Result, error) {
	encoded, err := j.out.encode()
	if err != nil {
		return nil, fmt.Errorf("write the imported file: %w", err)
	}
	j.found = slices.DeleteFunc(j.found, func(v Variable) bool { return !bytes.Contains(encoded, []byte("${"+v.Name+"}")) })
	slices.SortStableFunc(j.warnings, func(a, b config.Problem) int {
		if a.File != b.File {
			return 0 // those of the targets come after the source's
		}
		return a.Line - b.Line
	})
	checks := 0
	for _, it := range j.out.items {
		if it.kind != "" {
			checks++
		}
	}
	return &Result{Format: j.source.Format, Text: encoded, Checks: checks, Templates: len(j.out.templates),
		Warnings: j.warnings, Variables: j.found}, nil
}

func (j *job) failure(line, column int, message, hint string) error {
	return &Error{config.Problem{File: j.source.Name, Line: line, Column: max(column, 1), Message: clean(message), Hint: hint}}
}

// miss names something that has no equivalent: to the user, and in the file
// where it would stand, which is at the item or, with nil, at its top.
func (j *job) miss(it *item, at *yaml.Node, message string) {
	line, column := 0, 0
	if at != nil {
		line, column = at.Line, max(at.Column, 1)
	}
	j.warnings = append(j.warnings, config.Problem{File: j.source.Name, Line: line, Column: column, Message: clean(message)})
	place := j.source.Name
	if line > 0 {
		place = fmt.Sprintf("%s:%d", place, line)
	}
	j.remark(it, place+": "+message)
}

// remark adds a comment, once.
func (j *job) remark(it *item, message string) {
	notes := &j.out.notes
	if it != nil {
		notes = &it.notes
	}
	if message = clean(message); !slices.Contains(*notes, message) {
		*notes = append(*notes, message)
	}
}

// skip leaves a comment in the place of a check that cannot be imported.
func (j *job) skip(it *item, at *yaml.Node, message string) {
	*it = item{notes: it.notes}
	j.miss(it, at, message)
	j.out.items = append(j.out.items, it)
}

// add adds a check under its name, or one that is free.
func (j *job) add(it *item) {
	it.name = j.free(it.name, "check", " ")
	j.oneLogin(it)
	j.out.items = append(j.out.items, it)
}

// free returns the name, with a number when it is taken.
func (j *job) free(name, instead, joint string) string {
	if name = strings.TrimSpace(clean(name)); name == "" {
		name = instead
	}
	base := name
	for j.names[name] > 0 {
		j.names[base]++
		name = fmt.Sprintf("%s%s%d", base, joint, j.names[base])
	}
	j.names[name] = 1
	return name
}

// recognise tells a format by the content; "" when it is none.
func recognise(source string) string {
	if looksLikeNagios(source) {
		return "nagios"
	}
	var keys []string
	if root, err := parse(source); err == nil && root.Kind == yaml.MappingNode {
		for i := 0; i < len(root.Content); i += 2 {
			keys = append(keys, root.Content[i].Value)
		}
	}
	for _, f := range []struct {
		name string
		keys []string
	}{
		{"blackbox", []string{"modules"}},
		{"gatus", []string{"endpoints", "external-endpoints", "suites"}},
		{"kuma", []string{"monitorList"}},
		{"cloudprober", []string{"probe"}},
	} {
		if slices.ContainsFunc(f.keys, func(key string) bool { return slices.Contains(keys, key) }) {
			return f.name
		}
	}
	if looksLikeProto(source) || includeLine.MatchString(source) {
		return "cloudprober"
	}
	return ""
}

var errEmpty = errors.New("the file is empty")
