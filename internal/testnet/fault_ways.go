package testnet

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
)

// Checks that go through a proxy to a host that there is not, and of HTTP/3.
const (
	checkSOCKS   = `tcp: {host: far.test, port: 80, proxy: "socks5h://$ADDR"}`
	checkCONNECT = `http: {url: "https://far.test/", proxy: "http://$ADDR"}`
	checkHTTP3   = `http: {url: "https://$ADDR/", version: "3", tls: {ca: $CA}}`
)

func proxyFaults() []Fault {
	return []Fault{
		{"socks-silence", "C19", "a SOCKS proxy that says nothing", checkSOCKS, speaks(Silence)},
		{"socks-garbage", "C19", "a web server instead of a SOCKS proxy", checkSOCKS, speaks(Say("HTTP/1.1 400 Bad Request\r\n\r\n"))},
		{"socks-refusal", "C19", "a SOCKS proxy whose rules do not allow it", checkSOCKS, speaks(Say("\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"))},
		{"proxy-407", "C19", "a proxy that wants another login", checkCONNECT, speaks(Reply("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))},
		{"proxy-silence", "C19", "a proxy that says nothing to CONNECT", checkCONNECT, speaks(Silence)},
		{"proxy-endless", "C19", "a proxy whose head has no end", checkCONNECT, speaks(ReplyForever(okHead, "a: b\r\n"))},
	}
}

func loginFaults() []Fault {
	return []Fault{
		{"token-refused", "C25", "gives a token and accepts none",
			`steps: {requests: [{name: login, url: "http://$ADDR/token", capture: {token: json.token}}, {name: use, url: "http://$ADDR/", auth: {token: "${steps.login.captures.token}"}}]}`, tokenRefused},
		{"digest-garbage", "C27", "challenges with a digest that is none", `http: {url: "http://$ADDR/", auth: {type: digest, username: probe, password: $PASSWORD}}`,
			speaks(Reply("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"x, nonce=\x01, qop=\r\nContent-Length: 0\r\n\r\n"))},
		{"cookie-loop", "C31", "redirects to itself with another cookie each time", `steps: {requests: [{name: login, url: "http://$ADDR/"}]}`, cookieLoop},
		{"token-silence", "C34", "a token endpoint that says nothing",
			`http: {url: "http://$ADDR/", auth: {oauth2: {token_url: "http://$ADDR/token", client_id: sonde, client_secret: $PASSWORD}}}`, speaks(Silence)},
	}
}

func tokenRefused(*CA) (server, error) {
	return ListenHTTP(nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"token":"this-token-is-never-valid"}`)
	}))
}

func cookieLoop(*CA) (server, error) {
	var visits atomic.Int64
	return ListenHTTP(nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "visit", Value: strconv.FormatInt(visits.Add(1), 10)})
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	}))
}

func quicFaults() []Fault {
	return []Fault{
		{"h3-silence", "D10", "datagrams to the port vanish", checkHTTP3, datagrams(func([]byte, func([]byte)) {})},
		{"h3-closed", "D10", "nothing listens on the UDP port", checkHTTP3, func(*CA) (server, error) { return Refuse() }},
		{"h3-garbage", "D10", "answers QUIC with text", checkHTTP3, datagrams(func(_ []byte, reply func([]byte)) { reply([]byte("no idea what you want\n")) })},
		{"h3-version", "D10", "speaks another version of QUIC only", checkHTTP3, datagrams(func(initial []byte, reply func([]byte)) { reply(QUICVersions(initial)) })},
		{"h3-reset", "D11", "resets the stream of each request", checkHTTP3, quicReset},
	}
}

// QUICVersions is the answer of a server that knows only another version (RFC
// 9000, section 17.2.1); nil to what is no first packet.
func QUICVersions(initial []byte) []byte {
	if len(initial) < 6 {
		return nil
	}
	to, rest, ok := prefixed(initial[5:])
	from, _, again := prefixed(rest)
	if !ok || !again {
		return nil
	}
	out := append([]byte{0x80, 0, 0, 0, 0, byte(len(from))}, from...)
	out = append(append(out, byte(len(to))), to...)
	return append(out, 0xff, 0, 0, 29)
}

// prefixed takes what stands behind its length of one byte.
func prefixed(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

// quicServer is a server of QUIC.
type quicServer struct {
	conn      *net.UDPConn
	transport *quic.Transport
	busy      sync.WaitGroup
}

// quicReset shakes hands for HTTP/3 and resets the stream of each request.
func quicReset(ca *CA) (server, error) {
	cert, err := ca.Issue(CertOptions{Names: []string{"127.0.0.1"}, Intermediate: true})
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	s := &quicServer{conn: conn, transport: &quic.Transport{Conn: conn}}
	listener, err := s.transport.Listen(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.busy.Go(func() { s.accept(listener) })
	return s, nil
}

func (s *quicServer) accept(listener *quic.Listener) {
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return
		}
		s.busy.Go(func() {
			for {
				stream, err := conn.AcceptStream(conn.Context())
				if err != nil {
					return
				}
				stream.CancelRead(0x10c) // H3_REQUEST_CANCELLED
				stream.CancelWrite(0x10c)
			}
		})
	}
}

// Addr returns the address as host:port.
func (s *quicServer) Addr() string { return s.conn.LocalAddr().String() }

// Close ends all connections and waits for their handlers.
func (s *quicServer) Close() error {
	err := errors.Join(s.transport.Close(), s.conn.Close())
	s.busy.Wait()
	return err
}
