package netif

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/check"
)

// Sockaddr turns an address into what the kernel takes. Its zone is an
// interface's name or index; the reason is that there is none of the name.
func Sockaddr(a netip.Addr, port uint16) (unix.Sockaddr, *check.Reason) {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
	if zone := a.Zone(); zone != "" {
		if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
			sa.ZoneId = uint32(n)
			return sa, nil
		}
		ifi, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, &check.Reason{Code: check.LocalRoute, Message: fmt.Sprintf("no network interface %s for %s", zone, a)}
		}
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa, nil
}
