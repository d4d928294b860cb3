package probes

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// issuer is a token endpoint that gives a new token each time.
type issuer struct {
	url   string
	mu    sync.Mutex
	asked []string // what it was asked, without what identifies the server
}

func newIssuer(t *testing.T, more string) *issuer {
	t.Helper()
	s := new(issuer)
	s.url = httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.Method+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Authorization")+" "+string(body))
		fmt.Fprintf(w, `{"access_token":"t0ken-%d","token_type":"bearer"%s}`, len(s.asked), more)
	})) + "/token"
	return s
}

func (s *issuer) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func grantOf(tokenURL string) func(*httpOptions) {
	return func(o *httpOptions) {
		o.Auth.OAuth2 = httpOAuth2{TokenURL: tokenURL, ClientID: "the client", ClientSecret: "s3c:ret", AuthStyle: "header"}
	}
}

// TestHTTPOAuth2Request holds what the token endpoint is asked to RFC 6749.
func TestHTTPOAuth2Request(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, "")
	echo := httpSite(t, nil, testnet.Site()) + "/echo"
	basic := basicAuth("the+client", "s3c%3Aret")
	const kind = "POST application/x-www-form-urlencoded "
	for i, c := range []struct {
		change func(*httpOAuth2)
		want   string
	}{
		{nil, kind + basic + " grant_type=client_credentials"},
		{func(o *httpOAuth2) {
			o.Scopes, o.Audience, o.Params = []string{"a", "b"}, "https://api", map[string]string{"resource": "x y"}
		}, kind + basic + " audience=https%3A%2F%2Fapi&grant_type=client_credentials&resource=x+y&scope=a+b"},
		{func(o *httpOAuth2) { o.AuthStyle = "body" }, kind + " client_id=the+client&client_secret=s3c%3Aret&grant_type=client_credentials"},
	} {
		o := observeHTTP(t, echo, patience, func(o *httpOptions) {
			grantOf(s.url)(o)
			if c.change != nil {
				c.change(&o.Auth.OAuth2)
			}
		}, "json")
		wantFailure(t, o, "")
		if got, want := bearer(o), fmt.Sprintf("Bearer t0ken-%d", i+1); got != want {
			t.Errorf("the target got %q, want %q", got, want)
		}
		if diff := cmp.Diff(c.want, s.asked[i]); diff != "" {
			t.Errorf("the token endpoint got (-want +got):\n%s", diff)
		}
	}
}

// TestHTTPOAuth2Cache keeps a token as long as it is good for certain, for all
// checks that differ in their URL alone, and however many run at once.
func TestHTTPOAuth2Cache(t *testing.T) {
	t.Parallel()
	echo := httpSite(t, nil, testnet.Site()) + "/echo"
	for more, fetches := range map[string]int{
		`,"expires_in":3600`: 1, `,"expires_in":"3600"`: 1, `,"expires_in":1e300`: 1,
		"": 20, `,"expires_in":0`: 20, `,"expires_in":-5`: 20,
	} {
		s := newIssuer(t, more)
		var last any
		setup := needs("json")
		setup.Last = &last
		var probes []check.Probe
		for _, query := range []string{"", "?other"} {
			o := newHTTPOptions()
			o.URL = echo + query
			grantOf(s.url)(o)
			plan, err := o.Build(setup)
			if err != nil {
				t.Fatal(err)
			}
			probes = append(probes, plan.Probe)
		}
		var wait sync.WaitGroup
		for i := range 20 {
			wait.Go(func() {
				o := probes[i%2].Observe(timeout(t, patience))
				_, fetched := o.Facts.Lookup("auth.latency")
				if !o.Failure.IsZero() || !strings.HasPrefix(bearer(o), "Bearer t0ken-") || fetched == o.Facts.Get("auth.cached").(bool) {
					t.Errorf("%v, sent %q, facts %v", o.Failure, bearer(o), o.Facts)
				}
			})
		}
		wait.Wait()
		if got := s.times(); got != fetches {
			t.Errorf("%q: fetched %d times, want %d", more, got, fetches)
		}
	}
}

func TestHTTPTokenLife(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expires any
		want    time.Duration
	}{{nil, 0}, {0.0, 0}, {-1.0, 0}, {10.0, 9 * time.Second}, {3600.0, time.Hour - tokenMargin}, {1e300, maxTokenLife - tokenMargin}, {"60", 54 * time.Second}} {
		if got, err := tokenLife(c.expires); got != c.want || err != nil {
			t.Errorf("%v: %v, %v, want %v", c.expires, got, err, c.want)
		}
	}
	for _, bad := range []any{"soon", true, map[string]any{}} {
		if got, err := tokenLife(bad); err == nil {
			t.Errorf("%v: %v", bad, got)
		}
	}
}

// TestHTTPOAuth2Refused has a target that refuses a token: the run says so, and
// the next one fetches another. Nothing is asked twice in a run.
func TestHTTPOAuth2Refused(t *testing.T) {
	t.Parallel()
	s := newIssuer(t, `,"expires_in":3600`)
	asked := 0
	site := httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if asked == 2 {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	plan := buildHTTP(t, site, grantOf(s.url), "body")
	var got []string
	for range 3 {
		o := plan.Probe.Observe(timeout(t, patience))
		got = append(got, fmt.Sprintf("%v %v %v", o.Facts.Get("status"), o.Facts.Get("body"), o.Facts.Get("auth.cached")))
		if why := o.Because["status"].Message; (o.Facts.Get("status") == 401) != strings.Contains(why, "refuses the token that was fetched from "+s.url+" in a run before") {
			t.Errorf("because %q", why)
		}
	}
	want := []string{"200 Bearer t0ken-1 false", "401 Bearer t0ken-1 true", "200 Bearer t0ken-2 false"}
	if diff := cmp.Diff(want, got); diff != "" || asked != 3 {
		t.Errorf("asked %d times (-want +got):\n%s", asked, diff)
	}
}

// brokenIssuers are token endpoints that do not give a token, with a part of
// what is to be said of them.
func brokenIssuers(t *testing.T) map[string]string {
	deadHost, deadPort := refused(t)
	answer := func(status, body string) string {
		return rawSite(t, testnet.Reply(fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)))
	}
	const ok = "200 OK"
	return map[string]string{
		"http://" + net.JoinHostPort(deadHost, deadPort):                          "connect.refused: ",
		"http://127.0.0.1:1/x?api_key=s3cretkey":                                  "connect.refused",
		answer("401 No", `{"error":"invalid_client","error_description":"who?"}`): `status 401, error "invalid_client", error_description "who?"`,
		answer("302 Found\r\nLocation: /else", ""):                                "status 302",
		answer("500 Oops", "<html>"):                                              "status 500",
		answer(ok, `{"access_token":"s3cret-`):                                    "its answer is no JSON object",
		answer(ok, `["s3cret"]`):                                                  "its answer is no JSON object",
		answer(ok, strings.Repeat("[", 50_000)):                                   "its answer is no JSON object",
		answer(ok, ""):                                                            "its answer is no JSON object",
		answer(ok, `{"token":"s3cret"}`):                                          "its access_token is empty",
		answer(ok, `{"access_token":["s3cret"]}`):                                 "its access_token is empty",
		answer(ok, `{"access_token":"s3cret\r\nX-Evil: 1"}`):                      "its access_token holds a space, a line break",
		answer(ok, `{"access_token":"`+strings.Repeat("x", 20_000)+`"}`):          "its access_token is longer than 16KiB",
		answer(ok, `{"access_token":"s3cret","token_type":"mac"}`):                `of the type "mac", not Bearer`,
		answer(ok, `{"access_token":"s3cret","expires_in":"soon"}`):               "its expires_in is no number",
		rawSite(t, testnet.ReplyForever("HTTP/1.1 200 OK\r\n\r\n", "{")):          "its answer is larger than 64KiB",
		rawSite(t, testnet.ReplyForever("HTTP/1.1 200 OK\r\n", "X: y\r\n")):       "http.header_too_large",
		rawSite(t, testnet.Reply("SSH-2.0-x\r\n")):                                "http.malformed",
	}
}

// TestHTTPOAuth2Hostile has token endpoints that flood and lie. It is never the
// target's fault, which nobody asks.
func TestHTTPOAuth2Hostile(t *testing.T) {
	t.Parallel()
	site := httpSite(t, nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the target was asked") }))
	for url, want := range brokenIssuers(t) {
		plan := buildHTTP(t, site, grantOf(url))
		o := promptly(t, plan.Probe, patience)
		wantFailure(t, o, check.LocalAuth, "no token from the token endpoint http://127.0.0.1:", want)
		if strings.Contains(o.Failure.Message, "s3cret") && !strings.Contains(url, "s3cret") {
			t.Errorf("a part of the answer is in %q", o.Failure.Message)
		}
		if shown := shownBy(plan, o); strings.Contains(shown, "s3cret") || strings.Contains(shown, "s3c%3Aret") {
			t.Errorf("a secret is in %s", shown)
		}
	}
}

// TestHTTPOAuth2Hang has a token endpoint that says nothing: a run ends in
// time, also one that waits for another's token.
func TestHTTPOAuth2Hang(t *testing.T) {
	t.Parallel()
	probe := buildHTTP(t, "http://127.0.0.1:1/", grantOf(rawSite(t, testnet.Silence))).Probe
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() { wantFailure(t, promptly(t, probe, brief), check.LocalAuth, "token endpoint") })
	}
	wait.Wait()
	waited := func(o *check.Observation) time.Duration {
		latency, _ := o.Facts.Get("auth.latency").(time.Duration)
		return latency
	}
	o := inTime(brief, func(d time.Duration) check.Observation { return promptly(t, probe, d) },
		func(o *check.Observation) bool { return o.Latency < waited(o) })
	if latency := waited(&o); o.Latency >= latency {
		t.Errorf("auth.latency is %v, latency %v", latency, o.Latency)
	}
}

// TestHTTPOAuth2Restricted keeps the token endpoint to what addresses are
// allowed, too.
func TestHTTPOAuth2Restricted(t *testing.T) {
	t.Parallel()
	probe := buildHTTP(t, "http://127.0.0.1:1/", grantOf("http://169.254.169.254/token")).Probe
	o := probe.Observe(Restrict(timeout(t, patience), DenyMetadata))
	wantFailure(t, o, check.LocalPermission, "no token from the token endpoint http://169.254.169.254/token: not allowed to go there")
}

// TestHTTPOAuth2Secrets looks for what a run fetched, and what it fetched it
// with, in all that its result shows.
func TestHTTPOAuth2Secrets(t *testing.T) {
	t.Parallel()
	plan := buildHTTP(t, httpSite(t, nil, testnet.Site())+"/echo", grantOf(newIssuer(t, `,"expires_in":60`).url), "json", "body", "headers")
	for range 2 {
		shown := shownBy(plan, plan.Probe.Observe(timeout(t, patience)))
		for _, secret := range []string{"t0ken", "s3c:ret", "s3c%3Aret", basicAuth("the+client", "s3c%3Aret")[len("Basic "):]} {
			if strings.Contains(shown, secret) {
				t.Errorf("%s is in %s", secret, shown)
			}
		}
		if !strings.Contains(shown, "| jq -r .access_token)") {
			t.Errorf("no command for the token in %s", shown)
		}
	}
}
