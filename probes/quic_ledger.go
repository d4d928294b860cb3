package probes

import (
	"context"
	"io"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
)

// The windows bound the bytes that a peer can make us hold, and not the memory:
// quic-go keeps each piece of a stream as it came until it can be read, some 200
// bytes for a single one. A peer that sends its bytes one by one behind a gap made
// us hold 12 MiB in a window of 96 KiB. So each stream has credit, in bytes: a piece
// costs pieceCost, what it adds to the stream is returned, and what was read to its
// end begins anew. A good peer comes nowhere near the end: pieces that small are
// rare, and a lost packet holds up no more than a window of large ones.
const (
	pieceCost   = 64
	pieceCredit = 256 * pieceCost
)

// quicLedger keeps the credit of a connection's streams. It learns of the pieces as
// one who traces the connection.
type quicLedger struct {
	overdrawn func() // is called once

	mu      sync.Mutex
	streams map[quic.StreamID]*quicAccount
	crypto  map[qlog.PacketType]*quicAccount // TLS has a stream in each type of packet
	closed  bool
}

// quicAccount is the credit of a stream.
type quicAccount struct {
	credit    int
	top, read int64 // the stream's length as far as it is known, and what was read of it
}

func newQUICLedger(overdrawn func()) *quicLedger {
	return &quicLedger{overdrawn: overdrawn, streams: map[quic.StreamID]*quicAccount{}, crypto: map[qlog.PacketType]*quicAccount{}}
}

// trace is the connection's tracer.
func (l *quicLedger) trace(context.Context, bool, quic.ConnectionID) qlogwriter.Trace { return l }

// AddProducer implements [qlogwriter.Trace].
func (l *quicLedger) AddProducer() qlogwriter.Recorder { return l }

// Close implements [qlogwriter.Recorder].
func (l *quicLedger) Close() error { return nil }

// RecordEvent takes the pieces of a packet into the account.
func (l *quicLedger) RecordEvent(event qlogwriter.Event) {
	packet, ok := event.(qlog.PacketReceived)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range packet.Frames {
		solvent := true
		switch f := f.Frame.(type) {
		case *qlog.StreamFrame:
			solvent = account(l.streams, f.StreamID).take(f.Offset + f.Length)
		case *qlog.CryptoFrame:
			solvent = account(l.crypto, packet.Header.PacketType).take(f.Offset + f.Length)
		}
		if !solvent && !l.closed {
			l.closed = true
			l.overdrawn()
		}
	}
}

func account[K comparable](all map[K]*quicAccount, key K) *quicAccount {
	a := all[key]
	if a == nil {
		a = &quicAccount{credit: pieceCredit}
		all[key] = a
	}
	return a
}

// take pays for a piece that ends at the offset, and reports whether there was
// enough.
func (a *quicAccount) take(end int64) bool {
	added := max(end-a.top, 0)
	a.top += added
	a.credit = min(a.credit+int(added), pieceCredit) - pieceCost
	return a.credit >= 0
}

// reader reads a stream on account.
func (l *quicLedger) reader(id quic.StreamID, from io.Reader) io.Reader {
	return &quicReader{ledger: l, id: id, from: from}
}

// quicReader tells the ledger what was read.
type quicReader struct {
	ledger *quicLedger
	id     quic.StreamID
	from   io.Reader
}

// Read reads from the stream.
func (r *quicReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if n > 0 {
		r.ledger.mu.Lock()
		defer r.ledger.mu.Unlock()
		a := account(r.ledger.streams, r.id)
		if a.read += int64(n); a.read >= a.top {
			a.credit = pieceCredit
		}
	}
	return n, err
}
