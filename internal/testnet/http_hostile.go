package testnet

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http2"
)

// ReadRequest reads one HTTP/1 request with its body and returns nil when the
// peer sends none. Hostile servers read before they misbehave: a connection
// that is closed with unread bytes is reset.
func ReadRequest(conn net.Conn) *http.Request {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return nil
	}
	return request
}

// Reply returns a handler that reads a request, sends the raw text and closes.
func Reply(raw string) func(net.Conn) {
	return func(conn net.Conn) {
		if ReadRequest(conn) != nil {
			_, _ = io.WriteString(conn, raw)
		}
	}
}

// ReplyAndStall is as [Reply], but keeps the connection open.
func ReplyAndStall(raw string) func(net.Conn) {
	return func(conn net.Conn) {
		Reply(raw)(conn)
		Silence(conn)
	}
}

// ReplyAndReset is as [Reply], but ends in a RST.
func ReplyAndReset(raw string) func(net.Conn) {
	return func(conn net.Conn) {
		Reply(raw)(conn)
		Reset(conn)
	}
}

// ReplyForever returns a handler that reads a request, sends start and then
// unit again and again until the peer closes.
func ReplyForever(start, unit string) func(net.Conn) {
	return func(conn net.Conn) {
		if ReadRequest(conn) == nil {
			return
		}
		if _, err := io.WriteString(conn, start); err == nil {
			endless(unit)(conn)
		}
	}
}

// ReplyDrip returns a handler that reads a request, sends start and then one
// byte of text per interval until the peer closes.
func ReplyDrip(start, text string, interval time.Duration) func(net.Conn) {
	drip := Drip(text, interval)
	return func(conn net.Conn) {
		if ReadRequest(conn) == nil {
			return
		}
		if _, err := io.WriteString(conn, start); err == nil {
			drip(conn)
		}
	}
}

// NeverRead returns a handler that takes nothing from the connection, so that
// the peer's writes block, until release is closed.
func NeverRead(release <-chan struct{}) func(net.Conn) {
	return func(conn net.Conn) {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4 << 10)
		}
		<-release
	}
}

// Frames returns a handler that speaks HTTP/2 up to the request's headers and
// leaves the rest to the script, then waits for the peer to close.
func Frames(script func(*http2.Framer)) func(net.Conn) {
	return func(conn net.Conn) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(conn, preface); err != nil {
			return
		}
		framer := http2.NewFramer(conn, conn)
		if framer.WriteSettings() != nil {
			return
		}
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if frame.Header().Type == http2.FrameHeaders {
				break
			}
		}
		script(framer)
		Silence(conn)
	}
}
