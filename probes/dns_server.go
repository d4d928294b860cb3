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

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// nameserver is a DNS server that a name is resolved with, and how.
type nameserver struct {
	transport string // udp (TCP when the answer is truncated), tcp, tls, https or quic
	addr      netip.AddrPort
	system    bool // it is one of the system's own
	doh       *doh // of the transport https
}

// String returns the server as IP:port, or as the URL of DNS over HTTPS.
func (s *nameserver) String() string {
	if s.doh != nil {
		return s.doh.String()
	}
	return s.addr.String()
}

// Ports of DNS (RFC 1035 section 4.2, RFC 7858 section 3.1).
const (
	dnsPort = 53
	dotPort = 853
)

// parseServer reads IP[:port], or tcp://, tls:// or quic:// and the same, or
// https://host[:port]/path.
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
	case transportQUIC:
		port = doqPort
	case "https":
		return dohServer(text)
	default:
		return nil, fmt.Errorf("%q has the scheme %s, want tcp://, tls://, quic:// or https://, or none for UDP", text, s.transport)
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

// ask puts the question to the server; without an error, the exchange has its
// whole answer. It returns at until or when ctx ends, whichever is earlier.
func (s *nameserver) ask(ctx context.Context, q *question, until time.Time) (*exchange, error) {
	x := &exchange{control: s.system}
	if s.doh != nil {
		return x, s.askHTTPS(ctx, x, q, until)
	}
	if s.transport == "udp" {
		conn, err := openSocket(ctx, "udp", "", netip.Addr{}, s.addr)
		if err != nil {
			return x, err
		}
		err = x.datagram(ctx, conn, q, until)
		conn.Close()
		if err != nil && x.alive {
			err = &aliveError{err}
		}
		if err != nil || !x.answer.Truncated() {
			return x, err
		}
	}
	if s.transport == transportQUIC {
		return x, s.askQUIC(ctx, x, q, until)
	}
	err := s.askStream(ctx, x, q, until)
	if err != nil && s.transport == "udp" && ctx.Err() != context.Canceled {
		err = &truncatedError{err}
	}
	return x, err
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

// aliveError tells that a server did not answer the question, but the control
// question.
type aliveError struct{ error }

// Unwrap returns the error of the question.
func (e *aliveError) Unwrap() error { return e.error }

// controlQuestion is what a silent server of the system is asked besides, to
// tell a dead resolver from a live one that waits for the target's own name
// servers: the root's name servers, which every resolver knows.
var controlQuestion = sync.OnceValue(func() *question {
	q, err := newQuestion(".", dns.TypeNS, dns.ClassINET, queryFlags{recursion: true, ednsSize: ednsSize})
	if err != nil {
		panic(err) // cannot happen for the root
	}
	return q
})

// exchange is one question at one server and what became of it.
type exchange struct {
	answer      dnsmsg.Message
	retransmits int // queries sent again because nothing came back
	mismatched  int // messages passed over because they answer something else

	control   bool // ask the control question with the retransmit
	alive     bool // the control question was answered
	controlID uint16

	sent  time.Time // the query was written
	first time.Time // the first byte of the answer was there
	last  time.Time // the answer was complete

	http *httpHead // around the answer, of DNS over HTTPS
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
	x.begin()
	defer interrupt(ctx, conn)()
	var scratch [maxQuery]byte
	query := q.withID(scratch[:0], newID())
	if err := conn.SetWriteDeadline(until); err != nil {
		return err
	}
	if _, err := conn.Write(query); err != nil {
		return dnsEnded(ctx, err)
	}
	x.sent = time.Now()
	again := x.sent.Add(retransmitAfter(until.Sub(x.sent)))
	err := x.receive(ctx, conn, q, dnsmsg.Message(query).ID(), again)
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil && again.Before(until) {
		x.retransmits++
		if _, err := conn.Write(query); err != nil {
			return dnsEnded(ctx, err)
		}
		if x.control {
			x.controlID = newID()
			if _, err := conn.Write(controlQuestion().withID(scratch[:0], x.controlID)); err != nil {
				return dnsEnded(ctx, err)
			}
		}
		err = x.receive(ctx, conn, q, dnsmsg.Message(query).ID(), until)
	}
	return err
}

// receive waits until the deadline for the answer to q.
func (x *exchange) receive(ctx context.Context, conn net.Conn, q *question, id uint16, deadline time.Time) error {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // after the deadline was set: no race with interrupt
		return err
	}
	buf := datagrams.Get().(*[maxDatagram]byte)
	defer datagrams.Put(buf)
	for {
		n, err := conn.Read(buf[:])
		if err != nil {
			return dnsEnded(ctx, err)
		}
		switch err := q.accept(buf[:n], id); {
		case errors.Is(err, errIgnored) && x.isControl(buf[:n]):
			x.alive = true
		case errors.Is(err, errIgnored):
			x.mismatched++
		case err != nil:
			return err
		case n == maxDatagram:
			return dnsmsg.Malformed("larger than the %d bytes that UDP is offered", q.limit)
		default:
			x.first = time.Now()
			x.last, x.answer = x.first, append(dnsmsg.Message(nil), buf[:n]...)
			return nil
		}
	}
}

// begin forgets what an exchange before this one measured.
func (x *exchange) begin() {
	x.sent, x.first, x.last, x.answer = time.Time{}, time.Time{}, time.Time{}, nil
	x.alive, x.controlID, x.http = false, 0, nil
}

// isControl reports whether msg is a good answer to the control question.
func (x *exchange) isControl(msg dnsmsg.Message) bool {
	return x.control && x.retransmits > 0 && controlQuestion().accept(msg, x.controlID) == nil && msg.Rcode() == dns.RcodeSuccess
}

// stream sends the question over a TCP or TLS connection and reads the answer
// (RFC 7766 section 8: two bytes of length, then the message).
func (x *exchange) stream(ctx context.Context, conn net.Conn, q *question, until time.Time) error {
	x.begin()
	defer interrupt(ctx, conn)()
	if err := conn.SetDeadline(until); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // after the deadline was set: no race with interrupt
		return err
	}
	id := newID()
	query := q.withID(binary.BigEndian.AppendUint16(make([]byte, 0, maxQuery), uint16(len(q.packed))), id)
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
		case errors.Is(err, errIgnored):
			x.mismatched++
		case err != nil:
			return err
		default:
			x.last, x.answer = time.Now(), msg
			return nil
		}
	}
}

// dnsEnded returns err, unless it only tells that ctx was cancelled.
func dnsEnded(ctx context.Context, err error) error {
	if ctx.Err() == context.Canceled {
		return ctx.Err()
	}
	return err
}

// readStream reads one message with its length in front.
func (x *exchange) readStream(conn io.Reader) (dnsmsg.Message, error) {
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
		return dnsmsg.Malformed("the connection was closed after %s bytes of it", strconv.Itoa(n))
	}
	return err
}

// interrupt makes the connection's reads and writes fail when ctx ends. The
// function that it returns must be called when they are over.
func interrupt(ctx context.Context, conn net.Conn) (stop func() bool) {
	return afterEnd(ctx, func() { _ = conn.SetDeadline(past) })
}
