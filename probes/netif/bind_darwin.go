package netif

import (
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Binds tells that sockets can be bound to a network interface.
const Binds = true

// Bind lets a socket of a network, such as tcp6, send by one interface alone
// (IP_BOUND_IF, ip(4)). Its error is a [BindError].
func Bind(fd uintptr, network, name string) error {
	found, err := net.InterfaceByName(name)
	if err != nil {
		return &BindError{name, err}
	}
	level, option := unix.IPPROTO_IP, unix.IP_BOUND_IF
	if strings.HasSuffix(network, "6") {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_BOUND_IF
	}
	if err := unix.SetsockoptInt(int(fd), level, option, found.Index); err != nil {
		return &BindError{name, os.NewSyscallError("setsockopt", err)}
	}
	return nil
}
