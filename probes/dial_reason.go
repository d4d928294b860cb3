package probes

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/netif"
)

// telling orders reasons of failed attempts from the most to the least telling
// one. What kept us from measuring an address comes before what others said,
// because it leaves open whether that address answers; only a missing route
// comes last, because a machine may well have just one family.
var telling = [...]check.Code{
	check.LocalShutdown, check.LocalFD, check.LocalPorts, check.LocalOverload, check.LocalPermission,
	check.ConnectRefused, check.ConnectReset, check.ConnectTimeout, check.ConnectUnreachable, check.LocalRoute,
}

func rank(code check.Code) int {
	for i, c := range telling {
		if c == code {
			return i
		}
	}
	return len(telling)
}

// dialReason makes one reason of the failed attempts: the most telling one,
// with the number of the others.
func (r *router) dialReason(failed []attempt, port uint16) check.Reason {
	var best check.Reason
	for i, a := range failed {
		reason := r.attemptReason(a, port)
		if i == 0 || rank(reason.Code) < rank(best.Code) {
			best = reason
		}
	}
	if n := len(failed) - 1; n > 0 {
		best.Message += fmt.Sprintf(" (and %d more addresses failed)", n)
	}
	return best
}

// attemptReason tells why one attempt failed, and where.
func (r *router) attemptReason(a attempt, port uint16) check.Reason {
	if reason, ok := netif.Reason(a.err); ok {
		return reason
	}
	reason := placed(cause(a.err, check.ConnectTimeout), a.err, r.device, a.addr)
	where := netip.AddrPortFrom(a.addr, port)
	switch reason.Code {
	case check.ConnectRefused:
		reason.Message = fmt.Sprintf("%s refused the connection", where)
	case check.ConnectTimeout:
		reason.Message = fmt.Sprintf("no answer from %s within %s", where, check.FormatDuration(a.took))
	case check.LocalPorts:
		if a.from.IsValid() && foreign(a.err) {
			reason.Code = check.LocalRoute
			reason.Message = fmt.Sprintf("cannot connect from %s: %s\nhint: source must be an address of this machine", a.from, reason.Message)
			break
		}
		reason.Message = noPort(a.from, where)
	case check.LocalFD:
		reason.Message = "out of file descriptors\nhint: raise the limit (ulimit -n) or lower the concurrency"
	case check.ConnectUnreachable, check.LocalRoute:
		reason.Message = fmt.Sprintf("connect to %s: %s", where, reason.Message)
	case check.LocalShutdown:
	default:
		reason.Message = fmt.Sprintf("connect to %s: %s", where, reason.Message)
	}
	return reason
}

// noPort tells that the ports of this machine ran out, and what helps.
func noPort(from netip.Addr, where netip.AddrPort) string {
	via := ""
	if from.IsValid() {
		via = fmt.Sprintf(" of %s", from)
	}
	return fmt.Sprintf("no local port%s left to connect to %s\n"+
		"hint: set close: reset so that none stays in TIME_WAIT, or let source list more addresses", via, where)
}

// placed tells apart what this machine says of an address from what the
// network says of it, where one system error means both.
func placed(reason check.Reason, err error, device string, addr netip.Addr) check.Reason {
	switch reason.Code {
	case check.ConnectUnreachable, check.LocalRoute:
		reason.Code = check.ConnectUnreachable
		if !routed(err, device, addr) {
			reason.Code = check.LocalRoute
		}
	case check.LocalPorts: // also said of a family that is turned off
		if !routed(err, device, addr) {
			reason.Code = check.LocalRoute
		}
	case check.LocalPermission: // also said of an ICMPv6 "administratively prohibited" (RFC 4443 section 3.1)
		if errors.Is(err, syscall.EACCES) && familyOf(addr) == 6 && routed(err, device, addr) {
			reason.Code, reason.Message = check.ConnectUnreachable, "a firewall on the way prohibits it"
		}
	}
	return reason
}

// routed reports whether this machine has a route to the address, so that an
// "unreachable" came from a router or the host. The route is one by the
// interface where there is one. Connecting a UDP socket asks
// the routing table and sends nothing.
func routed(err error, device string, addr netip.Addr) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return true
	}
	conn, err := openSocket(context.Background(), "udp", device, netip.Addr{}, netip.AddrPortFrom(addr, 9))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
