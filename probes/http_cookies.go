package probes

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/sonde-cli/sonde/check"
)

// Limits of cookies, which are those of curl and of browsers.
const (
	maxCookie         = 4096 // bytes of name and value
	maxResponseCookie = 50   // cookies of one response
	maxCookies        = 150  // cookies kept in all
	maxCookieHeader   = 8190 // bytes of the header Cookie
	maxCookieChanges  = 500  // cookies that a journey takes, the same one again included
)

func cookieFacts() []check.Fact {
	return []check.Fact{{
		Name: "cookies", Type: check.Any, Hidden: true,
		Doc: "cookies that the responses set, redirects included, by name: cookies.session.secure; each has value, path, domain, secure, http_only, same_site, and max_age (seconds) and expires where the server gives them",
	}}
}

// cookieJar holds the cookies of one journey. Which goes where is the business of
// net/http/cookiejar (RFC 6265), with the list of public suffixes; what it lacks
// is here: limits, and what has come about cookies without TLS since.
type cookieJar struct {
	jar     *cookiejar.Jar
	held    map[string]string // values by name, domain and path
	changes int               // how often what is held changed
	stored  int               // how many came
}

// store keeps a cookie that a response from u set.
func (j *cookieJar) store(u *url.URL, c *http.Cookie) {
	if j.jar == nil {
		j.jar, _ = cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List}) // never an error
		j.held = make(map[string]string)
	}
	j.stored++
	key := c.Name + "\n" + u.Hostname() + "\n" + c.Domain + "\n" + c.Path
	before, known := j.held[key]
	if !known && len(j.held) >= maxCookies {
		return
	}
	value := c.Value
	if c.MaxAge < 0 || !c.Expires.IsZero() && c.MaxAge == 0 && c.Expires.Before(time.Now()) {
		value = "\n" // removed
	}
	if !known || before != value {
		j.held[key] = value
		j.changes++
	}
	j.jar.SetCookies(cookieURL(u), []*http.Cookie{c})
}

// header returns the cookies that go to u, as far as they fit.
func (j *cookieJar) header(u *url.URL) []*http.Cookie {
	if j == nil || j.jar == nil {
		return nil
	}
	size, cookies := 0, j.jar.Cookies(cookieURL(u))
	return slices.DeleteFunc(cookies, func(c *http.Cookie) bool {
		size += len(c.Name) + len(c.Value) + len("=; ")
		return size > maxCookieHeader
	})
}

// cookieURL is the URL by which cookies of u are kept. This machine is as good as
// TLS, to browsers and to curl.
func cookieURL(u *url.URL) *url.URL {
	secure := *u
	if local := strings.TrimSuffix(u.Hostname(), "."); local == "localhost" || local == "127.0.0.1" || local == "::1" {
		secure.Scheme = "https"
	}
	return &secure
}

// cookieStore is what an exchange does with cookies.
type cookieStore struct {
	jar    *cookieJar
	start  string // what went to the first URL, as curl takes it
	keep   bool
	shared bool // the jar is a journey's, so that even the last response counts
	needs  httpNeeds
	all    map[string]any // the fact
	state  int            // the jar's changes when the last request was made
	states []int          // and when those were that led to redirects
}

func newCookieStore(p *httpProbe, jar *cookieJar) cookieStore {
	s := cookieStore{jar: jar, keep: p.options.Cookies, shared: jar != nil, needs: p.needs}
	if s.keep && s.shared {
		s.start = cookieText(jar.header(p.start))
	}
	return s
}

// learn keeps the cookies of a response. Their values are secrets from then on.
func (s *cookieStore) learn(obs *check.Observation, u *url.URL, head *httpHead) {
	if redirects := head.status >= 300 && head.status < 400; !s.needs.cookies && !s.needs.headers && !(s.keep && (redirects || s.shared)) {
		return
	}
	count := 0
	for _, f := range head.fields {
		if f.name != "set-cookie" || count == maxResponseCookie || len(obs.Secrets) >= maxCookies {
			continue
		}
		count++
		c := parseCookie(f.value)
		if c == nil {
			continue
		}
		if secretCookie(c) {
			obs.Secrets = append(obs.Secrets, c.Value)
		}
		if s.needs.cookies {
			s.note(c)
		}
		if s.keep && acceptable(cookieURL(u), c) {
			if s.jar == nil {
				s.jar = new(cookieJar)
			}
			if s.jar.stored < maxCookieChanges {
				s.jar.store(u, c)
			}
		}
	}
}

// parseCookie reads a Set-Cookie field as browsers do (RFC 6265, section 5.2): a
// value may hold what section 4.1 does not let servers send. It is nil when the
// field is to be ignored.
func parseCookie(line string) *http.Cookie {
	pair, attributes, _ := strings.Cut(line, ";")
	name, value, ok := strings.Cut(pair, "=")
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	if !ok || name == "" || len(name)+len(value) > maxCookie {
		return nil
	}
	c, err := http.ParseSetCookie("name=value;" + attributes)
	if err != nil {
		return nil
	}
	c.Name, c.Value = name, value
	return c
}

// acceptable refuses what only TLS may set, and names that promise what their
// cookie does not keep.
func acceptable(u *url.URL, c *http.Cookie) bool {
	switch {
	case c.Secure && u.Scheme != "https":
		return false
	case strings.HasPrefix(c.Name, "__Secure-"):
		return c.Secure
	case strings.HasPrefix(c.Name, "__Host-"):
		return c.Secure && c.Domain == "" && c.Path == "/"
	}
	return true
}

// secretCookie reports whether a cookie's value is worth hiding. A word such as
// dark or en is not: masking it would blank out half of every output.
func secretCookie(c *http.Cookie) bool {
	return c.MaxAge >= 0 && (len(c.Value) >= 8 || sensitiveHeader(c.Name) || sensitiveParameter(c.Name))
}

// note adds a cookie to the fact.
func (s *cookieStore) note(c *http.Cookie) {
	if s.all == nil {
		s.all = make(map[string]any)
	}
	if _, known := s.all[c.Name]; !known && len(s.all) >= maxCookies {
		return
	}
	same := map[http.SameSite]string{http.SameSiteLaxMode: "lax", http.SameSiteStrictMode: "strict", http.SameSiteNoneMode: "none"}[c.SameSite]
	noted := map[string]any{
		"value": c.Value, "path": c.Path, "domain": strings.TrimPrefix(c.Domain, "."),
		"secure": c.Secure, "http_only": c.HttpOnly, "same_site": same,
	}
	if c.MaxAge != 0 { // -1 stands for 0
		noted["max_age"] = float64(max(c.MaxAge, 0))
	}
	if !c.Expires.IsZero() {
		noted["expires"] = c.Expires.UTC().Format(time.RFC3339)
	}
	s.all[c.Name] = noted
}

// seen is the fact: an empty map when no cookie came.
func (s *cookieStore) seen() map[string]any {
	if s.all == nil {
		return map[string]any{}
	}
	return s.all
}

// send adds the cookies for u to the message. Beside the user's own header Cookie,
// a cookie that the server has set takes the place of one of the same name.
func (s *cookieStore) send(m *httpMessage, u *url.URL) {
	if !s.keep || s.jar == nil {
		return
	}
	s.state = s.jar.changes
	cookies := s.jar.header(u)
	if len(cookies) == 0 {
		return
	}
	text := cookieText(cookies)
	for i, f := range m.fields {
		if strings.EqualFold(f.name, "Cookie") {
			m.fields[i].value = mergeCookies(f.value, text, cookies)
			return
		}
	}
	m.fields = append(m.fields, field{"Cookie", text})
}

// cookieText writes cookies as the header Cookie has them.
func cookieText(cookies []*http.Cookie) string {
	pairs := make([]string, len(cookies))
	for i, c := range cookies {
		pairs[i] = c.Name + "=" + c.Value
	}
	return strings.Join(pairs, "; ")
}

func mergeCookies(own, text string, cookies []*http.Cookie) string {
	var pairs []string
	for pair := range strings.SplitSeq(own, ";") {
		name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if name != "" && !slices.ContainsFunc(cookies, func(c *http.Cookie) bool { return c.Name == name }) {
			pairs = append(pairs, strings.TrimSpace(pair))
		}
	}
	return strings.Join(append(pairs, text), "; ")
}

// loops reports whether the request that is next was made before, with the same
// cookies. Seen are the requests that led to redirects.
func (s *cookieStore) loops(seen []string, next string) bool {
	s.states = append(s.states, s.state)
	now := 0
	if s.keep && s.jar != nil {
		now = s.jar.changes
	}
	for i, request := range seen {
		if request == next && s.states[i] == now {
			return true
		}
	}
	return false
}

// curl returns the options that make curl keep cookies, where that matters.
func (s *cookieStore) curl() []string {
	if !s.keep || s.jar == nil || s.jar.stored == 0 {
		return nil
	}
	return []string{"-b", s.start}
}
