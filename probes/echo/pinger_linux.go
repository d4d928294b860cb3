package echo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/netif"
)

// On Linux the pinger is our own. pro-bing, which does the work elsewhere,
// opens a socket per ping, and each raw socket gets a copy of every echo reply
// that reaches the machine: a thousand pings in flight cost a million copies.
// It also cannot see ICMP errors, so "host unreachable" looks like silence.
// Here all rounds share one socket per address family (and per source, interface
// and other options of IP, where a plan sets them), with one goroutine that reads
// it in batches. The first round opens it. The last one leaves it open for a moment,
// in which the next may come.

// MarksPackets tells that the options of IP can be set: Device, TOS and Whole of
// a [Plan].
const MarksPackets = true

// Pinger sends rounds of echo requests, any number of them at once. The sockets that
// they share are its own, so a process needs only one. The zero value is ready.
type Pinger struct {
	mu   sync.Mutex
	open map[socketKey]*socket
}

// socketKey tells which rounds can share a socket. Source, TTL and the like are
// options of the socket, not of each packet, because ICMPv6 datagram sockets
// ignore control messages before Linux 5.18, and there is none for IPv4's flag
// "don't fragment".
type socketKey struct {
	v6     bool
	device string // network interface; empty: the system chooses
	from   netip.Addr
	ttl    int
	tos    int
	df     bool
}

// socket is one socket with its rounds in flight.
type socket struct {
	table
	key    socketKey
	raw    bool
	id     uint16 // of a datagram socket: the kernel's choice for all its packets
	opened time.Time
	fd     int
	file   *os.File    // owns fd, and reads through the runtime's poller
	users  int         // guarded by the pinger's lock
	idle   *time.Timer // closes it when no round came for socketLinger
	errors sync.Mutex  // held by who reads the error queue
	closed bool
	reader chan struct{}
}

// datagramLife is how long a datagram socket takes new rounds. The kernel
// gives it one id for life, and a firewall may remember an id's fate (F8): a
// check that runs less often than this never meets its last id again.
const datagramLife = time.Second

// socketLinger is how long a socket stays open without a round. Pings that come
// one after the other would open and close it for each.
const socketLinger = 100 * time.Millisecond

// Send makes one round, which ends with ctx. The reason is of our own side's fault;
// the result holds what was seen until then.
func (p *Pinger) Send(ctx context.Context, plan *Plan) (Result, *check.Reason) {
	to, why := netif.Sockaddr(plan.To, 0)
	if why != nil {
		return Result{}, why
	}
	r := newRound(plan)
	s, why := p.join(socketKey{v6: plan.To.Is6(), device: plan.Device, from: plan.From, ttl: plan.TTL, tos: plan.TOS, df: plan.Whole}, r)
	if why != nil {
		return Result{}, why
	}
	defer p.release(s)
	r.Socket = "datagram"
	if s.raw {
		r.Socket = "raw"
	}
	dropped := s.dropped()
	buf := make([]byte, echoHeader+plan.Size)
	fillPayload(buf[echoHeader:], r.nonce)
	why = pace(ctx, plan, func(i int) *check.Reason { return s.send(ctx, r, i, buf, to) })
	if why == nil {
		s.await(ctx, r)
	}
	s.leave(r)
	if why == nil && r.Received == 0 && r.Report == nil && s.dropped() != dropped {
		why = &check.Reason{Code: check.LocalOverload, Message: "more ICMP packets arrived than this machine could take in"}
	}
	return r.Result, why
}

// await waits until each packet that was sent is answered, or ctx ends.
func (s *socket) await(ctx context.Context, r *round) {
	s.abandonUnsent(r)
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}

// abandonUnsent takes what was not sent off the count of open packets.
func (s *socket) abandonUnsent(r *round) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, at := range r.sent {
		if at.IsZero() {
			r.settle(i, packetReported)
		}
	}
}

// send sends packet i. A full queue of our own is waited for as long as ctx
// lasts. Only when the first packet never got out is that a failure.
func (s *socket) send(ctx context.Context, r *round, i int, buf []byte, to unix.Sockaddr) *check.Reason {
	putRequest(buf, s.key.v6, r.id, r.base+uint16(i))
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := s.transmit(r, i, buf, to)
		if err == nil {
			return nil
		}
		s.stamp(r, i, time.Time{})
		if !isBusy(err) {
			r.Oversize = errors.Is(err, unix.EMSGSIZE)
			return sendFailure(err, r.to, s.key)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if i > 0 || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return &check.Reason{Code: check.LocalOverload, Message: fmt.Sprintf("cannot send to %s: %v until the timeout", r.to, err)}
		}
	}
}

// transmit makes the system call. On a datagram socket, which reports ICMP
// errors, it may fail with the error of a packet to someone else. The kernel
// forgets such an error once it has told it, but brings up the next one
// whenever the reader takes one from the error queue. So the reader has to
// wait while the call is made again: an error that then stays is our own.
func (s *socket) transmit(r *round, i int, buf []byte, to unix.Sockaddr) error {
	const pending = 64
	err := s.sendmsg(r, i, buf, to)
	if err == nil || s.raw || isBusy(err) {
		return err
	}
	s.errors.Lock()
	defer s.errors.Unlock()
	for n := 0; n < pending && err != nil && !isBusy(err); n++ {
		err = s.sendmsg(r, i, buf, to)
	}
	return err
}

func (s *socket) sendmsg(r *round, i int, buf []byte, to unix.Sockaddr) error {
	s.stamp(r, i, time.Now())
	_, err := unix.SendmsgN(s.fd, buf, nil, to, unix.MSG_DONTWAIT)
	return err
}

func isBusy(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

// join finds or opens a socket for the round and registers the round there.
func (p *Pinger) join(key socketKey, r *round) (*socket, *check.Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.open[key]; s != nil {
		if s.takes(r) {
			s.users++
			return s, nil
		}
		defer p.expire(s) // its successor takes its place
	}
	s, why := openSocket(key)
	if why != nil {
		return nil, why
	}
	if !s.takes(r) {
		s.close()
		return nil, &check.Reason{Code: check.LocalOverload, Message: "too many pings in flight"}
	}
	if p.open == nil {
		p.open = make(map[socketKey]*socket)
	}
	p.open[key] = s
	s.users = 1
	return s, nil
}

func (s *socket) takes(r *round) bool {
	if s.raw {
		return s.joinRaw(r)
	}
	return time.Since(s.opened) < datagramLife && s.joinDatagram(r, s.id)
}

// release gives the socket back. The last user of one that has a successor
// closes it.
func (p *Pinger) release(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	switch {
	case p.open[s.key] != s:
		s.close()
	case s.idle == nil:
		s.idle = time.AfterFunc(socketLinger, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.expire(s)
		})
	default:
		s.idle.Reset(socketLinger)
	}
}

// expire closes the socket if no round uses it, and waits for its reader. The
// caller holds the lock.
func (p *Pinger) expire(s *socket) {
	if s.users > 0 {
		return
	}
	if p.open[s.key] == s {
		delete(p.open, s.key)
	}
	s.close()
}

// CloseIdle closes the sockets that no round uses. The next round opens its own.
func (p *Pinger) CloseIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.open {
		p.expire(s)
	}
}

func (s *socket) close() {
	if s.closed {
		return
	}
	s.closed = true
	if s.idle != nil {
		s.idle.Stop()
	}
	s.file.Close() // nothing is buffered
	<-s.reader
}

// openSocket opens a datagram socket, or a raw one where those are not allowed.
func openSocket(key socketKey) (*socket, *check.Reason) {
	s := &socket{key: key, opened: time.Now(), reader: make(chan struct{})}
	s.nextID, s.nextSeq = uint16(rand.Uint32()), uint16(rand.Uint32())
	domain, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if key.v6 {
		domain, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	const flags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|flags, proto)
	if isForbidden(err) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) {
		s.raw = true
		fd, err = unix.Socket(domain, unix.SOCK_RAW|flags, proto)
	}
	if err != nil {
		return nil, openFailure(err, key)
	}
	s.fd = fd
	if err := s.configure(); err != nil {
		unix.Close(fd) // the first error counts
		return nil, openFailure(err, key)
	}
	s.file = os.NewFile(uintptr(fd), "icmp")
	go s.read()
	return s, nil
}

func isForbidden(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

// receiveBuffer is what the kernel may hold for us, in bytes. A raw socket gets
// the replies to everyone's pings.
const receiveBuffer = 4 << 20

// configure sets the socket's options, binds it and learns its id.
func (s *socket) configure() error {
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		// Without privileges the system's limit holds; a smaller buffer will do.
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) //nolint:errcheck // see above
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if s.key.device != "" {
		if err := netif.Bind(uintptr(s.fd), "", s.key.device); err != nil {
			return err
		}
	}
	level := unix.IPPROTO_IP
	if s.key.v6 {
		level = unix.IPPROTO_IPV6
	}
	for _, o := range s.ipOptions() {
		if err := os.NewSyscallError("setsockopt", unix.SetsockoptInt(s.fd, level, o[0], o[1])); err != nil {
			return err
		}
	}
	if s.raw {
		if err := s.filter(); err != nil {
			return err
		}
	}
	return s.bind()
}

// ipOptions returns the socket's options of IP with their values.
func (s *socket) ipOptions() [][2]int {
	names := struct{ hops, tos, errors, setHops, setTOS, discover int }{
		unix.IP_RECVTTL, unix.IP_RECVTOS, unix.IP_RECVERR, unix.IP_TTL, unix.IP_TOS, unix.IP_MTU_DISCOVER,
	}
	if s.key.v6 {
		names.hops, names.tos, names.errors = unix.IPV6_RECVHOPLIMIT, unix.IPV6_RECVTCLASS, unix.IPV6_RECVERR
		names.setHops, names.setTOS, names.discover = unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS, unix.IPV6_MTU_DISCOVER
	}
	options := [][2]int{{names.hops, 1}, {names.tos, 1}}
	if !s.raw {
		options = append(options, [2]int{names.errors, 1})
	}
	if s.key.ttl > 0 {
		options = append(options, [2]int{names.setHops, s.key.ttl})
	}
	if s.key.tos > 0 {
		options = append(options, [2]int{names.setTOS, s.key.tos})
	}
	if s.key.df {
		// Not IP_PMTUDISC_DO, with which the kernel answers by itself from what
		// it has learnt of the path's MTU.
		options = append(options, [2]int{names.discover, unix.IP_PMTUDISC_PROBE}) // the same number for IPv6
		if s.key.v6 {
			options = append(options, [2]int{unix.IPV6_DONTFRAG, 1})
		}
	}
	return options
}

// filter lets replies and errors pass and nothing else. It is the type filter
// of raw ICMP sockets, no BPF program.
func (s *socket) filter() error {
	var blocked [8]uint32 // a bit for each type
	for i := range blocked {
		blocked[i] = ^uint32(0)
	}
	pass := func(types ...int) {
		for _, t := range types {
			blocked[t/32] &^= 1 << (t % 32)
		}
	}
	if s.key.v6 {
		pass(typeEchoReply6, typeUnreachable6, typeTooBig6, typeTimeExceeded6, typeParameter6)
		return unix.SetsockoptICMPv6Filter(s.fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &unix.ICMPv6Filter{Data: blocked})
	}
	pass(typeEchoReply4, typeUnreachable4, typeTimeExceeded4, typeParameter4)
	const icmpFilter = 1 // ICMP_FILTER of linux/icmp.h; its mask covers types 0 to 31
	return unix.SetsockoptInt(s.fd, unix.SOL_RAW, icmpFilter, int(int32(blocked[0])))
}

// bind sets the source address. A datagram socket is bound in any case, which
// makes the kernel choose its id.
func (s *socket) bind() error {
	if s.raw && !s.key.from.IsValid() {
		return nil
	}
	from := s.key.from
	if !from.IsValid() {
		from = netip.IPv4Unspecified()
		if s.key.v6 {
			from = netip.IPv6Unspecified()
		}
	}
	local, why := netif.Sockaddr(from, 0)
	if why != nil {
		return unix.EADDRNOTAVAIL
	}
	if err := unix.Bind(s.fd, local); err != nil {
		return err
	}
	if s.raw {
		return nil
	}
	bound, err := unix.Getsockname(s.fd)
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		s.id = uint16(bound.Port)
	case *unix.SockaddrInet6:
		s.id = uint16(bound.Port)
	}
	return err
}
