// Package quicledger bounds the memory that a peer of a QUIC connection makes us
// hold.
//
// The windows of QUIC bound the bytes that a peer can make us hold, and not the memory:
// quic-go keeps each piece of a stream as it came until it is read, some 150 bytes
// for a single one, and from largePiece on a buffer as large as a packet. A peer that
// sends its bytes one by one behind a gap made us hold 12 MiB in a window of 96 KiB.
// So what a connection holds is counted, and has a bound that pieces of largePiece
// cannot reach within one stream's window; it leaves room for a body.
//
// From heldReady on, datagrams are dropped, and a good peer sends them again. What can
// be read waits so for its reader. Where nothing can, because of a gap, the first
// datagrams after a lull pass: they are what a peer sends that has waited in vain for
// acknowledgements, and that begins with the oldest it has (RFC 9002, section 6.2.4).
// So a good peer closes its gap however many tiny pieces lie behind it, and one whose
// pieces still reach the bound is ended.
package quicledger

import (
	"cmp"
	"context"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
)

// What pieces cost in memory, and the bounds of a connection, in bytes.
const (
	largePiece = 128 // quic-go's MinStreamFrameBufferSize
	pieceCost  = 192
	packetCost = 1452

	heldBound = 832 << 10
	heldSlack = 160 << 10 // if it can be read
	heldReady = 320 << 10

	tailProbes = 2           // datagrams that a peer sends after a lull
	settleTime = time.Second // for readers to read on after the peer has closed
	maxAhead   = 8           // datagrams that quic-go may have without having counted them
	maxTokens  = 8           // of stateless resets
)

// Lull is less than any peer waits for acknowledgements: ours may take 25 ms. What
// comes after one is what the peer sends because it has waited.
const Lull = 20 * time.Millisecond

// Ledger counts what is held of a connection's streams. It learns of the pieces
// as one who traces the connection.
type Ledger struct {
	overdrawn func() // is called once

	mu      sync.Mutex
	changed *sync.Cond // on mu
	held    int        // bytes of memory
	streams map[quic.StreamID]*stream
	crypto  map[qlog.PacketType]*stream // TLS has a stream in each type of packet
	closed  bool
	over    bool // nobody reads any more
	tokens  [][16]byte

	ahead int       // datagrams that were read and not yet counted
	heard time.Time // when the last datagram came while much was held
	burst int       // datagrams since a lull
}

// stream is what is held of a stream.
type stream struct {
	read   int64 // all before it was read
	pieces []piece
	end    int64 // where the stream ends, once that is known
	finite bool
	reader bool // somebody reads it, and has not seen its end
}

// piece is a part of a stream that was received.
type piece struct{ start, end int64 }

func (p piece) compare(q piece) int {
	return cmp.Or(cmp.Compare(p.start, q.start), cmp.Compare(p.end, q.end))
}

// cost is the memory that the piece takes.
func (p piece) cost() int {
	if p.end-p.start < largePiece {
		return pieceCost
	}
	return pieceCost + packetCost
}

// New returns a ledger that calls overdrawn, once, when too much is held.
func New(overdrawn func()) *Ledger {
	l := &Ledger{overdrawn: overdrawn, streams: map[quic.StreamID]*stream{}, crypto: map[qlog.PacketType]*stream{}}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// Trace is the connection's tracer.
func (l *Ledger) Trace(context.Context, bool, quic.ConnectionID) qlogwriter.Trace { return l }

// AddProducer implements [qlogwriter.Trace].
func (l *Ledger) AddProducer() qlogwriter.Recorder { return l }

// Close implements [qlogwriter.Recorder].
func (l *Ledger) Close() error { return nil }

// RecordEvent counts the pieces of a packet, after quic-go has taken them.
func (l *Ledger) RecordEvent(event qlogwriter.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch event := event.(type) {
	case qlog.PacketReceived:
		l.count(event)
	case qlog.PacketDropped, qlog.PacketBuffered:
	case qlog.ParametersSet:
		if token := event.StatelessResetToken; token != nil && event.Initiator == qlog.InitiatorRemote {
			l.learn(*token)
		}
		return
	default:
		return
	}
	l.ahead = max(l.ahead-1, 0)
	l.changed.Broadcast()
}

// count takes in a packet. The caller holds mu, as for those below.
func (l *Ledger) count(packet qlog.PacketReceived) {
	closing := false
	for _, f := range packet.Frames {
		switch f := f.Frame.(type) {
		case *qlog.StreamFrame:
			a := account(l.streams, f.StreamID)
			if l.held += a.add(piece{f.Offset, f.Offset + f.Length}); f.Fin {
				a.end, a.finite = f.Offset+f.Length, true
			}
		case *qlog.CryptoFrame:
			a := account(l.crypto, packet.Header.PacketType)
			l.held += a.add(piece{f.Offset, f.Offset + f.Length})
			l.held -= a.readTo(a.readable()) // TLS waits for nothing
		case *qlog.NewConnectionIDFrame:
			l.learn(f.StatelessResetToken)
		case *qlog.ConnectionCloseFrame:
			closing = true
		}
		if closing {
			break // quic-go takes nothing behind it
		}
		if l.held > heldBound && !l.closed && (l.held > heldBound+heldSlack || !l.waiting()) {
			l.closed = true
			l.overdrawn()
		}
	}
	if closing {
		l.settle()
	}
}

// learn keeps a token by which the peer can say that it has forgotten the connection
// (RFC 9000, section 10.3). There are as many as quic-go lets the peer have IDs.
func (l *Ledger) learn(token [16]byte) {
	if l.tokens = append(l.tokens, token); len(l.tokens) > maxTokens {
		l.tokens = slices.Delete(l.tokens, 0, 1)
	}
}

// Resets reports whether the datagram tells that the peer has forgotten the connection.
func (l *Ledger) Resets(datagram []byte) bool {
	tail := len(datagram) - len([16]byte{})
	if tail <= 0 || datagram[0]&0x80 != 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.tokens, [16]byte(datagram[tail:]))
}

// Settle is for an end that quic-go does not read in a packet: its socket's, or a
// stateless reset. It returns when all that came before is counted, and read.
func (l *Ledger) Settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.streams {
		if a.reader {
			l.counted(1, settleTime)
			l.settle()
			return
		}
	}
}

// settle lets the readers read what has come before the connection ends, for quic-go
// then gives them nothing more: a server that answers and closes would seem to have
// answered nothing. It is quic-go's goroutine that waits, which has nothing else to do
// for a peer that is gone.
func (l *Ledger) settle() {
	end := time.AfterFunc(settleTime, l.Release)
	defer end.Stop()
	for !l.over && l.owes() {
		l.changed.Wait()
	}
}

// owes reports whether some reader has not got all that it can get.
func (l *Ledger) owes() bool {
	for _, a := range l.streams {
		if end := a.readable(); a.reader && (end > a.read || a.finite && end == a.end) {
			return true
		}
	}
	return false
}

// Release says that nobody reads any more. It goes before each end of ours.
func (l *Ledger) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.changed.Broadcast()
}

// Next waits, before a datagram is read, until those before it are counted but for a
// few: else a burst of them would go beyond every bound before anybody sees it. What
// comes meanwhile the system keeps. A datagram of which quic-go says nothing makes it
// wait for no longer than a lull.
func (l *Ledger) Next() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counted(maxAhead, Lull)
}

// counted waits until fewer datagrams than that are not counted, but no longer than so
// long. The caller holds mu.
func (l *Ledger) counted(most int, limit time.Duration) {
	if l.ahead < most {
		return
	}
	end := time.AfterFunc(limit, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ahead = 0
		l.changed.Broadcast()
	})
	defer end.Stop()
	for l.ahead >= most && !l.over {
		l.changed.Wait()
	}
}

// Drops reports whether a datagram that came now should be lost. Otherwise it is
// counted soon.
func (l *Ledger) Drops(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held <= heldReady || now.Sub(l.heard) >= Lull {
		l.burst = 0
	}
	l.heard = now
	if l.held > heldReady {
		if l.burst++; l.burst > tailProbes || l.waiting() {
			return true
		}
	}
	l.ahead++
	return false
}

// waiting reports whether something waits for its reader.
func (l *Ledger) waiting() bool {
	for _, a := range l.streams {
		if len(a.pieces) > 0 && a.pieces[0].start <= a.read {
			return true
		}
	}
	return false
}

func account[K comparable](all map[K]*stream, key K) *stream {
	a := all[key]
	if a == nil {
		a = new(stream)
		all[key] = a
	}
	return a
}

// add takes a piece in and returns its cost, which is none if it is there already.
func (a *stream) add(p piece) (cost int) {
	if p.start == p.end || p.end <= a.read {
		return 0
	}
	i, again := slices.BinarySearchFunc(a.pieces, p, piece.compare)
	if again {
		return 0
	}
	a.pieces = slices.Insert(a.pieces, i, p)
	return p.cost()
}

// readable is how far the stream can be read.
func (a *stream) readable() int64 {
	end := a.read
	for _, p := range a.pieces {
		if p.start > end {
			break
		}
		end = max(end, p.end)
	}
	return end
}

// readTo lets go of what lies before the offset and returns what that did cost.
func (a *stream) readTo(offset int64) (cost int) {
	a.read = offset
	n := 0
	for n < len(a.pieces) && a.pieces[n].end <= offset {
		cost += a.pieces[n].cost()
		n++
	}
	if a.pieces = a.pieces[n:]; len(a.pieces) == 0 {
		a.pieces = nil
	}
	return cost
}

// Reader reads a stream on account.
func (l *Ledger) Reader(id quic.StreamID, from io.Reader) io.Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	account(l.streams, id).reader = true
	return &reader{ledger: l, id: id, from: from}
}

// Held tells how much memory is held of all streams, and how far this one can be read.
func (l *Ledger) Held(id quic.StreamID) (memory int, readable int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held, account(l.streams, id).readable()
}

// Forget is for a stream that nobody reads any more, of which quic-go keeps nothing.
func (l *Ledger) Forget(id quic.StreamID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := account(l.streams, id)
	l.held -= a.readTo(math.MaxInt64)
	a.reader = false
	l.changed.Broadcast()
}

// reader tells the ledger what was read.
type reader struct {
	ledger *Ledger
	id     quic.StreamID
	from   io.Reader
}

// Read reads from the stream.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	a := account(r.ledger.streams, r.id)
	r.ledger.held -= a.readTo(a.read + int64(n))
	a.reader = err == nil
	r.ledger.changed.Broadcast()
	return n, err
}
