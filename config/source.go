package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxFile is the largest file of checks that is read, in bytes.
const maxFile = 10 << 20

// maxLine is the longest line, in bytes, that is searched and shown.
const maxLine = 16 << 10

// stdinName is what standard input is called in messages.
func (l *Loader) stdinName() string { return cmp.Or(l.StdinName, "<stdin>") }

// source is one file of checks.
type source struct {
	name  string // as in messages
	dir   string // what relative paths in it are relative to
	text  string
	lines []string // of text, made when first needed
	root  *yaml.Node

	open       fs.FileMode     // who may read it beside its owner; 0: nobody
	mergeKeys  bool            // it has keys << that were left out
	secretKeys map[string]bool // keys of options that are tagged secret
	shownMaps  map[string]bool // keys of maps without secrets, whatever their keys
	secrets    *secrets        // found when first needed
}

// expandPaths turns directories into the files in them: *.yaml and *.yml, not
// hidden, sorted, without those of deeper directories. A file that is named
// twice is read once.
func expandPaths(paths []string, report func(Problem)) []string {
	var files []string
	add := func(name string) {
		if !slices.ContainsFunc(files, func(have string) bool { return have == name || filepath.Clean(have) == filepath.Clean(name) }) {
			files = append(files, name)
		}
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if path == "-" || err != nil || !info.IsDir() {
			add(path) // what is wrong with it shows when it is read
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			report(Problem{File: path, Message: "cannot read the directory: " + plainCause(err).Error()})
			continue
		}
		found := false
		for _, e := range entries {
			if isCheckFile(path, e.Name()) {
				add(filepath.Join(path, e.Name()))
				found = true
			}
		}
		if !found {
			report(Problem{File: path, Message: "the directory has no .yaml or .yml file",
				Hint: "deeper directories are not searched; name them too"})
		}
	}
	return files
}

func isCheckFile(dir, name string) bool {
	ext := filepath.Ext(name)
	if strings.HasPrefix(name, ".") || ext != ".yaml" && ext != ".yml" {
		return false
	}
	info, err := os.Stat(filepath.Join(dir, name))
	return err != nil || !info.IsDir() // a dangling link is reported when it is read
}

// read reads the file, or standard input for "-".
func (l *Loader) read(path string) (*source, *Problem) {
	s := &source{name: path, dir: filepath.Dir(path)}
	var err error
	switch {
	case path != "-":
		s.text, err = readAll(path, maxFile)
		s.open = readers(path)
	case l.Stdin == nil:
		s.name, s.dir, err = l.stdinName(), "", os.ErrClosed
	default:
		s.name, s.dir = l.stdinName(), ""
		s.text, err = readLimited(l.Stdin, maxFile)
	}
	if err != nil {
		p := Problem{File: s.name, Message: "cannot read the file: " + plainCause(err).Error()}
		if large := errTooLarge(0); errors.As(err, &large) {
			p.Hint = "split it into several files; lists of hosts go into files of their own: each: {host: {file: hosts.txt}}"
		}
		return nil, &p
	}
	if p := s.plainText(); p != nil {
		return nil, p
	}
	return s, nil
}

// readers returns which of the group and of all others may read the file, as
// bits of its mode. Windows has no such bits, and a pipe no such readers.
func readers(path string) fs.FileMode {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || runtime.GOOS == "windows" {
		return 0
	}
	return info.Mode().Perm() & 0o044
}

// plainText refuses what cannot be a YAML file, with the place of the first
// byte that shows it.
func (s *source) plainText() *Problem {
	at, message := strings.IndexByte(s.text, 0), "this is a binary file, not YAML"
	if bad := invalidUTF8(s.text); bad >= 0 && at < 0 {
		at, message = bad, "the text is not UTF-8"
	}
	if at < 0 {
		return nil
	}
	before := s.text[:at]
	start := strings.LastIndexByte(before, '\n') + 1
	return &Problem{File: s.name, Line: strings.Count(before, "\n") + 1,
		Column: utf8.RuneCountInString(before[start:]) + 1, Message: message}
}

func invalidUTF8(s string) int {
	if utf8.ValidString(s) {
		return -1
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return i
			}
		}
	}
	return -1
}

// line returns the text of a line, which counts from 1.
func (s *source) line(n int) string {
	if s.lines == nil {
		s.lines = strings.Split(s.text, "\n")
	}
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return strings.TrimSuffix(s.lines[n-1], "\r")
}

// problem makes a Problem at a place, with secrets hidden.
func (s *source) problem(line, column int, message, hint string) Problem {
	return Problem{File: s.name, Line: line, Column: column,
		Message: s.hideIn(message), Hint: s.hideIn(hint), Excerpt: s.excerpt(line, column)}
}

// excerpt shows a line with a caret under the column.
func (s *source) excerpt(line, column int) string {
	text := s.line(line)
	if text == "" || len(text) > maxLine {
		return ""
	}
	runes := []rune(text)
	before := string(runes[:min(max(column-1, 0), len(runes))])
	shown := []rune(printable(s.literalSecrets().hide(line, text)))
	if len(shown) == 0 {
		return ""
	}
	// A secret before the caret changes how far to the right the caret stands.
	at := min(utf8.RuneCountInString(s.literalSecrets().hide(line, before)), len(shown))
	const width = 100
	if len(shown) > width {
		from := max(0, min(at-width/2, len(shown)-width))
		to := min(from+width, len(shown))
		tail := ""
		if to < len(shown) {
			tail = "…"
		}
		if from > 0 {
			shown, at = append([]rune("…"), shown[from:to]...), at-from+1
		} else {
			shown = shown[:to]
		}
		shown = append(shown, []rune(tail)...)
	}
	return fmt.Sprintf("%5d | %s\n      | %s^", line, string(shown), strings.Repeat(" ", at))
}

// place returns where byte offset of a scalar's value stands in the file. When
// quoting, folding or escapes make that unknowable it is the scalar's start.
func (s *source) place(n *yaml.Node, offset int) (line, column int) {
	if n.Kind != yaml.ScalarNode || offset < 0 || offset > len(n.Value) || n.Style&yaml.FoldedStyle != 0 {
		return n.Line, n.Column
	}
	line, rest, at := n.Line, n.Value, offset
	from := n.Column - 1
	if n.Style&yaml.LiteralStyle != 0 {
		start := strings.LastIndexByte(n.Value[:offset], '\n') + 1
		line += 1 + strings.Count(n.Value[:start], "\n")
		rest, _, _ = strings.Cut(n.Value[start:], "\n")
		at, from = offset-start, 0
	}
	text := s.line(line)
	if len(text) > maxLine {
		return n.Line, n.Column
	}
	runes := []rune(text)
	if from > len(runes) || rest == "" {
		return n.Line, n.Column
	}
	found := strings.Index(string(runes[from:]), rest)
	if found < 0 {
		return n.Line, n.Column
	}
	skipped := string(runes[from:])[:found+at]
	return line, from + utf8.RuneCountInString(skipped) + 1
}
