package probes

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// warmSite notes what it was asked, in the words of the function.
func warmSite(t *testing.T, handle func(w http.ResponseWriter, r *http.Request)) (site string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	site = httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all = append(all, r.URL.Path+" "+r.Header.Get("Cookie")+" "+r.Header.Get("Authorization"))
		mu.Unlock()
		handle(w, r)
	}))
	return site, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// wantWarm holds that the second request was made and got the status.
func wantWarm(t *testing.T, o check.Observation, status int) {
	t.Helper()
	if !o.Failure.IsZero() || o.Facts.Get("warm.possible") != true || o.Facts.Get("warm.status") != status {
		t.Errorf("%v: %v", o.Failure, o.Facts)
	}
}

// TestBothSendsTheSame asks with what is known at run time only: cookies that a
// redirect has set, and a token. The second request is the first once more, also
// when the response between them sets a cookie that an expectation looks at.
func TestBothSendsTheSame(t *testing.T) {
	t.Parallel()
	site, asked := warmSite(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/":
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "0123456789"})
			http.Redirect(w, r, "/home", http.StatusFound)
		case r.Header.Get("Cookie") != "session=0123456789" || r.Header.Get("Authorization") != "Bearer t0ken-1":
			w.WriteHeader(http.StatusForbidden)
		default:
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "yes"})
		}
	})
	for _, needs := range [][]string{nil, {"cookies"}} {
		s := newIssuer(t, `,"expires_in":3600`)
		o := observeHTTP(t, site, patience, func(o *httpOptions) { both(o); grantOf(s.url)(o) }, needs...)
		if o.Facts.Get("status") != 200 {
			t.Errorf("status %v", o.Facts.Get("status"))
		}
		wantWarm(t, o, 200)
	}
	if got := asked(); len(got) != 6 || got[1] != got[2] || got[4] != got[5] || got[2] != got[5] {
		t.Errorf("asked %q", got)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("t0ken-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := observeHTTP(t, site, patience, func(o *httpOptions) { both(o); o.Auth.TokenFile = file })
	wantWarm(t, o, 200)
}

// TestBothDigest has a server that takes each count of its nonce once, and one
// that takes each nonce once.
func TestBothDigest(t *testing.T) {
	t.Parallel()
	for qop, once := range map[string]bool{`, qop="auth"`: false, `, qop="auth", algorithm=SHA-256-sess`: false, `, algorithm=MD5`: true} {
		var counts []string
		site, _ := warmSite(t, func(w http.ResponseWriter, r *http.Request) {
			challenge := `Digest realm="r", nonce="n"` + qop
			all, err := parseChallenges(r.Header.Get("Authorization"))
			if err == nil && len(all) == 1 {
				p, asked := all[0].params, &all[0]
				nth := uint32(len(counts) + 1)
				counts = append(counts, p["nc"])
				if !once {
					p["qop"] = "auth"
				}
				want, _ := asked.answer(&digestLogin{"me", "secret"}, r.Method, r.RequestURI, p["cnonce"], nth)
				if want == r.Header.Get("Authorization") && (!once || nth == 1) {
					return
				}
				challenge += ", stale=true"
			}
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		})
		o := observeHTTP(t, site, patience, func(o *httpOptions) { both(o); digestOf("me", "secret")(o) })
		if o.Facts.Get("status") != 200 || len(counts) != 2 {
			t.Errorf("%s: %v: %v, counts %q", qop, o.Failure, o.Facts, counts)
		}
		if !once {
			wantWarm(t, o, 200)
			continue
		}
		if because := o.Because["warm.status"].Message; o.Facts.Get("warm.possible") != false || !strings.Contains(because, "digest") {
			t.Errorf("%s: %v, because %q", qop, o.Facts, because)
		}
	}
}

// TestOAuth2Spreads goes to several addresses with one token.
func TestOAuth2Spreads(t *testing.T) {
	t.Parallel()
	site, asked := warmSite(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(site, "http://"))
	for _, change := range []func(*httpOptions){
		func(o *httpOptions) { o.Family = "both" },
		func(o *httpOptions) { o.Address, o.Require = "all", "any" },
	} {
		s := newIssuer(t, `,"expires_in":3600`)
		before := len(asked())
		plan := buildHTTP(t, "http://localhost:"+port, func(o *httpOptions) { grantOf(s.url)(o); change(o) })
		spread, ok := plan.Probe.(check.Spreader)
		if !ok {
			t.Fatalf("%T", plan.Probe)
		}
		parts := spread.Spread(timeout(t, patience)).Parts
		if len(parts) == 0 {
			t.Fatal("no parts")
		}
		for _, part := range parts {
			part.Probe.Observe(timeout(t, patience))
		}
		got := asked()[before:]
		if s.times() != 1 || len(got) == 0 {
			t.Errorf("fetched %d times, asked %q", s.times(), got)
		}
		for _, one := range got {
			if one != "/  Bearer t0ken-1" {
				t.Errorf("asked %q", one)
			}
		}
	}
}

// TestUnixRefusesTheWayToHosts names each option that a socket makes useless.
func TestUnixRefusesTheWayToHosts(t *testing.T) {
	t.Parallel()
	for option, change := range map[string]func(*httpOptions){
		"interface": func(o *httpOptions) { o.Interface = "lo" },
		"dns":       func(o *httpOptions) { o.DNS = dnsCached },
		"search":    func(o *httpOptions) { o.Search = true },
		"address":   func(o *httpOptions) { o.Address = "all" },
		"family":    func(o *httpOptions) { o.Family = "both" },
		"":          func(o *httpOptions) { o.Address, o.Family, o.DNS = "any", "any", dnsFresh },
	} {
		o := newHTTPOptions()
		o.URL, o.Unix = "http://localhost/", "/run/a.sock"
		change(o)
		_, err := o.Build(needs("status"))
		if option == "" && err != nil || option != "" && (err == nil || !strings.Contains(fmt.Sprint(err), option+": goes with no unix")) {
			t.Errorf("%s: %v", option, err)
		}
	}
}

// TestOAuth2GoesThroughTheProxy takes the whole of the way through it.
func TestOAuth2GoesThroughTheProxy(t *testing.T) {
	t.Parallel()
	plan := buildHTTP(t, "http://a.test/", func(o *httpOptions) {
		grantOf("http://tokens.test/")(o)
		o.Proxy, o.ProxyTLS.CA = "https://proxy.test", caFile(t)
	})
	p := plan.Probe.(*httpProbe)
	if got := p.tokens.probe.options.Proxied; got != p.options.Proxied {
		t.Errorf("the token comes through %+v", got)
	}
}

// TestHugeBodyHasNoReproduceLine keeps reports short.
func TestHugeBodyHasNoReproduceLine(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]bool{1 << 10: true, 1 << 20: false} {
		o := observeHTTP(t, "http://127.0.0.1:1/", patience, func(o *httpOptions) { o.Body = strings.Repeat("x", size) })
		if line := o.Reproduce(); (line != "") != want {
			t.Errorf("a body of %d bytes: a line of %d", size, len(line))
		}
	}
}
