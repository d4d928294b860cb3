package testnet

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func http2Faults() []Fault {
	return []Fault{
		{"h2-silence", "D1", "begins HTTP/2 and says nothing more", checkHTTP2, speaks(Frames(func(*http2.Framer) {}))},
		{"h2-garbage", "D2", "answers HTTP/2 with the banner of SSH", checkHTTP2, speaks(Say("SSH-2.0-OpenSSH_9.6\r\n"))},
		{"h2-announced-frame", "D3", "announces a frame that never comes", checkHTTP2, speaks(Say("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x01"))},
		{"h2-continuations", "D4", "header fields without end, frame by frame", checkHTTP2, speaks(Frames(continuations))},
		{"hpack-bomb", "D5", "a small block of header fields that becomes a large one", checkHTTP2, speaks(Frames(hpackBomb))},
		{"h2-pings", "D6", "pings without end", checkHTTP2, speaks(Frames(func(f *http2.Framer) {
			for err := error(nil); err == nil; {
				err = f.WritePing(true, [8]byte{})
			}
		}))},
		{"h2-empty-data", "D6", "empty data without end", checkHTTP2, speaks(Frames(func(f *http2.Framer) {
			for err := writeHead(f); err == nil; {
				err = f.WriteData(1, false, nil)
			}
		}))},
		{"refused-stream", "D7", "refuses every stream", checkHTTP2, speaks(Frames(func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeRefusedStream) }))},
		{"goaway", "D7", "ends the connection instead of an answer", checkHTTP2, speaks(Frames(func(f *http2.Framer) { _ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }))},
		{"h2-reset-in-body", "D7", "resets the stream inside the body", checkHTTP2, speaks(Frames(func(f *http2.Framer) {
			if writeHead(f) == nil && f.WriteData(1, false, []byte("hello")) == nil {
				_ = f.WriteRSTStream(1, http2.ErrCodeInternal)
			}
		}))},
		{"alpn-lies", "D9", "agrees on HTTP/2 and then speaks HTTP/1.1", checkHTTPS, speaksTLS(Say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), offersHTTP2)},
	}
}

// fieldBlock encodes header fields, names and values alternating.
func fieldBlock(pairs ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}) // into memory
	}
	return b.Bytes()
}

func writeHead(f *http2.Framer) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fieldBlock(":status", "200"), EndHeaders: true})
}

func continuations(f *http2.Framer) {
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fieldBlock(":status", "200")})
	for err == nil {
		err = f.WriteContinuation(1, false, fieldBlock("a", strings.Repeat("b", 1000)))
	}
}

// hpackBomb names one long field of the table again and again, a byte each time
// (RFC 7541, section 6.1; 62 is the newest entry).
func hpackBomb(f *http2.Framer) {
	b := fieldBlock(":status", "200", "a", strings.Repeat("b", 3000))
	b = append(b, bytes.Repeat([]byte{0x80 | 62}, 10_000)...)
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b, EndHeaders: true})
}

// Checks of WebSockets and of gRPC.
const (
	checkWS   = `websocket: {url: "ws://$ADDR/", steps: [{send: hello, expect: hello}]}`
	checkGRPC = `grpc: {host: $HOST, port: $PORT}`
)

func upgradeFaults() []Fault {
	return []Fault{
		{"ws-declined", "W2", "answers an upgrade with a web page", checkWS, speaks(Reply(okHead + "Content-Length: 2\r\n\r\nok"))},
		{"ws-bad-frame", "W3", "sends a frame with reserved bits", checkWS, speaks(WebSocket(says("\xf1\x00")))},
		{"ws-huge-message", "W4", "announces a message of 2^62 bytes", checkWS, speaks(WebSocket(says("\x82\x7f\x40\x00\x00\x00\x00\x00\x00\x00")))},
		{"ws-pings", "W5", "pings without end", checkWS, speaks(WebSocket(func(conn net.Conn, _ *bufio.Reader) { endless("\x89\x00")(conn) }))},
		{"ws-silence", "W6", "accepts the upgrade and says nothing", checkWS, speaks(WebSocket(says("")))},
		{"grpc-no-status", "W8", "ends a call without a status", checkGRPC, speaks(Frames(func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fieldBlock(":status", "200", "content-type", "application/grpc"), EndHeaders: true, EndStream: true})
		}))},
		{"grpc-huge-message", "W9", "announces a message of 4 GiB", checkGRPC, speaks(Frames(func(f *http2.Framer) {
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fieldBlock(":status", "200", "content-type", "application/grpc"), EndHeaders: true}) == nil {
				_ = f.WriteData(1, false, []byte("\x00\xff\xff\xff\xff"))
			}
		}))},
		{"grpc-not-serving", "W11", "says that it does not serve", checkGRPC, func(*CA) (server, error) {
			return ListenHTTP(nil, GRPCHealth(map[string]byte{"": 2}))
		}},
	}
}

// says is a script that sends the bytes and then reads until the end.
func says(bytes string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, _ *bufio.Reader) {
		if _, err := io.WriteString(conn, bytes); err == nil {
			Silence(conn)
		}
	}
}
