package testnet

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// DNSHandler answers one query. It may call Reply never, once or many times,
// and may wait for Closed. It runs in a goroutine of its own.
type DNSHandler func(*DNSQuery)

// DNSQuery is one query that came in.
type DNSQuery struct {
	Raw     []byte
	Msg     *dns.Msg // nil when it cannot be read
	Network string   // udp, tcp or tls
	Client  net.Addr
	Closed  <-chan struct{} // closed when the server is

	conn  net.Conn // tcp and tls
	reply func([]byte) error
}

// Reply sends a message of any content to the client.
func (q *DNSQuery) Reply(raw []byte) { _ = q.reply(raw) } // a client that is gone needs no answer

// ReplyMsg sends a message. A message that cannot be packed is not sent.
func (q *DNSQuery) ReplyMsg(m *dns.Msg) {
	if raw, err := m.Pack(); err == nil {
		q.Reply(raw)
	}
}

// Answer returns an empty answer to the query, with its id and question.
func (q *DNSQuery) Answer() *dns.Msg { return new(dns.Msg).SetReply(q.Msg) }

// Hang waits until the server is closed.
func (q *DNSQuery) Hang() { <-q.Closed }

// Conn returns the connection of a query that came over TCP or TLS, for bytes
// that are no message; nil for UDP.
func (q *DNSQuery) Conn() net.Conn { return q.conn }

// DNSServer is a DNS server on loopback.
type DNSServer struct {
	addr    string
	handler DNSHandler
	udp     *net.UDPConn // nil for DNS over TLS
	stream  net.Listener // nil when there is none
	network string       // of stream

	closed chan struct{}
	busy   sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]bool
}

// ListenDNS starts a server for UDP and TCP on one port of 127.0.0.1.
func ListenDNS(handler DNSHandler) (*DNSServer, error) {
	var last error
	for range 20 { // the port that is free for TCP may be taken for UDP
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(tcp.Addr().(*net.TCPAddr).AddrPort()))
		if err == nil {
			return serveDNS(handler, udp, tcp, "tcp"), nil
		}
		tcp.Close()
		last = err
	}
	return nil, fmt.Errorf("no port that is free for UDP and TCP: %w", last)
}

// ListenDNSAt starts a server for UDP and TCP at an IP:port.
func ListenDNSAt(addr string, handler DNSHandler) (*DNSServer, error) {
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(tcp.Addr().(*net.TCPAddr).AddrPort()))
	if err != nil {
		tcp.Close()
		return nil, err
	}
	return serveDNS(handler, udp, tcp, "tcp"), nil
}

// ListenDNSUDP starts a server for UDP only: its TCP port refuses.
func ListenDNSUDP(handler DNSHandler) (*DNSServer, error) {
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return serveDNS(handler, udp, nil, ""), nil
}

// ListenDoT starts a server for DNS over TLS (RFC 7858) on 127.0.0.1.
func ListenDoT(config *tls.Config, handler DNSHandler) (*DNSServer, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return nil, err
	}
	return serveDNS(handler, nil, l, "tls"), nil
}

func serveDNS(handler DNSHandler, udp *net.UDPConn, stream net.Listener, network string) *DNSServer {
	s := &DNSServer{
		handler: handler, udp: udp, stream: stream, network: network,
		closed: make(chan struct{}), conns: make(map[net.Conn]bool),
	}
	if udp != nil {
		s.addr = udp.LocalAddr().String()
		s.busy.Go(s.serveUDP)
	}
	if stream != nil {
		s.addr = stream.Addr().String()
		s.busy.Go(s.serveStream)
	}
	return s
}

// Addr returns the server's IP:port.
func (s *DNSServer) Addr() string { return s.addr }

// Close stops the server and waits for its handlers.
func (s *DNSServer) Close() error {
	close(s.closed)
	var errs []error
	if s.udp != nil {
		errs = append(errs, s.udp.Close())
	}
	if s.stream != nil {
		errs = append(errs, s.stream.Close())
	}
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.busy.Wait()
	return errors.Join(errs...)
}

func (s *DNSServer) serveUDP() {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, client, err := s.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // what an earlier answer to a closed port left behind
			continue
		}
		q := s.query(buf[:n], "udp", net.UDPAddrFromAddrPort(client))
		q.reply = func(raw []byte) error {
			_, err := s.udp.WriteToUDPAddrPort(raw, client)
			return err
		}
		s.busy.Go(func() { s.handler(q) })
	}
}

func (s *DNSServer) query(raw []byte, network string, client net.Addr) *DNSQuery {
	q := &DNSQuery{Raw: append([]byte(nil), raw...), Network: network, Client: client, Closed: s.closed}
	if m := new(dns.Msg); m.Unpack(raw) == nil {
		q.Msg = m
	}
	return q
}

func (s *DNSServer) serveStream() {
	for {
		conn, err := s.stream.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		s.busy.Go(func() { s.serveConn(conn) })
	}
}

func (s *DNSServer) serveConn(conn net.Conn) {
	s.mu.Lock()
	s.conns[conn] = true
	s.mu.Unlock()
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	select {
	case <-s.closed:
		return
	default:
	}
	for {
		if conn.SetReadDeadline(time.Now().Add(time.Minute)) != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		raw := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, raw); err != nil {
			return
		}
		q := s.query(raw, s.network, conn.RemoteAddr())
		q.conn = conn
		q.reply = func(raw []byte) error {
			_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...))
			return err
		}
		s.handler(q)
	}
}
