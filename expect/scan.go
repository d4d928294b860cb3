package expect

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr/file"

	"github.com/sonde-cli/sonde/check"
)

// class is a status class: 2 stands for 2xx, all of 200 to 299.
type class int

// source is an expression's text with what our own lexing found in it.
//
// The parser knows no durations, sizes and status classes. Each is replaced by
// a name that is as long, so that every position stays right, and the resolver
// puts the value in its place.
type source struct {
	text      string
	rewritten string
	literals  map[int]any // by byte offset: time.Duration, check.Size or class
	brackets  []bracket
	runes     []int // byte offset of each rune, nil when all are one byte
}

type bracket struct {
	offset int
	open   bool
}

// scan finds the literals and brackets of an expression.
func scan(text string) (*source, *Error) {
	if len(text) > maxText {
		return nil, errorf(maxText, "the expression is longer than %d bytes", maxText)
	}
	s := &source{text: text, literals: make(map[int]any)}
	if strings.TrimSpace(text) == "" {
		return nil, errorf(0, "the expression is empty").hint("compare a fact with what you want, such as latency < 800ms")
	}
	var out strings.Builder
	depth := 0
	for i := 0; i < len(text); {
		end := i + 1
		switch c := text[i]; {
		case c == '\'' || c == '"' || c == '`':
			end = stringEnd(text, i)
		case c >= '0' && c <= '9':
			end = numberEnd(text, i)
			v, err := literal(text[i:end], i)
			if err != nil {
				return nil, err
			}
			if v != nil {
				s.literals[i] = v
				out.WriteString(strings.Repeat("_", utf8.RuneCountInString(text[i:end])))
				i = end
				continue
			}
		case wordStart(text[i:]):
			end = wordEnd(text, i)
		case strings.IndexByte("([{", c) >= 0:
			s.brackets = append(s.brackets, bracket{i, true})
			if depth++; depth > maxNesting {
				return nil, errorf(i, "brackets are nested deeper than %d", maxNesting)
			}
		case strings.IndexByte(")]}", c) >= 0:
			s.brackets = append(s.brackets, bracket{i, false})
			depth--
		}
		out.WriteString(text[i:end])
		i = end
	}
	s.rewritten = out.String()
	s.indexRunes()
	return s, nil
}

func (s *source) indexRunes() {
	if utf8.RuneCountInString(s.text) == len(s.text) {
		return
	}
	for i := range s.text {
		s.runes = append(s.runes, i)
	}
	s.runes = append(s.runes, len(s.text))
}

// offset turns the parser's position, counted in runes, into bytes.
func (s *source) offset(rune int) int {
	if s.runes == nil {
		return min(rune, len(s.text))
	}
	return s.runes[min(rune, len(s.runes)-1)]
}

// syntaxError words an error of the parser.
func (s *source) syntaxError(err error) *Error {
	var fe *file.Error
	if !errors.As(err, &fe) {
		return errorf(0, "%s", err)
	}
	at := s.offset(fe.From)
	rest := s.text[min(at, len(s.text)):]
	switch {
	case assigns(s.text, at):
		return errorf(at, "'=' does not compare").hint("write ==")
	case strings.Contains(fe.Message, "unexpected token EOF"), strings.Contains(fe.Message, "unexpected end"):
		return errorf(len(s.text), "the expression ends too early")
	case strings.Contains(fe.Message, "(??) cannot be mixed"):
		return errorf(at, "?? needs parentheses beside another operator").hint("write (a ?? b) == c")
	case strings.HasPrefix(fe.Message, "unexpected token"):
		word := rest[:max(wordEnd(rest, 0), 1)]
		if word == "" {
			word = rest
		}
		return errorf(at, "%q is not expected here", word)
	}
	return errorf(at, "%s", lowerFirst(fe.Message))
}

// assigns reports whether a '=' that is no part of a longer operator stands at
// the offset.
func assigns(text string, at int) bool {
	return strings.HasPrefix(text[min(at, len(text)):], "=") && !strings.HasPrefix(text[at:], "==") &&
		(at == 0 || strings.IndexByte("=!<>", text[at-1]) < 0)
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

func stringEnd(text string, start int) int {
	quote := text[start]
	for i := start + 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote != '`':
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}

// numberEnd returns the end of what begins with a digit. A dot belongs to it
// only before another digit, so that 1..5 stays a range.
func numberEnd(text string, start int) int {
	i := start
	for i < len(text) {
		r, size := utf8.DecodeRuneInString(text[i:])
		dot := r == '.' && i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9'
		if !dot && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		i += size
	}
	return i
}

func wordStart(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return r == '_' || r == '$' || unicode.IsLetter(r)
}

func wordEnd(text string, start int) int {
	i := start
	for i < len(text) {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		i += size
	}
	return i
}

// literal returns the value of a word that begins with a digit: a
// time.Duration, a check.Size, a class, or nil for a plain number, which the
// parser knows.
func literal(word string, offset int) (any, *Error) {
	if _, err := strconv.ParseFloat(word, 64); err == nil {
		return nil, nil
	}
	if len(word) == 3 && strings.EqualFold(word[1:], "xx") {
		if word[0] < '1' || word[0] > '5' {
			return nil, errorf(offset, "%q is not a status class", word).hint("the classes are 1xx to 5xx")
		}
		return class(word[0] - '0'), nil
	}
	if d, err := check.ParseDuration(word); err == nil {
		return d, nil
	}
	if size, err := check.ParseSize(word); err == nil {
		return size, nil
	}
	if _, err := strconv.ParseInt(word, 0, 64); err == nil {
		return nil, nil
	}
	return nil, errorf(offset, "%q is not a number, duration, size or status class", word).
		hint("write it like 200, 300ms, 14d, 10MB or 2xx")
}
