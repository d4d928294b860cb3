package probes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// httpOAuth2 are the options of the client credentials grant.
type httpOAuth2 struct {
	TokenURL     string            `yaml:"token_url" address:"true" doc:"URL of the token endpoint"`
	ClientID     string            `yaml:"client_id" doc:"identifier of the client"`
	ClientSecret string            `yaml:"client_secret" secret:"true" doc:"secret of the client"`
	Scopes       []string          `yaml:"scopes" single:"true" doc:"scopes to ask for"`
	Audience     string            `yaml:"audience" doc:"whom the token is for, the parameter audience of the token request"`
	Params       map[string]string `yaml:"params" doc:"more parameters of the token request"`
	AuthStyle    string            `yaml:"auth_style" enum:"header,body" doc:"where the client's identifier and secret go: into basic authentication or into the body"`
}

// given reports whether the grant is asked for.
func (o *httpOAuth2) given() bool {
	return o.TokenURL != "" || o.ClientID != "" || o.ClientSecret != "" || len(o.Scopes) > 0 || o.Audience != "" || len(o.Params) > 0
}

// Bounds of a token's life.
const (
	maxTokenLife   = 24 * time.Hour
	tokenMargin    = 30 * time.Second // before its end a token is not used any more
	maxTokenAnswer = 64 << 10         // bytes of the token endpoint's response
)

// tokenSource gets tokens and keeps the last one. Checks that differ in their
// URL alone share it.
type tokenSource struct {
	probe *httpProbe    // asks the token endpoint
	turn  chan struct{} // holds a value while nobody looks at what follows

	token string
	until time.Time // when the token is not used any more
}

// oauth2 makes the request to the token endpoint. It goes the way to hosts that
// are not the URL's own: through the same proxy and with the same trust, but
// with no pinned address, server name or client certificate. However many
// addresses the run goes to, one of the token endpoint's will do.
func (b *httpBuilder) oauth2() error {
	o := &b.options.Auth.OAuth2
	if !o.given() {
		return nil
	}
	for _, must := range []struct{ name, value string }{{"token_url", o.TokenURL}, {"client_id", o.ClientID}} {
		if must.value == "" {
			return check.OptionErrorf("auth.oauth2."+must.name, "is missing")
		}
	}
	form, err := o.form()
	if err != nil {
		return err
	}
	if len(b.errs) > 0 {
		return nil // the same options would be wrong once more
	}
	from := b.options
	options := newHTTPOptions()
	options.URL, options.Method, options.Form, options.Redirects = o.TokenURL, "POST", form, 0
	options.Headers = map[string]string{"Accept": "application/json"}
	options.MaxBody, options.Close, options.Proxied, options.TLS, options.Route = maxTokenAnswer, from.Close, from.Proxied, from.TLS, from.Route
	options.TLS.ServerName, options.TLS.Cert, options.TLS.Key, options.Address, options.Require = "", "", "", "", ""
	if options.Family == "both" {
		options.Family = "any"
	}
	if o.AuthStyle != "body" { // RFC 6749, section 2.3.1
		options.Auth.Username, options.Auth.Password = url.QueryEscape(o.ClientID), url.QueryEscape(o.ClientSecret)
	}
	plan, err := options.Build(check.Setup{
		Needs: func(fact string) bool { return fact == "json" }, Getenv: b.setup.Getenv, Version: b.setup.Version,
	})
	if err != nil {
		wrong := check.OptionErrors(err)[0]
		return check.OptionErrorf("auth.oauth2.token_url", "%w", wrong.Err)
	}
	b.secrets = append(append(b.secrets, plan.Secrets...), o.ClientSecret)
	b.probe.tokens = &tokenSource{probe: plan.Probe.(*httpProbe), turn: make(chan struct{}, 1)}
	b.probe.tokens.turn <- struct{}{}
	return nil
}

// form returns the token request's parameters.
func (o *httpOAuth2) form() (map[string][]string, error) {
	form := map[string][]string{"grant_type": {"client_credentials"}}
	if len(o.Scopes) > 0 {
		form["scope"] = []string{strings.Join(o.Scopes, " ")}
	}
	if o.Audience != "" {
		form["audience"] = []string{o.Audience}
	}
	if o.AuthStyle == "body" {
		form["client_id"] = []string{o.ClientID}
		if o.ClientSecret != "" {
			form["client_secret"] = []string{o.ClientSecret}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Params)) {
		if _, twice := form[name]; twice || name == "client_id" || name == "client_secret" {
			return nil, check.OptionErrorf("auth.oauth2.params."+name, "sonde sets this parameter itself")
		}
		form[name] = []string{o.Params[name]}
	}
	return form, nil
}

// endpoint is the token endpoint's URL.
func (s *tokenSource) endpoint() string { return s.probe.target }

// takeToken returns a token that is good now, the kept one or a new one. Runs
// that need a new one at the same time wait for one of them to fetch it.
func (r *httpRun) takeToken(ctx context.Context) (string, *check.Reason) {
	s := r.p.tokens
	select {
	case <-s.turn:
	case <-ctx.Done():
		reason := cause(ctx.Err(), check.LocalAuth)
		if reason.Code == check.LocalAuth {
			reason.Message = "no token in time: another run waits for an answer of the token endpoint " + s.endpoint()
		}
		return "", &reason
	}
	defer func() { s.turn <- struct{}{} }()
	cached := s.token != "" && time.Now().Before(s.until)
	r.j.obs.Set("auth.cached", cached)
	if cached {
		return s.token, nil
	}
	start := time.Now()
	o := s.probe.Observe(ctx)
	r.j.obs.Set("auth.latency", time.Since(start))
	token, life, reason := s.read(&o)
	if reason == nil {
		s.token, s.until = token, start.Add(life)
	}
	return token, reason
}

// read returns the token of a response and how long to keep it. What keeps us
// from getting one says nothing about the target, which nobody has asked yet:
// it is local.auth, or what this machine lacks.
func (s *tokenSource) read(o *check.Observation) (string, time.Duration, *check.Reason) {
	broken := func(code check.Code, format string, args ...any) *check.Reason {
		return &check.Reason{Code: code, Message: "no token from the token endpoint " + s.endpoint() + ": " + fmt.Sprintf(format, args...)}
	}
	if failure := o.Failure; !failure.IsZero() {
		if failure.Code.Local() {
			return "", 0, broken(failure.Code, "%s", failure.Message)
		}
		return "", 0, broken(check.LocalAuth, "%s: %s", failure.Code, failure.Message)
	}
	answer, isObject := o.Facts.Get("json").(map[string]any)
	status, _ := o.Facts.Get("status").(int)
	switch {
	case status != 200:
		return "", 0, broken(check.LocalAuth, "status %d%s", status, oauthError(answer))
	case o.Facts.Get("truncated") == true:
		return "", 0, broken(check.LocalAuth, "its answer is larger than %s", check.Size(maxTokenAnswer))
	case !isObject:
		return "", 0, broken(check.LocalAuth, "its answer is no JSON object") // which may hold a token, so nothing of it is shown
	}
	token, _ := answer["access_token"].(string)
	if why := badToken(token); why != "" {
		return "", 0, broken(check.LocalAuth, "its access_token %s", why)
	}
	if kind, given := answer["token_type"].(string); given && !strings.EqualFold(kind, "Bearer") {
		return "", 0, broken(check.LocalAuth, "its token is of the type %s, not Bearer", excerpt([]byte(kind)))
	}
	life, err := tokenLife(answer["expires_in"])
	if err != nil {
		return "", 0, broken(check.LocalAuth, "its expires_in %v", err)
	}
	return token, life, nil
}

// tokenLife tells for how long a token may be used again. One whose end is not
// told is not: a target that refuses it later would look down. The margin is at
// most a tenth of the whole.
func tokenLife(expires any) (time.Duration, error) {
	var seconds float64
	switch x := expires.(type) {
	case nil:
		return 0, nil
	case float64:
		seconds = x
	case string: // of some servers, against RFC 6749 section 5.1
		var err error
		if seconds, err = strconv.ParseFloat(x, 64); err != nil {
			return 0, errors.New("is no number")
		}
	default:
		return 0, errors.New("is no number")
	}
	life := time.Duration(max(0, min(seconds, maxTokenLife.Seconds())) * float64(time.Second))
	return life - min(tokenMargin, life/10), nil
}

// oauthError words the error of RFC 6749, section 5.2.
func oauthError(answer map[string]any) string {
	words := ""
	for _, name := range []string{"error", "error_description"} {
		if text, ok := answer[name].(string); ok && text != "" {
			words += fmt.Sprintf(", %s %s", name, excerpt([]byte(text)))
		}
	}
	return words
}

// drop forgets a token that the target refuses, unless there is a newer one.
// When a run is just fetching one, that is newer.
func (s *tokenSource) drop(token string) {
	select {
	case <-s.turn:
		if s.token == token {
			s.token = ""
		}
		s.turn <- struct{}{}
	default:
	}
}

// curl returns the shell's words for fetching a token, for jq to take it out of
// the answer.
func (s *tokenSource) curl(o *httpOAuth2) string {
	c := shellLine{"curl", "-sS"}
	if o.AuthStyle != "body" {
		c.add("-u", url.QueryEscape(o.ClientID)+":"+check.Hidden(o.ClientSecret, url.QueryEscape(o.ClientSecret)))
	}
	for _, pair := range strings.Split(string(s.probe.body), "&") {
		if name, value, _ := strings.Cut(pair, "="); name == "client_secret" {
			pair = name + "=" + check.Hidden(o.ClientSecret, value)
		}
		c.add("-d", pair)
	}
	s.probe.curlConnection(&c, netip.Addr{})
	c.add(s.endpoint())
	return c.String() + " | jq -r .access_token"
}
