package probes

import (
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// bindsDevices tells that sockets can be bound to a network interface.
const bindsDevices = true

// bindDevice lets a socket send by one interface alone (IP_BOUND_IF, ip(4)).
func bindDevice(fd uintptr, network, device string) error {
	found, err := net.InterfaceByName(device)
	if err != nil {
		return &deviceError{device, err}
	}
	level, option := unix.IPPROTO_IP, unix.IP_BOUND_IF
	if strings.HasSuffix(network, "6") {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_BOUND_IF
	}
	if err := unix.SetsockoptInt(int(fd), level, option, found.Index); err != nil {
		return &deviceError{device, os.NewSyscallError("setsockopt", err)}
	}
	return nil
}
