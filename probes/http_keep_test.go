package probes

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// reusing builds a check that keeps its connection, until the test ends.
func reusing(t *testing.T, target string, change func(*httpOptions)) check.Probe {
	t.Helper()
	probe := buildHTTP(t, target, func(o *httpOptions) {
		o.Connection = "reuse"
		if strings.HasPrefix(target, "https:") {
			o.TLS.CA = caFile(t)
		}
		if change != nil {
			change(o)
		}
	}).Probe
	t.Cleanup(func() { _ = probe.(check.Closer).Close() })
	return probe
}

func once(t *testing.T, p check.Probe) check.Observation {
	t.Helper()
	return p.Observe(timeout(t, patience))
}

// requests is a server that answers each request of each connection with what
// answer says for their numbers; "" closes the connection. It tells the methods.
func requests(t *testing.T, answer func(conn, request int) string) (url string, asked <-chan string) {
	t.Helper()
	seen := make(chan string, 64)
	var mu sync.Mutex
	conns := 0
	return rawSite(t, func(conn net.Conn) {
		mu.Lock()
		n := conns
		conns++
		mu.Unlock()
		in := bufio.NewReader(conn)
		for i := 0; ; i++ {
			request, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			seen <- request.Method
			text := answer(n, i)
			if _, err := io.WriteString(conn, text); err != nil || text == "" {
				return
			}
		}
	}), seen
}

func TestReuse(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}})
	plain, secure := httpSite(t, nil, testnet.Site()), httpSite(t, cfg, testnet.Site())
	proxy, _ := proxyTo(t, strings.TrimPrefix(plain, "http://"), strings.TrimPrefix(secure, "https://"))
	version := func(v string) func(*httpOptions) { return func(o *httpOptions) { o.Version = v } }
	for _, c := range []struct {
		name, url string
		change    func(*httpOptions)
	}{
		{"http", plain + "/", nil},
		{"json", plain + "/json", nil},
		{"chunked gzip", plain + "/gzip", func(o *httpOptions) { o.Compression = "gzip" }},
		{"HEAD", plain + "/", func(o *httpOptions) { o.Method = "HEAD" }},
		{"POST", plain + "/echo", func(o *httpOptions) { o.Body = "text" }},
		{"404", plain + "/status/404", nil},
		{"204", plain + "/status/204", nil},
		{"http2 prior knowledge", plain + "/bytes/300000", version("2")},
		{"http2 POST", secure + "/echo", func(o *httpOptions) { o.Body = strings.Repeat("x", 100_000) }},
		{"https", secure + "/", version("1.1")},
		{"https http2", secure + "/", version("2")},
		{"tunnel", secure + "/", func(o *httpOptions) { o.Proxy = proxy }},
	} {
		t.Run(c.name, func(t *testing.T) {
			probe := reusing(t, c.url, c.change)
			for i, want := range []string{"fresh", "reused", "reused", "reused"} {
				o := once(t, probe)
				wantFacts(t, o, check.FactsOf(map[string]any{"connection": want, "reconnected": false, "ip": "127.0.0.1", "family": 4}))
				age, known := o.Facts.Get("connection.age").(time.Duration)
				_, connected := o.Phases.Get(check.PhaseConnect)
				if !o.Failure.IsZero() || !known || (age > 0) != (i > 0) || connected != (i == 0) {
					t.Errorf("run %d: failure %v, age %v, phases %v", i, o.Failure, age, o.Phases)
				}
				if strings.HasPrefix(c.url, "https") {
					wantFacts(t, o, check.FactsOf(map[string]any{"cert.trusted": true, "cert.hostname_ok": true}))
				}
			}
		})
	}
}

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func TestReuseAfterTheServerClosed(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} { // nothing was sent, so both
		closed := make(chan struct{}, 4)
		site := rawSite(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, hello)
			}
			conn.Close()
			closed <- struct{}{}
		})
		probe := reusing(t, site, func(o *httpOptions) { o.Method = method })
		wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh", "reconnected": false}))
		<-closed
		wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh", "reconnected": true, "status": 200}))
	}
}

func TestReuseSendsAgainOnlyWhatIsHarmless(t *testing.T) {
	t.Parallel()
	for method, harmless := range map[string]bool{"GET": true, "HEAD": true, "PUT": true, "DELETE": true, "OPTIONS": true, "POST": false, "PATCH": false, "BREW": false} {
		site, asked := requests(t, func(conn, request int) string {
			switch {
			case conn == 0 && request == 1:
				return "" // closed with the request taken
			case method == "HEAD":
				return "HTTP/1.1 200 OK\r\n\r\n"
			default:
				return hello
			}
		})
		probe := reusing(t, site, func(o *httpOptions) { o.Method = method })
		wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh"}))
		o := once(t, probe)
		want := 2
		if harmless {
			want = 3
			wantFacts(t, o, check.FactsOf(map[string]any{"connection": "fresh", "reconnected": true, "status": 200}))
		} else {
			wantFailure(t, o, check.HTTPTruncated, "this was a kept connection, and "+method+" is not sent twice")
			wantFacts(t, o, check.FactsOf(map[string]any{"connection": "reused", "reconnected": false}))
		}
		if len(asked) != want {
			t.Errorf("%s: %d requests, want %d", method, len(asked), want)
		}
	}
}

func TestReuseSendsNothingAgainOnceAnAnswerBegan(t *testing.T) {
	t.Parallel()
	half := rawSite(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for _, text := range []string{hello, "H"} {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
		}
	})
	probe := reusing(t, half, nil)
	wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh"}))
	o := once(t, probe)
	wantFailure(t, o, check.HTTPTruncated, "after 1 bytes")
	wantFacts(t, o, check.FactsOf(map[string]any{"connection": "reused", "reconnected": false}))

	var asked <-chan string
	o = inTime(brief, func(d time.Duration) check.Observation {
		var site string
		site, asked = requests(t, func(conn, request int) string {
			if conn == 0 && request == 1 {
				return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhe"
			}
			return hello
		})
		probe = reusing(t, site, nil)
		once(t, probe)
		return probe.Observe(timeout(t, d))
	}, endsAs(check.HTTPBodyTimeout))
	if wantFailure(t, o, check.HTTPBodyTimeout); o.Facts.Get("reconnected") != false || len(asked) != 2 {
		t.Errorf("facts %v, %d requests", o.Facts, len(asked))
	}
	wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh", "reconnected": false}))
}

func TestA9C17NotKept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first  string
		change func(*httpOptions)
	}{
		"connection: close":    {"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\nhello", nil},
		"HTTP/1.0":             {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", nil},
		"bytes behind":         {hello + "x", nil},
		"larger than the rest": {"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + strings.Repeat("x", 5000), func(o *httpOptions) { o.MaxBody = 10 }},
		"chunks and more":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nx", nil},
		"bad encoding":         {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", nil},
		"malformed":            {"HTTP/1.1 2000 OK\r\n\r\n", nil},
		"switching":            {"HTTP/1.1 101 Switching Protocols\r\n\r\n", nil},
		"redirect":             {"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site, asked := requests(t, func(conn, _ int) string {
				if conn == 0 {
					return c.first
				}
				return hello
			})
			probe := reusing(t, site+"/first", c.change)
			once(t, probe)
			wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh", "reconnected": false}))
			if n := len(asked); n != 2 && name != "redirect" || n > 3 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestA9KeptConnectionGoesSilent has a peer that answers once and then never again
// on that connection: the run that finds out is down in time and asks no second
// time, the next has a fresh connection.
func TestA9KeptConnectionGoesSilent(t *testing.T) {
	t.Parallel()
	site, asked := requests(t, func(_, request int) string {
		if request == 0 {
			return hello
		}
		<-t.Context().Done()
		return ""
	})
	probe := reusing(t, site, nil)
	wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh", "status": 200}))
	o := probe.Observe(timeout(t, limited))
	wantFailure(t, o, check.HTTPHeaderTimeout)
	wantFacts(t, o, check.FactsOf(map[string]any{"connection": "reused"}))
	wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh", "reconnected": false, "status": 200}))
	for range 3 {
		<-asked // the server may read later what was sent in time
	}
	if n := len(asked); n != 0 {
		t.Errorf("%d requests more than 3", n)
	}
}

// TestNoWaitBehindTheBody wants the result as soon as the decoder has the body,
// whether or not the connection can be kept then.
func TestNoWaitBehindTheBody(t *testing.T) {
	t.Parallel()
	packed := squeeze(t, "deflate", "hello")
	chunk := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(packed), packed)
	large := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n01234567890123456789\r\n"
	for name, c := range map[string]struct {
		raw   string
		reuse string // what a second run finds
	}{
		"whole":           {chunk + "0\r\n\r\n", "reused"},
		"trailer":         {chunk + "0\r\nA: b\r\n\r\n", "reused"},
		"no last chunk":   {chunk, "fresh"},
		"part of it":      {chunk + "0", "fresh"},
		"no end of it":    {chunk + "0\r\n", "fresh"},
		"no end, trailer": {chunk + "0\r\nA: b\r\n", "fresh"},
		"bytes behind":    {chunk + "0\r\n\r\nx\r\n\r\n", "fresh"},
		"truncated":       {large + "0", "fresh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site, _ := requests(t, func(int, int) string { return c.raw })
			for _, connection := range []string{"fresh", "reuse"} {
				probe := reusing(t, site, func(o *httpOptions) { o.Connection, o.MaxBody = connection, 10 })
				want := "fresh"
				for range 2 {
					ctx := timeout(t, patience)
					o := probe.Observe(ctx)
					if ctx.Err() != nil || !o.Failure.IsZero() {
						t.Errorf("%s: %v after %v", connection, o.Failure, o.Latency)
					}
					wantFacts(t, o, check.FactsOf(map[string]any{"connection": want, "truncated": name == "truncated"}))
					if connection == "reuse" {
						want = c.reuse
					}
				}
			}
		})
	}
}

// TestBytesBehindOverTLS sends more than the response, in TLS records that come
// with it or later. None of it is the answer to the next request.
func TestBytesBehindOverTLS(t *testing.T) {
	t.Parallel()
	const forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
	for _, behind := range []string{"", "x", forged} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			cfg := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}})
			cfg.MaxVersion = version
			answered := make(chan struct{}, 8)
			host, port := gathered(t, cfg, func(conn net.Conn, send func()) {
				in := bufio.NewReader(conn)
				for {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					_, _ = io.WriteString(conn, hello)
					if behind != "" {
						_, _ = io.WriteString(conn, behind) // a record of its own
					}
					send()
					answered <- struct{}{}
				}
			})
			probe := reusing(t, "https://"+net.JoinHostPort(host, port), func(o *httpOptions) { o.Version = "1.1" })
			wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh", "size": 5}))
			<-answered
			for range 2 {
				o := once(t, probe)
				want := "reused"
				if behind != "" {
					want = "fresh"
				}
				wantFacts(t, o, check.FactsOf(map[string]any{"connection": want, "size": 5, "reconnected": behind != ""}))
				<-answered
			}
		}
	}
}

// gathered serves TLS. What the handler writes goes out in one piece when it
// calls send, so that the client reads all of it at once.
func gathered(t *testing.T, cfg *tls.Config, handler func(conn net.Conn, send func())) (host, port string) {
	t.Helper()
	return listen(t, func(conn net.Conn) {
		out := &gatherer{Conn: conn}
		secure := tls.Server(out, cfg)
		if secure.Handshake() != nil {
			return
		}
		out.hold = true
		handler(secure, func() {
			_, _ = conn.Write(out.held)
			out.held = nil
		})
	})
}

// gatherer is a connection that can hold back what is written.
type gatherer struct {
	net.Conn
	hold bool
	held []byte
}

func (g *gatherer) Write(b []byte) (int, error) {
	if g.hold {
		g.held = append(g.held, b...)
		return len(b), nil
	}
	return g.Conn.Write(b)
}

func TestNotKeptAfterTimeoutAndCancel(t *testing.T) {
	t.Parallel()
	var probe check.Probe
	var arrived chan struct{}
	o := inTime(brief, func(d time.Duration) check.Observation {
		here := make(chan struct{}, 8)
		arrived = here
		probe = reusing(t, rawSite(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
				here <- struct{}{}
				testnet.Silence(conn)
			}
		}), nil)
		return probe.Observe(timeout(t, d))
	}, endsAs(check.HTTPBodyTimeout))
	wantFailure(t, o, check.HTTPBodyTimeout)
	<-arrived
	cancelled, interrupt := context.WithCancel(context.Background())
	go func() {
		<-arrived
		interrupt()
	}()
	o = probe.Observe(cancelled)
	if o.Failure.Code != check.LocalShutdown {
		t.Errorf("%v", o.Failure)
	}
	wantFacts(t, o, check.FactsOf(map[string]any{"connection": "fresh", "reconnected": false}))
}

func TestHTTP2ReuseAfterGoAway(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} { // a POST too, for the server says that it was not processed
		site := &http.Server{Handler: testnet.Site(), Protocols: new(http.Protocols)}
		site.Protocols.SetUnencryptedHTTP2(true)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = site.Serve(listener) }()
		probe := reusing(t, "http://"+listener.Addr().String()+"/", func(o *httpOptions) { o.Version, o.Method = "2", method })
		wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh", "version": "2"}))
		wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "reused", "version": "2"}))
		if err := site.Shutdown(timeout(t, patience)); err != nil {
			t.Fatal(err)
		}
		o := once(t, probe)
		wantFailure(t, o, check.ConnectRefused, "")
		wantFacts(t, o, check.FactsOf(map[string]any{"reconnected": true}))
	}
}

func TestFreshSaysClose(t *testing.T) {
	t.Parallel()
	site := httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Close", map[bool]string{true: "yes", false: "no"}[r.Close])
	}))
	for connection, want := range map[string]string{"fresh": "yes", "reuse": "no"} {
		plan := buildHTTP(t, site, func(o *httpOptions) { o.Connection = connection }, "headers")
		o := once(t, plan.Probe)
		if headers := o.Facts.Get("headers").(map[string]string); headers["x-close"] != want {
			t.Errorf("%s: %v", connection, headers)
		}
		if err := plan.Probe.(check.Closer).Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCloseEndsKeeping(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 8)
	site := rawSite(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, err := http.ReadRequest(in); err != nil {
				ended <- struct{}{}
				return
			}
			_, _ = io.WriteString(conn, hello)
		}
	})
	probe := reusing(t, site, nil)
	once(t, probe)
	wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "reused"}))
	if err := probe.(check.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	for range 2 {
		wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"connection": "fresh"}))
		<-ended
	}
}

// TestReuseAtOnce runs a check twice at once, which the scheduler never does:
// each run has a connection of its own.
func TestReuseAtOnce(t *testing.T) {
	t.Parallel()
	probe := reusing(t, httpSite(t, nil, testnet.Site())+"/", nil)
	var runs sync.WaitGroup
	for range 4 {
		runs.Go(func() {
			for range 25 {
				if o := once(t, probe); !o.Failure.IsZero() || o.Facts.Get("status") != 200 {
					t.Errorf("%v %v", o.Failure, o.Facts)
				}
			}
		})
	}
	runs.Wait()
}
