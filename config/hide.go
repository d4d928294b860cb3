package config

import (
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// minLiteral is the shortest literal secret that is hidden in excerpts and
// messages. A shorter one is hidden on its own line only.
const minLiteral = 4

// secretWords are parts of keys whose values are not shown in excerpts.
var secretWords = [...]string{"authorization", "cookie", "password", "passwd", "secret", "token", "api-key", "api_key", "apikey"}

func isSecretKey(key string) bool {
	key = strings.ToLower(key)
	for _, w := range secretWords {
		if strings.Contains(key, w) {
			return true
		}
	}
	return false
}

// literalSecrets returns the mask of the secrets that stand in the file itself:
// the values of secret keys and passwords in URLs. It is nil while the file has
// not been parsed.
func (s *source) literalSecrets() *check.Mask {
	if !s.masked && s.root != nil {
		s.masked = true
		var found []string
		seen := make(map[*yaml.Node]bool)
		s.collect(s.root, false, seen, func(text string) {
			if len(text) >= minLiteral && text != "true" && text != "false" && text != "null" {
				found = append(found, text)
			}
		})
		s.mask = check.NewMask(found...)
	}
	return s.mask
}

func (s *source) collect(n *yaml.Node, hidden bool, seen map[*yaml.Node]bool, found func(string)) {
	if n.Anchor != "" && seen[n] {
		return
	}
	seen[n] = n.Anchor != ""
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			s.collect(n.Content[i+1], hidden || s.secretKeys[key] || isSecretKey(key), seen, found)
		}
	case yaml.ScalarNode:
		if hidden {
			secretText(n.Value, found)
		}
		if password := urlPassword(n.Value); password != "" {
			secretText(password, found)
		}
	default:
		for _, c := range n.Content {
			s.collect(c, hidden, seen, found)
		}
	}
}

// secretText passes on what is secret of a value: not the scheme of an
// Authorization header and not the names of variables.
func secretText(value string, found func(string)) {
	t, err := parseTemplate(value)
	if err != nil {
		found(value)
		return
	}
	for _, p := range t {
		if p.ref != nil && p.ref.op != ":-" {
			continue // the name of a variable or a file
		}
		if p.ref != nil {
			for _, inner := range p.ref.arg {
				found(strings.TrimSpace(inner.literal))
			}
			continue
		}
		if text := credential(p.literal); text != "" {
			found(text)
		}
	}
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
		if isSecretKey(key) && value != "" && !strings.ContainsAny(value[:1], "{[&*|>") && !strings.Contains(value, "${") {
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

// hidePassword replaces the password of a URL.
func hidePassword(text string) string {
	password := urlPassword(text)
	if password == "" {
		return text
	}
	return strings.Replace(text, ":"+password+"@", ":"+check.Masked+"@", 1)
}
