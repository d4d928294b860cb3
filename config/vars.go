package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// maxVarFile is the most that ${file:path} reads, in bytes.
const maxVarFile = 1 << 20

// maxNesting is how deep ${A:-${B:-...}} may go.
const maxNesting = 16

// template is a scalar's text with its references taken apart.
type template []part

// part is literal text or, with ref set, a reference.
type part struct {
	literal string
	ref     *ref
	offset  int // of the part in the scalar, in bytes
}

// ref is one ${...}.
type ref struct {
	name string // of the variable; each or each.key for a value of the check's each
	file bool   // ${file:arg}
	// deferred marks a name such as steps.login.status, for a run to expand.
	deferred bool
	op       string // ":-", ":?" or none
	arg      template
}

const refHint = "references are ${NAME}, ${NAME:-default}, ${NAME:?message}, ${file:path} and ${each.key}; write $${ for a literal ${"

// dynamic reports whether the template refers to anything.
func (t template) dynamic() bool { return t.references() > 0 }

func (t template) references() int {
	n := 0
	for _, p := range t {
		if p.ref != nil {
			n++
		}
	}
	return n
}

// varError is something wrong with a reference, at an offset into the scalar.
type varError struct {
	offset        int
	message, hint string
}

func (e *varError) Error() string { return e.message }

// parseTemplate takes a scalar apart. $${ stands for a literal ${; any other
// dollar sign stands for itself.
func parseTemplate(text string) (template, *varError) {
	p := templateParser{text: text}
	return p.parse(false, 0)
}

type templateParser struct {
	text string
	at   int
}

// parse reads to the end of the text or, inside a reference, to its brace.
func (p *templateParser) parse(inside bool, depth int) (template, *varError) {
	var t template
	var literal strings.Builder
	start := p.at
	flush := func() {
		if literal.Len() > 0 {
			t = append(t, part{literal: literal.String(), offset: start})
			literal.Reset()
		}
	}
	for p.at < len(p.text) {
		rest := p.text[p.at:]
		switch {
		case strings.HasPrefix(rest, "$${"):
			literal.WriteString("${")
			p.at += 3
		case strings.HasPrefix(rest, "${"):
			flush()
			offset := p.at
			r, err := p.ref(depth + 1)
			if err != nil {
				return nil, err
			}
			t = append(t, part{ref: r, offset: offset})
			start = p.at
		case inside && rest[0] == '}':
			flush()
			return t, nil
		default:
			literal.WriteByte(rest[0])
			p.at++
		}
	}
	flush()
	return t, nil
}

// ref reads one reference, from its dollar sign to its closing brace.
func (p *templateParser) ref(depth int) (*ref, *varError) {
	open := p.at
	bad := func(message string) *varError {
		return &varError{offset: open, message: message, hint: refHint}
	}
	if depth > maxNesting {
		return nil, bad("references are nested too deep")
	}
	p.at += len("${")
	end := p.at
	for end < len(p.text) && isNameByte(p.text[end]) {
		end++
	}
	r := &ref{name: p.text[p.at:end]}
	if r.deferred = isDeferredName(r.name); r.deferred && depth == 1 { // what is behind the name is for the kind to read
		if i := strings.IndexByte(p.text[end:], '}'); i >= 0 {
			r.name, p.at = p.text[p.at:end+i], end+i+1
			return r, nil
		}
	}
	p.at = end
	rest := p.text[end:]
	switch {
	case strings.HasPrefix(rest, "}"):
	case r.name == "file" && strings.HasPrefix(rest, ":"):
		r.file = true
		p.at++
	case strings.HasPrefix(rest, ":-"), strings.HasPrefix(rest, ":?"):
		r.op = rest[:2]
		p.at += 2
	case strings.IndexByte(rest, '}') < 0:
		return nil, bad("the reference has no closing brace")
	default:
		return nil, bad("this is no reference that sonde knows")
	}
	arg, err := p.parse(true, depth)
	if err != nil {
		return nil, err
	}
	if p.at >= len(p.text) {
		return nil, bad("the reference has no closing brace")
	}
	p.at++
	r.arg = arg
	if each := r.name == "each" || strings.HasPrefix(r.name, "each."); !each && !r.file && !validName(r.name) {
		return nil, bad(fmt.Sprintf("%q is no name of a variable", r.name))
	}
	return r, nil
}

func isNameByte(c byte) bool {
	return c == '_' || c == '.' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isDeferredName reports whether a name is none of a variable but may be one of
// something that is only known in a run.
func isDeferredName(name string) bool {
	first, _, dotted := strings.Cut(name, ".")
	return dotted && first != "each" && validName(first)
}

func validName(s string) bool {
	return s != "" && (s[0] < '0' || s[0] > '9') && !strings.ContainsAny(s, ".-")
}

// scope is where references get their values.
type scope struct {
	lookup func(string) (string, bool)
	dir    string // what ${file:path} is relative to
	defers string // begin of the names that a run expands; empty for none
	each   *each
	values []eachValue       // of the current instance
	files  map[string]string // contents read before, by path
}

// span marks the bytes of an expanded text that came from the environment or
// a file.
type span struct{ start, end int }

// expansion is an expanded template.
type expansion struct {
	text  string
	spans []span
}

// expand puts the values in. What a default gives is no secret and so leaves
// no span.
func (s *scope) expand(t template) (expansion, []*varError) {
	if len(t) == 0 {
		return expansion{}, nil
	}
	if len(t) == 1 && t[0].ref == nil {
		return expansion{text: t[0].literal}, nil
	}
	var b strings.Builder
	var spans []span
	var errs []*varError
	for _, p := range t {
		if p.ref == nil {
			b.WriteString(p.literal)
			continue
		}
		e, failed := s.resolve(p)
		errs = append(errs, failed...)
		for _, sp := range e.spans {
			spans = append(spans, span{b.Len() + sp.start, b.Len() + sp.end})
		}
		b.WriteString(e.text)
	}
	return expansion{b.String(), spans}, errs
}

// masked returns the text without what came from the environment or a file,
// for messages.
func (e expansion) masked() string {
	var b strings.Builder
	at := 0
	for _, s := range e.spans {
		b.WriteString(e.text[at:s.start] + check.Masked)
		at = s.end
	}
	return b.String() + e.text[at:]
}

func secret(text string) expansion { return expansion{text, []span{{0, len(text)}}} }

// resolve finds the value of one reference.
func (s *scope) resolve(p part) (expansion, []*varError) {
	r := p.ref
	if r.file {
		return s.file(p)
	}
	if r.deferred {
		if s.defers == "" || !strings.HasPrefix(r.name, s.defers) {
			return expansion{}, []*varError{{offset: p.offset, message: fmt.Sprintf("%q is no name of a variable", r.name), hint: refHint}}
		}
		return expansion{text: check.Defer(r.name)}, nil
	}
	var value expansion
	var known bool
	if key, isEach := strings.CutPrefix(r.name, "each"); isEach && (key == "" || key[0] == '.') {
		v, err := s.eachValue(strings.TrimPrefix(key, "."), p.offset)
		if err != nil {
			return expansion{}, []*varError{err}
		}
		value, known = v.expansion(), true
	} else if s.lookup != nil {
		text, ok := s.lookup(r.name)
		value, known = secret(text), ok
	}
	switch {
	case known && (value.text != "" || r.op == ""):
		return value, nil
	case r.op == ":-":
		return s.expand(r.arg)
	case r.op == ":?":
		why, errs := s.expand(r.arg)
		if why.text == "" {
			why = expansion{text: "it is required"}
		}
		return expansion{}, append(errs, &varError{offset: p.offset,
			message: fmt.Sprintf("the variable %s is not set: %s", r.name, why.masked())})
	default:
		return expansion{}, []*varError{{offset: p.offset, message: fmt.Sprintf("the variable %s is not set", r.name),
			hint: fmt.Sprintf("set it, or give a default: ${%s:-default}", r.name)}}
	}
}

func (s *scope) eachValue(key string, offset int) (eachValue, *varError) {
	if s.each == nil {
		return eachValue{}, &varError{offset: offset, message: "the check has no each",
			hint: "add each: {" + orElse(key, "host") + ": [...]} to the check"}
	}
	for i, name := range s.each.keys {
		if name == key {
			return s.values[i], nil
		}
	}
	if key == "" || s.each.keys[0] == "" {
		return eachValue{}, &varError{offset: offset, message: "the check's each has no such value", hint: s.each.usage()}
	}
	return eachValue{}, &varError{offset: offset, message: fmt.Sprintf("the check's each has no key %q", key),
		hint: suggest(key, s.each.keys)}
}

func orElse(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// file reads a ${file:path}. A newline at its end is an editor's, not the
// value's.
func (s *scope) file(p part) (expansion, []*varError) {
	path, errs := s.expand(p.ref.arg)
	if len(errs) > 0 {
		return expansion{}, errs
	}
	name := within(s.dir, path.text)
	text, known := s.files[name]
	if !known {
		var err error
		if text, err = readAll(name, maxVarFile); err != nil {
			return expansion{}, []*varError{{offset: p.offset, message: fmt.Sprintf("cannot read the file %q: %v", path.masked(), plainCause(err))}}
		}
		text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
		if len(s.files) < 256 {
			s.files[name] = text
		}
	}
	return secret(text), nil
}

// within makes a relative path relative to dir.
func within(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// errTooLarge tells that a file is larger than the limit that applies to it.
type errTooLarge int64

func (e errTooLarge) Error() string { return fmt.Sprintf("it is larger than %d MiB", int64(e)>>20) }

// readAll reads a whole file of at most limit bytes.
func readAll(name string, limit int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > limit {
		return "", errTooLarge(limit)
	}
	return readLimited(f, limit)
}

func readLimited(r io.Reader, limit int64) (string, error) {
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = errTooLarge(limit)
	}
	if err != nil {
		return "", err
	}
	return b.String(), nil
}

// plainCause drops the "open path:" that os puts before the cause.
func plainCause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
