//go:build !linux

package probes

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"github.com/sonde-cli/sonde/probes/netif"
)

// openSocket connects a socket to an address, by a network interface where the
// device is not empty, and from an address of this machine where that is valid.
func openSocket(ctx context.Context, network, device string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1} // a probe's connection is short
	if device != "" {
		dialer.Control = func(network, _ string, raw syscall.RawConn) error {
			var failed error
			if err := raw.Control(func(fd uintptr) { failed = netif.Bind(fd, network, device) }); err != nil {
				return err
			}
			return failed
		}
	}
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
