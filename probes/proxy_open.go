package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// place is where a proxy is to lead: to an address, or to a name that it
// resolves itself.
type place struct {
	addr netip.Addr // invalid: name
	name string
	port uint16
}

// String is host and port.
func (p place) String() string {
	host := p.name
	if p.addr.IsValid() {
		host = p.addr.WithZone("").String() // a zone is ours alone
	}
	return net.JoinHostPort(host, strconv.Itoa(int(p.port)))
}

// maxPlaces is to how many addresses of one name a SOCKS proxy is asked to lead.
const maxPlaces = 16

// overTLS is a connection to a proxy by TLS.
type overTLS struct {
	net.Conn
	below *guarded
}

// boundOf returns the connection of connect's that is below conn.
func boundOf(conn net.Conn) *guarded {
	if over, ok := conn.(*overTLS); ok {
		return over.below
	}
	return conn.(*guarded)
}

// connectVia connects to host and port as connect does, through the proxy. The
// phase connect holds all that the proxy takes, its TLS too; the facts ip and
// family are of the proxy. A message about the proxy names it.
func (j *journey) connectVia(ctx context.Context, route *router, via *proxy, host, port string) (net.Conn, *check.Reason) {
	places, reason := j.places(ctx, route, via, host, port)
	if reason != nil {
		return nil, reason
	}
	return j.openVia(ctx, route, via, places)
}

// places returns where the proxy is to lead. Of a host that the proxy resolves
// only an address can be held against what ctx permits.
func (j *journey) places(ctx context.Context, route *router, via *proxy, host, port string) ([]place, *check.Reason) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, &check.Reason{Code: check.ConnectUnreachable, Message: fmt.Sprintf("%q is not a port number", port)}
	}
	if reason := permittedBehind(ctx, host); reason != nil {
		return nil, reason
	}
	one := place{name: host, port: uint16(number)}
	if addr, err := netip.ParseAddr(host); err == nil {
		one.addr = addr.Unmap()
		return []place{one}, nil
	}
	if via.scheme != schemeSOCKS5 {
		if one.name, err = asciiName(host); err != nil {
			return nil, &check.Reason{Code: check.DNSNXDomain, Message: err.Error()}
		}
		return []place{one}, nil
	}
	beyond := *route // a source tells the family of the way to the proxy alone
	beyond.family = route.wanted
	addrs, reason := j.addresses(ctx, &beyond, host)
	if reason != nil {
		return nil, reason
	}
	places := make([]place, min(len(addrs), maxPlaces))
	for i := range places {
		places[i] = place{addr: addrs[i], port: uint16(number)}
	}
	return places, nil
}

// permittedBehind tells why ctx does not let a proxy lead to the host.
func permittedBehind(ctx context.Context, host string) *check.Reason {
	addr := literalAddr(host)
	if !addr.IsValid() { // a name
		return nil
	}
	_, reason := permitted(ctx, []netip.Addr{addr})
	return reason
}

// openVia connects to the proxy and lets it lead to one of the places, which
// are raced as connect races addresses; without any the connection is to the
// proxy itself.
func (j *journey) openVia(ctx context.Context, route *router, via *proxy, places []place) (net.Conn, *check.Reason) {
	addrs, reason := j.addresses(ctx, route, via.host)
	if reason != nil {
		return nil, via.blame(reason)
	}
	defer j.timed(check.PhaseConnect, time.Now())
	if !j.from.IsValid() {
		j.from = route.from()
	}
	way := proxyWay{proxy: via, route: route, from: j.from, addrs: addrs}
	conn, addr, reason := way.first(ctx, places)
	if reason != nil {
		if reason.Code == check.LocalFD {
			idleLinks.shed()
		}
		return nil, via.blame(reason)
	}
	j.obs.Set("proxy", via.String())
	j.obs.Set("ip", addr.String())
	j.obs.Set("family", int(familyOf(addr)))
	return conn, nil
}

// blame names the proxy in a reason.
func (p *proxy) blame(reason *check.Reason) *check.Reason {
	reason.Message = "proxy " + p.shown + ": " + reason.Message
	return reason
}

// proxyWay is a way through a proxy whose name is resolved.
type proxyWay struct {
	*proxy
	route *router
	from  netip.Addr
	addrs []netip.Addr
}

// first returns the first connection to one of the places and the address of
// the proxy that it goes over.
func (w *proxyWay) first(ctx context.Context, places []place) (net.Conn, netip.Addr, *check.Reason) {
	if len(places) < 2 {
		var to *place
		if len(places) == 1 {
			to = &places[0]
		}
		return w.open(ctx, to)
	}
	targets := make([]netip.Addr, len(places))
	byAddr := make(map[netip.Addr]*place, len(places))
	for i := range places {
		targets[i] = places[i].addr
		byAddr[targets[i]] = &places[i]
	}
	conn, addr, failed := race(ctx, targets, func(ctx context.Context, addr netip.Addr) attempt {
		conn, at, reason := w.open(ctx, byAddr[addr])
		if reason != nil {
			return attempt{addr: addr, err: &reasonError{*reason}}
		}
		if !boundOf(conn).detach() { // its context ends with the race
			conn.Close()
			return attempt{addr: addr, err: &reasonError{check.Reason{Code: check.LocalShutdown, Message: "interrupted before the probe ended"}}}
		}
		return attempt{addr: at, conn: conn}
	})
	if conn == nil {
		reason := mostTelling(failed)
		return nil, addr, &reason
	}
	boundOf(conn).attach(ctx)
	return conn, addr, nil
}

// mostTelling returns the reason of the attempts that says most.
func mostTelling(failed []attempt) check.Reason {
	best := check.Reason{Code: check.LocalShutdown, Message: "interrupted before the probe ended"}
	for i, a := range failed {
		var e *reasonError
		if errors.As(a.err, &e) && (i == 0 || rank(e.Code) < rank(best.Code)) {
			best = e.Reason
		}
	}
	if n := len(failed) - 1; n > 0 {
		best.Message += fmt.Sprintf(" (and %d more addresses failed)", n)
	}
	return best
}

// open connects to the proxy and lets it lead to the place, if there is one.
func (w *proxyWay) open(ctx context.Context, to *place) (net.Conn, netip.Addr, *check.Reason) {
	number, _ := strconv.ParseUint(w.port, 10, 16) // validated
	tcp, addr, failed := w.route.dial(ctx, w.from, w.addrs, uint16(number))
	if tcp == nil {
		reason := w.route.dialReason(failed, uint16(number))
		return nil, addr, &reason
	}
	bound := guard(ctx, tcp)
	conn, leg := net.Conn(bound), begin()
	var reason *check.Reason
	if w.tls != nil {
		if conn, reason = w.secure(ctx, leg, bound); reason != nil {
			bound.Close()
			return nil, addr, reason
		}
	}
	switch {
	case to == nil:
	case w.socks():
		reason = w.socksConnect(leg, conn, to)
	default:
		reason = w.httpConnect(leg, conn, to)
	}
	if reason != nil {
		conn.Close()
		return nil, addr, reason
	}
	return conn, addr, nil
}

// secure makes TLS with the proxy, which must prove who it is: it is about to be
// sent the credentials.
func (p *proxy) secure(ctx context.Context, leg *journey, conn *guarded) (net.Conn, *check.Reason) {
	secure, reason := leg.handshake(ctx, conn, p.tls, p.host, []string{"http/1.1"})
	if reason == nil && !p.tls.insecure {
		reason = distrust(&leg.obs)
	}
	if reason != nil {
		return nil, reason
	}
	return &overTLS{Conn: secure, below: conn}, nil
}

// distrust returns why the peer of the handshake cannot prove who it is, nil
// when it can.
func distrust(obs *check.Observation) *check.Reason {
	for _, fact := range []string{"cert.trusted", "cert.hostname_ok"} {
		if ok, _ := obs.Facts.Get(fact).(bool); !ok {
			reason, known := obs.Because[fact]
			if !known {
				reason = check.Reason{Code: check.TLSUntrusted, Message: fact + " is not true"}
			}
			return &reason
		}
	}
	return nil
}

// httpConnect asks an HTTP proxy for a connection (RFC 9110, section 9.3.6).
func (p *proxy) httpConnect(leg *journey, conn net.Conn, to *place) *check.Reason {
	target := to.String()
	m := &httpMessage{method: "CONNECT", target: target, authority: target, fields: []field{{"User-Agent", p.agent}}}
	if auth := p.auth(); auth != "" {
		m.fields = append(m.fields, field{"Proxy-Authorization", auth})
	}
	wire := newHTTP1(conn, true)
	defer wire.release()
	err := wire.send(m)
	if err == nil {
		err = wire.await()
	}
	var head *httpHead
	if err == nil {
		head, err = wire.readHead()
	}
	switch {
	case err != nil:
		return leg.broken(err, "no answer to CONNECT in time")
	case head.status == 407, head.status == 401: // the latter is tinyproxy's for a wrong password
		return &check.Reason{Code: check.HTTPStatus, Message: fmt.Sprintf(
			"CONNECT %s was answered with status %d %s: %s", target, head.status, head.reason, p.login())}
	case head.status < 200 || head.status > 299:
		return &check.Reason{Code: check.HTTPStatus, Message: fmt.Sprintf("CONNECT %s was answered with status %d %s", target, head.status, head.reason)}
	case wire.r < wire.w:
		return &check.Reason{Code: check.HTTPMalformed, Message: "bytes after the answer to CONNECT: " + excerpt(wire.buf[wire.r:wire.w])}
	}
	return nil
}

// login words a login that a proxy does not accept.
func (p *proxy) login() string {
	if p.user == "" && p.pass == "" {
		return "it demands a user and a password"
	}
	return "it does not accept the user and the password"
}

// broken explains an error on the connection to a proxy. A timeout gets the
// message given.
func (j *journey) broken(err error, late string) *check.Reason {
	var he *httpError
	if errors.As(err, &he) {
		return &check.Reason{Code: he.code, Message: he.message}
	}
	reason := j.cause(err, check.ConnectTimeout)
	if reason.Code == check.ConnectTimeout {
		reason.Message = late
	}
	return &reason
}
