package testnet

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// TCPServer hands each connection to a handler.
type TCPServer struct {
	addr     string
	listener net.Listener
	handlers sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// ListenTCP serves on a free port of 127.0.0.1. Each connection gets its own
// goroutine and is closed when the handler returns.
func ListenTCP(handler func(net.Conn)) (*TCPServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return serve(listener, handler), nil
}

// ListenTLS is as [ListenTCP] over TLS. The handler gets a *tls.Conn after the
// handshake; a connection whose handshake fails never reaches it.
func ListenTLS(cfg *tls.Config, handler func(net.Conn)) (*TCPServer, error) {
	return ListenTCP(func(conn net.Conn) {
		secure := tls.Server(conn, cfg)
		if secure.Handshake() != nil {
			return
		}
		handler(secure)
		secure.Close()
	})
}

func serve(listener net.Listener, handler func(net.Conn)) *TCPServer {
	s := &TCPServer{addr: listener.Addr().String(), listener: listener, open: make(map[net.Conn]struct{})}
	s.handlers.Go(func() { s.accept(handler) })
	return s
}

func (s *TCPServer) accept(handler func(net.Conn)) {
	for {
		conn, err := s.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors, or the peer was faster
			time.Sleep(time.Millisecond)
			continue
		case !s.track(conn):
			return
		}
		s.handlers.Go(func() {
			defer s.forget(conn)
			handler(conn)
		})
	}
}

// track notes an open connection, so that Close can end it.
func (s *TCPServer) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.open[conn] = struct{}{}
	return true
}

func (s *TCPServer) forget(conn net.Conn) {
	s.mu.Lock()
	delete(s.open, conn)
	s.mu.Unlock()
	conn.Close()
}

// Addr returns the address as host:port.
func (s *TCPServer) Addr() string { return s.addr }

// Close stops listening, closes all connections and waits for the handlers.
func (s *TCPServer) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for conn := range s.open {
		conn.Close()
	}
	s.mu.Unlock()
	s.handlers.Wait()
	return err
}

// Silence reads and answers nothing until the peer or the server closes.
func Silence(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// Reset closes the connection with a RST instead of a FIN.
func Reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// Say returns a handler that sends the text and then reads until the peer
// closes.
func Say(text string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := io.WriteString(conn, text); err == nil {
			Silence(conn)
		}
	}
}

// Drip returns a handler that sends the text byte by byte, one per interval,
// again and again, until the peer closes.
func Drip(text string, interval time.Duration) func(net.Conn) {
	return func(conn net.Conn) {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for i := 0; ; i = (i + 1) % len(text) {
			if _, err := conn.Write([]byte{text[i]}); err != nil {
				return
			}
			<-tick.C
		}
	}
}

// Refused is an address of 127.0.0.1 that refuses connections and datagrams for as
// long as it is open. Nobody else gets its port, and nobody listens there: over TCP
// it is the local end of a connection, over UDP that of a socket that hears one peer
// only, and not the client.
type Refused struct {
	server *TCPServer
	tcp    net.Conn
	udp    net.Conn
}

// Refuse reserves a port that refuses connections and datagrams.
func Refuse() (*Refused, error) {
	server, err := ListenTCP(Silence)
	if err != nil {
		return nil, err
	}
	for range 20 { // until a port is free for both
		var r *Refused
		if r, err = refuseAt(server); err == nil {
			return r, nil
		}
	}
	server.Close()
	return nil, err
}

func refuseAt(server *TCPServer) (*Refused, error) {
	tcp, err := net.Dial("tcp", server.Addr())
	if err != nil {
		return nil, err
	}
	local := tcp.LocalAddr().(*net.TCPAddr)
	udp, err := net.DialUDP("udp", &net.UDPAddr{IP: local.IP, Port: local.Port}, &net.UDPAddr{IP: local.IP, Port: 9})
	if err != nil {
		tcp.Close()
		return nil, err
	}
	return &Refused{server: server, tcp: tcp, udp: udp}, nil
}

// Addr returns the address as host:port.
func (r *Refused) Addr() string { return r.tcp.LocalAddr().String() }

// Close frees the port.
func (r *Refused) Close() error {
	r.udp.Close()
	r.tcp.Close()
	return r.server.Close()
}

// Echo sends back what it reads until the peer closes.
func Echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }
