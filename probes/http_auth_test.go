package probes

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// bearer returns what a server saw in the header Authorization, from its echo.
func bearer(o check.Observation) string {
	all, _ := o.Facts.Get("json").(map[string]any)
	headers, _ := all["headers"].(map[string]any)
	values, _ := headers["Authorization"].([]any)
	return strings.Trim(fmt.Sprint(values), "[]")
}

// shownBy returns everything that the result of an observation shows, with
// nothing hidden.
func shownBy(plan check.Plan, o check.Observation) string {
	facts := httpFacts()
	for i := range facts {
		facts[i].Hidden = false
	}
	c := &check.Check{Target: plan.Target, Probe: plan.Probe, FactList: facts, Mask: check.NewMask(plan.Secrets...)}
	reason := check.Reason{Code: check.HTTPStatus, Message: fmt.Sprint(o.Failure, o.Because)}
	return fmt.Sprintf("%+v", c.Result(&o, check.Judgement{Verdict: check.Down, Reason: reason, Findings: []check.Finding{{Got: map[string]any{"body": o.Facts.Get("body")}}}}))
}

// TestHTTPTokenFile has a token that rotates between the runs, and whose every
// value is masked in what the run that used it shows.
func TestHTTPTokenFile(t *testing.T) {
	t.Parallel()
	file := tempFile(t, "token", nil)
	plan := buildHTTP(t, httpSite(t, nil, testnet.Site())+"/echo", func(o *httpOptions) { o.Auth.TokenFile = file }, "json", "body", "headers")
	for _, c := range []struct{ text, token string }{
		{"first-t0ken", "first-t0ken"}, {"\n second-t0ken+/== \r\n", "second-t0ken+/=="}, {strings.Repeat("x", 8<<10), strings.Repeat("x", 8<<10)},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		o := plan.Probe.Observe(timeout(t, patience))
		wantFailure(t, o, "")
		if got := bearer(o); got != "Bearer "+c.token {
			t.Errorf("sent %.40q, want %.40q", got, "Bearer "+c.token)
		}
		if shown := shownBy(plan, o); strings.Contains(shown, c.token) || !strings.Contains(shown, check.Masked) {
			t.Errorf("the token is in %s", shown)
		}
	}
}

// TestHTTPTokenFileUnreadable is never the target's fault, and never asks it.
func TestHTTPTokenFileUnreadable(t *testing.T) {
	t.Parallel()
	site := httpSite(t, nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the target was asked") }))
	gone := tempFile(t, "gone", nil)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		gone:                                "no such file",
		t.TempDir():                         "no regular file",
		tempFile(t, "empty", []byte(" \n")): "is empty",
		tempFile(t, "two", []byte("s3cret\nlines")):                   "holds a space, a line break",
		tempFile(t, "binary", []byte("s3cret\x00\xff")):               "holds a space, a line break",
		tempFile(t, "large", []byte(strings.Repeat("x", maxToken+1))): "at most 16KiB",
	} {
		o := observeHTTP(t, site, patience, func(o *httpOptions) { o.Auth.TokenFile = file })
		wantFailure(t, o, check.LocalAuth, "auth.token_file: ", want)
		if strings.Contains(o.Failure.Message, "s3cret") {
			t.Errorf("a part of the token is in %q", o.Failure.Message)
		}
	}
}

// TestHTTPCredentialsStayAtHome follows a redirect to another origin and back.
func TestHTTPCredentialsStayAtHome(t *testing.T) {
	t.Parallel()
	var seen []string
	note := func(r *http.Request) { seen = append(seen, r.URL.Path+" "+r.Header.Get("Authorization")) }
	var home string
	away := httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(r)
		if r.URL.Path == "/challenge" {
			w.Header().Set("WWW-Authenticate", `Digest realm="r", nonce="n", qop="auth"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, home+"/back", http.StatusFound)
	}))
	home = httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(r)
		switch r.URL.Path {
		case "/start":
			http.Redirect(w, r, "/same", http.StatusFound)
		case "/same":
			http.Redirect(w, r, away+"/away", http.StatusFound)
		case "/lure":
			http.Redirect(w, r, away+"/challenge", http.StatusFound)
		}
	}))
	file := tempFile(t, "token", []byte("t0ken"))
	wantFailure(t, observeHTTP(t, home+"/start", patience, func(o *httpOptions) { o.Auth.TokenFile = file }), "")
	digest := func(o *httpOptions) { o.Auth = httpAuth{Type: "digest", Username: "me", Password: "secret"} }
	o := observeHTTP(t, home+"/lure", patience, digest)
	wantFacts(t, o, check.FactsOf(map[string]any{"status": 401, "auth.challenged": false}))
	want := "/start Bearer t0ken|/same Bearer t0ken|/away |/back |/lure |/challenge "
	if got := strings.Join(seen, "|"); got != want {
		t.Errorf("the servers saw %s\nwant %s", got, want)
	}
}

func TestHTTPAuthErrors(t *testing.T) {
	t.Parallel()
	grant := httpOAuth2{TokenURL: "http://127.0.0.1/token", ClientID: "me"}
	for want, change := range map[string]func(*httpOptions){
		"auth: both a token and a token_file, give one of the two": func(o *httpOptions) { o.Auth.Token, o.Auth.TokenFile = "a", "b" },
		"auth: both a user and oauth2, give one of the two":        func(o *httpOptions) { o.Auth.Username, o.Auth.OAuth2 = "a", grant },
		"auth: the URL names a user too":                           func(o *httpOptions) { o.URL, o.Auth.TokenFile = "http://me@x.test", "b" },
		"auth: the header Authorization is set too":                func(o *httpOptions) { o.Headers, o.Auth.OAuth2 = map[string]string{"Authorization": "x"}, grant },
		"auth.type: digest needs username and password":            func(o *httpOptions) { o.Auth.Type, o.Auth.Token = "digest", "x" },
		"auth.type: \"ntlm\" is none of basic, digest":             func(o *httpOptions) { o.Auth.Type, o.Auth.Username = "ntlm", "x" },
		"auth.username: holds a colon":                             func(o *httpOptions) { o.Auth = httpAuth{Type: "digest", Username: "a:b"} },
		"connection: reuse goes with no digest":                    func(o *httpOptions) { o.Auth, o.Connection = httpAuth{Type: "digest", Username: "a"}, "reuse" },
		"auth.oauth2.token_url: is missing":                        func(o *httpOptions) { o.Auth.OAuth2 = httpOAuth2{ClientID: "x"} },
		"auth.oauth2.client_id: is missing":                        func(o *httpOptions) { o.Auth.OAuth2 = httpOAuth2{TokenURL: "http://x.test"} },
		"auth.oauth2.token_url: needs http:// or https://":         func(o *httpOptions) { o.Auth.OAuth2 = httpOAuth2{TokenURL: "x.test", ClientID: "x"} },
		"auth.oauth2.params.grant_type: sonde sets this parameter itself": func(o *httpOptions) {
			o.Auth.OAuth2 = grant
			o.Auth.OAuth2.Params = map[string]string{"grant_type": "password"}
		},
	} {
		wantOptionError(t, want, change)
	}
}

// TestHTTPTokenFileErrors tells what the system says of a file.
func TestHTTPTokenFileErrors(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]check.Code{
		syscall.EACCES: check.LocalPermission, syscall.EPERM: check.LocalPermission, syscall.EMFILE: check.LocalFD,
		syscall.ENOENT: check.LocalAuth, syscall.EIO: check.LocalAuth,
	} {
		if got := unreadable(&fs.PathError{Op: "open", Path: "token", Err: errno}); got.Code != want || !strings.Contains(got.Message, "open token: ") {
			t.Errorf("%v: %v, want %s", errno, got, want)
		}
	}
}
