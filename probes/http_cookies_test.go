package probes

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// cookieSite is a site whose front page wants a session, which /login gives.
func cookieSite(t *testing.T) (base string) {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := r.Cookie("session")
		switch {
		case r.URL.Path == "/login":
			w.Header().Add("Set-Cookie", "session=s3cr3t-0123456789; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600")
			w.Header().Add("Set-Cookie", `odd={"a": "b"}; Path=/`)
			w.Header().Add("Set-Cookie", "narrow=1; Path=/narrow")
			w.Header().Add("Set-Cookie", "gone=x; Path=/; Max-Age=0")
			w.Header().Add("Set-Cookie", "stranger=1; Domain=example.com")
			w.Header().Add("Set-Cookie", "everywhere=1; Domain=com")
			http.Redirect(w, r, "/", http.StatusFound)
		case session == nil:
			http.Redirect(w, r, "/login", http.StatusFound)
		default:
			w.Header().Set("X-Sent", r.Header.Get("Cookie"))
			fmt.Fprint(w, "welcome")
		}
	}))
	t.Cleanup(site.Close)
	return site.URL
}

func TestCookiesGoAlongRedirects(t *testing.T) {
	t.Parallel()
	site := cookieSite(t)
	o := observeHTTP(t, site+"/", patience, nil, "cookies", "headers")
	wantFailure(t, o, "")
	if o.Facts.Get("status") != 200 || o.Facts.Get("redirects") != 2 {
		t.Errorf("facts %v", o.Facts)
	}
	if got, want := o.Facts.Get("headers").(map[string]string)["x-sent"], `session=s3cr3t-0123456789; odd={"a": "b"}`; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	cookies := o.Facts.Get("cookies").(map[string]any)
	want := map[string]any{
		"value": "s3cr3t-0123456789", "path": "/", "domain": "", "secure": false, "http_only": true, "same_site": "lax", "max_age": 3600.0,
	}
	if diff := cmp.Diff(want, cookies["session"]); diff != "" {
		t.Error(diff)
	}
	if got := cookies["gone"].(map[string]any)["max_age"]; got != 0.0 {
		t.Errorf("max_age %v", got)
	}
	c := check.Check{FactList: httpFacts()}
	result := c.Result(&o, check.Judgement{Verdict: check.Down, Findings: []check.Finding{{Got: map[string]any{"cookies": cookies}}}})
	text, err := result.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "s3cr3t") || !strings.Contains(result.Reproduce, " -b '' ") {
		t.Errorf("%s", text)
	}
}

func TestCookiesOff(t *testing.T) {
	t.Parallel()
	o := observeHTTP(t, cookieSite(t)+"/", patience, func(o *httpOptions) { o.Cookies = false }, "cookies")
	wantFailure(t, o, check.HTTPRedirectLoop)
	if strings.Contains(o.Reproduce(), " -b ") {
		t.Error(o.Reproduce())
	}
}

// TestCookiesAndTheSameURL is a site that sets a cookie and leads to where the
// browser was, which is no circle, and one that does so for ever, which is.
func TestCookiesAndTheSameURL(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]check.Code{"/": "", "/ever": check.HTTPRedirectLoop, "/new": check.HTTPRedirectLimit} {
		var mu sync.Mutex
		n := 0
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			n++
			_, err := r.Cookie("seen")
			switch {
			case path == "/new":
				http.SetCookie(w, &http.Cookie{Name: "seen", Value: fmt.Sprint(n)})
			case path == "/ever" || err != nil:
				http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
			default:
				return
			}
			w.Header().Set("Location", path)
			w.WriteHeader(http.StatusFound)
		}))
		wantFailure(t, observeHTTP(t, site.URL+path, patience, nil), want)
		site.Close()
	}
}

// TestCookiesBesideTheUsers sends the user's own and the server's.
func TestCookiesBesideTheUsers(t *testing.T) {
	t.Parallel()
	o := observeHTTP(t, cookieSite(t)+"/login", patience, func(o *httpOptions) {
		o.Headers = map[string]string{"Cookie": "mine=1; session=old"}
	}, "headers")
	if got, want := o.Facts.Get("headers").(map[string]string)["x-sent"], `mine=1; session=s3cr3t-0123456789; odd={"a": "b"}`; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func at(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestCookieRules holds the jar to RFC 6265 and what came since: which cookie goes
// where.
func TestCookieRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, set, to, want string }{
		{"https://a.example.com/", "x=1", "https://a.example.com/", "x=1"},
		{"https://a.example.com/", "x=1", "https://b.example.com/", ""},
		{"https://a.example.com/", "x=1", "https://sub.a.example.com/", ""},
		{"https://a.example.com/", "x=1; Domain=example.com", "https://b.example.com/", "x=1"},
		{"https://a.example.com/", "x=1; Domain=.example.com", "https://b.example.com/", "x=1"},
		{"https://a.example.com/", "x=1; Domain=b.example.com", "https://b.example.com/", ""},
		{"https://a.example.com/", "x=1; Domain=ample.com", "https://a.example.com/", ""},
		{"https://a.example.com/", "x=1; Domain=com", "https://b.com/", ""},
		{"https://a.example.co.uk/", "x=1; Domain=co.uk", "https://b.co.uk/", ""},
		{"https://me.github.io/", "x=1; Domain=github.io", "https://you.github.io/", ""},
		{"https://192.0.2.1/", "x=1; Domain=2.1", "https://192.0.2.1/", ""},
		{"https://192.0.2.1/", "x=1", "https://192.0.2.1:8443/", "x=1"},
		{"https://a.test/dir/page", "x=1", "https://a.test/dir/other", "x=1"},
		{"https://a.test/dir/page", "x=1", "https://a.test/", ""},
		{"https://a.test/", "x=1; Path=/p", "https://a.test/pq", ""},
		{"https://a.test/", "x=1; Path=/p", "https://a.test/p/q", "x=1"},
		{"https://a.test/", "x=1; Secure", "http://a.test/", ""},
		{"https://a.test/", "x=1; Secure", "https://a.test/", "x=1"},
		{"http://a.test/", "x=1; Secure", "https://a.test/", ""},
		{"http://localhost/", "x=1; Secure", "http://localhost/", "x=1"},
		{"https://a.test/", "x=1; Max-Age=0", "https://a.test/", ""},
		{"https://a.test/", "x=1; Max-Age=-5", "https://a.test/", ""},
		{"https://a.test/", "x=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://a.test/", ""},
		{"https://a.test/", "x=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=9", "https://a.test/", "x=1"},
		{"https://a.test/", "x=1; Expires=never", "https://a.test/", "x=1"},
		{"https://a.test/", "__Secure-x=1", "https://a.test/", ""},
		{"https://a.test/", "__Secure-x=1; Secure", "https://a.test/", "__Secure-x=1"},
		{"https://a.test/", "__Host-x=1; Secure; Path=/", "https://a.test/", "__Host-x=1"},
		{"https://a.test/", "__Host-x=1; Secure; Path=/; Domain=a.test", "https://a.test/", ""},
		{"https://a.test/", "nothing", "https://a.test/", ""},
		{"https://a.test/", "=value", "https://a.test/", ""},
		{"https://a.test/", " x = spaced out ; Path=/", "https://a.test/", "x=spaced out"},
		{"https://a.test/", `x="quoted"`, "https://a.test/", `x="quoted"`},
		{"https://a.test/", "x=" + strings.Repeat("y", maxCookie), "https://a.test/", ""},
	} {
		s := cookieStore{keep: true, shared: true}
		var o check.Observation
		s.learn(&o, at(t, c.from), &httpHead{fields: []field{{"set-cookie", c.set}}})
		if got := cookieText(s.jar.header(at(t, c.to))); got != c.want {
			t.Errorf("%s set %q: %s gets %q, want %q", c.from, c.set, c.to, got, c.want)
		}
	}
}

// TestCookiesAreBounded floods the jar.
func TestCookiesAreBounded(t *testing.T) {
	t.Parallel()
	s := cookieStore{keep: true, shared: true, needs: httpNeeds{cookies: true}}
	var o check.Observation
	for i := range 20 {
		head := &httpHead{}
		for k := range 200 {
			head.fields = append(head.fields, field{"set-cookie", fmt.Sprintf("c%d-%d=%s", i, k, strings.Repeat("v", 1000))})
		}
		s.learn(&o, at(t, "https://a.test/"), head)
	}
	if got := len(s.jar.held); got != maxCookies {
		t.Errorf("%d cookies are kept", got)
	}
	if got := len(s.all); got != maxCookies {
		t.Errorf("%d cookies are in the fact", got)
	}
	if got := len(cookieText(s.jar.header(at(t, "https://a.test/")))); got > maxCookieHeader {
		t.Errorf("the header has %d bytes", got)
	}
}

// TestStepsManyCookies sees and hides what comes after more cookies than a journey
// keeps.
func TestStepsManyCookies(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range maxResponseCookie {
			http.SetCookie(w, &http.Cookie{Name: fmt.Sprintf("c%d", i), Value: "canary" + r.URL.Path[1:]})
		}
	}))
	defer target.Close()
	steps := "      requests:\n"
	for i := range maxCookieChanges/maxResponseCookie + 1 {
		steps += fmt.Sprintf("        - {name: s%d, url: \"SHOP/%d\", expect: \"cookies.c1.value == 'canary%d'\"}\n", i, i, i)
	}
	r := journeyTo(t, target.URL, steps+"        - {name: last, url: \"SHOP/last\", expect: \"cookies.c1.value == ''\"}\n", "")
	if !strings.Contains(r.Reason.Message, "step last: ") || strings.Contains(r.Reason.Message, "canarylast") {
		t.Errorf("%v", r.Reason)
	}
}
