package probes

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// parseServer validates the address of a name server.
func parseServer(text string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr, 53), nil
	}
	return netip.ParseAddrPort(text)
}

// resolve returns the host's addresses and records the phase resolve.
func (j *journey) resolve(ctx context.Context, r *router, host string) ([]netip.Addr, *check.Reason) {
	defer j.timed(check.PhaseResolve, time.Now())
	network := map[uint8]string{0: "ip", 4: "ip4", 6: "ip6"}[r.family]
	addrs, err := (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, network, host)
	var dnsErr *net.DNSError
	switch {
	case err == nil:
		return addrs, nil
	case ctx.Err() != nil:
		reason := cause(ctx.Err(), check.DNSTimeout)
		return nil, &reason
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound:
		return nil, &check.Reason{Code: check.DNSNXDomain, Message: "no address for " + host}
	}
	return nil, &check.Reason{Code: check.DNSServFail, Message: err.Error()}
}
