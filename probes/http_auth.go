package probes

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// httpAuth is who we say we are.
type httpAuth struct {
	Type      string     `yaml:"type" enum:"basic,digest" doc:"how user and password are sent; digest answers a challenge of the server, RFC 7616"`
	Username  string     `yaml:"username" doc:"user of basic or digest authentication"`
	Password  string     `yaml:"password" secret:"true" doc:"password of basic or digest authentication"`
	Token     string     `yaml:"token" secret:"true" doc:"bearer token"`
	TokenFile string     `yaml:"token_file" path:"true" doc:"file with the bearer token, read anew at each run"`
	OAuth2    httpOAuth2 `yaml:"oauth2" doc:"bearer token from a token endpoint, with the client's own credentials, RFC 6749 section 4.4"`
}

// plainAuth are credentials that go along with the first request.
type plainAuth struct {
	Username string `yaml:"username" doc:"user of basic authentication"`
	Password string `yaml:"password" secret:"true" doc:"password of basic authentication"`
	Token    string `yaml:"token" secret:"true" doc:"bearer token"`
}

func (a plainAuth) http() httpAuth {
	return httpAuth{Type: "basic", Username: a.Username, Password: a.Password, Token: a.Token}
}

// maxToken is how large a bearer token may be. It is to fit into a header.
const maxToken = 16 << 10

func authFacts() []check.Fact {
	return []check.Fact{
		{Name: "auth.latency", Type: check.Duration, Doc: "time that it took to fetch the token of OAuth 2.0, which is no part of latency; only of a run that fetched one"},
		{Name: "auth.cached", Type: check.Bool, Doc: "whether the token of OAuth 2.0 is one that a run before has fetched"},
		{Name: "auth.challenged", Type: check.Bool, Doc: "whether the server asked for a digest, so that the request was sent twice; only with digest authentication"},
	}
}

// auth settles what the header Authorization will hold.
func (b *httpBuilder) auth() error {
	a := b.options.Auth
	basic := a.Username != "" || a.Password != ""
	if b.user != nil {
		if basic || a.Token != "" || a.TokenFile != "" || a.OAuth2.given() {
			return check.OptionErrorf("auth", "the URL names a user too, give one of the two")
		}
		a.Username = b.user.Username()
		a.Password, _ = b.user.Password()
		basic = true
	}
	if err := a.oneWay(basic); err != nil {
		return err
	}
	if a.Password != "" {
		b.secrets = append(b.secrets, a.Password)
	}
	var value string
	switch {
	case a.Type == "digest":
		return b.digest(a)
	case basic:
		if strings.Contains(a.Username, ":") {
			return check.OptionErrorf("auth.username", "holds a colon, which basic authentication cannot express")
		}
		value = basicAuth(a.Username, a.Password)
	case a.Token != "":
		value = "Bearer " + a.Token
	case a.TokenFile != "" || a.OAuth2.given():
		b.probe.tokenFile = a.TokenFile
		return b.noAuthorization()
	default:
		return nil
	}
	if err := b.noAuthorization(); err != nil {
		return err
	}
	if err := b.addHeader("Authorization", value); err != nil {
		return check.OptionErrorf("auth", "%w", err)
	}
	return nil
}

// oneWay checks that there is only one way to say who we are.
func (a *httpAuth) oneWay(user bool) error {
	var given []string
	for _, way := range []struct {
		name string
		set  bool
	}{{"a user", user}, {"a token", a.Token != ""}, {"a token_file", a.TokenFile != ""}, {"oauth2", a.OAuth2.given()}} {
		if way.set {
			given = append(given, way.name)
		}
	}
	switch {
	case len(given) > 1:
		return check.OptionErrorf("auth", "both %s and %s, give one of the two", given[0], given[1])
	case a.Type == "digest" && !user:
		return check.OptionErrorf("auth.type", "digest needs username and password")
	case a.Type != "" && a.Type != "basic" && a.Type != "digest":
		return check.OptionErrorf("auth.type", "%q is none of basic, digest", a.Type)
	}
	return nil
}

func (b *httpBuilder) noAuthorization() error {
	if _, twice := b.probe.header("Authorization"); twice {
		return check.OptionErrorf("auth", "the header Authorization is set too, give one of the two")
	}
	return nil
}

// basicAuth makes the credentials of RFC 7617.
func basicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// authorize gets the bearer token that is known at run time only. The time it
// takes is no part of the measurement.
func (r *httpRun) authorize(ctx context.Context) *check.Reason {
	if r.p.digest != nil {
		r.j.obs.Set("auth.challenged", false)
	}
	if r.p.tokenFile == "" && r.p.tokens == nil {
		return nil
	}
	start := time.Now()
	defer func() { r.j.idle += time.Since(start) }()
	var reason *check.Reason
	if r.p.tokens != nil {
		r.token, reason = r.takeToken(ctx)
	} else {
		r.token, reason = readToken(r.p.tokenFile)
	}
	if reason == nil {
		r.j.obs.Secrets = append(r.j.obs.Secrets, r.token)
	}
	return reason
}

// readToken reads a file with a token. That it cannot be read says nothing
// about the target.
func readToken(name string) (string, *check.Reason) {
	text, err := readSmallFile(name, maxToken)
	if err != nil {
		return "", unreadable(err)
	}
	token := strings.TrimSpace(string(text))
	if why := badToken(token); why != "" {
		return "", &check.Reason{Code: check.LocalAuth, Message: fmt.Sprintf("auth.token_file: the token in %s %s", name, why)}
	}
	return token, nil
}

// unreadable tells why there is no token in the file.
func unreadable(err error) *check.Reason {
	reason := &check.Reason{Code: check.LocalAuth, Message: "auth.token_file: " + err.Error()}
	switch {
	case errors.Is(err, fs.ErrPermission):
		reason.Code = check.LocalPermission
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		reason.Code = check.LocalFD
	}
	return reason
}

// badToken tells why a text is no bearer token (RFC 6750, section 2.1), without
// showing any of it. Tokens with other visible characters are about, too.
func badToken(token string) string {
	switch {
	case token == "":
		return "is empty"
	case len(token) > maxToken:
		return fmt.Sprintf("is longer than %s", check.Size(maxToken))
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "holds a space, a line break or another character that cannot go into a header"
	}
	return ""
}

// authorization returns what the header Authorization of a request holds beyond
// what is known at load; empty for nothing, and on foreign ground.
func (r *httpRun) authorization(request *httpRequest) string {
	switch {
	case request.strange:
		return ""
	case r.token != "":
		return "Bearer " + r.token
	case request.digest != nil:
		return request.digest.value
	default:
		return ""
	}
}

// unauthorized looks at a final response that refuses credentials which this
// run did not take from the file.
func (r *httpRun) unauthorized(request *httpRequest, head *httpHead) {
	if head.status != 401 || request.strange {
		return
	}
	switch {
	case r.p.tokens != nil:
		r.p.tokens.drop(r.token)
		message := "status 401: the target refuses the token that was fetched from " + r.p.tokens.endpoint()
		if r.j.obs.Facts.Get("auth.cached") == true {
			message += " in a run before; the next run fetches another"
		}
		r.j.obs.Explain("status", check.HTTPStatus, message)
	case request.digest != nil && r.stale:
		r.j.obs.Explain("status", check.HTTPStatus, "status 401: the server calls its own nonce stale (stale=true), which says nothing about the password of the user "+excerpt([]byte(r.p.digest.user)))
	case request.digest != nil:
		r.j.obs.Explain("status", check.HTTPStatus, "status 401: the server refuses the digest of the user "+excerpt([]byte(r.p.digest.user)))
	}
}
