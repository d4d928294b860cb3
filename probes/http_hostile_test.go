package probes

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

const okHead = "HTTP/1.1 200 OK\r\n"

// limited is the timeout of probes that are to run into it after some steps.
const limited = 800 * time.Millisecond

// wantInTime observes with a limited timeout and checks that the probe did not
// hang and ended by its deadline, not by itself.
func wantInTime(t *testing.T, target string, code check.Code, part string, change func(*httpOptions)) check.Observation {
	t.Helper()
	o := patiently(t, buildHTTP(t, target, change).Probe, limited, code, part)
	wantFailure(t, o, code, part)
	return o
}

func TestA4HTTPSilence(t *testing.T) {
	t.Parallel()
	wantInTime(t, rawSite(t, testnet.Silence), check.HTTPHeaderTimeout, "no response in time", nil)
}

func TestA5HTTPEmptyReply(t *testing.T) {
	t.Parallel()
	wantFailure(t, observeHTTP(t, rawSite(t, testnet.Reply("")), patience, nil), check.HTTPTruncated, "empty reply")
}

func TestA6HTTPReset(t *testing.T) {
	t.Parallel()
	wantFailure(t, observeHTTP(t, rawSite(t, testnet.ReplyAndReset("")), patience, nil), check.ConnectReset, "")
}

func TestA7HTTPResetInBody(t *testing.T) {
	t.Parallel()
	site := rawSite(t, testnet.ReplyAndReset(okHead+"Content-Length: 100\r\n\r\n0123456789"))
	wantFailure(t, observeHTTP(t, site, patience, nil), check.HTTPTruncated, "after 10 bytes")
}

func TestA8HTTPShortBody(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"length":  okHead + "Content-Length: 100\r\n\r\n0123456789",
		"chunk":   okHead + "Transfer-Encoding: chunked\r\n\r\n64\r\n0123456789",
		"chunked": okHead + "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n",
		"head":    okHead + "Content-Le",
		"gzip":    okHead + "Content-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n" + squeeze(t, "gzip", "0123456789")[:12],
	} {
		o := observeHTTP(t, rawSite(t, testnet.Reply(raw)), patience, nil)
		if o.Failure.Code != check.HTTPTruncated {
			t.Errorf("%s: %v", name, o.Failure)
		}
	}
}

// A8: over TLS only the closing alert ends a body whose length is not told.
func TestA8HTTPSUntilClose(t *testing.T) {
	t.Parallel()
	const bare, framed = okHead + "\r\n", okHead + "Content-Length: 10\r\n\r\n"
	ends := map[string]func(net.Conn){
		"alert and FIN": func(net.Conn) {},
		"alert": func(conn net.Conn) {
			_ = conn.(*tls.Conn).CloseWrite()
			testnet.Silence(conn)
		},
		"FIN": func(conn net.Conn) { _ = conn.(*tls.Conn).NetConn().Close() },
	}
	for name, end := range ends {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, head := range []string{bare, framed} {
				cfg := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}})
				cfg.MaxVersion = version
				host, port := listenTLS(t, cfg, func(conn net.Conn) {
					testnet.Reply(head + "0123456789")(conn)
					end(conn)
				})
				o := observeHTTP(t, "https://"+net.JoinHostPort(host, port), patience, func(o *httpOptions) { o.TLS.CA, o.Version = caFile(t), "1.1" }, "body")
				if name == "FIN" && head == bare {
					wantFailure(t, o, check.HTTPTruncated, "close_notify")
				} else if wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "body": "0123456789"})); !o.Failure.IsZero() {
					t.Errorf("%s after %q: %v", name, head, o.Failure)
				}
			}
		}
	}
}

func TestA10HTTPZeroWindow(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	site := rawSite(t, testnet.NeverRead(release))
	t.Cleanup(func() { close(release) })
	body := strings.Repeat("x", 32<<20)
	wantInTime(t, site, check.HTTPHeaderTimeout, "did not take the request", func(o *httpOptions) { o.Body = body })
	wantInTime(t, site, check.HTTPHeaderTimeout, "", func(o *httpOptions) { o.Body, o.Version = body, "2" })
}

func TestA18HTTPThrottled(t *testing.T) {
	t.Parallel()
	site := rawSite(t, testnet.ReplyDrip(okHead+"\r\n", "x", 20*time.Millisecond))
	wantInTime(t, site, check.HTTPBodyTimeout, "bytes came", nil)
}

func TestHTTPEarlyAnswerCounts(t *testing.T) {
	t.Parallel()
	site := rawSite(t, func(conn net.Conn) {
		var some [100]byte
		if _, err := io.ReadFull(conn, some[:]); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
			testnet.Silence(conn)
		}
	})
	o := observeHTTP(t, site, patience, func(o *httpOptions) { o.Body = strings.Repeat("x", 1<<20) })
	wantFacts(t, o, check.FactsOf(map[string]any{"status": 413}))
}

func TestB1HTTPSilentHandshake(t *testing.T) {
	t.Parallel()
	site := strings.Replace(rawSite(t, testnet.Silence), "http:", "https:", 1)
	wantInTime(t, site, check.TLSHandshakeTimeout, "", nil)
}

func TestB2HTTPPlaintext(t *testing.T) {
	t.Parallel()
	site := strings.Replace(rawSite(t, testnet.Say("SSH-2.0-OpenSSH_9.6\r\n")), "http:", "https:", 1)
	wantFailure(t, observeHTTP(t, site, patience, nil), check.TLSPlaintext, "SSH-2.0")
}

func TestC1HeaderTrickle(t *testing.T) {
	t.Parallel()
	site := rawSite(t, testnet.ReplyDrip("HTTP/1.1 200 OK\r\nX: ", "y", 20*time.Millisecond))
	wantInTime(t, site, check.HTTPHeaderTimeout, "response head", nil)
}

func TestC2C3HeaderTooLarge(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(net.Conn){
		"C2 one endless field": testnet.ReplyForever(okHead+"X: ", "y"),
		"C2 endless reason":    testnet.ReplyForever("HTTP/1.1 200 ", "y"),
		"C3 endless fields":    testnet.ReplyForever(okHead, "a:b\r\n"),
		"C3 501 fields":        testnet.Reply(okHead + strings.Repeat("a:b\r\n", 501) + "\r\n"),
	} {
		o := observeHTTP(t, rawSite(t, handler), patience, nil)
		if o.Failure.Code != check.HTTPHeaderTooLarge {
			t.Errorf("%s: %v", name, o.Failure)
		}
	}
	large := okHead + strings.Repeat("a:"+strings.Repeat("b", 120)+"\r\n", 500) + "\r\n"
	wantFacts(t, observeHTTP(t, rawSite(t, testnet.Reply(large)), patience, nil), check.FactsOf(map[string]any{"status": 200}))
}

func TestC4Interim(t *testing.T) {
	t.Parallel()
	early := "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
	site := rawSite(t, testnet.Reply(strings.Repeat(early, 5)+okHead+"Content-Length: 2\r\n\r\nok"))
	wantFacts(t, observeHTTP(t, site, patience, nil, "body"), check.FactsOf(map[string]any{"status": 200, "body": "ok"}))
	site = rawSite(t, testnet.ReplyForever("", early))
	wantFailure(t, observeHTTP(t, site, patience, nil), check.HTTPMalformed, "interim")
}

func TestC5EndlessBody(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(net.Conn){
		"chunked":     testnet.ReplyForever(okHead+"Transfer-Encoding: chunked\r\n\r\n", "8\r\n01234567\r\n"),
		"until close": testnet.ReplyForever(okHead+"\r\n", "0123456789"),
		"length":      testnet.ReplyForever(okHead+"Content-Length: 999999999999\r\n\r\n", "0123456789"),
	} {
		o := observeHTTP(t, rawSite(t, handler), patience, nil, "body")
		wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "truncated": true, "body": nil}))
		if o.Because["body"].Code != check.HTTPBodyTooLarge {
			t.Errorf("%s: body because %v", name, o.Because["body"])
		}
	}
}

func TestC6BodyStalls(t *testing.T) {
	t.Parallel()
	site := rawSite(t, testnet.ReplyAndStall(okHead+"Content-Length: 100\r\n\r\n0123456789"))
	wantInTime(t, site, check.HTTPBodyTimeout, "10 bytes came", nil)
}

func TestC7Bombs(t *testing.T) {
	t.Parallel()
	for _, bomb := range bombs(t) {
		o := observeHTTP(t, rawSite(t, testnet.Reply(response("Content-Encoding: "+bomb.name, bomb.text))), patience, func(o *httpOptions) {
			o.MaxBody = 256 << 10
		}, "body")
		wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "truncated": true, "body": nil}))
	}
	for _, coding := range []string{"gzip, gzip, gzip", "br, zstd", "zstd, zstd", "compress"} {
		o := observeHTTP(t, rawSite(t, testnet.Reply(response("Content-Encoding: "+coding, "xxxxxxxxx"))), patience, nil)
		wantFailure(t, o, check.HTTPDecode, coding)
	}
}

// bombs are small bodies that become 4 MiB each.
func bombs(t *testing.T) []encoded {
	t.Helper()
	zeros := strings.Repeat("\x00", 4<<20)
	gz := squeeze(t, "gzip", zeros)
	return []encoded{
		{"gzip", gz},
		{"gzip, gzip", squeeze(t, "gzip", gz)},
		{"deflate", squeeze(t, "deflate", zeros)},
		{"br", squeeze(t, "br", zeros)},
		{"zstd", squeeze(t, "zstd", zeros)},
	}
}

func TestC7LargestBodyInEachCoding(t *testing.T) {
	t.Parallel()
	// Not quite the limit, with copies from far back.
	const limit = 256 << 10
	var text strings.Builder
	for i := 0; text.Len() < limit-2000; i++ {
		fmt.Fprintf(&text, "%d,", i%30_000)
	}
	for _, c := range encodings(t, text.String()) {
		o := observeHTTP(t, rawSite(t, testnet.Reply(response("Content-Encoding: "+c.name, c.text))), patience, func(o *httpOptions) {
			if o.MaxBody = limit; largeWindow(c.name) {
				o.MaxBody *= 2
			}
		}, "body")
		wantFacts(t, o, check.FactsOf(map[string]any{"truncated": false, "size": text.Len()}))
		if o.Facts.Get("body") != text.String() {
			t.Errorf("%s: the body is another", c.name)
		}
	}
}

func TestC8CorruptCoding(t *testing.T) {
	t.Parallel()
	for _, coding := range []string{"gzip", "br", "zstd", "deflate"} {
		for what, text := range map[string]string{
			"plain":   "hello, this is no compressed text at all",
			"cut":     squeeze(t, coding, strings.Repeat("hello world ", 50))[:15],
			"garbage": squeeze(t, coding, "hello")[:6] + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		} {
			o := observeHTTP(t, rawSite(t, testnet.Reply(response("Content-Encoding: "+coding, text))), patience, nil)
			if o.Failure.Code != check.HTTPDecode || !strings.Contains(o.Failure.Message, coding) {
				t.Errorf("%s %s: %v %v", coding, what, o.Failure, o.Facts)
			}
		}
	}
}

func TestC9C10C11C16Malformed(t *testing.T) {
	t.Parallel()
	chunked := okHead + "Transfer-Encoding: chunked\r\n\r\n"
	for name, raw := range map[string]string{
		"C9 two lengths":         okHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
		"C9 list of lengths":     okHead + "Content-Length: 2, 3\r\n\r\nabc",
		"C9 negative":            okHead + "Content-Length: -1\r\n\r\n",
		"C9 plus":                okHead + "Content-Length: +5\r\n\r\nabcde",
		"C9 hex":                 okHead + "Content-Length: 0x5\r\n\r\nabcde",
		"C9 empty":               okHead + "Content-Length:\r\n\r\n",
		"C9 overflow":            okHead + "Content-Length: 99999999999999999999\r\n\r\n",
		"C9 both":                okHead + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"C10 bare CR":            chunked + "5;a\rb\r\nhello\r\n0\r\n\r\n",
		"C9 both, no body":       "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"C9 other coding":        okHead + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"C9 coding in 1.0":       "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"C9 space before colon":  okHead + "Content-Length : 5\r\n\r\nabcde",
		"C9 folded first":        okHead + " folded\r\n\r\n",
		"C10 overflow":           chunked + "fffffffffffffffff\r\n",
		"C10 negative":           chunked + "-1\r\n",
		"C10 plus":               chunked + "+1\r\na\r\n",
		"C10 0x":                 chunked + "0x1\r\na\r\n",
		"C10 empty size":         chunked + "\r\n",
		"C10 long data":          chunked + "1\r\nab\r\n",
		"C10 bare LF":            chunked + "1\na\n",
		"C10 many trailers":      chunked + "0\r\n" + strings.Repeat("a:b\r\n", 502) + "\r\n",
		"C11 HTTP/0.9":           "<html>hello</html>",
		"C11 four digits":        "HTTP/1.1 9999 What\r\n\r\n",
		"C11 no status":          "HTTP/1.1\r\n\r\n",
		"C11 status 000":         "HTTP/1.1 000 Zero\r\n\r\n",
		"C11 version 1.7":        "HTTP/1.7 200 OK\r\n\r\n",
		"C11 other protocol":     "SSH-2.0-OpenSSH_9.6\r\n",
		"C11 no colon":           okHead + "what is this\r\n\r\n",
		"C11 empty name":         okHead + ": x\r\n\r\n",
		"C16 control characters": "HTTP/1.1 302 Found\r\nLocation: /a\x01b\r\n\r\n",
		"C16 invalid":            "HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\n\r\n",
		"C16 long":               "HTTP/1.1 302 Found\r\nLocation: /" + strings.Repeat("a", 9<<10) + "\r\n\r\n",
		"C14 file":               "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
		"C14 gopher":             "HTTP/1.1 302 Found\r\nLocation: gopher://127.0.0.1/\r\n\r\n",
	} {
		o := observeHTTP(t, rawSite(t, testnet.Reply(raw)), patience, nil)
		if o.Failure.Code != check.HTTPMalformed {
			t.Errorf("%s: %v %v", name, o.Failure, o.Facts)
		}
		if len(o.Failure.Message) > 200 {
			t.Errorf("%s: a message of %d bytes: %s", name, len(o.Failure.Message), o.Failure.Message)
		}
	}
}

func TestC9EqualLengthsAreFine(t *testing.T) {
	t.Parallel()
	site := rawSite(t, testnet.Reply(okHead+"Content-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok"))
	wantFacts(t, observeHTTP(t, site, patience, nil, "body"), check.FactsOf(map[string]any{"body": "ok"}))
}

func TestC10EndlessWrapping(t *testing.T) {
	t.Parallel()
	chunked := okHead + "Transfer-Encoding: chunked\r\n\r\n"
	for name, handler := range map[string]func(net.Conn){
		"endless extension":  testnet.ReplyForever(chunked+"1;", "x"),
		"endless extensions": testnet.ReplyForever(chunked, "1;"+strings.Repeat("x", 2000)+"\r\na\r\n"),
		"endless trailers":   testnet.ReplyForever(chunked+"0\r\n", "a: b\r\n"),
		"endless size":       testnet.ReplyForever(chunked, "0"),
	} {
		o := observeHTTP(t, rawSite(t, handler), patience, nil)
		if o.Failure.Code != check.HTTPMalformed {
			t.Errorf("%s: %v %v", name, o.Failure, o.Facts)
		}
	}
	extended := chunked + "5;name=value\r\nhello\r\n0;last\r\nTrailer: x\r\n\r\n"
	wantFacts(t, observeHTTP(t, rawSite(t, testnet.Reply(extended)), patience, nil, "body"), check.FactsOf(map[string]any{"body": "hello"}))
}

func TestC21StrangeBytes(t *testing.T) {
	t.Parallel()
	site := rawSite(t, testnet.Reply("HTTP/1.1 200 \x1b[31mred\r\nX: a\x00b\x1b[0m\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x1b"))
	wantFacts(t, observeHTTP(t, site, patience, nil, "body", "headers"), check.FactsOf(map[string]any{
		"status_text": "\x1b[31mred", "body": "\xff\xfe\x00\x1b", "headers": map[string]string{"x": "a b\x1b[0m", "content-length": "4"},
	}))
	o := observeHTTP(t, rawSite(t, testnet.Reply("\x1b[2J\x07bell")), patience, nil)
	if wantFailure(t, o, check.HTTPMalformed, "[2J"); strings.ContainsAny(o.Failure.Message, "\x1b\x07") {
		t.Errorf("message %q", o.Failure.Message)
	}
}

func TestC22EchoedSecret(t *testing.T) {
	t.Parallel()
	const canary = "c4nary-Zürich-0123456789abcdef"
	for _, around := range []string{"%s", `{"token":"%s"}`, strings.Repeat("x ", 34) + "%s", strings.Repeat("y", 70) + " %s"} {
		site := rawSite(t, testnet.Reply(response("Content-Type: text/"+canary, fmt.Sprintf(around, canary)+" and more, and more, and more of it")))
		plan := buildHTTP(t, site, func(o *httpOptions) {
			o.Headers = map[string]string{"X-Api-Token": canary, "Cookie": "a=b; session=" + canary}
			o.Auth.Token = canary
		}, "json", "body")
		o := plan.Probe.Observe(timeout(t, patience))
		c := &check.Check{Probe: plan.Probe, FactList: httpFacts(), Mask: check.NewMask(plan.Secrets...)}
		if o.Because["json"].Message == "" {
			t.Fatal("no explanation")
		}
		o.Failure = o.Because["json"]
		text := fmt.Sprintf("%+v", c.Result(&o, c.Judge(&o)))
		if strings.Contains(text, "c4nary") || strings.Contains(text, "89abcdef") {
			t.Errorf("the secret is in %s", text)
		}
	}
}

func TestC23OneDeadlineForAllPhases(t *testing.T) {
	t.Parallel()
	// Each step is in time, all together are not.
	site := httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(limited * 2 / 3)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
		http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
	}))
	wantInTime(t, site+"/", check.HTTPHeaderTimeout, "", nil)
}

func TestG5DeepJSON(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"deep": strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
		"rich": "[" + strings.Repeat("0,", 500_000) + "0]",
		"not":  "<html>",
	} {
		o := observeHTTP(t, rawSite(t, testnet.Reply(response("X: y", body))), patience, nil, "json")
		if wantFacts(t, o, check.FactsOf(map[string]any{"json": nil, "size": len(body)})); o.Because["json"].Code != "expect.json" {
			t.Errorf("%s: because %v", name, o.Because)
		}
	}
}

func TestHTTPCancelled(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.1", "2"} {
		ctx, cancel := contextWithCancel(t)
		site := rawSite(t, func(conn net.Conn) { cancel(); testnet.Silence(conn) })
		o := buildHTTP(t, site, func(o *httpOptions) { o.Version = version }).Probe.Observe(ctx)
		wantFailure(t, o, check.LocalShutdown, "")
	}
}
