package echo

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize = 32
	// packetBytes is what is read of a packet. A longer reply is cut: its nonce
	// stands at its start, and an ICMP error holds 576 bytes (RFC 1812 section
	// 4.3.2.3) or 1280 (RFC 4443 section 2.4).
	packetBytes  = 1536
	controlBytes = 256
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// batch holds the messages of one recvmmsg call. The headers point into it, so
// it is only used through a pointer.
type batch struct {
	heads   [batchSize]mmsghdr
	iovecs  [batchSize]unix.Iovec
	names   [batchSize]unix.RawSockaddrInet6 // large enough for IPv4 too
	data    [batchSize][packetBytes]byte
	control [batchSize][controlBytes]byte
}

var batches = sync.Pool{New: func() any {
	b := new(batch)
	for i := range b.heads {
		b.iovecs[i].Base = &b.data[i][0]
		b.iovecs[i].SetLen(packetBytes)
		h := &b.heads[i].Msghdr
		h.Iov = &b.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.control[i][0]
	}
	return b
}}

// receive reads what has arrived and returns the number of messages.
func (b *batch) receive(fd uintptr, flags uintptr) (int, error) {
	for i := range b.heads {
		h := &b.heads[i].Msghdr
		h.Namelen = uint32(unsafe.Sizeof(b.names[i]))
		h.SetControllen(controlBytes)
		h.Flags = 0
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.heads[0])), batchSize, flags|unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// message is one received message; its parts lie in the batch.
type message struct {
	data []byte
	cut  bool
	from netip.Addr
	ctrl control
}

// control is what the control messages say.
type control struct {
	ttl    int
	tos    int   // type of service or traffic class
	at     int64 // when the kernel received it, in nanoseconds of the wall clock; 0 when unknown
	report *Report
}

func (b *batch) message(i int) message {
	h := &b.heads[i]
	return message{
		data: b.data[i][:min(h.n, packetBytes)],
		cut:  h.Flags&unix.MSG_TRUNC != 0,
		from: sockaddrIP((*[unsafe.Sizeof(b.names[i])]byte)(unsafe.Pointer(&b.names[i]))[:]),
		ctrl: parseControl(b.control[i][:min(int(h.Controllen), controlBytes)]),
	}
}

// sockaddrIP reads a struct sockaddr_in or sockaddr_in6.
func sockaddrIP(sa []byte) netip.Addr {
	if len(sa) < unix.SizeofSockaddrInet4 {
		return netip.Addr{}
	}
	switch binary.NativeEndian.Uint16(sa) {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(sa[4:8]))
	case unix.AF_INET6:
		if len(sa) < unix.SizeofSockaddrInet6 {
			return netip.Addr{}
		}
		addr := netip.AddrFrom16([16]byte(sa[8:24])).Unmap()
		if scope := binary.NativeEndian.Uint32(sa[24:]); scope != 0 {
			addr = addr.WithZone(strconv.Itoa(int(scope)))
		}
		return addr
	}
	return netip.Addr{}
}

// parseControl reads the control messages; what it does not know it leaves.
func parseControl(b []byte) control {
	c := control{tos: UnknownTOS}
	for len(b) >= unix.CmsgLen(0) {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		b = rest
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS:
			c.at = timespec(data)
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TTL,
			h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_HOPLIMIT:
			if len(data) >= 4 {
				c.ttl = int(binary.NativeEndian.Uint32(data))
			}
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) > 0: // one byte
			c.tos = int(data[0])
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			c.tos = int(binary.NativeEndian.Uint32(data))
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_RECVERR,
			h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_RECVERR:
			c.report = extendedError(data)
		}
	}
	return c
}

// timespec reads a struct timespec of this machine's word size.
func timespec(b []byte) int64 {
	switch len(b) {
	case 16:
		return int64(binary.NativeEndian.Uint64(b))*1e9 + int64(binary.NativeEndian.Uint64(b[8:]))
	case 8:
		return int64(int32(binary.NativeEndian.Uint32(b)))*1e9 + int64(int32(binary.NativeEndian.Uint32(b[4:])))
	}
	return 0
}

// extendedError reads a struct sock_extended_err, followed by the address of
// who sent the ICMP error. Errors of our own stack (a packet too large to send)
// are no reports; sendmsg returns them.
func extendedError(b []byte) *Report {
	const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	if len(b) < size {
		return nil
	}
	origin, info := b[4], binary.NativeEndian.Uint32(b[8:])
	if origin != unix.SO_EE_ORIGIN_ICMP && origin != unix.SO_EE_ORIGIN_ICMP6 {
		return nil
	}
	r := &Report{Type: b[5], Code: b[6], IPv6: origin == unix.SO_EE_ORIGIN_ICMP6, From: sockaddrIP(b[size:])}
	if errno := binary.NativeEndian.Uint32(b); errno == uint32(unix.EMSGSIZE) {
		r.MTU = info
	}
	return r
}

// read is the socket's one reader. It ends when the socket is closed.
func (s *socket) read() {
	defer close(s.reader)
	b := batches.Get().(*batch)
	defer batches.Put(b)
	conn, err := s.file.SyscallConn()
	if err != nil {
		return
	}
	conn.Read(func(fd uintptr) bool { //nolint:errcheck // it returns when the file is closed
		s.drain(b, fd, 0)
		if !s.raw {
			s.errors.Lock()
			s.drain(b, fd, unix.MSG_ERRQUEUE)
			s.errors.Unlock()
		}
		return false
	})
}

// drain reads until nothing is left. An ICMP error makes the next call on a
// datagram socket fail once, so a failure is no reason to stop; that it does
// not go away is. For the same reason a short read of a datagram socket is not the
// last one.
func (s *socket) drain(b *batch, fd, flags uintptr) {
	for failures := 0; failures < 1000; {
		n, err := b.receive(fd, flags)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBADF) {
			return
		}
		if err != nil {
			failures++
			continue
		}
		now := time.Now()
		for i := range n {
			m := b.message(i)
			if flags&unix.MSG_ERRQUEUE != 0 {
				s.tookError(&m)
			} else {
				s.took(&m, now)
			}
		}
		if s.raw && n < batchSize {
			return
		}
	}
}

// took handles a message that came the normal way.
func (s *socket) took(m *message, now time.Time) {
	data := m.data
	if s.raw && !s.key.v6 {
		header := trimIP4(data)
		if header < 0 {
			return
		}
		data = data[header:]
		// The kernel checks the sum for all but raw IPv4 sockets. A packet
		// that was cut cannot be checked; it still has to show the nonce.
		if !m.cut && checksum(data) != 0 {
			return
		}
	}
	reply, report := parseMessage(data, s.key.v6)
	switch {
	case reply != nil:
		s.reply(reply, m.from, m.ctrl.ttl, m.ctrl.tos, arrival(now, m.ctrl.at))
	case report != nil:
		report.From = m.from
		s.reported(report)
	}
}

// tookError handles a message of the error queue: our own packet, without its
// IP header, and who complained about it.
func (s *socket) tookError(m *message) {
	if m.ctrl.report == nil || len(m.data) < echoHeader || !isEchoRequest(m.data, s.key.v6) {
		return
	}
	report := *m.ctrl.report
	report.to = m.from
	report.packet = parseEcho(m.data)
	s.reported(&report)
}

// arrival moves now, when we got to read the packet, back to when the kernel
// received it, so that our own delay is no part of a round-trip time. The
// kernel tells that by the wall clock, which may step: a delay that makes no
// sense is not used, and the result stays a time of the monotonic clock.
func arrival(now time.Time, kernel int64) time.Time {
	const longest = 10 * time.Second
	delay := time.Duration(now.UnixNano() - kernel)
	if kernel == 0 || delay <= 0 || delay > longest {
		return now
	}
	return now.Add(-delay)
}

// dropped returns how many packets the kernel threw away because the socket's
// buffer was full.
func (s *socket) dropped() uint32 {
	const drops = 8 // SK_MEMINFO_DROPS
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return info[drops]
}
