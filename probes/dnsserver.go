package probes

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// nameserver is a DNS server that a name is resolved with, and how.
type nameserver struct {
	transport string // udp (TCP when the answer is truncated), tcp or tls
	addr      netip.AddrPort
}

// String returns the server as IP:port.
func (s *nameserver) String() string { return s.addr.String() }

// Ports of DNS (RFC 1035 section 4.2, RFC 7858 section 3.1).
const (
	dnsPort = 53
	dotPort = 853
)

// parseServer reads IP[:port], tcp://IP[:port] or tls://IP[:port].
func parseServer(text string) (*nameserver, error) {
	s := &nameserver{transport: "udp"}
	rest := text
	if scheme, after, ok := strings.Cut(text, "://"); ok {
		s.transport, rest = scheme, after
	}
	port := uint16(dnsPort)
	switch s.transport {
	case "udp", "tcp":
	case "tls":
		port = dotPort
	default:
		return nil, fmt.Errorf("%q has the scheme %s, want tcp:// or tls://, or none for UDP", text, s.transport)
	}
	addr, err := netip.ParseAddrPort(rest)
	if err != nil {
		var ip netip.Addr
		ip, err = netip.ParseAddr(strings.Trim(rest, "[]"))
		addr = netip.AddrPortFrom(ip, port)
	}
	if err != nil || addr.Port() == 0 {
		return nil, fmt.Errorf("%q is not the IP address of a name server, write it like 192.0.2.53 or [2001:db8::53]:5353", text)
	}
	s.addr = addr
	return s, nil
}

// ask puts the question to the server and returns its whole answer. It returns
// at until or when ctx ends, whichever is earlier.
func (s *nameserver) ask(ctx context.Context, q *question, until time.Time) (message, error) {
	var x exchange
	if s.transport == "udp" {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.addr))
		if err != nil {
			return nil, err
		}
		err = x.datagram(ctx, conn, q, until)
		conn.Close()
		if err != nil || !x.answer.truncated() {
			return x.answer, err
		}
	}
	if err := s.askStream(ctx, &x, q, until); err != nil {
		if s.transport == "udp" && ctx.Err() != context.Canceled {
			err = &truncatedError{err}
		}
		return nil, err
	}
	return x.answer, nil
}

func (s *nameserver) askStream(ctx context.Context, x *exchange, q *question, until time.Time) error {
	dialer := net.Dialer{Deadline: until}
	conn, err := dialer.DialContext(ctx, "tcp", s.addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.transport == "tls" {
		conn = tls.Client(conn, &tls.Config{ServerName: s.addr.Addr().WithZone("").String()})
	}
	return x.stream(ctx, conn, q, until)
}

// truncatedError tells that an answer did not fit into UDP and that TCP gave
// no whole one.
type truncatedError struct{ tcp error }

func (e *truncatedError) Error() string {
	return "the answer is too large for UDP, and over TCP: " + e.tcp.Error()
}
func (e *truncatedError) Unwrap() error { return e.tcp }

// exchange is one question at one server and what became of it.
type exchange struct {
	answer      message
	retransmits int // queries sent again because nothing came back
	mismatched  int // messages passed over because they answer something else

	sent  time.Time // the query was written
	first time.Time // the first byte of the answer was there
	last  time.Time // the answer was complete
}

// retransmitAfter returns when a query over UDP is sent a second time: after a
// third of the time that there is, at most two seconds. It is sent only twice,
// so that a dead server sees two packets of each run.
func retransmitAfter(left time.Duration) time.Duration { return min(left/3, 2*time.Second) }

// maxDatagram bounds an answer over UDP, in bytes. It is more than any query
// offers, because there are servers that do not care.
const maxDatagram = 4097

var datagrams = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// datagram sends the question over a connected UDP socket and waits for the
// answer. Messages that are no answer to it are counted and passed over.
func (x *exchange) datagram(ctx context.Context, conn net.Conn, q *question, until time.Time) error {
	x.sent, x.first, x.last, x.answer = time.Time{}, time.Time{}, time.Time{}, nil
	defer interrupt(ctx, conn)()
	id := newID()
	query := append(make([]byte, 0, 320), q.packed...)
	binary.BigEndian.PutUint16(query, id)
	if err := conn.SetWriteDeadline(until); err != nil {
		return err
	}
	if _, err := conn.Write(query); err != nil {
		return err
	}
	x.sent = time.Now()
	again := x.sent.Add(retransmitAfter(until.Sub(x.sent)))
	buf := datagrams.Get().(*[maxDatagram]byte)
	defer datagrams.Put(buf)
	for deadline := again; ; {
		if err := conn.SetReadDeadline(deadline); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil { // after the deadline was set: no race with interrupt
			return err
		}
		n, err := conn.Read(buf[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && deadline == again && ctx.Err() == nil:
			deadline = until
			x.retransmits++
			if _, err := conn.Write(query); err != nil {
				return err
			}
			continue
		case err != nil:
			return dnsEnded(ctx, err)
		}
		switch err := q.accept(buf[:n], id); {
		case err == errIgnored:
			x.mismatched++
			continue
		case err != nil:
			return err
		case n == maxDatagram:
			return dnsMalformed("larger than the %d bytes that UDP is offered", q.limit)
		}
		x.first = time.Now()
		x.last, x.answer = x.first, append(message(nil), buf[:n]...)
		return nil
	}
}

// stream sends the question over a TCP or TLS connection and reads the answer
// (RFC 7766 section 8: two bytes of length, then the message).
func (x *exchange) stream(ctx context.Context, conn net.Conn, q *question, until time.Time) error {
	x.sent, x.first, x.last, x.answer = time.Time{}, time.Time{}, time.Time{}, nil
	defer interrupt(ctx, conn)()
	if err := conn.SetDeadline(until); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // after the deadline was set: no race with interrupt
		return err
	}
	id := newID()
	query := binary.BigEndian.AppendUint16(make([]byte, 0, 320), uint16(len(q.packed)))
	query = append(query, q.packed...)
	binary.BigEndian.PutUint16(query[2:], id)
	if _, err := conn.Write(query); err != nil {
		return err
	}
	x.sent = time.Now()
	for {
		msg, err := x.readStream(conn)
		if err != nil {
			return dnsEnded(ctx, err)
		}
		switch err := q.accept(msg, id); {
		case err == errIgnored:
			x.mismatched++
		case err != nil:
			return err
		default:
			x.last, x.answer = time.Now(), msg
			return nil
		}
	}
}

// ended returns err, unless it only tells that ctx was cancelled.
func dnsEnded(ctx context.Context, err error) error {
	if ctx.Err() == context.Canceled {
		return ctx.Err()
	}
	return err
}

// readStream reads one message with its length in front.
func (x *exchange) readStream(conn net.Conn) (message, error) {
	var size [2]byte
	if n, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, cut(n, err)
	}
	x.first = time.Now()
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if n, err := io.ReadFull(conn, msg); err != nil {
		return nil, cut(n+len(size), err)
	}
	return msg, nil
}

// cut words the end of a stream before the end of a message.
func cut(n int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return dnsMalformed("the connection was closed after %s bytes of it", strconv.Itoa(n))
	}
	return err
}

// interrupt makes the connection's reads and writes fail when ctx ends. The
// function that it returns must be called when they are over.
func interrupt(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}
