package probes

import (
	"crypto/md5" // most servers have nothing else
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// maxNonce is how long a server's nonce and what else it wants back may be, for
// it goes into a header of ours.
const maxNonce = 4 << 10

// digestLogin is who answers a digest challenge.
type digestLogin struct{ user, password string }

// digest validates the user of digest authentication.
func (b *httpBuilder) digest(a httpAuth) error {
	if strings.ContainsFunc(a.Username, isControl) || strings.Contains(a.Username, ":") {
		return check.OptionErrorf("auth.username", "holds a colon or a control character, which digest authentication cannot express")
	}
	if b.options.Connection == "reuse" {
		return check.OptionErrorf("connection", "reuse goes with no digest, which sends each request twice over connections of their own")
	}
	b.probe.digest = &digestLogin{a.Username, a.Password}
	return b.noAuthorization()
}

// digestAnswer answers a digest challenge.
type digestAnswer struct {
	value     string // of the header Authorization
	challenge *challenge
	cnonce    string // our own nonce
	again     bool   // another was refused for its nonce
}

// answer returns the request once more with the answer to the response's digest
// challenge, nil when the response is not to be answered. A digest that was
// refused is made anew only when its nonce alone was the reason, and once (RFC 7616,
// section 3.3).
func (r *httpRun) answer(request *httpRequest, head *httpHead) *httpRequest {
	if r.p.digest == nil || head.status != 401 || request.strange {
		return nil
	}
	challenge, err := bestChallenge(head)
	refused := request.digest
	if refused != nil {
		r.stale = err == nil && strings.EqualFold(challenge.params["stale"], "true")
		if !r.stale || r.repeats || refused.again || challenge.params["nonce"] == refused.challenge.params["nonce"] {
			return nil
		}
	}
	if err == nil {
		again, cnonce := *request, newNonce()
		var value string
		value, err = challenge.answer(r.p.digest, request.method, request.url.RequestURI(), cnonce, 1)
		if err == nil {
			again.digest = &digestAnswer{value, challenge, cnonce, refused != nil}
			r.j.obs.Set("auth.challenged", true)
			return &again
		}
	}
	r.j.obs.Explain("status", check.HTTPStatus, fmt.Sprintf("status 401, and its challenge cannot be answered with a digest: %v", err))
	return nil
}

// recount makes the message one that answers the same challenge a second time: a
// server may take each count of its nonce once (RFC 7616, section 3.4).
func (r *httpRun) recount(m *httpMessage, request *httpRequest) {
	if request.digest == nil {
		return
	}
	value, err := request.digest.challenge.answer(r.p.digest, request.method, request.url.RequestURI(), request.digest.cnonce, 2)
	for i := range m.fields {
		if f := &m.fields[i]; err == nil && f.name == "Authorization" {
			f.value = value
		}
	}
}

// newNonce returns a nonce of our own (the cnonce).
func newNonce() string { return rand.Text() }

// challenge is what a server wants to have answered: an authentication scheme
// with its parameters.
type challenge struct {
	scheme string
	params map[string]string // names in lower case
}

// digestAlgorithms are those of RFC 7616, the strongest first.
var digestAlgorithms = []struct {
	name string
	make func() hash.Hash
}{
	{"SHA-512-256", sha512.New512_256}, {"SHA-256", sha256.New}, {"MD5", md5.New},
}

// algorithm returns the hash that the challenge wants, its rank, and whether it
// is over a session.
func (c *challenge) algorithm() (make func() hash.Hash, rank int, session, ok bool) {
	name, given := c.params["algorithm"]
	if !given {
		name = "MD5"
	}
	name, session = strings.CutSuffix(strings.ToUpper(name), "-SESS")
	for i, a := range digestAlgorithms {
		if a.name == name {
			return a.make, i, session, true
		}
	}
	return nil, 0, false, false
}

// bestChallenge returns the digest challenge with the strongest algorithm that
// can be answered.
func bestChallenge(head *httpHead) (*challenge, error) {
	var best *challenge
	var why error
	lowest := len(digestAlgorithms)
	for _, f := range head.fields {
		if f.name != "www-authenticate" {
			continue
		}
		all, malformed := parseChallenges(f.value)
		for i := range all {
			c := &all[i]
			if !strings.EqualFold(c.scheme, "Digest") {
				continue
			}
			if err := c.usable(); err != nil {
				why = err
			} else if _, rank, _, _ := c.algorithm(); rank < lowest {
				best, lowest = c, rank
			}
		}
		if malformed != nil {
			why = malformed
		}
	}
	switch {
	case best != nil:
		return best, nil
	case why != nil:
		return nil, why
	default:
		return nil, errors.New("there is none of the scheme Digest")
	}
}

// usable tells why the challenge cannot be answered.
func (c *challenge) usable() error {
	if _, _, _, ok := c.algorithm(); !ok {
		return fmt.Errorf("its algorithm %s is not known", excerpt([]byte(c.params["algorithm"])))
	}
	for _, name := range []string{"realm", "nonce"} {
		if _, ok := c.params[name]; !ok {
			return fmt.Errorf("it has no %s", name)
		}
	}
	for name, value := range c.params {
		if len(value) > maxNonce {
			return fmt.Errorf("its %s is longer than %s", excerpt([]byte(name)), check.Size(maxNonce))
		}
		if strings.ContainsFunc(value, isControl) {
			return fmt.Errorf("its %s holds control characters", excerpt([]byte(name)))
		}
	}
	if qop, given := c.params["qop"]; given && !slices.Contains(tokens(qop), "auth") {
		return fmt.Errorf("its qop %s has no auth", excerpt([]byte(qop)))
	}
	return nil
}

// tokens splits a list at its commas.
func tokens(list string) []string {
	var all []string
	for item := range strings.SplitSeq(list, ",") {
		all = append(all, strings.ToLower(strings.TrimSpace(item)))
	}
	return all
}

// answer makes the value of the header Authorization (RFC 7616, section 3.4); nth
// counts the requests that answer the challenge with our nonce.
func (c *challenge) answer(login *digestLogin, method, uri, cnonce string, nth uint32) (string, error) {
	newHash, _, session, ok := c.algorithm()
	if !ok {
		return "", errors.New("its algorithm is not known")
	}
	digest := func(parts ...string) string {
		h := newHash()
		_, _ = h.Write([]byte(strings.Join(parts, ":"))) // never fails
		return hex.EncodeToString(h.Sum(nil))
	}
	count := fmt.Sprintf("%08x", nth)
	realm, nonce := c.params["realm"], c.params["nonce"]
	_, modern := c.params["qop"]
	user := digest(login.user, realm, login.password)
	if session {
		user = digest(user, nonce, cnonce)
	}
	what := digest(method, uri)
	response := digest(user, nonce, what) // RFC 2069, of servers without qop
	if modern {
		response = digest(user, nonce, count, cnonce, "auth", what)
	}
	name := login.user
	hashed := strings.EqualFold(c.params["userhash"], "true")
	if hashed {
		name = digest(login.user, realm)
	}
	out := fmt.Sprintf(`Digest username=%s, realm=%s, nonce=%s, uri=%s, response="%s"`, quote(name), quote(realm), quote(nonce), quote(uri), response)
	if algorithm, given := c.params["algorithm"]; given {
		out += ", algorithm=" + algorithm
	}
	if opaque, given := c.params["opaque"]; given {
		out += ", opaque=" + quote(opaque)
	}
	if modern {
		out += ", qop=auth, nc=" + count
	}
	if modern || session {
		out += ", cnonce=" + quote(cnonce)
	}
	if hashed {
		out += ", userhash=true"
	}
	return out, nil
}

// quote makes a quoted-string (RFC 9110, section 5.6.4).
func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

// parseChallenges reads a header WWW-Authenticate (RFC 9110, section 11.6.1):
// schemes, each with parameters or one token of base64 behind it. A comma parts
// both schemes and parameters. With an error come the challenges before it.
func parseChallenges(text string) ([]challenge, error) {
	var all []challenge
	p := &fieldParser{rest: text}
	for p.skip(" \t,"); p.rest != ""; p.skip(" \t,") {
		name := p.token()
		if name == "" {
			return all, fmt.Errorf("it is malformed at %s", excerpt([]byte(p.rest)))
		}
		spaced := p.skip(" \t")
		if !strings.HasPrefix(p.rest, "=") { // a scheme
			all = append(all, challenge{name, map[string]string{}})
			if spaced {
				p.token68()
			}
			continue
		}
		p.rest = p.rest[1:]
		p.skip(" \t")
		value, ok := p.value()
		p.skip(" \t")
		if len(all) == 0 || !ok || p.rest != "" && p.rest[0] != ',' {
			return all[:max(0, len(all)-1)], fmt.Errorf("it is malformed at the parameter %s", excerpt([]byte(name)))
		}
		params := all[len(all)-1].params
		name = strings.ToLower(name)
		if _, twice := params[name]; twice {
			return all[:len(all)-1], fmt.Errorf("it has the parameter %s twice", excerpt([]byte(name)))
		}
		params[name] = value
	}
	return all, nil
}

// fieldParser reads a header field's value from its begin on.
type fieldParser struct{ rest string }

// skip leaves the characters out and reports whether there were any.
func (p *fieldParser) skip(chars string) bool {
	before := len(p.rest)
	p.rest = strings.TrimLeft(p.rest, chars)
	return len(p.rest) < before
}

// token reads a token, "" when there is none.
func (p *fieldParser) token() string {
	n := 0
	for n < len(p.rest) && isToken(p.rest[n:n+1]) {
		n++
	}
	token := p.rest[:n]
	p.rest = p.rest[n:]
	return token
}

// token68 leaves out the credentials-like token that can follow a scheme. It is
// one if nothing but a comma, or nothing at all, follows.
func (p *fieldParser) token68() {
	rest := strings.TrimLeft(p.rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/")
	rest = strings.TrimLeft(rest, "=")
	if trimmed := strings.TrimLeft(rest, " \t"); len(rest) < len(p.rest) && (trimmed == "" || trimmed[0] == ',') {
		p.rest = rest
	}
}

// value reads a token or a quoted string.
func (p *fieldParser) value() (string, bool) {
	if !strings.HasPrefix(p.rest, `"`) {
		token := p.token()
		return token, token != ""
	}
	var out strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return out.String(), true
		case c == '\\' && i+1 < len(p.rest):
			i++
			out.WriteByte(p.rest[i])
		default:
			out.WriteByte(c)
		}
	}
	return "", false
}
