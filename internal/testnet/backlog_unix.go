//go:build unix

package testnet

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// FullBacklog is an address of 127.0.0.1 whose queue of connections is full
// and that accepts none: connection attempts are black-holed.
type FullBacklog struct {
	addr    string
	fd      *os.File
	waiting []net.Conn
}

// Jam reserves a port that black-holes connection attempts.
func Jam() (*FullBacklog, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	b := &FullBacklog{fd: os.NewFile(uintptr(fd), "jammed")}
	if err := b.fill(fd); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// fill connects until a connection is no longer answered. The first one always is,
// though a busy machine may take its time.
func (b *FullBacklog) fill(fd int) error {
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		return os.NewSyscallError("listen", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	b.addr = fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for wait := time.Minute; len(b.waiting) < 16; wait = time.Second {
		conn, err := net.DialTimeout("tcp", b.addr, wait)
		switch {
		case err == nil:
			b.waiting = append(b.waiting, conn)
		case len(b.waiting) == 0:
			return err
		default:
			return nil
		}
	}
	return fmt.Errorf("the backlog of %s does not fill", b.addr)
}

// Addr returns the address as host:port.
func (b *FullBacklog) Addr() string { return b.addr }

// Close frees the port.
func (b *FullBacklog) Close() error {
	for _, conn := range b.waiting {
		conn.Close()
	}
	return b.fd.Close()
}

func backlogFaults() []Fault {
	return []Fault{
		{"black-hole", "A3", "attempts to connect get no answer", checkTCP, func(*CA) (server, error) { return Jam() }},
	}
}
