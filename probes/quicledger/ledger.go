// Package quicledger bounds the memory that a peer of a QUIC connection makes us
// hold.
//
// The windows of QUIC bound the bytes that a peer can make us hold, and not the memory:
// quic-go keeps each piece of a stream as it came until it is read, some 150 bytes
// for a single one, and from largePiece on a buffer as large as a packet. A peer that
// sends its bytes one by one behind a gap made us hold 12 MiB in a window of 96 KiB.
// So what a connection holds is counted, and has a bound that pieces of largePiece
// cannot reach within one stream's window; it leaves room for a body. What is more
// waits for its reader if it can be read: the datagrams are dropped, and a good peer
// sends them again. If it cannot, because of a gap, or if that does not help, the
// connection is ended. A good peer comes nowhere near: it would need thousands of
// tiny pieces behind a lost one.
package quicledger

import (
	"cmp"
	"context"
	"io"
	"math"
	"slices"
	"sync"

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
	heldReady = 320 << 10 // from here on it waits: what is lost comes again in packets of many pieces
)

// Ledger counts what is held of a connection's streams. It learns of the pieces
// as one who traces the connection.
type Ledger struct {
	overdrawn func() // is called once

	mu      sync.Mutex
	held    int // bytes of memory
	streams map[quic.StreamID]*stream
	crypto  map[qlog.PacketType]*stream // TLS has a stream in each type of packet
	closed  bool
}

// stream is what is held of a stream.
type stream struct {
	read   int64 // all before it was read
	pieces []piece
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
	return &Ledger{overdrawn: overdrawn, streams: map[quic.StreamID]*stream{}, crypto: map[qlog.PacketType]*stream{}}
}

// Trace is the connection's tracer.
func (l *Ledger) Trace(context.Context, bool, quic.ConnectionID) qlogwriter.Trace { return l }

// AddProducer implements [qlogwriter.Trace].
func (l *Ledger) AddProducer() qlogwriter.Recorder { return l }

// Close implements [qlogwriter.Recorder].
func (l *Ledger) Close() error { return nil }

// RecordEvent counts the pieces of a packet.
func (l *Ledger) RecordEvent(event qlogwriter.Event) {
	packet, ok := event.(qlog.PacketReceived)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range packet.Frames {
		switch f := f.Frame.(type) {
		case *qlog.StreamFrame:
			l.held += account(l.streams, f.StreamID).add(piece{f.Offset, f.Offset + f.Length})
		case *qlog.CryptoFrame:
			a := account(l.crypto, packet.Header.PacketType)
			l.held += a.add(piece{f.Offset, f.Offset + f.Length})
			l.held -= a.readTo(a.readable()) // TLS waits for nothing
		}
		if l.held > heldBound && !l.closed && (l.held > heldBound+heldSlack || !l.waiting()) {
			l.closed = true
			l.overdrawn()
		}
	}
}

// Full reports whether nothing more should be received before what is held was read.
func (l *Ledger) Full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held > heldReady && l.waiting()
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
	l.held -= account(l.streams, id).readTo(math.MaxInt64)
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
	if n > 0 {
		r.ledger.mu.Lock()
		defer r.ledger.mu.Unlock()
		a := account(r.ledger.streams, r.id)
		r.ledger.held -= a.readTo(a.read + int64(n))
	}
	return n, err
}
