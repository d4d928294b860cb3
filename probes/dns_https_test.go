package probes

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// dohListen starts an HTTPS server for 127.0.0.1 and localhost and returns its
// host:port and the file of its authority.
func dohListen(t *testing.T, handler http.Handler, protocols ...string) (addr, roots string) {
	t.Helper()
	ca, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(testnet.CertOptions{Names: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := testnet.ListenHTTP(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protocols}, handler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	roots = filepath.Join(t.TempDir(), "ca.pem")
	write(t, roots, string(ca.PEM()))
	return server.Addr(), roots
}

func TestDNSOverHTTPS(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1", "web.test. 90 IN A 192.0.2.2")
	mux := http.NewServeMux()
	mux.Handle("/dns-query", testnet.DoH(z.Serve))
	mux.HandleFunc("/aged", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Age", "45")
		testnet.DoH(z.Serve).ServeHTTP(w, r)
	})
	for _, protocol := range []string{"h2", "http/1.1"} {
		addr, roots := dohListen(t, mux, protocol)
		_, port := split(t, addr)
		version := strings.TrimPrefix(strings.TrimPrefix(protocol, "http/"), "h")
		for _, method := range []string{"GET", "POST"} {
			for _, server := range []string{"https://" + addr, "https://localhost:" + port + "/dns-query{?dns}", "https://" + addr + "/aged"} {
				o := observeDNS(t, buildDNS(t, server, func(o *dnsOptions) { o.Method, o.TLS.CA, o.Family = method, roots, "4" }), time.Minute)
				wantFailure(t, o, "")
				low := 60 * time.Second
				if strings.HasSuffix(server, "/aged") {
					low = 15 * time.Second
				}
				wantFacts(t, o, check.FactsOf(map[string]any{
					"transport": "https", "answer_count": 2, "cert.trusted": true, "cert.hostname_ok": true, "ttl.min": low,
					"http.status": 200, "http.version": version, "tls.alpn": protocol,
				}))
				for _, phase := range []string{check.PhaseConnect, check.PhaseTLS, check.PhaseSend, check.PhaseWait, check.PhaseTransfer} {
					if _, ok := o.Phases.Get(phase); !ok {
						t.Errorf("%s %s: no phase %s", method, server, phase)
					}
				}
			}
		}
	}
}

// The route's resolver may be one over HTTPS. It is verified as browsers do.
func TestResolveOverHTTPS(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1", "web.test. 60 IN AAAA 2001:db8::1")
	addr, roots := dohListen(t, testnet.DoH(z.Serve), "h2", "http/1.1")
	_, port := split(t, addr)
	resolver := "https://localhost:" + port + "/dns-query"
	_, reason := begin().resolve(within(t, time.Minute), &router{resolver: mustServer(t, resolver)}, "web.test")
	if code(reason) != check.TLSUntrusted {
		t.Errorf("an untrusted resolver: %+v", reason)
	}
	o := observeDNS(t, buildDNS(t, "", func(o *dnsOptions) { o.Resolver, o.TLS.CA, o.Type = resolver, roots, "AAAA" }), time.Minute)
	wantFacts(t, o, check.FactsOf(map[string]any{"transport": "https", "answers": []string{"2001:db8::1"}}))
	_, reason = begin().resolve(within(t, time.Minute), &router{resolver: mustServer(t, "https://127.0.0.1:1")}, "web.test")
	if code(reason) != check.ConnectRefused {
		t.Errorf("a closed port: %+v", reason)
	}
}

// E19: servers of DNS over HTTPS that answer with something else.
func TestE19HostileDoH(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	as := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(body)) // the client may have had enough
		}
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", dohType)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}
	stalled := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", dohType)
		_, _ = w.Write([]byte{0, 0})
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	otherName := func(q *testnet.DNSQuery) {
		m := q.Answer()
		m.Question[0].Name = "evil.test."
		q.ReplyMsg(m)
	}
	tests := []struct {
		name    string
		handler http.Handler
		want    check.Code
		says    string
	}{
		{"web page", as("text/html; charset=utf-8", "<html>log in</html>"), check.DNSMalformed, "text/html"},
		{"no type", as("", "x"), check.DNSMalformed, dohType},
		{"status 404", http.NotFoundHandler(), check.HTTPStatus, "404"},
		{"redirect", http.RedirectHandler("https://192.0.2.1/", http.StatusFound), check.HTTPStatus, "302"},
		{"endless", http.HandlerFunc(endless), check.HTTPBodyTooLarge, "65535"},
		{"stalled", http.HandlerFunc(stalled), check.HTTPBodyTimeout, "2 bytes"},
		{"silent", testnet.DoH((*testnet.DNSQuery).Hang), check.DNSTimeout, "no answer"},
		{"empty", as(dohType, ""), check.DNSMalformed, ""},
		{"garbage", as(dohType, "\x00\x00garbage"), check.DNSMalformed, ""},
		{"another question", testnet.DoH(otherName), check.DNSMalformed, "another question"},
		{"compressed", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			testnet.DoH(z.Serve).ServeHTTP(w, r)
		}), check.DNSMalformed, "gzip"},
	}
	for _, tt := range tests {
		for _, protocol := range []string{"h2", "http/1.1"} {
			t.Run(tt.name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				addr, roots := dohListen(t, tt.handler, protocol)
				timeout := time.Minute
				if tt.name == "stalled" || tt.name == "silent" {
					timeout = short
				}
				p := buildDNS(t, "https://"+addr, func(o *dnsOptions) { o.TLS.CA = roots })
				o := inTime(timeout, func(d time.Duration) check.Observation { return observeDNS(t, p, d) }, endsAs(tt.want, tt.says))
				wantFailure(t, o, tt.want, tt.says)
			})
		}
	}
}

func TestParseDoH(t *testing.T) {
	for text, want := range map[string]string{
		"https://dns.test":                "https://dns.test/dns-query",
		"https://dns.test/":               "https://dns.test/dns-query",
		"https://[2001:db8::1]:444/q%20x": "https://[2001:db8::1]:444/q%20x",
		"https://[2001:db8::1]/q{?dns}":   "https://[2001:db8::1]/q",
		"https://192.0.2.1:443/resolve/":  "https://192.0.2.1/resolve/",
		"https://dns.test/q?dns=x":        "",
		"https://u:p@dns.test/q":          "",
		"https:///q":                      "",
		"http://dns.test/q":               "",
		"https://dns.test/q#x":            "",
		"https://dns.test:0/q":            "",
		"https://a..b/q":                  "",
	} {
		d, err := parseDoH(text)
		if err == nil && d.String() != want || err != nil && want != "" {
			t.Errorf("%s: %v, %v", text, d, err)
		}
	}
}

// FuzzDoHAnswer gives the reader of DNS over HTTPS any response.
func FuzzDoHAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: 2\r\n\r\n\x00\x00")
	f.Add("HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nAge: 5\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
	f.Add("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")
	q, err := newQuestion("web.test.", 1, 1, queryFlags{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, response string) {
		var x exchange
		err := x.https(&replay{said: bytes.NewReader([]byte(response)), step: 100}, "http/1.1", &doh{host: "dns.test", port: 443, path: "/"}, q)
		if err == nil && (len(x.answer) < dnsmsg.HeaderSize || len(x.answer) > maxDNSMessage || x.http.status != 200) {
			t.Errorf("accepted %q", x.answer)
		}
		var bad *dnsmsg.MalformedError
		var he *httpError
		if err != nil && !errors.As(err, &bad) && !errors.As(err, &he) && !ended(err) {
			t.Errorf("error %v of no kind", err)
		}
	})
}
