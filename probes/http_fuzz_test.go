package probes

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/sonde-cli/sonde/check"
)

// replay is a connection on which the peer has said all that it says. Small
// steps make it likely that a limit is looked at in the middle of a line.
type replay struct {
	net.Conn
	said *bytes.Reader
	step int
}

func (r *replay) Read(p []byte) (int, error) { return r.said.Read(p[:min(len(p), r.step)]) }

func (r *replay) Write(p []byte) (int, error) { return len(p), nil }

func (r *replay) Close() error { return nil }

// exchangeOver makes one exchange as exchange does, without a network.
func exchangeOver(wire httpWire, method string, keep bool) (*httpRun, *httpHead, *check.Reason) {
	j := begin()
	p := &httpProbe{httpPlan: &httpPlan{method: method, maxBody: 64 << 10, needs: httpNeeds{body: keep, json: keep, headers: keep}}}
	run := &httpRun{p: p, j: j}
	defer wire.release()
	broken := func(err error) *check.Reason { return run.broken(err, check.HTTPHeaderTimeout, "") }
	if err := wire.send(&httpMessage{method: method, scheme: "http", authority: "a", target: "/"}); err != nil {
		return run, nil, broken(err)
	}
	if err := wire.await(); err != nil {
		return run, nil, broken(err)
	}
	head, err := wire.readHead()
	if err != nil {
		return run, nil, broken(err)
	}
	run.setHead(head)
	if head.bodyless(method) {
		if _, _, err := framing(head); err != nil && head.version != "2" {
			return run, head, broken(err)
		}
		return run, head, nil
	}
	body, err := wire.openBody(head, method)
	if err != nil {
		return run, head, broken(err)
	}
	return run, head, run.readBody(head, body)
}

// checkRun looks at what must hold whatever the peer said.
func checkRun(t *testing.T, run *httpRun, head *httpHead, reason *check.Reason, said []byte) {
	t.Helper()
	if reason != nil && (!strings.HasPrefix(string(reason.Code), "http.") || len(reason.Message) > 600) {
		t.Errorf("reason %s %q", reason.Code, reason.Message)
	}
	if head == nil {
		return
	}
	if head.status < 100 || head.status > 999 || len(head.fields) > maxHeadFields {
		t.Errorf("status %d with %d fields", head.status, len(head.fields))
	}
	for _, f := range head.fields {
		if !isToken(strings.TrimPrefix(f.name, ":")) || strings.ContainsAny(f.value, "\r\n\x00") {
			t.Errorf("field %q: %q", f.name, f.value)
		}
	}
	if body, ok := run.j.obs.Facts.Get("body").(string); ok && len(body) > 64<<10 {
		t.Errorf("a body of %d bytes of %d", len(body), len(said))
	}
}

func FuzzHTTP1(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n",
		"HTTP/1.0 200\nX: a\n b\n\nbody",
		"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\nx\x9c",
		"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\n\r\n\x28\xb5\x2f\xfd\x00\xff",
		"HTTP/1.1 200 OK\r\nContent-Encoding: br, gzip\r\n\r\n\x1f\x8b",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: +5\r\n\r\n",
		"HTTP/0.9", "",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, said []byte, step uint8) {
		conn := &replay{said: bytes.NewReader(said), step: int(step) + 1}
		run, head, reason := exchangeOver(newHTTP1(conn, false), "GET", true)
		checkRun(t, run, head, reason, said)
		if reason == nil && head != nil {
			readsTheSame(t, run, head, said)
		}
	})
}

// readsTheSame holds what is read of a response that is well to what net/http
// reads of it, where it does.
func readsTheSame(t *testing.T, run *httpRun, head *httpHead, said []byte) {
	t.Helper()
	response, err := lastResponse(said)
	if err != nil { // it refuses characters in fields that we show
		return
	}
	defer response.Body.Close()
	if response.StatusCode != head.status {
		t.Errorf("status %d, by net/http %d", head.status, response.StatusCode)
	}
	facts := run.j.obs.Facts
	if body, ok := facts.Get("body").(string); ok && response.Header.Get("Content-Encoding") == "" && facts.Get("truncated") != true {
		if want, err := io.ReadAll(response.Body); err == nil && string(want) != body {
			t.Errorf("the body is %q, by net/http %q", body, want)
		}
	}
}

// lastResponse reads what a server said to a GET as net/http does, behind responses
// that announce another one.
func lastResponse(said []byte) (*http.Response, error) {
	reader, request := bufio.NewReader(bytes.NewReader(said)), &http.Request{Method: http.MethodGet}
	for {
		response, err := http.ReadResponse(reader, request)
		if err != nil || response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
		response.Body.Close()
	}
}

func FuzzHTTP2(f *testing.F) {
	var seed bytes.Buffer
	seed.WriteString("\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	framed := http2.NewFramer(&seed, nil)
	headers(framed, false, ":status", "200", "content-type", "text/plain")
	_ = framed.WriteData(1, true, []byte("hello"))
	f.Add(seed.Bytes(), uint8(200))
	f.Add([]byte("SSH-2.0"), uint8(1))
	f.Fuzz(func(t *testing.T, said []byte, step uint8) {
		conn := &replay{said: bytes.NewReader(said), step: int(step) + 1}
		run, head, reason := exchangeOver(newHTTP2(conn), "GET", true)
		checkRun(t, run, head, reason, said)
	})
}

func FuzzHTTPURL(f *testing.F) {
	for _, seed := range []string{"http://a/", "https://user:pw@bücher.example:443/a b?c#d", "http://[::1%25lo]:80", "http://[::1%25l\x8b]:", "http://a:b@c:d/", "http://a/?b c", "%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseHTTPURL(text)
		if err != nil {
			return
		}
		if strings.ContainsFunc(u.RequestURI()+hostHeader(u), func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			t.Errorf("%q makes the request line %q and the host %q", text, u.RequestURI(), hostHeader(u))
		}
		again, err := parseHTTPURL(u.String())
		if err != nil || again.String() != u.String() {
			t.Errorf("%q becomes %q becomes %v, %v", text, u, again, err)
		}
	})
}

func FuzzMeasureJSON(f *testing.F) {
	f.Add(`{"a":[1,{"b":"\"[]"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		depth, cost := measureJSON([]byte(text))
		if depth < 0 || cost < 0 {
			t.Errorf("depth %d, cost %d", depth, cost)
		}
		if v, err := decodeJSON([]byte(text), 1<<20); err == nil && nesting(v) > depth {
			t.Errorf("%q is %d deep, measured %d", text, nesting(v), depth)
		}
	})
}

// nesting returns how deep a decoded value is.
func nesting(v any) int {
	deepest := -1
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			deepest = max(deepest, nesting(e))
		}
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, nesting(e))
		}
	default:
		return 0
	}
	return max(deepest, 0) + 1
}
