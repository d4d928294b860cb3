package probes

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/quic-go/quicvarint"
)

// quicLull is after how long the client listens again, that holds too much.
const quicLull = 20 * time.Millisecond

// TestQUICGap has a good server with more tiny pieces behind a gap than can be kept.
// It sends them without a pause, but for the first, which is lost. What was not
// acknowledged it sends again after a while, from the oldest on.
func TestQUICGap(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, conn)
	const pieces = 13_000
	served := make(chan struct{})
	done := make(chan struct{})
	oldest := make(chan func() int64, 1) // that was not acknowledged
	go func() {
		defer close(served)
		q := &rawQUIC{
			conn: conn, level: map[tls.QUICEncryptionLevel]*quicSeal{}, sent: map[tls.QUICEncryptionLevel]uint64{}, hello: map[uint64][]byte{},
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if !q.begin(t, quicTLS(t, "h3")) {
			return
		}
		q.tiny(1, pieces)
		var from func() int64
		select {
		case from = <-oldest:
		case <-done:
			return
		}
		pause := time.NewTimer(3 * quicLull)
		defer pause.Stop()
		for {
			pause.Reset(3 * quicLull) // its probe timeout
			select {
			case <-done:
				return
			case <-pause.C:
				q.tiny(uint64(from()), pieces)
			}
		}
	}()
	ctx := timeout(t, patience)
	q, err := quicAim{plan: &tlsPlan{}, host: "127.0.0.1", protocol: "h3"}.open(ctx, "", netip.Addr{}, netip.MustParseAddrPort(conn.LocalAddr().String()))
	if err != nil || q.failed != nil {
		t.Fatal(err, q.failed)
	}
	oldest <- func() int64 {
		_, readable := q.ledger.Held(3)
		return readable
	}
	stream, err := q.conn.AcceptUniStream(ctx)
	if err == nil {
		_ = stream.SetReadDeadline(time.Now().Add(patience))
		var got []byte
		got, err = io.ReadAll(q.ledger.Reader(stream.StreamID(), stream))
		if len(got) != pieces {
			t.Errorf("%d bytes of %d", len(got), pieces)
		}
	}
	if err != nil || q.flooded.Load() {
		t.Errorf("%v, ended for the pieces: %v", err, q.flooded.Load())
	}
	close(done)
	<-served
	q.Close()
}

// tiny sends the bytes of a stream from the first to the end, which is that of the
// stream, in pieces of one byte and packets of some twenty.
func (q *rawQUIC) tiny(first, end uint64) {
	var payload []byte
	for offset := first; offset < end; offset++ {
		kind := byte(0x0e)
		if offset == end-1 {
			kind = 0x0f
		}
		frame := quicvarint.Append(quicvarint.Append([]byte{kind}, 3), offset)
		payload = append(append(payload, quicvarint.Append(frame, 1)...), 'x')
		if len(payload) > 150 || offset == end-1 {
			q.send(tls.QUICEncryptionLevelApplication, payload)
			payload = payload[:0]
		}
	}
}
