package echo

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/netif"
)

// openFailure explains why there is no socket. All of it is our own side's.
func openFailure(err error, key socketKey) *check.Reason {
	if reason, ok := netif.Reason(err); ok {
		return &reason
	}
	r := &check.Reason{Code: check.LocalOverload, Message: fmt.Sprintf("cannot open an ICMP socket: %v", err)}
	switch {
	case isForbidden(err):
		return forbidden()
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		r.Code = check.LocalFD
	case errors.Is(err, unix.EAFNOSUPPORT):
		r.Code = check.LocalRoute
		r.Message = "this machine has no IPv4"
		if key.v6 {
			r.Message = "this machine has no IPv6"
		}
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EINVAL):
		r.Code = check.LocalRoute
		r.Message = fmt.Sprintf("source %s is not an address of this machine", key.from)
	case errors.Is(err, unix.EADDRINUSE):
		r.Code = check.LocalPorts
		r.Message = "no ICMP id is left for another socket"
	}
	return r
}

// forbidden is the reason for case F1, with the three ways out.
func forbidden() *check.Reason {
	return &check.Reason{Code: check.LocalPermission, Message: "this user may not open an ICMP socket\n" +
		"hint: sysctl -w net.ipv4.ping_group_range='0 2147483647' (allows all users), " +
		"or setcap cap_net_raw+ep on sonde's binary, or run it as root (a container with CAP_NET_RAW)"}
}

// sendFailure explains why a packet could not be sent, which says nothing of
// the target either.
func sendFailure(err error, to netip.Addr, key socketKey) *check.Reason {
	r := &check.Reason{Code: check.LocalOverload, Message: fmt.Sprintf("cannot send to %s: %v", to, err)}
	switch {
	case errors.Is(err, unix.EACCES):
		r.Code = check.LocalPermission
		r.Message = fmt.Sprintf("this machine prohibits sending to %s: a broadcast address, or a route of the type prohibit", to)
	case errors.Is(err, unix.EPERM):
		r.Code = check.LocalPermission
		r.Message = fmt.Sprintf("this machine's firewall does not let ICMP out to %s", to)
	case errors.Is(err, unix.EINVAL) && key.from.IsValid():
		r.Code = check.LocalRoute
		r.Message = fmt.Sprintf("no route to %s from the source %s", to, key.from)
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EINVAL),
		errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENODEV),
		errors.Is(err, unix.ENXIO), errors.Is(err, unix.EMSGSIZE):
		r.Code = check.LocalRoute
		r.Message = fmt.Sprintf("this machine has no route to %s (%v)", to, err)
	}
	if errors.Is(err, unix.EMSGSIZE) {
		r.Message = fmt.Sprintf("a packet to %s is too large for this machine to send", to)
	}
	return r
}
