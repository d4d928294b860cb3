package probes

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// echoPlan is one round of echo requests to one address.
type echoPlan struct {
	to       netip.Addr
	device   string     // network interface to go by; empty: the system chooses
	from     netip.Addr // source address; the zero value leaves it to the kernel
	count    int
	interval time.Duration
	size     int  // bytes of payload
	ttl      int  // 0: the system's default
	tos      int  // type of service (IPv4) or traffic class (IPv6)
	whole    bool // no packet may be fragmented
}

// echoes is what became of a round.
type echoes struct {
	socket     string // datagram or raw
	sent       int
	rtts       []time.Duration // by packet; noReply where none came
	received   int
	ttl        int // of the first reply; 0 when unknown
	tos        int // of the first reply, or unknownTOS
	duplicates int
	reordered  int        // replies that a reply to a later request overtook
	newest     int        // index of the latest request that was answered
	mismatched int        // replies with our nonce from another address
	stranger   netip.Addr // one of those addresses
	report     *icmpReport
	oversize   bool // this machine cannot send packets of the size
}

// unknownTOS stands for the type of service when the system does not tell it.
const unknownTOS = -1

// answered notes the first reply to packet i. One with a smaller number than a
// reply before is out of order (RFC 4737 section 3.3).
func (e *echoes) answered(i int, rtt time.Duration, ttl, tos int) {
	e.rtts[i] = rtt
	if e.received++; e.received == 1 {
		e.ttl, e.tos = ttl, tos
	}
	if i < e.newest {
		e.reordered++
	}
	e.newest = max(e.newest, i)
}

// noReply stands for the round-trip time of a packet without a reply.
const noReply time.Duration = -1

// paceEchoes calls send for each packet of the round, an interval apart. The rest
// stays unsent when ctx leaves a packet less than half an interval to be
// answered in: what could not be answered in time must not count as lost.
func paceEchoes(ctx context.Context, plan *echoPlan, send func(i int) *check.Reason) *check.Reason {
	if ctx.Err() != nil {
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for i := range plan.count {
		if i > 0 {
			timer.Reset(plan.interval)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < plan.interval/2 {
				return nil
			}
		}
		if why := send(i); why != nil {
			return why
		}
	}
	return nil
}

// echoRound is a round in flight. Its table's lock guards what changes.
type echoRound struct {
	echoes
	to    netip.Addr // without zone
	nonce nonce
	id    uint16
	base  uint16 // sequence number of the first packet
	sent  []time.Time
	state []packetState
	open  int // packets that may still be answered
	done  chan struct{}
}

type packetState uint8

const (
	packetOpen     packetState = iota
	packetReported             // an ICMP error told that it will not be answered
	packetAnswered
)

func newRound(plan *echoPlan) *echoRound {
	r := &echoRound{
		to: plan.to.WithZone(""), open: plan.count, done: make(chan struct{}),
		sent: make([]time.Time, plan.count), state: make([]packetState, plan.count),
	}
	rand.Read(r.nonce[:]) // never fails since Go 1.24
	r.rtts = make([]time.Duration, plan.count)
	for i := range r.rtts {
		r.rtts[i] = noReply
	}
	return r
}

// settle moves a packet on and ends the round with the last open one.
func (r *echoRound) settle(i int, state packetState) {
	if r.state[i] == packetOpen {
		if r.open--; r.open == 0 {
			close(r.done)
		}
	}
	r.state[i] = state
}

// echoTable holds the packets in flight of one socket and finds the one that a
// reply belongs to. A reply counts when its id, its sequence number, the 128-bit
// nonce in its payload and its source address are those of a packet that was
// sent and not answered yet. What differs is ignored: another prober's traffic
// (F2), a reply that comes after its round (F4), one after the sequence numbers
// began anew (F9), one that is cut or corrupt (F10). Only duplicates (F5) and
// replies from another address (F6), which carry our nonce, are counted.
type echoTable struct {
	mu      sync.Mutex
	packets map[uint32]echoKey
	nextID  uint16
	nextSeq uint16
}

type echoKey struct {
	round *echoRound
	index int
}

func packetKey(id, seq uint16) uint32 { return uint32(id)<<16 | uint32(seq) }

// crowdedTable is the number of packets in flight from which on a table takes no
// further round: half of the sequence numbers.
const crowdedTable = 1 << 15

// joinRaw registers a round under an id of its own, so that a firewall which
// remembers the fate of an id cannot make one bad round the fate of the next
// ones (F8). Sequence numbers start at 0.
func (t *echoTable) joinRaw(r *echoRound) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range 1 << 10 {
		t.nextID++
		if t.register(r, t.nextID, 0) {
			return true
		}
	}
	return false
}

// joinDatagram registers a round under the id that the kernel gave the socket,
// with the sequence numbers that come next.
func (t *echoTable) joinDatagram(r *echoRound, id uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.packets) >= crowdedTable {
		return false
	}
	for range 1 << 10 {
		base := t.nextSeq
		t.nextSeq += uint16(len(r.sent))
		if t.register(r, id, base) {
			return true
		}
	}
	return false
}

// register enters the round's packets when none of their keys is taken.
func (t *echoTable) register(r *echoRound, id, base uint16) bool {
	for i := range r.sent {
		if _, taken := t.packets[packetKey(id, base+uint16(i))]; taken {
			return false
		}
	}
	if t.packets == nil {
		t.packets = make(map[uint32]echoKey)
	}
	r.id, r.base = id, base
	for i := range r.sent {
		t.packets[packetKey(id, base+uint16(i))] = echoKey{r, i}
	}
	return true
}

// leave takes the round out of the table; it no longer changes after that.
func (t *echoTable) leave(r *echoRound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range r.sent {
		delete(t.packets, packetKey(r.id, r.base+uint16(i)))
	}
	for i := range r.sent {
		if !r.sent[i].IsZero() {
			r.echoes.sent++
		}
	}
}

// stamp notes when packet i is sent; the zero time takes it back.
func (t *echoTable) stamp(r *echoRound, i int, at time.Time) {
	t.mu.Lock()
	r.sent[i] = at
	t.mu.Unlock()
}

// find returns the packet in flight with this id, sequence number and payload.
// An ICMP error may return as little as the header of our packet, then what
// there is of the nonce has to be right.
func (t *echoTable) find(p *echoReply, whole bool) (echoKey, bool) {
	key, ok := t.packets[packetKey(p.id, p.seq)]
	if !ok || key.round.sent[key.index].IsZero() {
		return echoKey{}, false
	}
	n := min(len(p.payload), len(key.round.nonce))
	if whole && n < len(key.round.nonce) || !bytes.Equal(p.payload[:n], key.round.nonce[:n]) {
		return echoKey{}, false
	}
	return key, true
}

// reply counts an echo reply that came from an address at a time. The time is
// of the monotonic clock (F11).
func (t *echoTable) reply(p *echoReply, from netip.Addr, ttl, tos int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key, ok := t.find(p, true)
	if !ok {
		return
	}
	r, i := key.round, key.index
	switch {
	case from.WithZone("") != r.to:
		r.mismatched++
		r.stranger = from
	case r.state[i] == packetAnswered:
		r.duplicates++
	default:
		r.answered(i, max(at.Sub(r.sent[i]), 0), ttl, tos)
		r.settle(i, packetAnswered)
	}
}

// trustedNonce is how much of the nonce an ICMP error must carry to end the wait
// for a packet. A forger has to guess it; id and sequence number alone he may.
const trustedNonce = 8

// reported notes an ICMP error about one of the packets in flight (F7).
func (t *echoTable) reported(rep *icmpReport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key, ok := t.find(&rep.packet, false)
	if !ok || rep.to.WithZone("") != key.round.to || key.round.state[key.index] == packetAnswered {
		return
	}
	r := key.round
	if r.report == nil {
		kept := *rep
		kept.packet = echoReply{} // its payload lies in the receive buffer
		r.report = &kept
	}
	if len(rep.packet.payload) >= trustedNonce {
		r.settle(key.index, packetReported)
	}
}
