package probes

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// observeWS builds a check of the handler's server and observes once.
func observeWS(t *testing.T, handler func(net.Conn), d time.Duration, change func(*wsOptions), facts ...string) check.Observation {
	t.Helper()
	host, port := listen(t, handler)
	o := &wsOptions{URL: "ws://" + net.JoinHostPort(host, port) + "/socket", MaxMessage: defaultMaxMessage}
	if change != nil {
		change(o)
	}
	setup := needs(facts...)
	setup.Version = "test"
	plan, err := o.Build(setup)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Probe.Observe(timeout(t, d))
}

func wsSteps(pairs ...string) func(*wsOptions) {
	return func(o *wsOptions) {
		for _, s := range steps(pairs...) {
			o.Steps = append(o.Steps, wsStep{Send: s.Send, Expect: s.Expect})
		}
	}
}

func TestWebSocketEcho(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 40_000)
	o := observeWS(t, testnet.WebSocket(testnet.WebSocketEcho), patience, func(o *wsOptions) {
		wsSteps("hello", "^h(?P<rest>.*)$", long, "x{40}$", "bye", "")(o)
		o.Subprotocols, o.Ping = []string{"chat", "other"}, true
	}, "close.code")
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{
		"status": 101, "subprotocol": "chat", "dialogue": true, "answer": long, "captures": map[string]string{"rest": "ello"},
		"pong": true, "close.code": 1000, "close.reason": "",
	}))
	if rtt, _ := o.Facts.Get("ping.rtt").(time.Duration); rtt <= 0 || rtt > o.Latency {
		t.Errorf("ping.rtt %v of %v", rtt, o.Latency)
	}
}

func TestWebSocketOverTLS(t *testing.T) {
	t.Parallel()
	host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}}), testnet.WebSocket(testnet.WebSocketEcho))
	for ca, want := range map[string]check.Code{caFile(t): "", "": check.TLSUntrusted} {
		o := observeWS(t, testnet.Silence, patience, func(o *wsOptions) {
			o.URL, o.TLS.CA, o.Ping = "wss://"+net.JoinHostPort(host, port), ca, true
		})
		wantFailure(t, o, want)
		if want == "" {
			wantFacts(t, o, check.FactsOf(map[string]any{"pong": true, "cert.trusted": true, "close.code": 1000}))
		}
	}
}

func TestWebSocketRequest(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	head := func(r *http.Request) string {
		requests <- r
		return testnet.WebSocketHead(r)
	}
	o := observeWS(t, testnet.WebSocketRaw(head, testnet.WebSocketEcho), patience, func(o *wsOptions) {
		o.Headers, o.Origin, o.Subprotocols = map[string]string{"X-A": "b"}, "https://x.test", []string{"v1", "v2"}
		o.Auth.Token = "secret-token"
	})
	wantFailure(t, o, "")
	r := <-requests
	got := map[string]string{}
	for name := range r.Header {
		got[name] = strings.Join(r.Header.Values(name), "|")
	}
	if len(got["Sec-Websocket-Key"]) != 24 {
		t.Errorf("key %q", got["Sec-Websocket-Key"])
	}
	delete(got, "Sec-Websocket-Key")
	want := map[string]string{
		"Accept": "*/*", "Authorization": "Bearer secret-token", "Connection": "Upgrade", "Origin": "https://x.test",
		"Sec-Websocket-Protocol": "v1, v2", "Sec-Websocket-Version": "13", "Upgrade": "websocket", "User-Agent": "sonde/test", "X-A": "b",
	}
	if diff := cmp.Diff(want, got); diff != "" || r.URL.Path != "/socket" {
		t.Errorf("%s (-want +got):\n%s", r.URL, diff)
	}
}

// frames is a server that sends the frames and then reads until the end.
func frames(all ...string) func(net.Conn) {
	return testnet.WebSocket(func(conn net.Conn, _ *bufio.Reader) { testnet.Say(strings.Join(all, ""))(conn) })
}

func frame(first byte, payload string) string { return testnet.WebSocketFrame(first, payload) }

func TestWebSocketFragments(t *testing.T) {
	t.Parallel()
	o := observeWS(t, frames(frame(0x81, "other"), frame(0x01, "he"), frame(0x89, "?"), frame(0x00, ""), frame(0x80, "llo"), frame(0x88, "\x0f\xa1bye")),
		patience, wsSteps("", "^hello$"), "close.code")
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"answer": "hello", "dialogue": true, "close.code": 4001, "close.reason": "bye"}))
}

func TestWebSocketRefused(t *testing.T) {
	t.Parallel()
	head := func(change ...string) func(*http.Request) string {
		return func(r *http.Request) string {
			return strings.NewReplacer(change...).Replace(testnet.WebSocketHead(r))
		}
	}
	for name, c := range map[string]struct {
		head func(*http.Request) string
		part string
	}{
		"no upgrade":          {head("Upgrade: websocket\r\n", ""), "without the header Upgrade"},
		"other upgrade":       {head("Upgrade: websocket", "Upgrade: h2c"), `"h2c"`},
		"no connection":       {head("Connection: Upgrade", "Connection: close"), `"close"`},
		"bad accept":          {head("Accept: ", "Accept: x"), "does not answer our key"},
		"no accept":           {head("Sec-WebSocket-Accept", "X-A"), "does not answer our key"},
		"HTTP/1.0":            {head("HTTP/1.1", "HTTP/1.0"), "in HTTP/1.0"},
		"an extension":        {head("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), "permessage-deflate"},
		"strange subprotocol": {head("\r\n\r\n", "\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), "mqtt"},
		"two subprotocols":    {head("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n"), "a, b"},
		"not HTTP":            {func(*http.Request) string { return "SSH-2.0\r\n\r\n" }, "not an HTTP response"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := observeWS(t, testnet.WebSocketRaw(c.head, testnet.WebSocketEcho), patience, nil)
			wantFailure(t, o, check.HTTPMalformed, c.part)
		})
	}
	refusal := func(*http.Request) string { return "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" }
	o := observeWS(t, testnet.WebSocketRaw(refusal, testnet.WebSocketEcho), patience, wsSteps("a", "b"))
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"status": 403, "status_text": "Forbidden", "dialogue": nil, "close.code": nil}))
}

func TestWebSocketBadFrames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sent string
		code check.Code
		part string
	}{
		"reserved bit":       {frame(0xc1, "x"), check.HTTPMalformed, "reserved bits"},
		"unknown opcode":     {frame(0x83, "x"), check.HTTPMalformed, "opcode 3"},
		"unknown control":    {frame(0x8b, "x"), check.HTTPMalformed, "opcode 11"},
		"masked":             {"\x81\x81\x00\x00\x00\x00x", check.HTTPMalformed, "masked"},
		"control in parts":   {frame(0x09, "x"), check.HTTPMalformed, "in fragments"},
		"large control":      {frame(0x89, strings.Repeat("x", 126)), check.HTTPMalformed, "125 bytes"},
		"oversized":          {"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", check.HTTPBodyTooLarge, "64KiB"},
		"negative length":    {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", check.HTTPMalformed, "bad length"},
		"length not minimal": {"\x82\x7e\x00\x01x", check.HTTPMalformed, "bad length"},
		"oversized in parts": {frame(0x02, strings.Repeat("x", 40_000)) + frame(0x00, strings.Repeat("x", 40_000)), check.HTTPBodyTooLarge, "64KiB"},
		"stray fragment":     {frame(0x80, "x"), check.HTTPMalformed, "fragment of no message"},
		"message in message": {frame(0x01, "x") + frame(0x81, "y"), check.HTTPMalformed, "inside another"},
		"not UTF-8":          {frame(0x81, "a\xff"), check.HTTPMalformed, "not UTF-8"},
		"endless pings":      {strings.Repeat(frame(0x89, ""), wsMaxIdle+1), check.HTTPMalformed, "carry nothing"},
		"endless fragments":  {frame(0x01, "") + strings.Repeat(frame(0x00, ""), wsMaxIdle+1), check.HTTPMalformed, "carry nothing"},
		"bad close code":     {frame(0x88, "\x03\xed"), check.HTTPMalformed, "close frame"},
		"half a close code":  {frame(0x88, "\x03"), check.HTTPMalformed, "close frame"},
		"bad close reason":   {frame(0x88, "\x03\xe8\xff"), check.HTTPMalformed, "close frame"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := observeWS(t, frames(c.sent), patience, wsSteps("", "never"))
			wantFailure(t, o, c.code, c.part)
		})
	}
}

// A server that is gone, or says too little, is no failure of the probe but of
// the dialogue.
func TestWebSocketDialogueGoesWrong(t *testing.T) {
	t.Parallel()
	gone := testnet.WebSocket(func(conn net.Conn, _ *bufio.Reader) {
		_ = conn.(*net.TCPConn).CloseWrite()
		testnet.Silence(conn)
	})
	cut := testnet.WebSocket(func(conn net.Conn, in *bufio.Reader) {
		io.WriteString(conn, "\x81\x05he")
		testnet.ReadWebSocketFrame(in)
	})
	o := observeWS(t, cut, patience, wsSteps("x", "hello"))
	wantFailure(t, o, check.HTTPTruncated, "inside a WebSocket frame")
	for name, c := range map[string]struct {
		handler func(net.Conn)
		limit   time.Duration
		part    string
		code    any
	}{
		"closed":  {frames(frame(0x81, "hi"), frame(0x88, "\x03\xf0go away")), patience, `got "hi", want a match of never; the server closed with the code 1008 "go away"`, 1008},
		"no code": {frames(frame(0x88, "")), patience, "the code 1005", 1005},
		"gone":    {gone, patience, "the server closed the connection", 1006},
		"silence": {frames(), brief, "got nothing, want a match of never within ", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := inTime(c.limit, func(d time.Duration) check.Observation { return observeWS(t, c.handler, d, wsSteps("", "never")) }, endsAs(""))
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"dialogue": false, "close.code": c.code}))
			if got := o.Because["dialogue"].Message; !strings.Contains(got, c.part) {
				t.Errorf("got %q, want %q in it", got, c.part)
			}
			p := inTime(c.limit, func(d time.Duration) check.Observation {
				return observeWS(t, c.handler, d, func(o *wsOptions) { o.Ping = true })
			}, endsAs(""))
			wantFacts(t, p, check.FactsOf(map[string]any{"pong": false, "ping.rtt": nil, "close.code": c.code}))
		})
	}
}

// TestPromise2WebSocketMemory floods probes with messages of the largest size
// allowed, half of which is no UTF-8. It runs alone, as its sister does.
func TestPromise2WebSocketMemory(t *testing.T) {
	const flying, each = 16, 2 << 20
	message := []byte(frame(0x82, strings.Repeat("x\xff", int(largestMaxMessage)/2)))
	host, port := listen(t, testnet.WebSocket(func(conn net.Conn, _ *bufio.Reader) {
		for {
			if _, err := conn.Write(message); err != nil {
				return
			}
		}
	}))
	o := &wsOptions{URL: "ws://" + net.JoinHostPort(host, port), MaxMessage: largestMaxMessage}
	wsSteps("", "never")(o)
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	if held := heldBy(t, plan.Probe, flying); held > flying*each {
		t.Errorf("%d probes hold %d KiB", flying, held>>10)
	}
}

func TestWebSocketNeverClosed(t *testing.T) {
	t.Parallel()
	o := observeWS(t, frames(frame(0x8a, "a pong nobody asked for")), patience, nil)
	wantFailure(t, o, "")
	if o.Facts.Get("close.code") != nil || !strings.Contains(o.Because["close.code"].Message, "did not answer the close") {
		t.Errorf("%+v", o)
	}
}

func TestWebSocketOptions(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*wsOptions){
		"url: needs ws://":                 func(o *wsOptions) { o.URL = "http://x.test" },
		"url: has no host":                 func(o *wsOptions) { o.URL = "ws:///x" },
		"headers.Sec-WebSocket-Key":        func(o *wsOptions) { o.Headers = map[string]string{"Sec-WebSocket-Key": "x"} },
		"headers.Upgrade":                  func(o *wsOptions) { o.Headers = map[string]string{"Upgrade": "x"} },
		"origin: holds a space":            func(o *wsOptions) { o.Origin = "a b" },
		"origin: the header Origin is set": func(o *wsOptions) { o.Origin, o.Headers = "a", map[string]string{"origin": "b"} },
		"subprotocols[1]":                  func(o *wsOptions) { o.Subprotocols = []string{"a", "a"} },
		"steps[0]: a step needs":           func(o *wsOptions) { o.Steps = make([]wsStep, 1) },
		"max_message":                      func(o *wsOptions) { o.MaxMessage = 1 << 30 },
		"family":                           func(o *wsOptions) { o.Family = "5" },
		"tls.min_version":                  func(o *wsOptions) { o.TLS.MinVersion = "9" },
	} {
		o := &wsOptions{URL: "ws://x.test", MaxMessage: 1}
		change(o)
		_, err := o.Build(needs())
		if err == nil || !slices.ContainsFunc(check.OptionErrors(err), func(e *check.OptionError) bool { return strings.HasPrefix(e.Error(), want) }) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestWebSocketReproduce(t *testing.T) {
	t.Parallel()
	o := &wsOptions{URL: "wss://user:pass@x.test/a?token=hidden", MaxMessage: 1, Steps: []wsStep{{Expect: regexp.MustCompile("x")}}}
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	if plan.Target != "wss://x.test/a?token=hidden" || !slices.Contains(plan.Secrets, "pass") || !slices.Contains(plan.Secrets, "hidden") {
		t.Errorf("%s %q", plan.Target, plan.Secrets)
	}
	line := plan.Probe.(*wsProbe).shown.reproduce(time.Second, netip.Addr{})
	for _, part := range []string{"curl -v -m 1", "--http1.1", "-H 'Upgrade: websocket'", "'https://x.test/a?token=hidden'"} {
		if !strings.Contains(line, part) {
			t.Errorf("%s lacks %s", line, part)
		}
	}
}

func FuzzWebSocketFrames(f *testing.F) {
	for _, seed := range []string{
		frame(0x81, "hello"), frame(0x01, "a") + frame(0x89, "?") + frame(0x80, "b"), frame(0x88, "\x03\xe8bye"), "\x82\x7f\x00", "\xff\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := &wsConn{in: bufio.NewReader(bytes.NewReader(sent)), out: io.Discard, max: 1000}
		for {
			op, text, err := c.next()
			if err != nil {
				return
			}
			if op != wsText && op != wsBinary && op != wsPong || len(text) > c.max {
				t.Fatalf("opcode %d with %d bytes", op, len(text))
			}
		}
	})
}
