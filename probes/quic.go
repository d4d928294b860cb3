package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/quicledger"
)

// Bounds of a QUIC connection. The windows are what the peer may send ahead, and
// never grow: a hostile peer can make each 128 bytes of a window hold a packet.
const (
	quicStreamWindow = 64 << 10
	quicConnWindow   = 96 << 10
	quicSideStreams  = 8                      // that the peer may open in all: HTTP/3 needs 3
	quicIdle         = 30 * time.Second       // without a deadline
	quicDrain        = 250 * time.Millisecond // for what came before an error of the system
)

// quicSocket is a UDP socket that is connected to one peer, in the form that
// quic-go takes. Connected, it hears of a port that is closed. It notes when the
// peer first said something, and what.
type quicSocket struct {
	net.Conn
	ledger *quicledger.Ledger
	first  atomic.Pointer[quicFirst]
	ended  atomic.Pointer[error] // the system's error that ended it
}

// quicFirst is the first datagram of a peer.
type quicFirst struct {
	at   time.Time
	head []byte
}

// foreign reports whether the datagram is none of QUIC: the first one has a long
// header (RFC 9000, section 17.2; RFC 8999 for one that negotiates the version).
func (f *quicFirst) foreign() bool { return len(f.head) == 0 || f.head[0]&0x80 == 0 }

// ReadFrom reads a datagram. Some that come while much is held are lost, as on the
// way. An error of the system is told after all that came before it, for the system
// tells it first.
func (s *quicSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	s.ledger.Next()
	n, err := s.Read(b)
	for err == nil && s.drops(b[:n]) || s.note(err) {
		n, err = s.Read(b)
	}
	if system := s.ended.Load(); err != nil && system != nil {
		s.ledger.Settle()
		err = *system
	}
	if err == nil && s.first.Load() == nil {
		s.first.Store(&quicFirst{at: time.Now(), head: append([]byte(nil), b[:min(n, 4*maxQuote)]...)})
	}
	return n, s.RemoteAddr(), err
}

// drops reports whether the datagram should be lost. One that tells that the peer has
// forgotten the connection waits for what came before it.
func (s *quicSocket) drops(datagram []byte) bool {
	if s.ledger.Resets(datagram) {
		s.ledger.Settle()
		return false
	}
	return s.ledger.Drops(time.Now())
}

// WriteTo sends a datagram to the peer, whatever the address. One that cannot be sent
// is lost; it is for ReadFrom to tell why.
func (s *quicSocket) WriteTo(b []byte, _ net.Addr) (int, error) {
	n, err := s.Write(b)
	if s.note(err) {
		return len(b), nil
	}
	return n, err
}

// note keeps the first error of the system, and lets reading end soon. It reports
// whether there may be more to read: a peer that has said nothing is not waited for.
func (s *quicSocket) note(err error) bool {
	if !isErrno(err) || errors.Is(err, errOversize) {
		return false
	}
	answered := s.first.Load() != nil
	if s.ended.CompareAndSwap(nil, &err) && answered {
		_ = s.SetReadDeadline(time.Now().Add(quicDrain))
	}
	return answered
}

// SetReadBuffer does nothing: what quic-go asks for is for transfers of many
// megabytes, and where the system gives less, it complains on standard error.
func (s *quicSocket) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing either.
func (s *quicSocket) SetWriteBuffer(int) error { return nil }

// quicConn is a QUIC connection with all that belongs to it. Or it is what is
// left of a handshake that failed after the peer had answered.
type quicConn struct {
	*quicSocket
	transport *quic.Transport
	conn      *quic.Conn
	flooded   atomic.Bool               // the ledger has ended it
	code      quic.ApplicationErrorCode // to close with
	failed    error                     // of the handshake
	done      time.Time                 // when that was over
	asked     journey                   // who was asked for a client certificate
	state     *tls.ConnectionState      // nil: no certificate was seen
}

// Close ends the connection. Nothing of it runs any more when it returns.
func (q *quicConn) Close() error {
	q.end(q.code)
	_ = q.transport.Close()
	return q.quicSocket.Close()
}

// end tells the peer that the connection is over. Nothing of it can be read any more.
func (q *quicConn) end(code quic.ApplicationErrorCode) {
	q.ledger.Release()
	if q.conn != nil {
		_ = q.conn.CloseWithError(code, "")
	}
}

// errQUICFlood is a breach of our own bounds.
var errQUICFlood = &quic.TransportError{ErrorCode: quic.FlowControlError, ErrorMessage: "more small pieces of streams than can be kept"}

// cause returns what is behind err: our own end of the connection, or an error of
// the system.
func (q *quicConn) cause(err error) error {
	if q.flooded.Load() {
		return errQUICFlood
	}
	if system := q.ended.Load(); system != nil {
		return *system
	}
	return err
}

// quicAim is whom a QUIC handshake is for.
type quicAim struct {
	plan     *tlsPlan
	host     string
	protocol string                    // ALPN
	code     quic.ApplicationErrorCode // to close with, in that protocol
	strict   bool                      // a bad certificate fails the handshake
}

// dialQUIC resolves host and makes a QUIC connection to its port, racing the
// addresses as connect does: the first one that answers is the one, whatever
// becomes of its handshake. The phase connect ends with the peer's first
// datagram, the phase tls with the handshake. The facts are those of connect
// and handshake.
func (j *journey) dialQUIC(ctx context.Context, route *router, host string, port uint16, aim quicAim) (*quicConn, *check.Reason) {
	addrs, reason := j.addresses(ctx, route, host)
	if reason != nil {
		return nil, reason
	}
	if !j.from.IsValid() {
		j.from = route.from()
	}
	start := time.Now()
	try := func(ctx context.Context, addr netip.Addr) attempt {
		a := attempt{from: j.from, addr: addr}
		q, err := aim.open(ctx, route.device, j.from, netip.AddrPortFrom(addr, port))
		if a.err = err; err == nil {
			a.conn = q
		}
		a.took = time.Since(start)
		return a
	}
	conn, addr, failed := net.Conn(nil), netip.Addr{}, []attempt(nil)
	if len(addrs) > 1 {
		conn, addr, failed = race(ctx, addrs, try)
	} else if a := try(ctx, addrs[0]); a.err == nil {
		conn, addr = a.conn, a.addr
	} else {
		failed = []attempt{a}
	}
	if conn == nil {
		j.timed(check.PhaseConnect, start)
		return nil, quicDialReason(route, failed, port)
	}
	j.obs.Set("ip", addr.String())
	j.obs.Set("family", int(familyOf(addr)))
	q := conn.(*quicConn)
	first := q.first.Load()
	j.obs.Phases.Add(check.PhaseConnect, first.at.Sub(start))
	j.obs.Phases.Add(check.PhaseTLS, q.done.Sub(first.at))
	if reason := j.settleQUIC(q, aim); reason != nil {
		q.Close()
		return nil, reason
	}
	return q, nil
}

// settleQUIC records what the handshake showed, and why it failed if it did.
func (j *journey) settleQUIC(q *quicConn, aim quicAim) *check.Reason {
	j.certAsked, j.certWanted = q.asked.certAsked, q.asked.certWanted
	var bad *check.Reason
	if q.state != nil {
		bad = j.inspect(q.state, aim.plan, aim.plan.nameFor(aim.host))
	}
	if q.failed != nil {
		reason := j.quicHandshakeReason(q, aim)
		return &reason
	}
	return bad
}

// open makes a connection to one address. A peer that has answered gives one in
// any case; what became of the handshake is in failed.
func (a quicAim) open(ctx context.Context, device string, from netip.Addr, to netip.AddrPort) (*quicConn, error) {
	raw, err := openSocket(ctx, "udp", device, from, to)
	if err != nil {
		return nil, err
	}
	q := &quicConn{code: a.code}
	ledger := quicledger.New(func() {
		q.flooded.Store(true)
		raw.Close() // which ends all: the connection itself must not be called from here
	})
	q.quicSocket = &quicSocket{Conn: raw, ledger: ledger}
	q.transport = &quic.Transport{Conn: q.quicSocket}
	config := q.asked.tlsConfig(q.quicSocket, a.plan, a.plan.nameFor(a.host), []string{a.protocol})
	config.MinVersion, config.ClientSessionCache = tls.VersionTLS13, nil // RFC 9001, section 4.2
	config.InsecureSkipVerify = !a.strict
	config.VerifyConnection = func(state tls.ConnectionState) error {
		q.state = &state // where a handshake fails later, it still was seen
		return nil
	}
	q.conn, q.failed = q.transport.Dial(ctx, raw.RemoteAddr(), config, q.config(ctx))
	q.done = time.Now()
	if q.failed == nil {
		state := q.conn.ConnectionState().TLS
		q.state = &state
		return q, nil
	}
	_ = q.transport.Close() // from here on nothing changes q
	if q.first.Load() == nil || errors.Is(q.failed, context.Canceled) {
		err := q.cause(q.failed)
		q.Close()
		return nil, err
	}
	return q, nil
}

// config bounds what a peer can make us hold, and leaves the time to ctx.
func (q *quicConn) config(ctx context.Context) *quic.Config {
	idle := quicIdle
	if deadline, ok := ctx.Deadline(); ok {
		idle = max(time.Until(deadline), 0) + time.Second
	}
	return &quic.Config{
		Versions:                       []quic.Version{quic.Version1},
		HandshakeIdleTimeout:           idle,
		MaxIdleTimeout:                 idle,
		InitialStreamReceiveWindow:     quicStreamWindow,
		MaxStreamReceiveWindow:         quicStreamWindow,
		InitialConnectionReceiveWindow: quicConnWindow,
		MaxConnectionReceiveWindow:     quicConnWindow,
		MaxIncomingStreams:             -1,
		MaxIncomingUniStreams:          quicSideStreams,
		RequireStreamCreditRelease:     true, // in all, not at a time
		DisablePathMTUDiscovery:        true,
		Tracer:                         q.ledger.Trace,
	}
}

// bindStream lets the stream's calls end with ctx.
func bindStream(ctx context.Context, s *quic.Stream) (release func() bool) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = s.SetDeadline(deadline)
	}
	return afterEnd(ctx, func() { _ = s.SetDeadline(past) })
}

// quicDialReason tells why no address answered.
func quicDialReason(route *router, failed []attempt, port uint16) *check.Reason {
	reason := route.dialReason(failed, port)
	switch reason.Code {
	case check.LocalFD:
		idleLinks.shed()
	case check.ConnectTimeout:
		reason.Message += " over UDP\nhint: a firewall that drops UDP looks the same; see whether the host answers over TCP"
	case check.ConnectRefused:
		reason.Message += " over UDP"
	}
	return &reason
}

// quicHandshakeReason tells why the handshake failed after the peer had answered.
func (j *journey) quicHandshakeReason(q *quicConn, aim quicAim) check.Reason {
	err, first := q.cause(q.failed), q.first.Load()
	var versions *quic.VersionNegotiationError
	switch {
	case errors.As(err, &versions):
		return check.Reason{Code: check.TLSVersion, Message: fmt.Sprintf("the server does not speak QUIC version 1, it offers %v", versions.Theirs)}
	case first.foreign():
		return check.Reason{Code: check.TLSPlaintext, Message: "the peer does not speak QUIC, it sent " + excerpt(first.head)}
	}
	if reason, ok := j.quicReason(err); ok {
		reason.Message = "QUIC handshake: " + reason.Message
		if alert := remoteAlert(quicAlert(err)); alert == "no application protocol" {
			reason.Message += fmt.Sprintf("\nhint: the server does not offer %q (ALPN) on this port", aim.protocol)
		}
		return reason
	}
	reason := j.handshakeReason(err, aim.plan, "", q.done.Sub(first.at))
	if reason.Code == check.TLSHandshakeTimeout {
		reason.Message = "the QUIC handshake did not finish within " + check.FormatDuration(q.done.Sub(first.at))
	}
	return reason
}

// quicAlert returns the TLS alert by which the peer closed the connection, nil
// when it did not.
func quicAlert(err error) error {
	var te *quic.TransportError
	if errors.As(err, &te) && te.Remote && te.ErrorCode.IsCryptoError() {
		return tls.AlertError(te.ErrorCode - 0x100)
	}
	return nil
}

// quicReason tells what ended a connection; ok is false for what is none of
// QUIC's own errors, such as a timeout.
func (j *journey) quicReason(err error) (reason check.Reason, ok bool) {
	var te *quic.TransportError
	var app *quic.ApplicationError
	var reset *quic.StatelessResetError
	if alert := quicAlert(err); alert != nil {
		return j.cause(alert, ""), true
	}
	switch {
	case errors.As(err, &te) && te.Remote && te.ErrorCode == quic.ConnectionRefused:
		return check.Reason{Code: check.ConnectRefused, Message: "the server refused the connection" + quicSaid(te.ErrorMessage)}, true
	case errors.As(err, &te) && te.Remote:
		return check.Reason{Code: check.ConnectReset, Message: "the server closed the connection: " + te.ErrorCode.String() + quicSaid(te.ErrorMessage)}, true
	case errors.As(err, &te):
		return check.Reason{Code: check.TLSAlert, Message: "the server breaks the rules of QUIC: " + te.Error()}, true
	case errors.As(err, &app) && app.Remote:
		return check.Reason{Code: check.ConnectReset, Message: fmt.Sprintf("the server closed the connection: code %#x", uint64(app.ErrorCode)) + quicSaid(app.ErrorMessage)}, true
	case errors.As(err, &reset):
		return check.Reason{Code: check.ConnectReset, Message: "the server forgot the connection (stateless reset)"}, true
	}
	return check.Reason{}, false
}

// quicSaid is what a peer gives as its reason, if anything.
func quicSaid(text string) string {
	if text == "" {
		return ""
	}
	return " " + excerpt([]byte(text))
}
