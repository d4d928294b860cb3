// Package echo sends ICMP echo requests, as ping(8) does, and finds out what became
// of each: round-trip times, loss, duplicates, replies out of order or from another
// address, and the errors that routers report.
//
// It judges nothing and resolves no names. A [Plan] is one round of
// requests to one address, a [Pinger] sends it, and the [Result] is what came back.
// A [check.Reason] beside it is always our own side's fault, such as that this user
// may open no ICMP socket.
//
// On Linux the rounds in flight share a socket per address family, and each finds its
// own replies by id, sequence number, a random mark of 128 bits in the payload and
// the address that answers. Elsewhere pro-bing does the work, with a socket for each
// round, without reports of routers and the options of IP.
package echo

import (
	"context"
	"net/netip"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Plan is one round of echo requests to one address.
type Plan struct {
	To       netip.Addr // IPv4 as such, not mapped into IPv6
	Device   string     // network interface to go by; empty: the system chooses
	From     netip.Addr // source address; the zero value leaves it to the kernel
	Count    int        // at least 1, and far fewer than there are sequence numbers, 65536
	Interval time.Duration
	Size     int  // bytes of payload, from MinSize to MaxSize
	TTL      int  // 0: the system's default
	TOS      int  // type of service (IPv4) or traffic class (IPv6)
	Whole    bool // no packet may be fragmented
}

// The bounds of a payload, in bytes.
const (
	MinSize = 24    // room for the nonce, and for the timestamp that pro-bing adds
	MaxSize = 65507 // what an IPv4 packet of 65535 bytes can hold
)

// Overhead is how many bytes of a packet to an address are not payload: those of
// the headers of IP, without options, and ICMP.
func Overhead(to netip.Addr) int {
	if to.Is4() {
		return ip4Header + echoHeader
	}
	return ip6Header + echoHeader
}

// Result is what became of a round.
type Result struct {
	Socket     string // datagram or raw; empty when there was none
	Sent       int
	RTTs       []time.Duration // by packet; NoReply where none came
	Received   int
	TTL        int // of the first reply; 0 when unknown
	TOS        int // of the first reply, or UnknownTOS
	Duplicates int
	Reordered  int        // replies that a reply to a later request overtook
	Mismatched int        // replies with our nonce from another address
	Stranger   netip.Addr // one of those addresses
	Report     *Report    // first ICMP error that came instead of a reply
	Oversize   bool       // this machine cannot send packets of the size
	newest     int        // index of the latest request that was answered
}

// NoReply stands for the round-trip time of a packet without a reply.
const NoReply time.Duration = -1

// UnknownTOS stands for the type of service when the system does not tell it.
const UnknownTOS = -1

// answered notes the first reply to packet i. One with a smaller number than a
// reply before is out of order (RFC 4737 section 3.3).
func (e *Result) answered(i int, rtt time.Duration, ttl, tos int) {
	e.RTTs[i] = rtt
	if e.Received++; e.Received == 1 {
		e.TTL, e.TOS = ttl, tos
	}
	if i < e.newest {
		e.Reordered++
	}
	e.newest = max(e.newest, i)
}

// pace calls send for each packet of the round, an interval apart. The rest
// stays unsent when ctx leaves a packet less than half an interval to be
// answered in: what could not be answered in time must not count as lost.
func pace(ctx context.Context, plan *Plan, send func(i int) *check.Reason) *check.Reason {
	if ctx.Err() != nil {
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for i := range plan.Count {
		if i > 0 {
			timer.Reset(plan.Interval)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < plan.Interval/2 {
				return nil
			}
		}
		if why := send(i); why != nil {
			return why
		}
	}
	return nil
}
