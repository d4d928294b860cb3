package config

import (
	"math"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// minLiteral is the shortest literal secret that is hidden in excerpts and
// messages. A shorter one is hidden on its own line only.
const minLiteral = 4

// secretWords are parts of keys whose values are not shown in excerpts.
var secretWords = [...]string{"authorization", "cookie", "password", "passwd", "secret", "token", "api-key", "api_key", "apikey"}

// IsSecretKey reports whether the name of a key, a header or a parameter says that
// its value is secret.
func IsSecretKey(key string) bool {
	key = strings.ToLower(key)
	if key == "token_url" || key == "token_file" { // where a token is to be had
		return false
	}
	for _, w := range secretWords {
		if strings.Contains(key, w) {
			return true
		}
	}
	return false
}

// secrets are the secrets that stand in a file itself: the values of secret
// keys and passwords in URLs.
type secrets struct {
	mask  *check.Mask
	first *yaml.Node // the first of them, nil for none
	// ranges are lines where a secret is written in a way that the mask does
	// not find: with escapes, over several lines, or very short.
	ranges []lineRange
}

type lineRange struct{ from, to int }

// hide returns a line as it may be shown, "" when nothing of it may.
func (s *secrets) hide(n int, text string) string {
	if s == nil { // not parsed
		return hideLine(text)
	}
	for _, r := range s.ranges {
		if n > r.from && n <= r.to {
			return ""
		}
		if n == r.from {
			text = hideLine(text)
		}
	}
	return s.mask.String(text)
}

// literalSecrets finds the file's secrets. It is nil while the file has not
// been parsed.
func (s *source) literalSecrets() *secrets {
	if s.secrets == nil && s.root != nil {
		f := secretFinder{src: s, seen: make(map[*yaml.Node]bool)}
		f.walk(s.root, false)
		f.close(math.MaxInt)
		s.secrets = &secrets{mask: check.NewMask(f.found...), first: f.first, ranges: f.ranges}
	}
	return s.secrets
}

// hideIn hides the file's secrets in a message.
func (s *source) hideIn(message string) string {
	if found := s.literalSecrets(); found != nil {
		return found.mask.String(message)
	}
	return message
}

type secretFinder struct {
	src    *source
	seen   map[*yaml.Node]bool // anchored nodes
	found  []string
	first  *yaml.Node
	ranges []lineRange
	open   int // the line where a range begins, 0 for none
}

func (f *secretFinder) walk(n *yaml.Node, hidden bool) {
	if n.Anchor != "" {
		if f.seen[n] {
			return
		}
		f.seen[n] = true
	}
	f.close(n.Line)
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			f.close(n.Content[i].Line)
			key := n.Content[i].Value
			if value := n.Content[i+1]; !hidden && f.src.shownMaps[key] && value.Kind == yaml.MappingNode && value.Anchor == "" {
				for _, item := range pairs(value) {
					f.walk(item, false)
				}
				continue
			}
			f.walk(n.Content[i+1], hidden || f.src.secretKeys[key] || IsSecretKey(key))
		}
	case yaml.ScalarNode:
		f.scalar(n, hidden)
	default:
		for _, c := range n.Content {
			f.walk(c, hidden)
		}
	}
}

// close ends an open range at the line of the node that follows.
func (f *secretFinder) close(line int) {
	if f.open > 0 && line >= f.open {
		f.ranges = append(f.ranges, lineRange{f.open, line})
		f.open = 0
	}
}

func (f *secretFinder) scalar(n *yaml.Node, hidden bool) {
	add := func(text string) {
		if text == "" || text == "true" || text == "false" || text == "null" {
			return
		}
		if f.first == nil {
			f.first = n
		}
		if len(text) >= minLiteral {
			f.found = append(f.found, text)
		}
		if len(text) < minLiteral || !f.verbatim(n) {
			f.open = n.Line
		}
	}
	if hidden {
		secretText(n.Value, add)
	}
	if password := urlPassword(n.Value); password != "" {
		secretText(password, add)
	}
}

// verbatim reports whether the value stands in the file as it is, so that the
// mask finds it. Very long lines are never shown.
func (f *secretFinder) verbatim(n *yaml.Node) bool {
	line := f.src.line(n.Line)
	return n.Style&yaml.LiteralStyle != 0 || len(line) > maxLine || strings.Contains(line, n.Value)
}

// secretText passes on what is secret of a value: not the scheme of an
// Authorization header and not the names of variables.
func secretText(value string, found func(string)) {
	t, err := parseTemplate(value)
	if err != nil {
		found(value)
		return
	}
	for i, p := range t {
		if p.ref != nil && p.ref.op != ":-" {
			continue // the name of a variable or a file
		}
		if p.ref != nil {
			for _, inner := range p.ref.arg {
				found(strings.TrimSpace(inner.literal))
			}
			continue
		}
		text := p.literal
		if i+1 < len(t) {
			text = withoutName(text)
		}
		if text = credential(text); text != "" {
			found(text)
		}
	}
}

// withoutName takes off the name at the end of a text, such as that of a cookie
// whose value follows.
func withoutName(text string) string {
	pairs, name := text[:strings.LastIndexByte(text, ';')+1], text[strings.LastIndexByte(text, ';')+1:]
	if name, ok := strings.CutSuffix(strings.TrimSpace(name), "="); ok && !strings.ContainsAny(name, "= ") {
		return strings.TrimSuffix(pairs, ";")
	}
	return text
}

// credential returns what is secret of the value of an Authorization header or
// the like: not the scheme in front.
func credential(value string) string {
	text := strings.TrimSpace(value)
	if scheme, rest, _ := strings.Cut(text, " "); isAuthScheme(scheme) {
		return strings.TrimSpace(rest)
	}
	return text
}

func isAuthScheme(word string) bool {
	switch strings.ToLower(word) {
	case "bearer", "basic", "digest", "token", "negotiate":
		return true
	}
	return false
}

// hideLine hides secrets that a line shows by itself, for files that could not
// be parsed: what follows a secret key, and passwords in URLs.
func hideLine(line string) string {
	if at := strings.Index(line, "://"); at >= 0 {
		if password := urlPassword(line[at:]); password != "" && !strings.HasPrefix(password, "${") {
			line = strings.ReplaceAll(line, ":"+password+"@", ":"+check.Masked+"@")
		}
	}
	for at := 0; at < len(line); {
		colon := strings.IndexByte(line[at:], ':')
		if colon < 0 {
			return line
		}
		colon += at
		key := line[at:colon]
		key = key[strings.LastIndexAny(key, "{,")+1:]
		value := strings.TrimSpace(line[colon+1:])
		if IsSecretKey(key) && value != "" && !strings.ContainsAny(value[:1], "{[&*|>") && !strings.Contains(value, "${") {
			return line[:colon+1] + " " + check.Masked
		}
		at = colon + 1
	}
	return line
}

// urlPassword returns the password in the userinfo of a URL, or "".
func urlPassword(text string) string {
	_, rest, ok := strings.Cut(text, "://")
	if !ok {
		return ""
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?# \t\"'"); end >= 0 {
		authority = rest[:end]
	}
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return ""
	}
	_, password, _ := strings.Cut(authority[:at], ":")
	return password
}

// typedPassword is as urlPassword for a target as somebody types it, which is shown
// also when it is no URL: a password with characters that would have to be escaped
// counts up to the last @.
func typedPassword(target string) string {
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return ""
	}
	authority := rest[:strings.IndexAny(rest+"/", "/?#")]
	_, port, colon := strings.Cut(authority, ":")
	if colon && !strings.Contains(authority, "@") && authority[0] != '[' && strings.Trim(port, "0123456789") != "" {
		authority = rest
	}
	_, password, _ := strings.Cut(authority[:max(0, strings.LastIndexByte(authority, '@'))], ":")
	return password
}

// hidePassword replaces the password of a target.
func hidePassword(text string) string {
	password := typedPassword(text)
	if password == "" {
		return text
	}
	return strings.Replace(text, ":"+password+"@", ":"+check.Masked+"@", 1)
}
