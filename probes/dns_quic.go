package probes

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// DNS over QUIC (RFC 9250): a connection for one question, which has a stream of
// its own and the ID 0.
const (
	transportQUIC = "quic"
	doqProtocol   = "doq" // ALPN
	doqPort       = 853

	doqProtocolError = 2
)

// doqErrorNames are those of RFC 9250, section 8.4, by number.
var doqErrorNames = [...]string{
	"DOQ_NO_ERROR", "DOQ_INTERNAL_ERROR", "DOQ_PROTOCOL_ERROR", "DOQ_REQUEST_CANCELLED", "DOQ_EXCESSIVE_LOAD", "DOQ_UNSPECIFIED_ERROR",
}

func doqErrorName(code uint64) string {
	if code < uint64(len(doqErrorNames)) {
		return doqErrorNames[code]
	}
	return fmt.Sprintf("error %#x", code)
}

// askQUIC asks the server over QUIC, as askStream does over TLS: it must have a
// certificate for its address that this machine trusts.
func (s *nameserver) askQUIC(ctx context.Context, x *exchange, q *question, until time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	aim := quicAim{plan: &tlsPlan{}, host: s.addr.Addr().WithZone("").String(), protocol: doqProtocol, strict: true}
	conn, err := aim.open(ctx, "", netip.Addr{}, s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err = conn.failed; err == nil {
		err = x.quic(ctx, conn, q, 0)
	}
	if alert := quicAlert(err); alert != nil {
		return alert
	}
	if err != nil {
		err = conn.cause(err)
	}
	return err
}

// overQUIC asks over a QUIC connection.
func (r *dnsRun) overQUIC(ctx context.Context, host string, port uint16, until time.Time) *check.Reason {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	conn, reason := r.dialQUIC(ctx, r.probe.router, host, port, quicAim{plan: r.probe.tls, host: host, protocol: doqProtocol})
	if reason != nil {
		return reason
	}
	defer conn.Close()
	r.server, r.transport = remote(conn), transportQUIC
	start := time.Now()
	err := r.quic(ctx, conn, r.question, stagger)
	r.phases(start)
	if !r.last.IsZero() { // the stream's end is awaited, and not measured
		r.idle += time.Since(r.last)
	}
	if err != nil {
		return r.quicFault(conn, err)
	}
	return nil
}

// quic sends the question on a stream of its own and reads the answer, and then so
// long for the stream's end.
func (x *exchange) quic(ctx context.Context, conn *quicConn, q *question, wait time.Duration) error {
	x.begin()
	stream, err := conn.conn.OpenStreamSync(ctx)
	if err != nil {
		return dnsEnded(ctx, err)
	}
	defer bindStream(ctx, stream)()
	answer := conn.ledger.Reader(stream.StreamID(), stream) // before there can be any
	query := q.withID(binary.BigEndian.AppendUint16(make([]byte, 0, maxQuery), uint16(len(q.packed))), 0)
	if _, err := stream.Write(query); err != nil {
		return dnsEnded(ctx, err)
	}
	_ = stream.Close() // the question is whole
	x.sent = time.Now()
	msg, err := x.readStream(answer)
	if err != nil {
		return dnsEnded(ctx, err)
	}
	if err := q.accept(msg, 0); err != nil {
		if errors.Is(err, errIgnored) {
			return dnsmsg.Malformed("it answers something else, or its ID is not 0")
		}
		return err
	}
	x.last, x.answer = time.Now(), msg
	if wait == 0 {
		return nil
	}
	deadline, _ := ctx.Deadline()
	if end := x.last.Add(wait); end.Before(deadline) {
		_ = stream.SetReadDeadline(end)
	}
	if n, _ := io.ReadFull(answer, make([]byte, 1)); n > 0 {
		conn.code = doqProtocolError
		return dnsmsg.Malformed("more follows it on its stream, where nothing may (RFC 9250, section 4.2)")
	}
	return nil
}

// quicFault tells why an exchange over QUIC failed.
func (r *dnsRun) quicFault(conn *quicConn, err error) *check.Reason {
	err = conn.cause(err)
	var stream *quic.StreamError
	var app *quic.ApplicationError
	fault := func(code check.Code, message string) *check.Reason {
		return &check.Reason{Code: code, Message: fmt.Sprintf("%s: %s", r.server, message)}
	}
	switch {
	case errors.As(err, &stream) && stream.Remote:
		return fault(check.ConnectReset, "the server reset the stream: "+doqErrorName(uint64(stream.ErrorCode)))
	case errors.As(err, &app) && app.Remote:
		return fault(check.ConnectReset, "the server closed the connection: "+doqErrorName(uint64(app.ErrorCode))+quicSaid(app.ErrorMessage))
	}
	if reason, ok := r.quicReason(err); ok {
		if reason.Code == check.TLSAlert && quicAlert(err) == nil {
			reason.Code = check.DNSMalformed
		}
		return fault(reason.Code, reason.Message)
	}
	return r.reason(err)
}
