package probes

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// httpProbe is a validated http check. It is never changed once built.
type httpProbe struct {
	*httpPlan
	start  *url.URL // without user and password
	target string   // start as text
	keeper *keeper  // of the connection between runs; nil: every one is fresh
}

// httpPlan is how to request, whatever the URL is. Checks share it.
type httpPlan struct {
	method     string
	headers    []field // the user's, names as written
	body       []byte
	agent      string
	accept     string // Accept-Encoding; empty: none is sent
	redirects  int
	version    string
	maxBody    int64
	digest     *digestLogin // nil: no digest authentication
	tokenFile  string       // of the bearer token; empty: none
	tokens     *tokenSource // of OAuth 2.0; nil: none
	needs      httpNeeds
	proxy      chooser // nil: never
	tunnels    bool    // through an HTTP proxy too, whatever the URL
	insecure   bool
	options    httpOptions // for the reproduce line
	home, away httpPath    // for the URL's own host, and for others
}

// httpPath is how to get to a host. What is meant for the URL's host (a pinned
// address, a server name, a client certificate) is not for the hosts that it
// redirects to.
type httpPath struct {
	route *router
	tls   *tlsPlan
	unix  string // path of the socket to go over; empty: TCP
}

// httpNeeds tells which costly facts are asked for.
type httpNeeds struct{ body, json, size, headers, detail, sha256, fields, cookies bool }

func needsOf(s check.Setup) httpNeeds {
	return httpNeeds{
		body: s.Needs("body"), json: s.Needs("json"), size: s.Needs("size"), headers: s.Needs("headers"), detail: needsDetail(s),
		sha256: s.Needs("sha256"), fields: needsFields(s), cookies: s.Needs("cookies"),
	}
}

// Build validates the options.
func (o *httpOptions) Build(s check.Setup) (check.Plan, error) {
	if p := o.like(s); p != nil {
		return *p, nil
	}
	b := &httpBuilder{setup: s, options: o, probe: &httpProbe{httpPlan: &httpPlan{
		agent: "sonde/" + s.Version, redirects: o.Redirects, version: o.Version, maxBody: int64(o.MaxBody),
		insecure: o.TLS.Insecure, options: *o, accept: acceptEncoding(o.Compression),
		needs: needsOf(s),
	}}}
	for _, step := range []func() error{b.url, b.headers, b.auth, b.body, b.limits, b.paths, b.unix, b.reaches, b.proxy, b.oauth2, b.version3} {
		if err := step(); err != nil {
			b.errs = append(b.errs, err)
		}
	}
	if password := writtenPassword(o.URL); password != "" {
		b.secrets = append(b.secrets, password)
	}
	if err := errors.Join(b.errs...); err != nil {
		return check.Plan{}, err
	}
	defaults := append([]check.Default{{Expect: "status == 2xx"}}, b.probe.home.tls.defaults()...)
	defaults = append(defaults, o.warmDefaults()...)
	plan := check.Plan{Probe: b.probe, Target: b.probe.target, Defaults: defaults, Secrets: b.secrets}
	if route := b.probe.home.route; route.spread != oneAddress {
		if err := b.probe.spreads(o); err != nil {
			return check.Plan{}, err
		}
		plan.Probe = spreadOver(b.probe, route, b.probe.start.Hostname())
		return plan, nil
	}
	if s.Last != nil && !b.private {
		*s.Last = &plan
	}
	return plan, nil
}

// like builds the check from the one before if only their URLs differ, else it
// returns nil. A proxy depends on the URL.
func (o *httpOptions) like(s check.Setup) *check.Plan {
	if s.Last == nil || o.Proxy != "" {
		return nil
	}
	last, ok := (*s.Last).(*check.Plan)
	if !ok {
		return nil
	}
	plan := last.Probe.(*httpProbe).httpPlan
	needs := needsOf(s)
	if plan.needs != needs || !plan.options.sameButURL(o) {
		return nil
	}
	b := &httpBuilder{setup: s, options: o, probe: &httpProbe{httpPlan: plan}}
	if b.url() != nil || b.private || b.reaches() != nil || b.version3() != nil {
		return nil
	}
	made := *last
	made.Probe, made.Target = b.probe, b.probe.target
	return &made
}

// httpBuilder validates the options part by part, so that all errors are told
// at once.
type httpBuilder struct {
	setup   check.Setup
	options *httpOptions
	probe   *httpProbe
	user    *url.Userinfo // of the URL
	private bool          // the URL has secrets, which are its own
	secrets []string
	errs    []error
}

func (b *httpBuilder) url() error {
	u, err := parseHTTPURL(b.options.URL)
	if err != nil {
		return check.OptionErrorf("url", "%w", err)
	}
	b.user, u.User = u.User, nil
	b.probe.start, b.probe.target = u, u.String()
	if b.probe.target == b.options.URL {
		b.probe.target = b.options.URL // u's strings are parts of it already
	}
	if b.options.Connection == "reuse" {
		b.probe.keeper = new(keeper)
	}
	b.parameters(u.RawQuery)
	b.private = b.user != nil || len(b.secrets) > 0
	return nil
}

// parameters makes secrets of a query's sensitive values, as they are written,
// for so they are shown, and as they are meant. A semicolon parts parameters
// for some servers only.
func (b *httpBuilder) parameters(query string) {
	for pair := range strings.SplitSeq(query, "&") {
		b.parameter(pair)
		if strings.Contains(pair, ";") {
			for part := range strings.SplitSeq(pair, ";") {
				b.parameter(part)
			}
		}
	}
}

func (b *httpBuilder) parameter(pair string) {
	name, value, _ := strings.Cut(pair, "=")
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	if value == "" || !sensitiveParameter(name) {
		return
	}
	b.secrets = append(b.secrets, value)
	if plain, err := url.QueryUnescape(value); err == nil && plain != value {
		b.secrets = append(b.secrets, plain)
	}
}

// sensitiveParameter reports whether the value of a URL's parameter is a
// secret. The names of parameters are less telling than those of headers
// (?author=, ?keyword=), so that the end of the name has to be.
func sensitiveParameter(name string) bool {
	name = strings.ToLower(name)
	for _, end := range []string{"token", "secret", "password", "passwd", "signature", "credential", "apikey", "api_key", "api-key", "access_key"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return slices.Contains([]string{"key", "auth", "sig", "sid", "session", "jwt", "pwd"}, name)
}

func (b *httpBuilder) headers() error {
	var errs []error
	names := slices.Sorted(maps.Keys(b.options.Headers))
	for _, name := range names {
		if err := b.addHeader(name, b.options.Headers[name]); err != nil {
			errs = append(errs, check.OptionErrorf("headers."+name, "%w", err))
		}
	}
	if err := b.headersFile(); err != nil {
		errs = append(errs, check.OptionErrorf("headers_file", "%w", err))
	}
	return errors.Join(errs...)
}

func (b *httpBuilder) headersFile() error {
	if b.options.HeadersFile == "" {
		return nil
	}
	text, err := readSmallFile(b.options.HeadersFile, maxHeadBytes)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxHeadBytes+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("line %d is not of the form 'Name: value'", n)
		}
		if err := b.addHeader(name, strings.TrimSpace(value)); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if !harmlessHeader(name) {
			b.secrets = append(b.secrets, strings.TrimSpace(value))
		}
	}
	return lines.Err()
}

// readSmallFile reads a file of at most limit bytes.
func readSmallFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is no regular file of at most %s", name, check.Size(limit))
	}
	return os.ReadFile(name)
}

func (b *httpBuilder) addHeader(name, value string) error {
	if !isToken(name) {
		return fmt.Errorf("%s is no header name", excerpt([]byte(name)))
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return errors.New("the value holds a line break or another control character")
	}
	switch strings.ToLower(name) {
	case "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive", "proxy-connection":
		return errors.New("sonde sets this header itself")
	}
	if _, twice := b.probe.header(name); twice {
		return errors.New("the header is given twice")
	}
	b.probe.headers = append(b.probe.headers, field{name, strings.Trim(value, " \t")})
	b.hideHeader(name, value)
	return nil
}

// hideHeader makes secrets of a sensitive header's value and of its parts: a
// token without its scheme, a password, each cookie.
func (b *httpBuilder) hideHeader(name, value string) {
	if !sensitiveHeader(name) {
		return
	}
	b.secrets = append(b.secrets, value)
	if strings.EqualFold(name, "Cookie") {
		for pair := range strings.SplitSeq(value, ";") {
			_, v, _ := strings.Cut(pair, "=")
			b.secrets = append(b.secrets, strings.TrimSpace(v))
		}
		return
	}
	scheme, credentials, ok := strings.Cut(value, " ")
	if !ok {
		return
	}
	b.secrets = append(b.secrets, strings.TrimSpace(credentials))
	if plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials)); err == nil && strings.EqualFold(scheme, "Basic") {
		_, password, _ := strings.Cut(string(plain), ":")
		b.secrets = append(b.secrets, password)
	}
}

// header returns the value of a header that the user has set.
func (p *httpProbe) header(name string) (string, bool) {
	for _, f := range p.headers {
		if strings.EqualFold(f.name, name) {
			return f.value, true
		}
	}
	return "", false
}

func (b *httpBuilder) limits() error {
	o := b.options
	var errs []error
	if o.Redirects < 0 || o.Redirects > 50 {
		errs = append(errs, check.OptionErrorf("redirects", "%d is not in 0..50", o.Redirects))
	}
	if o.MaxBody < 0 || o.MaxBody > 1<<30 {
		errs = append(errs, check.OptionErrorf("max_body", "%s is not in 0B..1GiB", o.MaxBody))
	}
	if !slices.Contains([]string{"auto", "1.1", "2", "3"}, o.Version) {
		errs = append(errs, check.OptionErrorf("version", "%q is none of auto, 1.1, 2, 3", o.Version))
	}
	if !slices.Contains([]string{"none", "any", "gzip", "deflate", "br", "zstd"}, o.Compression) {
		errs = append(errs, check.OptionErrorf("compression", "%q is none of none, any, gzip, deflate, br, zstd", o.Compression))
	}
	switch o.Connection {
	case "fresh", "reuse", connectionBoth:
	default:
		errs = append(errs, check.OptionErrorf("connection", "%q is none of fresh, reuse, both", o.Connection))
	}
	return errors.Join(errs...)
}

func acceptEncoding(compression string) string {
	switch compression {
	case "any":
		return "gzip, deflate, br, zstd"
	case "none":
		return ""
	default:
		return compression
	}
}

func (b *httpBuilder) paths() error {
	route, tls := b.options.Route, b.options.TLS
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	b.probe.home.route, err = route.buildAll()
	note(err)
	note(b.probe.home.route.closeBy(b.options.Close))
	b.probe.home.tls, err = tls.build()
	b.probe.home.tls.detail = b.probe.needs.detail
	note(err)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	b.probe.away = b.probe.home
	if route.pin() != "" {
		route.Address = ""
		b.probe.away.route, err = route.buildAll()
		note(err)
		note(b.probe.away.route.closeBy(b.options.Close))
	}
	if tls.ServerName != "" || tls.Cert != "" {
		tls.ServerName, tls.Cert, tls.Key = "", "", ""
		b.probe.away.tls, err = tls.build()
		b.probe.away.tls.detail = b.probe.needs.detail
		note(err)
	}
	return errors.Join(errs...)
}

// reaches checks that the route leads to the URL's host.
func (b *httpBuilder) reaches() error {
	if b.probe.home.route == nil || b.probe.start == nil {
		return nil
	}
	return b.probe.home.route.reaches("url", b.probe.start.Hostname())
}

// path returns how to get to the URL's host. A socket stands for one host and
// port, not for what else is there.
func (p *httpProbe) path(u *url.URL) *httpPath {
	if u.Hostname() == p.start.Hostname() && (p.home.unix == "" || u.Scheme == p.start.Scheme && u.Host == p.start.Host) {
		return &p.home
	}
	return &p.away
}
