package probes

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// link is a connection with what was learnt when it was made.
type link struct {
	conn   net.Conn  // what is spoken over: bound, or TLS over it
	bound  *guarded  // the connection below, bound to one run at a time
	secure *tls.Conn // nil: no TLS
	asked  bool      // TLS asked for a client certificate
	wire   httpWire
	via    *proxy // nil for none
	made   time.Time
	ip     any // the facts of these names
	family any
	reused bool // it has served a run before this one
	silent bool // it ended before anything of the response came
}

func (l *link) close() {
	if l.wire != nil {
		l.wire.release()
	}
	l.conn.Close()
}

// take returns the connection that the run before has left, nil when there is
// none that can be used. Only the check's own URL is asked over it.
func (r *httpRun) take(ctx context.Context, request *httpRequest) *link {
	if !r.keeps(request.url) {
		return nil
	}
	l := idleLinks.take(r.p.keeper)
	if l == nil {
		return nil
	}
	h2, ok := l.wire.(*http2Conn)
	if !ok && stale(l.bound.Conn) {
		return r.drop(l)
	}
	l.bound.attach(ctx)
	switch {
	case ok:
		h2.next()
	case l.unasked():
		return r.drop(l)
	default:
		l.wire = newHTTP1(l.conn, true)
	}
	l.reused, r.via = true, l.via
	return l
}

// drop closes a kept connection that turned out to be of no use.
func (r *httpRun) drop(l *link) *link {
	l.close()
	r.j.obs.Set("reconnected", true)
	return nil
}

// unasked reports whether something has come over the connection's TLS, the
// target's or the proxy's, that nobody asked for.
func (l *link) unasked() bool {
	if over, ok := l.conn.(*overTLS); ok {
		return unasked(over.Conn)
	}
	return l.secure != nil && unasked(l.secure)
}

// unasked reports whether something has come over TLS that was read from the
// connection below already, with the response before, and so does not show there.
// It would pass for the answer to the next request. It does not wait.
func unasked(secure net.Conn) bool {
	if secure.SetReadDeadline(past) != nil {
		return true
	}
	var one [1]byte
	_, err := secure.Read(one[:])
	return !isTimeout(err) || secure.SetReadDeadline(time.Time{}) != nil
}

// resume records of a connection that is used again what is true of it now: a
// certificate can expire while its connection lasts.
func (r *httpRun) resume(l *link) *check.Reason {
	if !l.reused {
		return nil
	}
	if l.ip != nil { // not a Unix socket's
		r.j.obs.Set("ip", l.ip)
		r.j.obs.Set("family", l.family)
	} else {
		r.j.obs.Set("unix", r.p.home.unix)
	}
	if l.secure == nil {
		return nil
	}
	r.j.certAsked = l.asked
	state := l.secure.ConnectionState()
	plan := r.p.home.tls
	if reason := r.j.inspect(&state, plan, plan.nameFor(hostName(r.p.start))); reason != nil {
		return reason
	}
	return r.trusts()
}

// hostName is the URL's host as certificates have it.
func hostName(u *url.URL) string { return strings.TrimSuffix(u.Hostname(), ".") }

// keeps reports whether the check keeps connections to the URL: its own alone.
func (r *httpRun) keeps(u *url.URL) bool { return r.p.keeper != nil && u == r.p.start }

// keep leaves the connection to the check's next run, if nothing speaks
// against it: the response came to its end, nothing came behind it, and both
// sides are willing. Only a connection that may be kept is looked at for that.
func (r *httpRun) keep(ctx context.Context, l *link, request *httpRequest, head *httpHead, body io.Reader) bool {
	if !r.keeps(request.url) || ctx.Err() != nil || r.j.obs.Facts.Get("truncated") == true || !l.wire.spent(head, body) || !l.bound.detach() {
		return false
	}
	if h1, ok := l.wire.(*http1); ok {
		h1.release() // an idle connection needs no buffer
		l.wire = nil
	}
	idleLinks.put(r.p.keeper, l)
	return true
}

// again reports whether the request is to be sent once more over a fresh
// connection: the kept one turned out to have been closed before the response
// began, and to send twice does no harm (RFC 9110, section 9.2.2).
func (r *httpRun) again(l *link, method string, reason *check.Reason) bool {
	switch reason.Code {
	case check.HTTPTruncated, check.ConnectReset, check.HTTPGoAway:
	default:
		return false
	}
	if !l.silent {
		return false
	}
	// What an HTTP/2 server says it has not processed is safe to repeat (RFC
	// 9113, section 6.8).
	h2, ok := l.wire.(*http2Conn)
	if !idempotent(method) && !(ok && h2.refused) {
		reason.Message += "; this was a kept connection, and " + method + " is not sent twice\nhint: connection: fresh"
		return false
	}
	r.j.obs.Set("reconnected", true)
	return true
}

// idempotent reports whether doing it twice is doing it once (RFC 9110,
// section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// setLink records which connection the response came over.
func (r *httpRun) setLink(l *link) {
	obs := &r.j.obs
	if l.reused {
		obs.Set("connection", "reused")
		obs.Set("connection.age", time.Since(l.made))
	} else {
		obs.Set("connection", "fresh")
	}
	if r.p.keeper == nil {
		return
	}
	if !l.reused {
		obs.Set("connection.age", time.Duration(0))
	}
	if _, known := obs.Facts.Lookup("reconnected"); !known {
		obs.Set("reconnected", false)
	}
}

// Close closes the connection that is kept. None is kept from then on.
func (p *httpProbe) Close() error {
	if p.keeper != nil {
		idleLinks.retire(p.keeper)
	}
	return nil
}
