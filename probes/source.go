package probes

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"

	"github.com/sonde-cli/sonde/check"
)

// firstTurn spreads the checks over their sources: the next check begins where
// the one before did not.
var firstTurn atomic.Uint32

// takeSources reads the local addresses. They narrow the route to their family.
// Empty ones do not count, so that a variable can turn the option off.
func (r *router) takeSources(errs *[]error, texts []string) {
	for _, text := range texts {
		addr := parseOption(errs, "source", text, r.family)
		switch {
		case !addr.IsValid():
			continue
		case r.address.IsValid() && familyOf(addr) != familyOf(r.address):
			*errs = append(*errs, check.OptionErrorf("source", "%s and address %s are of different families", addr, r.address))
		case len(r.sources) > 0 && familyOf(addr) != familyOf(r.sources[0]):
			*errs = append(*errs, check.OptionErrorf("source", "%s and %s are of different families", r.sources[0], addr))
		}
		r.sources = append(r.sources, addr)
	}
	if len(r.sources) > 0 {
		r.family = familyOf(r.sources[0])
	}
	if len(r.sources) > 1 {
		r.turn = new(atomic.Uint32)
		r.turn.Store(firstTurn.Add(1))
	}
}

// same reports whether the options are the same.
func (r *Route) same(to *Route) bool {
	return r.Family == to.Family && r.Address == to.Address && r.Require == to.Require && r.DNS == to.DNS && r.Interface == to.Interface && slices.Equal(r.Source, to.Source) &&
		r.Resolver == to.Resolver && r.Search == to.Search
}

// from returns the local address whose turn it is, an invalid one when the
// system chooses.
func (r *router) from() netip.Addr {
	switch n := uint32(len(r.sources)); n {
	case 0:
		return netip.Addr{}
	case 1:
		return r.sources[0]
	default:
		return r.sources[r.turn.Add(1)%n]
	}
}

// to returns where connections to the host go: to the route's own address where
// it has one.
func (r *router) to(host string) string {
	if r.address.IsValid() {
		return r.address.String()
	}
	return host
}

// closeReset is the value of the option close that ends connections with RST.
const closeReset = "reset"

// closeBy takes the option close.
func (r *router) closeBy(how string) error {
	switch how {
	case "", "normal":
		return nil
	case closeReset:
		r.reset = true
		return nil
	default:
		return check.OptionErrorf("close", "%q is not normal or reset", how)
	}
}

// resetAtClose lets Close send an RST (SO_LINGER of 0 s): the side that closes
// first keeps no port in TIME_WAIT, and what was not sent yet is discarded.
// A connection that the peer has ended meanwhile may refuse the option, and
// needs it no longer.
func resetAtClose(conn net.Conn) {
	if l, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
}

// foreign reports whether binding to a local address failed because this
// machine does not have it. Ports that ran out are told by connect, or by bind
// with "address already in use".
func foreign(err error) bool {
	var call *os.SyscallError
	return errors.As(err, &call) && call.Syscall == "bind" && errors.Is(call.Err, errNoAddress)
}
