package probes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
	"github.com/sonde-cli/sonde/probes/netif"
)

// dnsRun is one Observe call of a dns check.
type dnsRun struct {
	*journey
	exchange
	dnsReply
	probe *dnsProbe
}

// dnsReply is what came of asking one server.
type dnsReply struct {
	question  *question // the plain one after a fallback
	server    netip.AddrPort
	transport string // of the last exchange
	cut       bool   // an answer over UDP was truncated
	got       *dnsAnswer
	badCookie bool // the server wanted its cookie back
}

// Observe implements [check.Probe].
func (p *dnsProbe) Observe(ctx context.Context) check.Observation { return p.once(ctx).obs }

// once makes one run, whose observation is complete.
func (p *dnsProbe) once(ctx context.Context) *dnsRun {
	r := &dnsRun{journey: begin(), probe: p, dnsReply: dnsReply{question: p.question.fresh()}}
	r.obs.Facts = make(check.Facts, 0, 28) // more than what an answer over UDP has
	reason := r.run(ctx)
	r.obs.Set("query_name", p.question.name)
	r.obs.Set("retransmits", r.retransmits)
	r.obs.Set("mismatched", r.mismatched)
	r.obs.Set("edns.fallback", r.question == p.plain && p.plain != nil)
	server := ""
	if r.server.IsValid() {
		server = r.server.String()
		r.obs.Set("server", server)
		r.obs.Set("transport", r.transport)
		r.obs.Set("ip", r.server.Addr().String())
		r.obs.Set("family", int(familyOf(r.server.Addr())))
	}
	if r.question.flags.cookie != nil {
		r.obs.Set("edns.badcookie", r.badCookie)
	}
	r.setHTTP()
	if r.got != nil {
		r.obs.Set("truncated", r.cut)
		r.got.record(&r.obs, r.question, server)
		if p.sorted {
			setList(&r.obs, "answer_set", r.got.set(r.question))
		}
		if r.transport == transportUDP && r.cut && r.got.count == 0 {
			r.obs.Explain("answer_count", check.DNSTruncated, "the answer is too large for UDP, and transport: udp forbids TCP")
		}
	}
	r.obs.Reproduce = r.dig
	if reason != nil {
		r.stop(reason)
		return r
	}
	if p.anchors != nil {
		r.validate(ctx)
	}
	r.end()
	return r
}

// run asks the check's server, or those of the system as any program on this
// machine would: the next one when one does not answer or is not able to.
func (r *dnsRun) run(ctx context.Context) *check.Reason {
	if r.probe.walks {
		return r.trace(ctx)
	}
	if r.probe.host != "" {
		return r.ask(ctx, r.probe.host, r.probe.port, share(ctx, serverTimeout, 1))
	}
	config, err := cmp.Or(r.probe.router.system, machine()).config()
	if err != nil {
		return unread(err)
	}
	var reason *check.Reason
	var undecided *dnsReply
	r.control = true
	for i, server := range config.servers {
		r.dnsReply = dnsReply{question: r.probe.question.fresh()}
		failure := r.ask(ctx, server.Addr().String(), server.Port(), share(ctx, config.timeout, len(config.servers)-i))
		switch {
		case failure != nil:
			reason = worse(reason, r.systemReason(failure))
		case r.decided():
			return nil
		case undecided == nil:
			undecided = &dnsReply{}
			*undecided = r.dnsReply
		}
		if ctx.Err() != nil {
			break
		}
	}
	if undecided != nil {
		r.dnsReply = *undecided
		failure := dnsmsg.RcodeReason(r.got.rcode, r.question.name, r.server.String())
		if unable(failure) && !alive(ctx, systemServers(config)) {
			return &check.Reason{Code: check.LocalResolver, Message: resolverFails + ": " + failure.Message}
		}
		return nil
	}
	return reason
}

// decided reports whether the answer is one that another server would give too.
func (r *dnsRun) decided() bool {
	switch r.got.rcode {
	case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented:
		return false
	}
	return true
}

// systemReason blames our own side when the system's resolver cannot be
// reached, but not when it answers other questions.
func (r *dnsRun) systemReason(failure *check.Reason) *check.Reason {
	silent := failure.Code == check.DNSTimeout || strings.HasPrefix(string(failure.Code), "connect.")
	switch {
	case silent && r.alive:
		return &check.Reason{Code: failure.Code, Message: failure.Message + ", though it answers others"}
	case silent:
		return &check.Reason{Code: check.LocalResolver, Message: "the system's resolver does not answer: " + failure.Message}
	}
	return failure
}

// ask puts the question to one server, and once more where the protocol wants
// that: without EDNS when the server fails on it (RFC 6891 section 7), with the
// server's cookie when it demands that (RFC 7873 section 5.3).
func (r *dnsRun) ask(ctx context.Context, host string, port uint16, until time.Time) *check.Reason {
	reason := r.exchangeWith(ctx, host, port, until)
	switch {
	case reason != nil:
		return reason
	case r.probe.plain != nil && r.got.message.RefusesEDNS():
		r.question = r.probe.plain
	case r.got.rcode == dns.RcodeBadCookie && r.got.edns != nil && r.question.flags.cookie != nil:
		cookie := cookieOf(r.got.edns)
		if len(cookie) <= clientCookie {
			return nil
		}
		r.question, r.badCookie = r.question.withCookie(cookie), true
	default:
		return nil
	}
	return r.exchangeWith(ctx, host, port, until)
}

func (r *dnsRun) exchangeWith(ctx context.Context, host string, port uint16, until time.Time) *check.Reason {
	var reason *check.Reason
	switch r.probe.transport {
	case transportTCP, transportTLS, transportHTTPS:
		reason = r.overStream(ctx, host, port, until)
	case transportQUIC:
		reason = r.overQUIC(ctx, host, port, until)
	default:
		if reason = r.overUDP(ctx, host, port, until); reason != nil || !r.cut || r.probe.transport == transportUDP {
			break
		}
		reason = r.overStream(ctx, r.server.Addr().String(), port, until)
		if reason != nil && !reason.Code.Local() {
			reason = &check.Reason{Code: check.DNSTruncated, Message: "the answer is too large for UDP, and over TCP: " + reason.Message}
		}
	}
	if reason != nil {
		return reason
	}
	var err error
	if r.got, err = readAnswer(r.answer, r.question); err != nil && !r.answer.Truncated() {
		r.got = nil
		return r.reason(err)
	}
	return nil
}

// overUDP asks over UDP. Of several addresses of the server's name it takes
// the first that this machine has a route to.
func (r *dnsRun) overUDP(ctx context.Context, host string, port uint16, until time.Time) *check.Reason {
	addrs, reason := r.resolve(ctx, r.probe.router, host)
	if reason == nil {
		addrs, reason = permitted(ctx, addrs)
	}
	if reason != nil {
		return reason
	}
	if !r.from.IsValid() {
		r.from = r.probe.router.from()
	}
	var conn net.Conn
	var err error
	for _, addr := range addrs {
		r.server, r.transport = netip.AddrPortFrom(addr, port), transportUDP
		if conn, err = openSocket(ctx, "udp", r.probe.router.device, r.from, r.server); err == nil {
			break
		}
	}
	if err != nil {
		return r.reason(err)
	}
	defer conn.Close()
	start := time.Now()
	err = r.datagram(ctx, conn, r.question, until)
	r.phases(start)
	if err != nil {
		return r.reason(err)
	}
	r.cut = r.answer.Truncated()
	return nil
}

// overStream asks over a TCP or TLS connection, or over HTTPS.
func (r *dnsRun) overStream(ctx context.Context, host string, port uint16, until time.Time) *check.Reason {
	if deadline, ok := ctx.Deadline(); !ok || until.Before(deadline) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	if r.probe.doh != nil {
		return r.overHTTPS(ctx, host, port)
	}
	conn, reason := r.connect(ctx, r.probe.router, host, strconv.Itoa(int(port)))
	if reason != nil {
		return reason
	}
	defer conn.Close()
	r.server, r.transport = remote(conn), transportTCP
	if r.probe.transport == transportTLS {
		r.transport = transportTLS
		if conn, reason = r.handshake(ctx, conn, r.probe.tls, host, nil); reason != nil {
			return reason
		}
	}
	start := time.Now()
	err := r.stream(ctx, conn, r.question, until)
	r.phases(start)
	if err != nil {
		return r.reason(err)
	}
	return nil
}

func remote(conn net.Conn) netip.AddrPort {
	addr, ok := conn.RemoteAddr().(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}
	}
	ap := addr.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// phases records the phases of the exchange that began at start.
func (r *dnsRun) phases(start time.Time) {
	now := time.Now()
	if r.sent.IsZero() {
		return
	}
	r.obs.Phases.Add(check.PhaseSend, r.sent.Sub(start))
	if r.first.IsZero() {
		r.obs.Phases.Add(check.PhaseWait, now.Sub(r.sent))
		return
	}
	r.obs.Phases.Add(check.PhaseWait, r.first.Sub(r.sent))
	if r.last.After(r.first) {
		r.obs.Phases.Add(check.PhaseTransfer, r.last.Sub(r.first))
	}
}

// reason tells why the exchange failed.
func (r *dnsRun) reason(err error) *check.Reason {
	var bad *dnsmsg.MalformedError
	if errors.As(err, &bad) {
		return &check.Reason{Code: check.DNSMalformed, Message: fmt.Sprintf("%s: %v", r.server, err)}
	}
	var he *httpError
	if errors.As(err, &he) {
		return &check.Reason{Code: he.code, Message: fmt.Sprintf("%s: %s", r.probe.doh, he.message)}
	}
	if reason, ok := netif.Reason(err); ok {
		return &reason
	}
	reason := r.cause(err, check.DNSTimeout)
	if r.server.IsValid() {
		reason = placed(reason, err, r.probe.router.device, r.server.Addr())
	}
	switch reason.Code {
	case check.DNSTimeout:
		reason.Message = fmt.Sprintf("no answer from %s over %s", r.server, r.transport)
		if r.retransmits > 0 {
			reason.Message += ", asked twice"
		}
		if r.mismatched > 0 {
			reason.Message += fmt.Sprintf(", but %d messages that answer something else", r.mismatched)
		}
	case check.ConnectRefused:
		reason.Message = fmt.Sprintf("nothing listens on %s over %s", r.server, r.transport)
	case check.LocalShutdown:
	default:
		reason.Message = fmt.Sprintf("%s: %s", r.server, reason.Message)
	}
	return &reason
}

// dig returns the command that asks the same with BIND's dig.
func (r *dnsRun) dig() string {
	p := r.probe
	args := []string{"dig"}
	if p.transport == transportQUIC {
		args[0] = "kdig" // BIND's has no QUIC
	}
	switch {
	case p.walks && p.host == "":
	case r.server.IsValid() && !p.walks:
		args = append(args, "@"+r.server.Addr().String())
		if r.server.Port() != dnsPort || p.overTLS() {
			args = append(args, "-p", strconv.Itoa(int(r.server.Port())))
		}
	case p.host != "":
		args = append(args, shellQuote("@"+p.host), "-p", strconv.Itoa(int(p.port)))
	}
	if p.question.class != dns.ClassINET {
		args = append(args, "-c", dns.ClassToString[p.question.class])
	}
	args = append(args, "-t", dnsmsg.TypeName(p.question.qtype), "-q", shellQuote(p.question.name))
	switch p.transport {
	case transportUDP:
		args = append(args, "+ignore")
	case transportTCP:
		args = append(args, "+tcp")
	case transportTLS:
		args = append(args, "+tls")
	case transportHTTPS:
		method := "+https="
		if !p.doh.post {
			method = "+https-get="
		}
		args = append(args, shellQuote(method+p.doh.path))
	}
	if p.overTLS() && p.tls != nil && !p.tls.insecure {
		ca := "+tls-ca"
		if p.ca != "" {
			ca += "=" + p.ca
		}
		args = append(args, shellQuote(ca), "+tls-hostname="+shellQuote(cmp.Or(p.tls.serverName, p.host)))
	}
	if p.transport == transportQUIC {
		args = append(args, "+quic") // last, for to kdig the others mean TLS over TCP
	}
	if !p.question.flags.recursion {
		args = append(args, "+norecurse")
	}
	args = append(args, digEDNS(p.question.flags)...)
	if p.walks {
		args = append(args, "+trace")
	}
	return strings.Join(args, " ")
}
