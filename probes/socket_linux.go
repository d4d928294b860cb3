package probes

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/probes/netif"
)

// socket is a connected TCP or UDP socket. On Linux it is our own, because
// package net makes up to twice as many system calls and allocations for a
// connection: options that a probe does not need, and addresses that it knows.
// The runtime's poller learns of the socket when it is waited for the first
// time, so a connection that is made at once and only closed again costs none of
// that.
type socket struct {
	network string
	remote  netip.AddrPort
	device  string // network interface to go by; empty: the system chooses
	fd      int

	mu      sync.Mutex
	file    *os.File // owns fd from the first wait on
	refused error    // why the poller did not take the socket in
	closed  bool
}

// selfConnects is how often a connection that came back to its own socket is
// made again. The kernel may choose the very port that is called, when that is
// one of those that it gives out and nobody listens there.
const selfConnects = 3

// openSocket connects a socket to an address, by a network interface where the
// device is not empty, and from an address of this machine where that is valid. Its
// errors are [net.OpError]s, as those of a [net.Dialer].
func openSocket(ctx context.Context, network, device string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	for range selfConnects {
		s := &socket{network: network, remote: to, device: device}
		if err := s.open(ctx, from); err != nil {
			return nil, s.failure("dial", err)
		}
		if network != "tcp" || !s.selfConnected() {
			return s, nil
		}
		_ = s.SetLinger(0) // the port is not to stay in TIME_WAIT
		s.Close()
	}
	return nil, (&socket{network: network, remote: to}).failure("dial", os.NewSyscallError("connect", unix.ECONNREFUSED))
}

// open makes one attempt.
func (s *socket) open(ctx context.Context, from netip.Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	to, why := netif.Sockaddr(s.remote.Addr().Unmap(), s.remote.Port())
	if why != nil {
		return os.NewSyscallError("connect", unix.ENETUNREACH)
	}
	domain, kind := unix.AF_INET6, unix.SOCK_STREAM
	if _, ok := to.(*unix.SockaddrInet4); ok {
		domain = unix.AF_INET
	}
	if s.network == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	s.fd = fd
	if s.device != "" {
		err = netif.Bind(uintptr(fd), s.network, s.device)
	}
	if err == nil {
		err = s.bind(from)
	}
	if err != nil {
		s.Close()
		return err
	}
	switch err = unix.Connect(fd, to); {
	case err == nil:
	case errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.EALREADY), errors.Is(err, unix.EINTR):
		err = s.await(ctx)
	default:
		err = os.NewSyscallError("connect", err)
	}
	if err != nil {
		s.Close()
	}
	return err
}

// bind sets the source address and leaves the choice of the port to connect
// (IP_BIND_ADDRESS_NO_PORT, ip(7)), which knows the destination and so may give
// one port to connections to different ones. Bind would need a port for each. A
// kernel older than 4.2 does not have the option and makes do with fewer ports.
func (s *socket) bind(from netip.Addr) error {
	if !from.IsValid() {
		return nil
	}
	_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	local, why := netif.Sockaddr(from, 0)
	if why != nil {
		return os.NewSyscallError("bind", unix.EADDRNOTAVAIL)
	}
	return os.NewSyscallError("bind", unix.Bind(s.fd, local))
}

// await waits until the connection is made, ctx's deadline or its cancellation.
func (s *socket) await(ctx context.Context) error {
	if done, err := s.connected(); done || err != nil {
		return err
	}
	file, err := s.pollable()
	if err != nil {
		return err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = file.SetWriteDeadline(deadline) // only a closed file has none
	}
	stop := afterEnd(ctx, func() { _ = file.SetWriteDeadline(past) })
	var outcome error
	err = raw.Write(func(uintptr) (done bool) {
		done, outcome = s.connected()
		return done || outcome != nil
	})
	stopped := stop()
	switch {
	case outcome != nil:
		return outcome
	case errors.Is(ctx.Err(), context.Canceled), err == nil && !stopped:
		return ctx.Err()
	case err == nil:
		return file.SetWriteDeadline(time.Time{})
	default:
		return bare(err)
	}
}

// connected reports whether the connection is made, or why it will not be.
func (s *socket) connected() (bool, error) {
	if _, err := unix.Getpeername(s.fd); err == nil {
		return true, nil
	}
	errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return false, os.NewSyscallError("getsockopt", err)
	}
	if errno != 0 {
		return false, os.NewSyscallError("connect", syscall.Errno(errno))
	}
	return false, nil
}

// selfConnected reports whether both ends are the same socket (simultaneous
// open, RFC 9293 section 3.5).
func (s *socket) selfConnected() bool {
	local, ok := s.local()
	return ok && local.Port() == s.remote.Port() && local.Addr() == s.remote.Addr().Unmap().WithZone("")
}

// local asks for the socket's own address, which it has as long as it is open:
// then the descriptor's number may be another's.
func (s *socket) local() (netip.AddrPort, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return netip.AddrPort{}, false
	}
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		return netip.AddrPort{}, false
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

// pollable returns the socket as the runtime's poller knows it. That the poller
// has no room for it (epoll_ctl(2): ENOSPC, ENOMEM) says nothing of the target.
func (s *socket) pollable() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, net.ErrClosed
	case s.file == nil:
		if s.network == "tcp" { // what is written goes out at once; without it, it waits for an acknowledgement
			_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}
		s.file = os.NewFile(uintptr(s.fd), s.network)
		if s.file.SetDeadline(time.Time{}) != nil { // the one thing that it then tells
			s.refused = os.NewSyscallError("epoll_ctl", unix.ENOMEM)
		}
	}
	return s.file, s.refused
}

// Read reads as [net.Conn] does. An empty datagram is one, too; a file takes it
// for its end.
func (s *socket) Read(b []byte) (int, error) {
	file, err := s.pollable()
	if err != nil {
		return 0, s.failure("read", err)
	}
	n, err := file.Read(b)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && s.network == "udp":
		return 0, nil
	case errors.Is(err, io.EOF):
		return n, io.EOF
	}
	return n, s.failure("read", bare(err))
}

// Write writes as [net.Conn] does.
func (s *socket) Write(b []byte) (int, error) {
	file, err := s.pollable()
	if err != nil {
		return 0, s.failure("write", err)
	}
	n, err := file.Write(b)
	if err == nil {
		return n, nil
	}
	return n, s.failure("write", bare(err))
}

// Close closes the socket.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.failure("close", net.ErrClosed)
	}
	s.closed = true
	if s.file != nil {
		return s.file.Close()
	}
	return os.NewSyscallError("close", unix.Close(s.fd))
}

// SetLinger sets SO_LINGER, in seconds.
func (s *socket) SetLinger(sec int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.failure("set", net.ErrClosed)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(sec)}))
}

// SyscallConn gives access to the descriptor.
func (s *socket) SyscallConn() (syscall.RawConn, error) {
	file, err := s.pollable()
	if err != nil {
		return nil, err
	}
	return file.SyscallConn()
}

// SetDeadline sets that of reads and writes.
func (s *socket) SetDeadline(t time.Time) error { return s.set((*os.File).SetDeadline, t) }

// SetReadDeadline sets that of reads.
func (s *socket) SetReadDeadline(t time.Time) error { return s.set((*os.File).SetReadDeadline, t) }

// SetWriteDeadline sets that of writes.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.set((*os.File).SetWriteDeadline, t) }

func (s *socket) set(set func(*os.File, time.Time) error, t time.Time) error {
	file, err := s.pollable()
	if err == nil {
		err = set(file, t)
	}
	if err != nil {
		return s.failure("set", bare(err))
	}
	return nil
}

// LocalAddr returns the socket's own address.
func (s *socket) LocalAddr() net.Addr {
	local, _ := s.local()
	return s.addr(local)
}

// RemoteAddr returns the address that it is connected to.
func (s *socket) RemoteAddr() net.Addr { return s.addr(s.remote) }

func (s *socket) addr(a netip.AddrPort) net.Addr {
	if s.network == "udp" {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}

// failure words an error as package net does.
func (s *socket) failure(op string, err error) error {
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: s.network, Addr: s.addr(s.remote), Err: err}
}

// bare takes the name of a file off an error.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		var errno syscall.Errno
		if errors.As(path.Err, &errno) {
			return os.NewSyscallError(path.Op, errno)
		}
		return path.Err
	}
	return err
}
