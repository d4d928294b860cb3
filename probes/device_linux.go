package probes

import (
	"os"

	"golang.org/x/sys/unix"
)

// bindsDevices tells that sockets can be bound to a network interface.
const bindsDevices = true

// bindDevice lets a socket send and receive by one interface alone
// (SO_BINDTODEVICE, socket(7)). Since Linux 5.7 everybody may.
func bindDevice(fd uintptr, _, device string) error {
	if err := unix.BindToDevice(int(fd), device); err != nil {
		return &deviceError{device, os.NewSyscallError("setsockopt", err)}
	}
	return nil
}
