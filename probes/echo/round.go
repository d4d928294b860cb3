package echo

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"sync"
	"time"
)

// round is a round in flight. Its table's lock guards what changes.
type round struct {
	Result
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

func newRound(plan *Plan) *round {
	r := &round{
		to: plan.To.WithZone(""), open: plan.Count, done: make(chan struct{}),
		sent: make([]time.Time, plan.Count), state: make([]packetState, plan.Count),
	}
	rand.Read(r.nonce[:]) // never fails since Go 1.24
	r.RTTs = make([]time.Duration, plan.Count)
	for i := range r.RTTs {
		r.RTTs[i] = NoReply
	}
	return r
}

// settle moves a packet on and ends the round with the last open one.
func (r *round) settle(i int, state packetState) {
	if r.state[i] == packetOpen {
		if r.open--; r.open == 0 {
			close(r.done)
		}
	}
	r.state[i] = state
}

// table holds the packets in flight of one socket and finds the one that a
// reply belongs to. A reply counts when its id, its sequence number, the 128-bit
// nonce in its payload and its source address are those of a packet that was
// sent and not answered yet. What differs is ignored: another prober's traffic
// (F2), a reply that comes after its round (F4), one after the sequence numbers
// began anew (F9), one that is cut or corrupt (F10). Only duplicates (F5) and
// replies from another address (F6), which carry our nonce, are counted.
type table struct {
	mu      sync.Mutex
	packets map[uint32]packet
	nextID  uint16
	nextSeq uint16
}

// packet is one of a round.
type packet struct {
	round *round
	index int
}

// packetKey is what identifies a packet in its table.
func packetKey(id, seq uint16) uint32 { return uint32(id)<<16 | uint32(seq) }

// crowdedTable is the number of packets in flight from which on a table takes no
// further round: half of the sequence numbers.
const crowdedTable = 1 << 15

// joinRaw registers a round under an id of its own, so that a firewall which
// remembers the fate of an id cannot make one bad round the fate of the next
// ones (F8). Sequence numbers start at 0.
func (t *table) joinRaw(r *round) bool {
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
func (t *table) joinDatagram(r *round, id uint16) bool {
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
func (t *table) register(r *round, id, base uint16) bool {
	for i := range r.sent {
		if _, taken := t.packets[packetKey(id, base+uint16(i))]; taken {
			return false
		}
	}
	if t.packets == nil {
		t.packets = make(map[uint32]packet)
	}
	r.id, r.base = id, base
	for i := range r.sent {
		t.packets[packetKey(id, base+uint16(i))] = packet{r, i}
	}
	return true
}

// leave takes the round out of the table; it no longer changes after that.
func (t *table) leave(r *round) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range r.sent {
		delete(t.packets, packetKey(r.id, r.base+uint16(i)))
	}
	for i := range r.sent {
		if !r.sent[i].IsZero() {
			r.Sent++
		}
	}
}

// stamp notes when packet i is sent; the zero time takes it back.
func (t *table) stamp(r *round, i int, at time.Time) {
	t.mu.Lock()
	r.sent[i] = at
	t.mu.Unlock()
}

// find returns the packet in flight with this id, sequence number and payload.
// An ICMP error may return as little as the header of our packet, then what
// there is of the nonce has to be right.
func (t *table) find(e *echo, whole bool) (packet, bool) {
	p, ok := t.packets[packetKey(e.id, e.seq)]
	if !ok || p.round.sent[p.index].IsZero() {
		return packet{}, false
	}
	n := min(len(e.payload), len(p.round.nonce))
	if whole && n < len(p.round.nonce) || !bytes.Equal(e.payload[:n], p.round.nonce[:n]) {
		return packet{}, false
	}
	return p, true
}

// reply counts an echo reply that came from an address at a time. The time is
// of the monotonic clock (F11).
func (t *table) reply(e *echo, from netip.Addr, ttl, tos int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.find(e, true)
	if !ok {
		return
	}
	r, i := p.round, p.index
	switch {
	case from.WithZone("") != r.to:
		r.Mismatched++
		r.Stranger = from
	case r.state[i] == packetAnswered:
		r.Duplicates++
	default:
		r.answered(i, max(at.Sub(r.sent[i]), 0), ttl, tos)
		r.settle(i, packetAnswered)
	}
}

// trustedNonce is how much of the nonce an ICMP error must carry to end the wait
// for a packet. A forger has to guess it; id and sequence number alone he may.
const trustedNonce = 8

// reported notes an ICMP error about one of the packets in flight (F7).
func (t *table) reported(rep *Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.find(&rep.packet, false)
	if !ok || rep.to.WithZone("") != p.round.to || p.round.state[p.index] == packetAnswered {
		return
	}
	r := p.round
	if r.Report == nil {
		kept := *rep
		kept.packet = echo{} // its payload lies in the receive buffer
		r.Report = &kept
	}
	if len(rep.packet.payload) >= trustedNonce {
		r.settle(p.index, packetReported)
	}
}
