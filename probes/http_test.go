package probes

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// httpSite serves the handler until the test ends and returns its URL without
// a path.
func httpSite(t *testing.T, cfg *tls.Config, handler http.Handler) string {
	t.Helper()
	server, err := testnet.ListenHTTP(cfg, handler)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, server)
	if cfg != nil {
		return "https://" + server.Addr()
	}
	return "http://" + server.Addr()
}

// rawSite serves each connection with the handler and returns its URL.
func rawSite(t *testing.T, handler func(net.Conn)) string {
	t.Helper()
	host, port := listen(t, handler)
	return "http://" + net.JoinHostPort(host, port)
}

// buildHTTP builds a check of the URL.
func buildHTTP(t *testing.T, target string, change func(*httpOptions), facts ...string) check.Plan {
	t.Helper()
	o := newHTTPOptions()
	o.URL = target
	if change != nil {
		change(o)
	}
	setup := needs(facts...)
	setup.Version = "test"
	plan, err := o.Build(setup)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// observeHTTP observes the URL once.
func observeHTTP(t *testing.T, target string, d time.Duration, change func(*httpOptions), facts ...string) check.Observation {
	t.Helper()
	return buildHTTP(t, target, change, facts...).Probe.Observe(timeout(t, d))
}

func TestHTTPFactsOfEachVersion(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}})
	plain, secure := httpSite(t, nil, testnet.Site()), httpSite(t, cfg, testnet.Site())
	for _, c := range []struct{ name, url, option, version, alpn string }{
		{"http", plain, "auto", "1.1", ""},
		{"http2 prior knowledge", plain, "2", "2", ""},
		{"https auto", secure, "auto", "2", "h2"},
		{"https 2", secure, "2", "2", "h2"},
		{"https 1.1", secure, "1.1", "1.1", "http/1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := observeHTTP(t, c.url+"/json", patience, func(o *httpOptions) {
				o.Version, o.TLS.CA = c.option, caFile(t)
			}, "body", "json", "headers")
			wantFacts(t, o, check.FactsOf(map[string]any{
				"status": 200, "version": c.version, "content_type": "application/json", "size": 63, "truncated": false,
				"encoding": "", "url": c.url + "/json", "redirects": 0, "proxy": "", "ip": "127.0.0.1", "family": 4,
				"body": `{"status":"ok","version":3,"items":[{"name":"a"},{"name":"b"}]}`,
				"json": map[string]any{
					"status": "ok", "version": 3.0,
					"items": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}},
				},
			}))
			if c.alpn != "" {
				wantFacts(t, o, check.FactsOf(map[string]any{"tls.alpn": c.alpn, "cert.trusted": true, "cert.hostname_ok": true}))
			}
			if h := o.Facts.Get("headers").(map[string]string); h["content-type"] != "application/json" {
				t.Errorf("headers %v", h)
			}
			for _, f := range httpFacts() {
				if v, ok := o.Facts.Lookup(f.Name); ok && !f.Type.Accepts(v) {
					t.Errorf("%s is a %T, want a %s", f.Name, v, f.Type)
				}
			}
			for _, phase := range []string{check.PhaseConnect, check.PhaseSend, check.PhaseWait, check.PhaseTransfer} {
				if _, ok := o.Phases.Get(phase); !ok {
					t.Errorf("no phase %s in %v", phase, o.Phases)
				}
			}
		})
	}
}

func TestHTTPCostlyFactsOnlyWhenNeeded(t *testing.T) {
	t.Parallel()
	o := observeHTTP(t, httpSite(t, nil, testnet.Site())+"/json", patience, nil)
	for _, name := range []string{"body", "json", "headers"} {
		if v, ok := o.Facts.Lookup(name); ok {
			t.Errorf("%s is %v though nobody asked", name, v)
		}
	}
}

// echoed is the answer of testnet's /echo.
func echoed(t *testing.T, o check.Observation) (method, body string, headers map[string]any, all map[string]any) {
	t.Helper()
	wantFacts(t, o, check.FactsOf(map[string]any{"status": 200}))
	all, ok := o.Facts.Get("json").(map[string]any)
	if !ok {
		t.Fatalf("no JSON: %v", o.Because)
	}
	return all["method"].(string), all["body"].(string), all["headers"].(map[string]any), all
}

func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	site := httpSite(t, nil, testnet.Site())
	headers := tempFile(t, "headers", []byte("# more\nX-Filed: from a file\n\n"))
	big := strings.Repeat("0123456789abcdef", 20_000) // above the first windows
	bodyFile := tempFile(t, "body", []byte(big))
	for _, version := range []string{"1.1", "2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			o := observeHTTP(t, site+"/echo?q=1", patience, func(o *httpOptions) {
				o.Version, o.Headers, o.HeadersFile = version, map[string]string{"X-One": "1", "Host": "other.test"}, headers
				o.Body = "hello"
			}, "json")
			method, body, h, all := echoed(t, o)
			if method != "POST" || body != "hello" || all["host"] != "other.test" || all["path"] != "/echo?q=1" {
				t.Errorf("sent %v", all)
			}
			want := map[string]any{
				"X-One": []any{"1"}, "X-Filed": []any{"from a file"}, "User-Agent": []any{"sonde/test"}, "Accept": []any{"*/*"},
				"Content-Length": []any{"5"},
			}
			if version == "1.1" {
				want["Connection"] = []any{"close"}
			}
			if diff := cmp.Diff(want, h); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			o = observeHTTP(t, site+"/echo", patience, func(o *httpOptions) {
				o.Version, o.BodyFile, o.Method = version, bodyFile, "put"
			}, "json")
			if method, body, _, _ = echoed(t, o); method != "PUT" || body != big {
				t.Errorf("%s with %d bytes, want PUT with %d", method, len(body), len(big))
			}
			wantFacts(t, observeHTTP(t, site+"/bytes/100", patience, func(o *httpOptions) {
				o.Version, o.Method = version, "HEAD"
			}), check.FactsOf(map[string]any{"status": 200, "size": 0}))
			wantFacts(t, observeHTTP(t, site+"/status/204", patience, func(o *httpOptions) { o.Version = version }),
				check.FactsOf(map[string]any{"status": 204, "size": 0}))
		})
	}
}

func TestHTTPAuth(t *testing.T) {
	t.Parallel()
	site := httpSite(t, nil, testnet.Site())
	withUser := strings.Replace(site, "http://", "http://user:password@", 1)
	for name, c := range map[string]struct {
		url    string
		auth   httpAuth
		status int
	}{
		"none":     {site + "/private", httpAuth{}, 401},
		"wrong":    {site + "/private", httpAuth{Username: "user", Password: "wrong"}, 401},
		"basic":    {site + "/private", httpAuth{Username: "user", Password: "password"}, 200},
		"from URL": {withUser + "/private", httpAuth{}, 200},
	} {
		plan := buildHTTP(t, c.url, func(o *httpOptions) { o.Auth = c.auth })
		if strings.Contains(plan.Target, "password") {
			t.Errorf("%s: target %s", name, plan.Target)
		}
		wantFacts(t, plan.Probe.Observe(timeout(t, patience)), check.FactsOf(map[string]any{"status": c.status, "url": site + "/private"}))
	}
	o := observeHTTP(t, site+"/echo", patience, func(o *httpOptions) { o.Auth.Token = "t0ken" }, "json")
	if _, _, h, _ := echoed(t, o); !cmp.Equal(h["Authorization"], []any{"Bearer t0ken"}) {
		t.Errorf("headers %v", h)
	}
}

func TestHTTPPinKeepsHostAndSNI(t *testing.T) {
	t.Parallel()
	names := make(chan string, 1)
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"pinned.test"}})
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- hello.ServerName
		return nil, nil
	}
	site := httpSite(t, cfg, testnet.Site())
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(site, "https://"))
	plan := buildHTTP(t, "https://pinned.test:"+port+"/echo", func(o *httpOptions) {
		o.Address, o.TLS.CA = "127.0.0.1", caFile(t)
	}, "json")
	o := plan.Probe.Observe(timeout(t, patience))
	_, _, _, all := echoed(t, o)
	if sni := <-names; sni != "pinned.test" || all["host"] != "pinned.test:"+port {
		t.Errorf("sni %s, host %s", sni, all["host"])
	}
	wantFacts(t, o, check.FactsOf(map[string]any{"cert.hostname_ok": true, "ip": "127.0.0.1"}))
	if line := o.Reproduce(); !strings.Contains(line, "--resolve pinned.test:"+port+":127.0.0.1") {
		t.Errorf("reproduce: %s", line)
	}
}

func TestHTTPUnverifiedPeerGetsNoRequest(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10)
	count := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })
	for name, c := range map[string]struct {
		cert testnet.CertOptions
		code check.Code
	}{
		"expired":     {testnet.CertOptions{Names: []string{"127.0.0.1"}, NotAfter: time.Now().Add(-time.Hour)}, check.TLSExpired},
		"other host":  {testnet.CertOptions{Names: []string{"other.test"}}, check.TLSHostname},
		"self signed": {testnet.CertOptions{Names: []string{"127.0.0.1"}, SelfSigned: true}, check.TLSSelfSigned},
	} {
		site := httpSite(t, serverConfig(t, c.cert), count)
		o := observeHTTP(t, site, patience, func(o *httpOptions) { o.TLS.CA = caFile(t) })
		if o.Failure.Code != c.code || o.Facts.Get("cert.not_after") == nil || len(asked) != 0 {
			t.Errorf("%s: %v, facts %v, %d requests", name, o.Failure, o.Facts, len(asked))
		}
		o = observeHTTP(t, site, patience, func(o *httpOptions) { o.TLS.CA, o.TLS.Insecure = caFile(t), true })
		wantFacts(t, o, check.FactsOf(map[string]any{"status": 200}))
		if o.Facts.Get("cert.trusted") == true && o.Facts.Get("cert.hostname_ok") == true || len(asked) != 1 {
			t.Errorf("%s, insecure: facts %v, %d requests", name, o.Facts, len(asked))
		}
		<-asked
	}
}

func TestB19HTTPClientCertificate(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}})
	cfg.ClientAuth = tls.RequireAnyClientCert
	for _, version := range []string{"1.1", "2"} {
		site := httpSite(t, cfg.Clone(), testnet.Site())
		o := observeHTTP(t, site, patience, func(o *httpOptions) { o.TLS.CA, o.Version = caFile(t), version })
		wantFailure(t, o, check.TLSClientCert, "client certificate")
	}
}

func TestHTTPDecoding(t *testing.T) {
	t.Parallel()
	for _, c := range encodings(t, "hello from inside") {
		site := rawSite(t, testnet.Reply(response("Content-Encoding: "+c.name, c.text)))
		o := observeHTTP(t, site, patience, nil, "body")
		wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "encoding": c.name, "body": "hello from inside", "size": 17}))
	}
	site := httpSite(t, nil, testnet.Site())
	o := observeHTTP(t, site+"/echo", patience, func(o *httpOptions) { o.Compression = "any" }, "json")
	if _, _, h, _ := echoed(t, o); !cmp.Equal(h["Accept-Encoding"], []any{"gzip, deflate, br, zstd"}) {
		t.Errorf("headers %v", h)
	}
	empty := rawSite(t, testnet.Reply(response("Content-Encoding: gzip", "")))
	wantFacts(t, observeHTTP(t, empty, patience, nil), check.FactsOf(map[string]any{"size": 0}))
}

func TestHTTPBodyLimit(t *testing.T) {
	t.Parallel()
	site := httpSite(t, nil, testnet.Site())
	limit := func(o *httpOptions) { o.MaxBody = 1000 }
	for _, version := range []string{"1.1", "2"} {
		change := func(o *httpOptions) { limit(o); o.Version = version }
		wantFacts(t, observeHTTP(t, site+"/bytes/1000", patience, change, "body"),
			check.FactsOf(map[string]any{"size": 1000, "truncated": false, "body": strings.Repeat("\x00", 1000)}))
		o := observeHTTP(t, site+"/bytes/100000", patience, change, "body", "json")
		wantFacts(t, o, check.FactsOf(map[string]any{"truncated": true, "size": nil, "body": nil, "json": nil}))
		for _, fact := range []string{"size", "body", "json"} {
			if o.Because[fact].Code != check.HTTPBodyTooLarge {
				t.Errorf("%s because %v", fact, o.Because[fact])
			}
		}
	}
}

func TestHTTPProxy(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"far.test"}})
	plain, secure := httpSite(t, nil, testnet.Site()), httpSite(t, cfg, testnet.Site())
	proxy, asked := proxyTo(t, strings.TrimPrefix(plain, "http://"), strings.TrimPrefix(secure, "https://"))
	withUser := "http://me:pr0xypass@" + proxy
	env := func(vars map[string]string) check.Setup {
		s := needs("json")
		s.Getenv = func(name string) string { return vars[name] }
		return s
	}
	for name, c := range map[string]struct {
		url, option string
		env         map[string]string
		want        string // what the proxy was asked, "" when it was not
	}{
		"explicit http":  {"http://far.test/echo", withUser, nil, "GET http://far.test/echo Basic bWU6cHIweHlwYXNz"},
		"explicit https": {"https://far.test/echo", withUser, nil, "CONNECT far.test:443 Basic bWU6cHIweHlwYXNz"},
		"env http":       {"http://far.test/echo", "env", map[string]string{"HTTP_PROXY": withUser}, "GET http://far.test/echo Basic bWU6cHIweHlwYXNz"},
		"env https":      {"https://far.test/echo", "env", map[string]string{"https_proxy": proxy}, "CONNECT far.test:443 "},
		"no_proxy":       {plain + "/echo", "env", map[string]string{"http_proxy": proxy, "NO_PROXY": "127.0.0.1"}, ""},
		"not asked for":  {plain + "/echo", "", map[string]string{"HTTP_PROXY": proxy, "http_proxy": proxy}, ""},
	} {
		o := newHTTPOptions()
		o.URL, o.Proxy, o.TLS.CA = c.url, c.option, caFile(t)
		plan, err := o.Build(env(c.env))
		if err != nil {
			t.Fatal(name, err)
		}
		seen := plan.Probe.Observe(timeout(t, patience))
		wantFacts(t, seen, check.FactsOf(map[string]any{"status": 200}))
		got := ""
		select {
		case got = <-asked:
		default:
		}
		used := seen.Facts.Get("proxy") == "http://"+proxy
		if got != c.want || used != (c.want != "") {
			t.Errorf("%s: the proxy was asked %q, want %q; fact %v", name, got, c.want, seen.Facts.Get("proxy"))
		}
		if mask := check.NewMask(plan.Secrets...); c.option == withUser && strings.Contains(mask.String(seen.Reproduce()), "pr0xypass") {
			t.Errorf("%s: %s", name, seen.Reproduce())
		}
	}
}

func TestC19ProxyRefuses(t *testing.T) {
	t.Parallel()
	proxy := rawSite(t, testnet.Reply("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
	o := observeHTTP(t, "https://far.test/", patience, func(o *httpOptions) { o.Proxy = proxy })
	wantFailure(t, o, check.HTTPStatus, "proxy "+strings.TrimPrefix(proxy, "http://")+": CONNECT far.test:443 was answered with status 407")
	host, port := refused(t)
	o = observeHTTP(t, "https://far.test/", patience, func(o *httpOptions) { o.Proxy = "http://" + net.JoinHostPort(host, port) })
	wantFailure(t, o, check.ConnectRefused, "proxy ")
}

func TestHTTPOptionErrors(t *testing.T) {
	t.Parallel()
	missing := tempFile(t, "gone", nil)
	if err := os.Remove(missing); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*httpOptions)
		want   string // option and a part of the message
	}{
		"no URL":           {func(o *httpOptions) { o.URL = "" }, "url: is empty"},
		"no scheme":        {func(o *httpOptions) { o.URL = "example.com/x" }, "url: needs http:// or https://"},
		"other scheme":     {func(o *httpOptions) { o.URL = "ftp://example.com/" }, "url: needs http:// or https://"},
		"no host":          {func(o *httpOptions) { o.URL = "http:///x" }, "url: has no host"},
		"control":          {func(o *httpOptions) { o.URL = "http://example.com/\r\nX: y" }, "url: is no valid URL"},
		"port":             {func(o *httpOptions) { o.URL = "http://example.com:99999/" }, "url: port 99999"},
		"bad host":         {func(o *httpOptions) { o.URL = "http://exa mple.com/" }, "url: is no valid URL"},
		"bad IDN":          {func(o *httpOptions) { o.URL = "http://a\u200d.example/" }, "url: host"},
		"password hidden":  {func(o *httpOptions) { o.URL = "http://u:p@ss w:x@h:port/" }, "url: is no valid URL"},
		"label":            {func(o *httpOptions) { o.URL = "http://a..b/" }, "url: host"},
		"I7 header value":  {func(o *httpOptions) { o.Headers = map[string]string{"X": "a\r\nY: b"} }, "headers.X: the value holds a line break"},
		"I7 header name":   {func(o *httpOptions) { o.Headers = map[string]string{"X\r\nY": "b"} }, "is no header name"},
		"own header":       {func(o *httpOptions) { o.Headers = map[string]string{"Content-Length": "1"} }, "headers.Content-Length: sonde sets"},
		"header twice":     {func(o *httpOptions) { o.Headers = map[string]string{"x-a": "1", "X-A": "2"} }, "given twice"},
		"headers file":     {func(o *httpOptions) { o.HeadersFile = missing }, "headers_file: "},
		"body file":        {func(o *httpOptions) { o.BodyFile = missing }, "body_file: "},
		"two bodies":       {func(o *httpOptions) { o.Body, o.BodyFile = "x", missing }, "body_file: there is a body too"},
		"method":           {func(o *httpOptions) { o.Method = "GE T" }, "method: "},
		"connect":          {func(o *httpOptions) { o.Method = "CONNECT" }, "method: CONNECT"},
		"two auths":        {func(o *httpOptions) { o.Auth = httpAuth{Username: "u", Token: "t"} }, "auth: both"},
		"auth and header":  {func(o *httpOptions) { o.Auth.Token = "t"; o.Headers = map[string]string{"authorization": "x"} }, "auth: the header Authorization"},
		"token":            {func(o *httpOptions) { o.Auth.Token = "a\nb" }, "auth: the value holds a line break"},
		"redirects":        {func(o *httpOptions) { o.Redirects = -1 }, "redirects: -1"},
		"version":          {func(o *httpOptions) { o.Version = "3" }, "version: "},
		"compression":      {func(o *httpOptions) { o.Compression = "lzma" }, "compression: "},
		"proxy scheme":     {func(o *httpOptions) { o.Proxy = "socks4://h:1" }, "proxy: has the scheme socks4"},
		"proxy and pin":    {func(o *httpOptions) { o.Proxy, o.Address = "http://h:1", "127.0.0.1" }, "address: goes with no proxy"},
		"address":          {func(o *httpOptions) { o.Address = "nowhere" }, "address: "},
		"tls":              {func(o *httpOptions) { o.TLS.CA = missing }, "tls.ca: "},
		"family of the IP": {func(o *httpOptions) { o.URL, o.Family = "http://127.0.0.1/", "6" }, "url: "},
	} {
		o := newHTTPOptions()
		o.URL = "http://example.com/"
		c.change(o)
		_, err := o.Build(needs())
		var oe *check.OptionError
		if err == nil || !errors.As(err, &oe) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "p@ss") {
			t.Errorf("%s: the password is in %v", name, err)
		}
	}
}

func TestHTTPTargets(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"https://Example.COM":             "https://example.com/",
		"http://example.com:8080/a?b=c#d": "http://example.com:8080/a?b=c",
		"https://bücher.example/ü":        "https://xn--bcher-kva.example/%C3%BC",
		"http://[::1]:80/":                "http://[::1]:80/",
		"http://my_service/":              "http://my_service/",
		"https://u:s3cret@example.com/":   "https://example.com/",
		"example.com":                     "https://example.com/",
		"http://x/?a b\"ü":                "http://x/?a%20b%22%C3%BC",
		"http://x/?a[]={1}|%20'":          "http://x/?a[]={1}|%20'",
	} {
		o := newHTTPOptions()
		if err := o.SetTarget(target); err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		plan, err := o.Build(needs())
		if err != nil || plan.Target != want {
			t.Errorf("%s: %s, %v, want %s", target, plan.Target, err, want)
		}
	}
}

func TestHTTPTargetWithoutSlashes(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"http:/example.com", "HTTPS:example.com/a://b"} {
		err := newHTTPOptions().SetTarget(target)
		if err == nil || !strings.Contains(err.Error(), "needs two slashes") {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// TestHTTPReproducePatterns keeps curl from taking a URL for a pattern and from
// tidying its path.
func TestHTTPReproducePatterns(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"http://x.test/?a[]=1":  " -g 'http://x.test/?a[]=1'",
		"http://x.test/?{a}":    " -g 'http://x.test/?{a}'",
		"http://x.test/a/../b":  " --path-as-is http://x.test/a/../b",
		"http://x.test/a/..":    " --path-as-is http://x.test/a/..",
		"http://[::1]/a/..b/.c": " --noproxy '*' 'http://[::1]/a/..b/.c'",
	} {
		o := newHTTPOptions()
		o.URL = target
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		if line := plan.Probe.(*httpProbe).reproduce(0, netip.Addr{}); !strings.HasSuffix(line, want) {
			t.Errorf("%s: %s", target, line)
		}
	}
}
