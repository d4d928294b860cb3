package netif

import (
	"os"

	"golang.org/x/sys/unix"
)

// Binds tells that sockets can be bound to a network interface.
const Binds = true

// Bind lets a socket send and receive by one interface alone (SO_BINDTODEVICE,
// socket(7)). Since Linux 5.7 everybody may. Its error is a [BindError].
func Bind(fd uintptr, _, name string) error {
	if err := unix.BindToDevice(int(fd), name); err != nil {
		return &BindError{name, os.NewSyscallError("setsockopt", err)}
	}
	return nil
}
