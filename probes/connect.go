package probes

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Bounds of the time between two connection attempts (RFC 8305 section 5 and
// 8): 250 ms is recommended, less than 10 ms is forbidden.
const (
	stagger    = 250 * time.Millisecond
	minStagger = 10 * time.Millisecond
)

// connect resolves host and connects to port, racing the addresses. It records
// the phases resolve (in resolve, and not for an IP address) and connect and
// the facts ip and family. On failure it returns the reason, and no connection.
// The connection carries ctx's deadline and is interrupted when ctx is
// cancelled.
func (j *journey) connect(ctx context.Context, route *router, host, port string) (net.Conn, *check.Reason) {
	if route.via != nil {
		return j.connectVia(ctx, route, route.via, host, port)
	}
	addrs, reason := j.addresses(ctx, route, host)
	if reason != nil {
		return nil, reason
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, &check.Reason{Code: check.ConnectUnreachable, Message: fmt.Sprintf("%q is not a port number", port)}
	}
	defer j.timed(check.PhaseConnect, time.Now())
	if !j.from.IsValid() {
		j.from = route.from()
	}
	tcp, addr, failed := route.dial(ctx, j.from, addrs, uint16(number))
	if len(failed) > 0 && tcp == nil {
		reason := route.dialReason(failed, uint16(number))
		if reason.Code == check.LocalFD {
			idleLinks.shed()
		}
		return nil, &reason
	}
	j.obs.Set("ip", addr.String())
	j.obs.Set("family", int(familyOf(addr)))
	return guard(ctx, tcp), nil
}

// connectFacts declares what connect observes.
func connectFacts() []check.Fact {
	return append([]check.Fact{
		{Name: "ip", Type: check.String, Doc: "address that the probe connected to; the proxy's where there is one"},
		{Name: "family", Type: check.Int, Doc: "its address family, 4 or 6"},
		{Name: "resolved_name", Type: check.String, Doc: "name that was resolved, when it is not the host as written"},
		{Name: "proxy", Type: check.String, Doc: "proxy that was used, without user and password; for http '' when none was, else absent then"},
	}, spreadFacts()...)
}

// addresses returns where to connect to, in the order of attempts.
func (j *journey) addresses(ctx context.Context, route *router, host string) ([]netip.Addr, *check.Reason) {
	addr := route.address
	if !addr.IsValid() {
		addr, _ = netip.ParseAddr(host)
	}
	var addrs []netip.Addr
	if addr.IsValid() {
		addrs = []netip.Addr{addr.Unmap()}
	} else {
		var reason *check.Reason
		if addrs, reason = j.resolve(ctx, route, host); reason != nil {
			return nil, reason
		}
	}
	addrs = interleave(addrs, route.family)
	if len(addrs) == 0 {
		message := host + " has no address"
		if route.family != 0 {
			message = fmt.Sprintf("%s has no IPv%d address", host, route.family)
		}
		return nil, &check.Reason{Code: check.DNSNoData, Message: message}
	}
	return permitted(ctx, addrs)
}

// interleave keeps the addresses of the family (0: all) and alternates the
// families beginning with IPv6 (RFC 8305 section 4). Inside a family it keeps
// the order.
func interleave(addrs []netip.Addr, family uint8) []netip.Addr {
	if len(addrs) == 1 && family == 0 {
		return addrs
	}
	var v6, v4 []netip.Addr
	for _, a := range addrs {
		switch a = a.Unmap(); {
		case family != 0 && familyOf(a) != family:
		case a.Is4():
			v4 = append(v4, a)
		default:
			v6 = append(v6, a)
		}
	}
	out := make([]netip.Addr, 0, len(v4)+len(v6))
	for i := range max(len(v4), len(v6)) {
		if i < len(v6) {
			out = append(out, v6[i])
		}
		if i < len(v4) {
			out = append(out, v4[i])
		}
	}
	return out
}

// attempt is one connection attempt and its outcome.
type attempt struct {
	from netip.Addr // invalid: the system chooses
	addr netip.Addr
	conn net.Conn
	err  error
	took time.Duration
}

// dial connects from an address of this machine to the first of the addresses
// that answers. Without a connection it returns what became of each attempt.
func (r *router) dial(ctx context.Context, from netip.Addr, addrs []netip.Addr, port uint16) (net.Conn, netip.Addr, []attempt) {
	try := func(ctx context.Context, addr netip.Addr) attempt {
		start := time.Now()
		conn, err := openSocket(ctx, cmp.Or(r.network, "tcp"), r.device, from, netip.AddrPortFrom(addr, port))
		if err == nil && r.reset {
			resetAtClose(conn)
		}
		return attempt{from: from, addr: addr, conn: conn, err: err, took: time.Since(start)}
	}
	if len(addrs) > 1 {
		return race(ctx, addrs, try)
	}
	a := try(ctx, addrs[0])
	if a.err != nil {
		return nil, netip.Addr{}, []attempt{a}
	}
	return a.conn, a.addr, nil
}

// race tries the addresses in order as RFC 8305 section 5 has it: the next one
// starts when the one before failed or the stagger has passed, and the first
// connection wins. All attempts have ended and all other connections are
// closed when it returns. With many addresses and little time the stagger
// shrinks, so that the last one too gets half of ctx's time.
func race(ctx context.Context, addrs []netip.Addr, try func(context.Context, netip.Addr) attempt) (net.Conn, netip.Addr, []attempt) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pause := stagger
	if deadline, ok := ctx.Deadline(); ok {
		pause = max(minStagger, min(pause, time.Until(deadline)/time.Duration(2*len(addrs))))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()

	ended := make(chan attempt)
	next, running := 0, 0
	start := func() {
		addr := addrs[next]
		next, running = next+1, running+1
		timer.Reset(pause)
		go func() { ended <- try(ctx, addr) }()
	}
	var winner attempt
	var failed []attempt
	start()
	for running > 0 {
		more := winner.conn == nil && next < len(addrs) && ctx.Err() == nil
		select {
		case a := <-ended:
			running--
			switch {
			case a.err != nil:
				failed = append(failed, a)
				if more {
					start()
				}
			case winner.conn == nil:
				winner = a
				cancel()
			default:
				a.conn.Close()
			}
		case <-timer.C:
			if more {
				start()
			}
		}
	}
	if winner.conn == nil {
		return nil, netip.Addr{}, failed
	}
	return winner.conn, winner.addr, nil
}

// reaches checks that the route can lead to the host, which matters for an IP
// address of a family that the route excludes. The error names the option.
func (r *router) reaches(option, host string) error {
	addr, err := netip.ParseAddr(host)
	if err == nil && r.spread == bothFamilies {
		return check.OptionErrorf("family", "both needs a name, and %s is an address of one family", host)
	}
	if err != nil || r.family == 0 || r.address.IsValid() || familyOf(addr) == r.family {
		return nil
	}
	return check.OptionErrorf(option, "%s is not an IPv%d address, as family or source demands", host, r.family)
}
