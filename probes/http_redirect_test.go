package probes

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx, cancel
}

func TestHTTPRedirects(t *testing.T) {
	t.Parallel()
	site := httpSite(t, nil, testnet.Site())
	wantFacts(t, observeHTTP(t, site+"/redirect/3", patience, nil), check.FactsOf(map[string]any{
		"status": 200, "redirects": 3, "url": site + "/",
		"redirect_chain": []string{site + "/redirect/3", site + "/redirect/2", site + "/redirect/1"},
	}))
	wantFacts(t, observeHTTP(t, site+"/redirect/3", patience, func(o *httpOptions) { o.Redirects = 3 }), check.FactsOf(map[string]any{"status": 200}))
	o := observeHTTP(t, site+"/redirect/3", patience, func(o *httpOptions) { o.Redirects = 2 })
	wantFailure(t, o, check.HTTPRedirectLimit, "more than 2 redirects")
	if o.Facts.Get("status") != 302 || o.Facts.Get("redirects") != 2 {
		t.Errorf("facts %v", o.Facts)
	}
	o = observeHTTP(t, site+"/redirect/3", patience, func(o *httpOptions) { o.Redirects = 0 })
	wantFacts(t, o, check.FactsOf(map[string]any{"status": 302, "redirects": 0, "url": site + "/redirect/3"}))
}

func TestC12RedirectLoop(t *testing.T) {
	t.Parallel()
	site := httpSite(t, nil, testnet.Site())
	wantFailure(t, observeHTTP(t, site+"/loop", patience, nil), check.HTTPRedirectLoop, "redirect 1 leads back to "+site+"/loop")
	pingPong := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, map[string]string{"/a": "/b", "/b": "/a"}[r.URL.Path], http.StatusMovedPermanently)
	})
	site = httpSite(t, nil, pingPong)
	wantFailure(t, observeHTTP(t, site+"/a", patience, nil), check.HTTPRedirectLoop, "redirect 2 leads back to "+site+"/a")
}

// C14: what is secret stays with the origin, and does not come back.
func TestC14SecretsStayWithTheOrigin(t *testing.T) {
	t.Parallel()
	far := httpSite(t, nil, testnet.Site())
	back := ""
	mux := http.NewServeMux()
	mux.Handle("/echo", testnet.Site())
	mux.HandleFunc("/near", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/echo", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/far", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, far+"/echo", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/bounce", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, back, http.StatusTemporaryRedirect) })
	near := httpSite(t, nil, mux)
	bouncer := httpSite(t, nil, http.RedirectHandler(near+"/echo", http.StatusFound))
	back = bouncer
	change := func(o *httpOptions) {
		o.Headers = map[string]string{"Authorization": "Bearer s3cret", "Cookie": "a=s3cret", "X-Custom": "s3cret", "Accept": "text/x", "Host": "s3cret.test"}
	}
	for path, kept := range map[string]bool{"/near": true, "/far": false, "/bounce": false} {
		o := observeHTTP(t, near+path, patience, change, "json", "body")
		_, _, h, all := echoed(t, o)
		if !cmp.Equal(h["Accept"], []any{"text/x"}) {
			t.Errorf("%s: headers %v", path, h)
		}
		if found := strings.Count(fmt.Sprint(all), "s3cret"); kept && found != 4 || !kept && found != 0 {
			t.Errorf("%s: the secrets came %d times: %v", path, found, all)
		}
	}
}

// C14: a body goes to no foreign origin; what would take it there is final.
func TestC14BodyStaysWithTheOrigin(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 8)
	far := httpSite(t, nil, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Method }))
	mux := http.NewServeMux()
	for _, status := range []int{301, 302, 303, 307, 308} {
		mux.Handle(fmt.Sprintf("/%d", status), http.RedirectHandler(far+"/x", status))
	}
	mux.Handle("/near", http.RedirectHandler("/307", http.StatusTemporaryRedirect))
	site := httpSite(t, nil, mux)
	for _, c := range []struct {
		path, method, body string
		status, redirects  int
		sent               string
	}{
		{"/307", "POST", "s3cret", 307, 0, ""},
		{"/308", "PUT", "s3cret", 308, 0, ""},
		{"/302", "PUT", "s3cret", 302, 0, ""},
		{"/near", "POST", "s3cret", 307, 1, ""},
		{"/302", "POST", "s3cret", 200, 1, "GET"},
		{"/303", "POST", "s3cret", 200, 1, "GET"},
		{"/307", "GET", "", 200, 1, "GET"},
		{"/308", "POST", "", 200, 1, "POST"},
	} {
		o := observeHTTP(t, site+c.path, patience, func(o *httpOptions) { o.Method, o.Body = c.method, c.body })
		wantFacts(t, o, check.FactsOf(map[string]any{"status": c.status, "redirects": c.redirects}))
		sent := ""
		if len(asked) > 0 {
			sent = <-asked
		}
		why, told := o.Because["status"]
		if sent != c.sent || told != (c.status != 200) || told && !strings.Contains(why.Message, "leads to another origin, "+far+", and the request's body") {
			t.Errorf("%s %s: the far origin got %q, want %q; because %+v", c.method, c.path, sent, c.sent, why)
		}
	}
}

func TestRedirectMethods(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("/echo", testnet.Site())
	for _, status := range []int{301, 302, 303, 307, 308} {
		mux.Handle(fmt.Sprintf("/%d", status), http.RedirectHandler("/echo", status))
	}
	site := httpSite(t, nil, mux)
	for _, c := range []struct {
		status       int
		method, want string
		body         string
	}{
		{301, "POST", "GET", ""},
		{302, "POST", "GET", ""},
		{303, "POST", "GET", ""},
		{303, "PUT", "GET", ""},
		{302, "PUT", "PUT", "hello"},
		{307, "POST", "POST", "hello"},
		{308, "POST", "POST", "hello"},
	} {
		o := observeHTTP(t, fmt.Sprintf("%s/%d", site, c.status), patience, func(o *httpOptions) {
			o.Method, o.Body, o.Headers = c.method, "hello", map[string]string{"Content-Type": "text/plain"}
		}, "json")
		method, body, h, _ := echoed(t, o)
		if method != c.want || body != c.body || (h["Content-Type"] != nil) != (c.body != "") {
			t.Errorf("%d %s: %s with %q and %v", c.status, c.method, method, body, h)
		}
	}
}

func TestB8ShortestLifetimeOfAllHops(t *testing.T) {
	t.Parallel()
	const days = 24 * time.Hour
	site := func(left time.Duration, handler http.Handler) string {
		return httpSite(t, serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}, NotAfter: time.Now().Add(left)}), handler)
	}
	to := func(url string) http.Handler { return http.RedirectHandler(url+"/", http.StatusFound) }
	plain := httpSite(t, nil, testnet.Site())
	for name, c := range map[string]struct {
		url  string
		want time.Duration
	}{
		"first":         {site(5*days, to(site(50*days, testnet.Site()))), 5 * days},
		"last":          {site(50*days, to(site(5*days, testnet.Site()))), 5 * days},
		"middle":        {site(50*days, to(site(5*days, to(site(20*days, testnet.Site()))))), 5 * days},
		"plain at last": {site(50*days, to(site(70*days, to(plain)))), 50 * days},
		"plain first":   {httpSite(t, nil, to(site(5*days, testnet.Site()))), 5 * days},
	} {
		o := observeHTTP(t, c.url, patience, func(o *httpOptions) { o.TLS.CA = caFile(t) })
		wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "cert.trusted": true}))
		wantLifetime(t, name, o, c.want)
	}
	// Each run is for itself, also where a connection is kept.
	var runs atomic.Int32
	soon := site(5*days, testnet.Site())
	probe := reusing(t, site(50*days, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if runs.Add(1) == 2 {
			http.Redirect(w, r, soon+"/", http.StatusFound)
		}
	})), nil)
	for i, want := range []time.Duration{50 * days, 5 * days, 50 * days} {
		wantLifetime(t, fmt.Sprint("run ", i), once(t, probe), want)
	}
}

// wantLifetime wants both lifetimes to be about so long.
func wantLifetime(t *testing.T, name string, o check.Observation, want time.Duration) {
	t.Helper()
	for _, fact := range []string{leafLifetime, chainLifetime} {
		if d, _ := o.Facts.Get(fact).(time.Duration); d > want || d < want-time.Hour {
			t.Errorf("%s: %s %v, want %v; failure %v", name, fact, d, want, o.Failure)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"http://a.test/x", "http://a.test:80/y", true},
		{"http://a.test/", "https://a.test/", true},
		{"https://a.test/", "http://a.test/", false},
		{"http://a.test:8080/", "https://a.test/", false},
		{"https://a.test/", "https://b.a.test/", false},
		{"https://a.test/", "https://a.test:8443/", false},
	} {
		a, _ := url.Parse(c.a)
		b, _ := url.Parse(c.b)
		if sameOrigin(a, b) != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.want)
		}
	}
}
