//go:build !linux

package probes

import (
	"context"
	"net"
	"net/netip"
)

// openSocket connects a socket to an address, from one of this machine where
// that is valid.
func openSocket(ctx context.Context, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1} // a probe's connection is short
	if from.IsValid() {
		local := netip.AddrPortFrom(from, 0)
		if network == "udp" {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(local)
		} else {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(local)
		}
	}
	return dialer.DialContext(ctx, network, to.String())
}
