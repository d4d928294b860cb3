package testnet

import (
	"bytes"
	"net"
	"time"
)

// dribble is how long a dribbling server waits between two bytes.
const dribble = 50 * time.Millisecond

// okHead begins a response.
const okHead = "HTTP/1.1 200 OK\r\n"

// Checks that many faults share.
const (
	checkTCP   = `tcp: {host: $HOST, port: $PORT}`
	checkHTTP  = `http: {url: "http://$ADDR/"}`
	checkHTTPS = `http: {url: "https://$ADDR/", tls: {ca: $CA}}`
	checkHTTP2 = `http: {url: "http://$ADDR/", version: "2"}`
)

func connectionFaults() []Fault {
	return []Fault{
		{"closed-port", "A1", "nothing listens on the port", checkTCP, func(*CA) (server, error) { return Refuse() }},
		{"silence", "A4", "accepts and says nothing", checkHTTP, speaks(Silence)},
		{"empty-reply", "A5", "takes the request and closes", checkHTTP, speaks(Reply(""))},
		{"reset", "A6", "takes the request and resets", checkHTTP, speaks(ReplyAndReset(""))},
		{"reset-in-body", "A7", "resets inside the body", checkHTTP, speaks(ReplyAndReset(okHead + "Content-Length: 100\r\n\r\n0123456789"))},
		{"short-body", "A8", "closes before Content-Length is reached", checkHTTP, speaks(Reply(okHead + "Content-Length: 100\r\n\r\n0123456789"))},
		{"short-chunk", "A8", "closes inside a chunk", checkHTTP, speaks(Reply(okHead + "Transfer-Encoding: chunked\r\n\r\n64\r\n0123456789"))},
		{"zero-window", "A10", "reads nothing of a large request", `http: {url: "http://$ADDR/", body_file: $LARGE}`, zeroWindow},
		{"throttle", "A18", "sends the body byte by byte", checkHTTP, speaks(ReplyDrip(okHead+"\r\n", "x", dribble))},
		{"endless-banner", "A19", "greets without end", `tcp: {host: $HOST, port: $PORT, steps: [{expect: "SSH-"}]}`, speaks(endless("220 and so on "))},
		{"wrong-banner", "A19", "greets as another service does", `tcp: {host: $HOST, port: $PORT, steps: [{expect: "SSH-"}]}`, speaks(Say("220 mail.test ESMTP\r\n"))},
	}
}

// endless says the text again and again until the peer closes, many at a time
// and without garbage of its own.
func endless(text string) func(net.Conn) {
	block := bytes.Repeat([]byte(text), 1+4<<10/len(text))
	return func(conn net.Conn) {
		for err := error(nil); err == nil; {
			_, err = conn.Write(block)
		}
	}
}

// stubborn is a server whose connections end when it is closed.
type stubborn struct {
	*TCPServer
	release chan struct{}
}

// Close ends the connections and the server.
func (s *stubborn) Close() error {
	close(s.release)
	return s.TCPServer.Close()
}

func zeroWindow(*CA) (server, error) {
	release := make(chan struct{})
	s, err := ListenTCP(NeverRead(release))
	if err != nil {
		return nil, err
	}
	return &stubborn{TCPServer: s, release: release}, nil
}
