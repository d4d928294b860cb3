package testnet

import (
	"errors"
	"net"
	"sync"
)

// UDPServer is a UDP server on loopback.
type UDPServer struct {
	conn    *net.UDPConn
	out     *net.UDPConn // what replies are sent from, most often conn
	handler func(datagram []byte, reply func([]byte))
	busy    sync.WaitGroup
}

// ListenUDP starts a server on 127.0.0.1 that calls the handler for each datagram,
// one after another. Reply sends to whoever sent it, and may be called never or
// many times.
func ListenUDP(handler func(datagram []byte, reply func([]byte))) (*UDPServer, error) {
	return listenUDP(handler, nil)
}

// listenUDP replies from another socket, if there is one, and closes it.
func listenUDP(handler func(datagram []byte, reply func([]byte)), out *net.UDPConn) (*UDPServer, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	if out == nil {
		out = conn
	}
	s := &UDPServer{conn: conn, out: out, handler: handler}
	s.busy.Go(s.serve)
	return s, nil
}

func (s *UDPServer) serve() {
	buf := make([]byte, 64<<10)
	for {
		n, client, err := s.conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // what an earlier answer to a closed port left behind
			continue
		}
		s.handler(append([]byte(nil), buf[:n]...), func(b []byte) {
			_, _ = s.out.WriteToUDPAddrPort(b, client) // a client that is gone needs no answer
		})
	}
}

// Addr returns the address as host:port.
func (s *UDPServer) Addr() string { return s.conn.LocalAddr().String() }

// Close stops the server and waits for its handler.
func (s *UDPServer) Close() error {
	err := s.conn.Close()
	s.busy.Wait()
	if s.out != s.conn {
		err = errors.Join(err, s.out.Close())
	}
	return err
}

// EchoUDP sends a datagram back.
func EchoUDP(datagram []byte, reply func([]byte)) { reply(datagram) }
