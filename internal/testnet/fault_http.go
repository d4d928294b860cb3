package testnet

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// chunkedHead begins a response with a chunked body.
const chunkedHead = okHead + "Transfer-Encoding: chunked\r\n\r\n"

func httpFaults() []Fault {
	return []Fault{
		{"header-trickle", "C1", "sends the head byte by byte", checkHTTP, speaks(ReplyDrip(okHead+"X: ", "y", dribble))},
		{"header-flood", "C2", "sends a header field without end", checkHTTP, speaks(ReplyForever(okHead+"X: ", "y"))},
		{"tiny-headers", "C3", "sends header fields without end", checkHTTP, speaks(ReplyForever(okHead, "a:b\r\n"))},
		{"interim-flood", "C4", "sends interim responses without end", checkHTTP, speaks(ReplyForever("", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"))},
		{"two-lengths", "C9", "states two lengths of the body", checkHTTP, speaks(Reply(okHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"))},
		{"smuggling", "C9", "states a length and chunks", checkHTTP, speaks(Reply(okHead + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))},
		{"no-http", "C11", "answers in another protocol", checkHTTP, speaks(Reply("SSH-2.0-OpenSSH_9.6\r\n"))},
		{"status-9999", "C11", "answers with a status that does not exist", checkHTTP, speaks(Reply("HTTP/1.1 9999 What\r\n\r\n"))},
		{"redirect-loop", "C12", "redirects to itself", checkHTTP, speaks(Reply("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"))},
		{"slow-redirects", "C13", "redirects again and again, late each time", checkHTTP, speaks(slowRedirect)},
		{"redirect-to-file", "C14", "redirects to a file", checkHTTP, speaks(Reply("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"))},
		{"huge-location", "C16", "redirects to a URL of 9 KiB", checkHTTP, speaks(Reply("HTTP/1.1 302 Found\r\nLocation: /" + strings.Repeat("a", 9<<10) + "\r\n\r\n"))},
		{"error-page", "C18", "status 200 with an error page", checkHTTP + `, expect: ["body contains 'welcome'"]`, speaks(Reply(okHead + "Content-Length: 18\r\n\r\nout of order today"))},
		{"escapes", "C21", "sends escapes of terminals", checkHTTP, speaks(Reply("\x1b]0;owned\x07\x1b[2J\x1b[31mHTTP/1.1 200 OK\r\n\r\n"))},
		{"absurd-date", "C24", "says that it is the year 1970", checkHTTP, speaks(Reply(okHead + "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"))},
	}
}

func bodyFaults() []Fault {
	return []Fault{
		{"endless-body", "C5", "sends a body without end", checkHTTP + `, expect: ["body contains 'the end'"]`, speaks(ReplyForever(okHead+"\r\n", "0123456789"))},
		{"endless-chunks", "C5", "sends chunks without end", checkHTTP + `, expect: ["body contains 'the end'"]`, speaks(ReplyForever(chunkedHead, "8\r\n01234567\r\n"))},
		{"body-stall", "C6", "stops inside the body", checkHTTP, speaks(ReplyAndStall(okHead + "Content-Length: 100\r\n\r\n0123456789"))},
		{"gzip-bomb", "C7", "a megabyte that becomes a gigabyte", checkHTTP + `, expect: ["body contains 'the end'"]`, bomb("gzip", gzipBomb)},
		{"brotli-bomb", "C7", "a few bytes of brotli that become 16 MiB", checkHTTP + `, expect: ["body contains 'the end'"]`, bomb("br", brotliBomb)},
		{"zstd-bomb", "C7", "a few bytes of zstd that become a gigabyte", checkHTTP + `, expect: ["body contains 'the end'"]`, bomb("zstd", zstdBomb)},
		{"nested-codings", "C7", "gzip in gzip in gzip", checkHTTP, speaks(Reply(okHead + "Content-Encoding: gzip, gzip, gzip\r\nContent-Length: 3\r\n\r\nabc"))},
		{"corrupt-gzip", "C8", "calls plain text gzip", checkHTTP, speaks(Reply(okHead + "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"))},
		{"chunk-overflow", "C10", "a chunk of 2^68 bytes", checkHTTP, speaks(Reply(chunkedHead + "fffffffffffffffff\r\n"))},
		{"chunk-extensions", "C10", "a chunk extension without end", checkHTTP, speaks(ReplyForever(chunkedHead+"1;", "x"))},
		{"endless-trailers", "C10", "trailers without end", checkHTTP, speaks(ReplyForever(chunkedHead+"0\r\n", "a: b\r\n"))},
		{"deep-json", "G5", "JSON that nests 100,000 deep", checkHTTP + `, expect: ["json.status == 'ok'"]`, speaks(Reply(okHead + "Content-Type: application/json\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)))},
	}
}

// slowRedirect redirects each path to a longer one, a second and a half late,
// unless the client has gone. Ten of them, where a client gives up anyway, take
// longer than a check's usual timeout.
func slowRedirect(conn net.Conn) {
	request := ReadRequest(conn)
	if request == nil || conn.SetReadDeadline(time.Now().Add(1500*time.Millisecond)) != nil {
		return
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 302 Found\r\nLocation: "+request.URL.Path+"x\r\nContent-Length: 0\r\n\r\n")
}

// Bombs are made of parts of this size, bytes, and of so many of them.
const (
	bombPart  = 1 << 20
	bombParts = 1 << 10
)

// bomb answers with a body in a content coding, which is made when the target
// is started.
func bomb(coding string, body func() (string, error)) starter {
	return func(ca *CA) (server, error) {
		text, err := body()
		if err != nil {
			return nil, err
		}
		return speaks(Reply(okHead + "Content-Encoding: " + coding + "\r\n\r\n" + text))(ca)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// squeeze compresses so many zero bytes.
func squeeze(out *bytes.Buffer, w io.WriteCloser, n int64) (string, error) {
	if _, err := io.CopyN(w, zeros{}, n); err != nil {
		return "", err
	}
	err := w.Close()
	return out.String(), err
}

// gzipBomb is a stream of gzip members (RFC 1952, section 2.2).
func gzipBomb() (string, error) {
	var out bytes.Buffer
	part, err := squeeze(&out, gzip.NewWriter(&out), bombPart)
	return strings.Repeat(part, bombParts), err
}

// brotliBomb is smaller, for brotli streams cannot be joined.
func brotliBomb() (string, error) {
	var out bytes.Buffer
	return squeeze(&out, brotli.NewWriterLevel(&out, brotli.BestSpeed), 16*bombPart)
}

// zstdBomb is a stream of frames (RFC 8878, section 3.1).
func zstdBomb() (string, error) {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		return "", err
	}
	part, err := squeeze(&out, w, bombPart)
	return strings.Repeat(part, bombParts), err
}
