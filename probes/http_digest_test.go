package probes

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// TestDigestOfRFC7616 computes the examples of RFC 7616, section 3.9, and of
// RFC 2069 as its erratum has it.
func TestDigestOfRFC7616(t *testing.T) {
	t.Parallel()
	const nonce, opaque, cnonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
	header := func(more string) string {
		return `Digest realm="http-auth@example.org", qop="auth, auth-int", nonce="` + nonce + `", opaque="` + opaque + `", ` + more
	}
	mufasa := &digestLogin{"Mufasa", "Circle of Life"}
	for _, c := range []struct {
		header   string
		login    *digestLogin
		uri      string
		response string
		more     string
	}{
		{header("algorithm=SHA-256"), mufasa, "/dir/index.html", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", ", algorithm=SHA-256,"},
		{header("algorithm=MD5"), mufasa, "/dir/index.html", "8ca523f5e9506fed4657c9700eebdbec", ", qop=auth, nc=00000001,"},
		{
			`Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			&digestLogin{"Mufasa", "CircleOfLife"}, "/dir/index.html", "1949323746fe6a43ef61f9606e7febea", `, opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
		},
	} {
		all, err := parseChallenges(c.header)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v, %v", c.header, all, err)
		}
		got, err := all[0].answer(c.login, "GET", c.uri, cnonce, 1)
		if err != nil || !strings.Contains(got, `response="`+c.response+`"`) || !strings.Contains(got, c.more) {
			t.Errorf("%s: %s, %v", c.header, got, err)
		}
	}
}

func TestParseChallenges(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                           "[]",
		`Basic`:                      "[{Basic map[]}]",
		`Basic realm="a, \"b\" = c"`: `[{Basic map[realm:a, "b" = c]}]`,
		`, Negotiate ab+/~==, ,Digest A = b,c=""`: "[{Negotiate map[]} {Digest map[a:b c:]}]",
		`Negotiate ab==`:                       "[{Negotiate map[]}]",
		`Digest qop=auth,nonce=x, Basic y="z"`: "[{Digest map[nonce:x qop:auth]} {Basic map[y:z]}]",
	} {
		got, err := parseChallenges(text)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{`a=b`, `Digest a="b`, `Digest a=b, c=`, `Digest a=b, a=c`, `"x"`, `Digest a=b c`, `Digest a=b, c==`, "Digest \x00"} {
		if got, err := parseChallenges(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzParseChallenges(f *testing.F) {
	f.Add(`Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256-sess, Basic x="\"`)
	f.Add(`Negotiate abc==, Digest`)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseChallenges(text)
		if err != nil {
			return
		}
		for _, c := range all {
			if c.usable() != nil {
				continue
			}
			got, err := c.answer(&digestLogin{"me", "s3cret"}, "GET", "/", "c", 1)
			if err != nil || strings.ContainsAny(got, "\r\n\x00") || strings.Contains(got, "s3cret") && !strings.Contains(text, "s3cret") {
				t.Errorf("%q: %q, %v", text, got, err)
			}
		}
	})
}

// digestSite challenges each request that has no digest, lets in the user me,
// whose password is secret, and says what it was asked.
func digestSite(t *testing.T, challenges ...string) (site string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	site = httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		header := r.Header.Get("Authorization")
		*asked = append(*asked, fmt.Sprintf("%s %s %t", r.Method, body, header != ""))
		if all, err := parseChallenges(header); err == nil && len(all) == 1 {
			p := all[0].params
			again := challenge{"Digest", p}
			for _, text := range challenges {
				one, _ := parseChallenges(text)
				if one[0].params["algorithm"] == p["algorithm"] {
					again = one[0]
				}
			}
			if want, err := again.answer(&digestLogin{"me", "secret"}, r.Method, r.RequestURI, p["cnonce"], 1); err == nil && want == header {
				fmt.Fprint(w, "welcome with "+p["algorithm"])
				return
			}
		}
		for _, text := range challenges {
			w.Header().Add("WWW-Authenticate", text)
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	return site, asked
}

func digestOf(user, password string) func(*httpOptions) {
	return func(o *httpOptions) {
		o.Auth.Type, o.Auth.Username, o.Auth.Password = "digest", user, password
	}
}

// TestHTTPDigest answers what servers ask, the strongest algorithm first.
func TestHTTPDigest(t *testing.T) {
	t.Parallel()
	const realm = `Digest realm="a \"b\"", nonce="n/+=", `
	for _, c := range []struct {
		challenges []string
		body       string
	}{
		{[]string{realm + `qop="auth"`}, "welcome with "},
		{[]string{realm + `opaque="\\"`}, "welcome with "},
		{[]string{realm + `algorithm=MD5-sess, qop="auth-int, auth"`}, "welcome with MD5-sess"},
		{[]string{realm + `algorithm=MD5, qop=auth`, realm + `algorithm=SHA-256, qop=auth`}, "welcome with SHA-256"},
		{[]string{`Basic realm="x"`, realm + `algorithm=SHA-256-sess, qop=auth, userhash=true, charset=UTF-8`}, "welcome with SHA-256-sess"},
		{[]string{realm + `algorithm=SHA-512-256, qop="auth"`}, "welcome with SHA-512-256"},
		{[]string{realm + `algorithm=SHA-999, qop=auth`, realm + `algorithm=md5, qop=auth`}, "welcome with md5"},
	} {
		for _, version := range []string{"1.1", "2"} {
			site, asked := digestSite(t, c.challenges...)
			o := observeHTTP(t, site+"/a?b=\"c", patience, func(o *httpOptions) {
				digestOf("me", "secret")(o)
				o.Version, o.Body = version, "hello"
			}, "body")
			wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "body": c.body, "auth.challenged": true, "redirects": 0}))
			if diff := cmp.Diff([]string{"POST hello false", "POST hello true"}, *asked); diff != "" {
				t.Errorf("%v: asked (-want +got):\n%s", c.challenges, diff)
			}
		}
	}
}

// TestHTTPDigestNotAsked sends nothing about the user when nobody asks.
func TestHTTPDigestNotAsked(t *testing.T) {
	t.Parallel()
	o := observeHTTP(t, httpSite(t, nil, testnet.Site())+"/echo", patience, digestOf("me", "secret"), "json")
	wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "auth.challenged": false}))
	if got := bearer(o); got != "" && got != "%!s(<nil>)" {
		t.Errorf("sent %q", got)
	}
}

// TestHTTPDigestRefused asks no third time.
func TestHTTPDigestRefused(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]string{
		"":             `status 401: the server refuses the digest of the user "me"`,
		", stale=true": `status 401: the server calls its own nonce stale (stale=true), which says nothing about the password of the user "me"`,
	} {
		site, asked := digestSite(t, `Digest realm="r", nonce="n", qop="auth"`+params)
		o := observeHTTP(t, site, patience, digestOf("me", "wrong"))
		wantFacts(t, o, check.FactsOf(map[string]any{"status": 401, "auth.challenged": true}))
		if why := o.Because["status"].Message; why != want || len(*asked) != 2 {
			t.Errorf("%q, asked %d times", why, len(*asked))
		}
	}
}

// TestHTTPDigestStale has a server whose nonces last for so many requests less than they
// should: a digest of a stale one is made anew, once.
func TestHTTPDigestStale(t *testing.T) {
	t.Parallel()
	for stale, want := range map[int]struct{ status, asked int }{0: {200, 2}, 1: {200, 3}, 2: {401, 3}} {
		asked := 0
		site := httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			all, err := parseChallenges(r.Header.Get("Authorization"))
			if body, _ := io.ReadAll(r.Body); string(body) != "hello" {
				t.Errorf("the body is %q", body)
			}
			asked++
			challenge := fmt.Sprintf(`Digest realm="r", nonce="n%d", qop="auth"`, asked)
			if err == nil && len(all) == 1 {
				p := all[0].params
				right, _ := all[0].answer(&digestLogin{"me", "secret"}, r.Method, r.RequestURI, p["cnonce"], 1)
				if last := fmt.Sprintf("n%d", asked-1); right != r.Header.Get("Authorization") || p["nonce"] != last {
					t.Errorf("request %d: %v", asked, p)
				}
				if asked > stale+1 {
					return
				}
				challenge += ", stale=TRUE"
			}
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		o := observeHTTP(t, site, patience, func(o *httpOptions) { digestOf("me", "secret")(o); o.Body = "hello" })
		if o.Facts.Get("status") != want.status || asked != want.asked {
			t.Errorf("stale %d times: %v %v, asked %d times", stale, o.Failure, o.Facts.Get("status"), asked)
		}
	}
}

// TestHTTPDigestHostile has challenges that cannot be answered: the response is
// the 401 that came, and says why.
func TestHTTPDigestHostile(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", maxNonce+1)
	for head, want := range map[string]string{
		"": "there is none of the scheme Digest",
		"WWW-Authenticate: Basic realm=\"x\"\r\n":                                              "there is none of the scheme Digest",
		"WWW-Authenticate: Digest\r\n":                                                         "it has no realm",
		"WWW-Authenticate: Digest realm=\"x\"\r\n":                                             "it has no nonce",
		"WWW-Authenticate: Digest realm=\"x\", nonce=\"" + long + "\"\r\n":                     `its "nonce" is longer than 4KiB`,
		"WWW-Authenticate: Digest realm=\"x\", nonce=y, opaque=\"" + long + "\"\r\n":           `its "opaque" is longer than 4KiB`,
		"WWW-Authenticate: Digest realm=\"x\", nonce=\"y\", algorithm=ROT13\r\n":               `its algorithm "ROT13" is not known`,
		"WWW-Authenticate: Digest realm=\"x\", nonce=\"y\", algorithm=\"MD5, x=\"\r\n":         `its algorithm "MD5, x=" is not known`,
		"WWW-Authenticate: Digest realm=\"x\", nonce=\"y\", qop=auth-int\r\n":                  `its qop "auth-int" has no auth`,
		"WWW-Authenticate: Digest realm=\"x\r\n":                                               "it is malformed at the parameter \"realm\"",
		"WWW-Authenticate: Digest nonce=a, nonce=b\r\n":                                        `it has the parameter "nonce" twice`,
		"WWW-Authenticate: ====\r\n":                                                           `it is malformed at "===="`,
		strings.Repeat("WWW-Authenticate: Digest x\r\n", 400):                                  "it has no realm",
		"WWW-Authenticate: Digest " + strings.Repeat("a", 10_000) + "=\"\"\r\n":                "it has no realm",
		"WWW-Authenticate: Digest " + strings.Repeat("Basic x=y, Digest ", 1000) + "z=x y\r\n": "it is malformed",
	} {
		asked := 0
		site := rawSite(t, func(conn net.Conn) {
			asked++
			testnet.Reply("HTTP/1.1 401 No\r\n" + head + "Content-Length: 0\r\n\r\n")(conn)
		})
		o := promptly(t, buildHTTP(t, site, digestOf("me", "secret")).Probe, patience)
		wantFacts(t, o, check.FactsOf(map[string]any{"status": 401, "auth.challenged": false}))
		why := o.Because["status"].Message
		if !strings.Contains(why, "its challenge cannot be answered with a digest") || !strings.Contains(why, want) || len(why) > 300 || asked != 1 {
			t.Errorf("%.80q: %q, asked %d times", head, why, asked)
		}
	}
}
