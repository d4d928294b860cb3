package probes

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// response is a raw HTTP/1.1 response with one more header line.
func response(header, body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n%s", header, len(body), body)
}

type encoded struct{ name, text string }

// encodings returns the text in every coding, nested ones included.
func encodings(t *testing.T, text string) []encoded {
	t.Helper()
	z := squeeze(t, "gzip", text)
	return []encoded{
		{"gzip", z},
		{"x-gzip", z},
		{"deflate", squeeze(t, "deflate", text)},
		{"deflate", squeeze(t, "raw", text)},
		{"br", squeeze(t, "br", text)},
		{"zstd", squeeze(t, "zstd", text)},
		{"gzip, gzip", squeeze(t, "gzip", z)},
		{"gzip, br", squeeze(t, "br", z)},
		{"identity, gzip", z},
	}
}

func squeeze(t *testing.T, coding, text string) string {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch coding {
	case "gzip":
		w, err = gzip.NewWriterLevel(&out, gzip.BestSpeed)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "raw":
		w, err = flate.NewWriter(&out, flate.BestSpeed)
	case "br":
		w = brotli.NewWriterOptions(&out, brotli.WriterOptions{Quality: 1, LGWin: 24})
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(8<<20), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(false))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// proxyTo is an HTTP proxy that leads every request to one server and every
// tunnel to the other. The channel tells what it was asked.
func proxyTo(t *testing.T, plain, secure string) (addr string, asked <-chan string) {
	t.Helper()
	seen := make(chan string, 16)
	host, port := listen(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		seen <- request.Method + " " + request.RequestURI + " " + request.Header.Get("Proxy-Authorization")
		to := plain
		if request.Method == http.MethodConnect {
			to = secure
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer server.Close()
		if request.Method == http.MethodConnect {
			_, err = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		} else {
			err = request.Write(server)
		}
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(server, in)
			server.Close()
		}()
		_, _ = io.Copy(conn, server)
	})
	return net.JoinHostPort(host, port), seen
}
