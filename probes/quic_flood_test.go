package probes

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/sonde-cli/sonde/check"
)

// quicSeal protects packets with the keys of one secret (RFC 9001, section 5), for
// AES-128-GCM, which Go prefers wherever the processor has AES, and for
// ChaCha20-Poly1305, which it prefers elsewhere.
type quicSeal struct {
	aead cipher.AEAD
	mask func(sample []byte) []byte
	iv   []byte
	next uint32
}

func newQUICSeal(t *testing.T, suite uint16, secret []byte) *quicSeal {
	t.Helper()
	expand := func(label string, n int) []byte { return quicExpand(t, secret, label, n) }
	s := &quicSeal{iv: expand("quic iv", 12)}
	var err error
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
		key, err2 := aes.NewCipher(expand("quic key", 16))
		hp, err3 := aes.NewCipher(expand("quic hp", 16))
		if err = errors.Join(err2, err3); err == nil {
			s.aead, err = cipher.NewGCM(key)
		}
		s.mask = func(sample []byte) []byte {
			mask := make([]byte, len(sample))
			hp.Encrypt(mask, sample)
			return mask
		}
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		hp := expand("quic hp", chacha20.KeySize)
		s.aead, err = chacha20poly1305.New(expand("quic key", chacha20poly1305.KeySize))
		s.mask = func(sample []byte) []byte {
			mask := make([]byte, 5)
			if stream, err := chacha20.NewUnauthenticatedCipher(hp, sample[4:]); err != nil {
				t.Error(err)
			} else {
				stream.SetCounter(binary.LittleEndian.Uint32(sample))
				stream.XORKeyStream(mask, mask)
			}
			return mask
		}
	default:
		err = errors.New("the suite is " + tls.CipherSuiteName(suite))
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// quicExpand is HKDF-Expand-Label (RFC 8446, section 7.1).
func quicExpand(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	info := append([]byte{0, byte(n), byte(6 + len(label))}, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *quicSeal) nonce(number uint32) []byte {
	nonce := append([]byte(nil), s.iv...)
	for i, b := range binary.BigEndian.AppendUint32(nil, number) {
		nonce[8+i] ^= b
	}
	return nonce
}

// seal makes a packet of its head, which lacks the number, and the payload.
func (s *quicSeal) seal(head, payload []byte) []byte {
	at, low := len(head), byte(0x1f)
	if head[0]&0x80 != 0 {
		low = 0x0f
	}
	head = binary.BigEndian.AppendUint32(head, s.next)
	packet := s.aead.Seal(head, s.nonce(s.next), payload, head)
	s.next++
	mask := s.mask(packet[at+4 : at+20])
	packet[0] ^= mask[0] & low
	for i := range 4 {
		packet[at+i] ^= mask[1+i]
	}
	return packet
}

// open returns the payload of an Initial packet and how long the packet is.
func (s *quicSeal) open(t *testing.T, datagram []byte) ([]byte, int) {
	t.Helper()
	at := 6 + int(datagram[5])
	at += 1 + int(datagram[at])
	token, n, err := quicvarint.Parse(datagram[at:])
	at += n + int(token)
	length, n, err2 := quicvarint.Parse(datagram[at:])
	if at += n; err != nil || err2 != nil {
		t.Error("bad Initial", err, err2)
	}
	packet := datagram[:at+int(length)]
	mask := s.mask(packet[at+4 : at+20])
	packet[0] ^= mask[0] & 0x0f
	size := int(packet[0]&3) + 1
	var number uint32
	for i := range size {
		packet[at+i] ^= mask[1+i]
		number = number<<8 | uint32(packet[at+i])
	}
	payload, err := s.aead.Open(nil, s.nonce(number), packet[at+size:], packet[:at+size])
	if err != nil {
		t.Error(err)
	}
	return payload, len(packet)
}

// rawQUIC is a QUIC server that sends the packets it wants. It goes no further
// than its own part of the handshake, after which it may send already.
type rawQUIC struct {
	conn     net.PacketConn
	peer     net.Addr
	to, from []byte // connection IDs
	level    map[tls.QUICEncryptionLevel]*quicSeal
	sent     map[tls.QUICEncryptionLevel]uint64 // bytes of TLS
	hello    map[uint64][]byte                  // pieces of the ClientHello
}

// send sends a packet of the payload.
func (q *rawQUIC) send(level tls.QUICEncryptionLevel, payload []byte) {
	head := append([]byte{0x43}, q.to...)
	if level != tls.QUICEncryptionLevelApplication {
		first := byte(0xc3)
		if level == tls.QUICEncryptionLevelHandshake {
			first = 0xe3
		}
		head = append([]byte{first, 0, 0, 0, 1, byte(len(q.to))}, q.to...)
		head = append(append(head, byte(len(q.from))), q.from...)
		if level == tls.QUICEncryptionLevelInitial {
			head = append(head, 0) // no token
		}
		head = quicvarint.Append(head, uint64(4+len(payload)+16))
	}
	_, _ = q.conn.WriteTo(q.level[level].seal(head, payload), q.peer)
}

// begin reads the ClientHello and answers it.
func (q *rawQUIC) begin(t *testing.T, config *tls.Config) bool {
	t.Helper()
	config.MinVersion = tls.VersionTLS13
	server := tls.QUICServer(&tls.QUICConfig{TLSConfig: config})
	var open *quicSeal
	var done uint64
	for buf := make([]byte, 2048); q.level[tls.QUICEncryptionLevelApplication] == nil; {
		n, peer, err := q.conn.ReadFrom(buf)
		if err != nil {
			return false
		}
		if open == nil {
			q.peer = peer
			original := append([]byte(nil), buf[6:6+buf[5]]...)
			q.to = append([]byte(nil), buf[7+len(original):7+len(original)+int(buf[6+len(original)])]...)
			q.from = original
			salt := []byte("\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a")
			secret, err := hkdf.Extract(sha256.New, original, salt)
			if err != nil {
				t.Error(err)
			}
			open = newQUICSeal(t, tls.TLS_AES_128_GCM_SHA256, quicExpand(t, secret, "client in", 32))
			q.level[tls.QUICEncryptionLevelInitial] = newQUICSeal(t, tls.TLS_AES_128_GCM_SHA256, quicExpand(t, secret, "server in", 32))
			server.SetTransportParameters(rawParameters(original))
			if err := server.Start(context.Background()); err != nil {
				t.Error(err)
				return false
			}
		}
		payload, _ := open.open(t, buf[:n])
		q.pieces(payload)
		for q.hello[done] != nil {
			piece := q.hello[done]
			done += uint64(len(piece))
			if err := server.HandleData(tls.QUICEncryptionLevelInitial, piece); err != nil {
				t.Error(err)
				return false
			}
		}
		q.events(t, server)
	}
	return true
}

// pieces takes the CRYPTO frames out of a payload.
func (q *rawQUIC) pieces(payload []byte) {
	for len(payload) > 0 {
		if payload[0] != 0x06 { // PADDING or PING
			payload = payload[1:]
			continue
		}
		offset, n, _ := quicvarint.Parse(payload[1:])
		length, m, _ := quicvarint.Parse(payload[1+n:])
		payload = payload[1+n+m:]
		q.hello[offset], payload = append([]byte(nil), payload[:length]...), payload[length:]
	}
}

// events sends what TLS has to say.
func (q *rawQUIC) events(t *testing.T, server *tls.QUICConn) {
	t.Helper()
	for {
		switch e := server.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			return
		case tls.QUICSetWriteSecret:
			q.level[e.Level] = newQUICSeal(t, e.Suite, e.Data)
		case tls.QUICWriteData:
			for data := e.Data; len(data) > 0; {
				n := min(len(data), 1000)
				frame := quicvarint.Append(quicvarint.Append([]byte{0x06}, q.sent[e.Level]), uint64(n))
				q.send(e.Level, append(frame, data[:n]...))
				q.sent[e.Level], data = q.sent[e.Level]+uint64(n), data[n:]
			}
		}
	}
}

// rawParameters are transport parameters (RFC 9000, section 18.2) that let the client
// do what it wants.
func rawParameters(original []byte) (out []byte) {
	put := func(id uint64, value []byte) {
		out = append(quicvarint.Append(quicvarint.Append(out, id), uint64(len(value))), value...)
	}
	put(0x00, original)
	put(0x0f, original)
	for id := uint64(0x04); id <= 0x09; id++ {
		put(id, quicvarint.Append(nil, 1<<16))
	}
	return out
}

// TestQUICSmallPieces has a server that sends its streams in pieces behind a gap, so
// that none can be read. It counts the heap that a probe holds of them.
func TestQUICSmallPieces(t *testing.T) {
	const largePiece = 128 // quic-go's MinStreamFrameBufferSize, from which on a piece costs more
	for name, c := range map[string]struct {
		size    int // of a piece
		streams uint64
		flood   bool // it is ended for that
	}{
		"bytes":                  {1, 2, true},
		"bytes of every stream":  {1, quicSideStreams, true},
		"as many as can be kept": {23, 2, false},
		"as large as a packet":   {largePiece, 1, false}, // in quic-go's memory; the window ends it
		"as large, of two":       {largePiece, 2, true},
		"not quite as large":     {largePiece - 1, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			closeLater(t, conn)
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			arrived := make(chan struct{})
			go func() {
				defer close(arrived)
				q := &rawQUIC{
					conn: conn, level: map[tls.QUICEncryptionLevel]*quicSeal{}, sent: map[tls.QUICEncryptionLevel]uint64{}, hello: map[uint64][]byte{},
				}
				if q.begin(t, quicTLS(t, "h3")) {
					q.flood(c.size, c.streams)
				}
			}()
			probe := buildHTTP(t, "https://"+conn.LocalAddr().String(), h3(t)).Probe
			ctx, cancel := context.WithCancel(timeout(t, patience))
			defer cancel()
			before := liveHeap()
			ended := make(chan check.Observation, 1)
			go func() { ended <- probe.Observe(ctx) }()
			<-arrived
			held := int64(liveHeap()) - int64(before)
			if !c.flood {
				cancel()
			}
			o := <-ended
			if c.flood {
				wantFailure(t, o, check.HTTPMalformed, "more small pieces of streams than can be kept")
			} else {
				wantFailure(t, o, check.LocalShutdown)
			}
			if held > heapPerProbe {
				t.Errorf("%d KiB of heap, promised are %d", held>>10, heapPerProbe>>10)
			} else {
				t.Logf("%d KiB of heap", held>>10)
			}
		})
	}
}

// flood fills the windows of the streams and of the connection with pieces, all but
// the first byte of each stream. It waits for the client's acknowledgements, for what
// a full socket drops would be lost for good.
func (q *rawQUIC) flood(size int, streams uint64) {
	buf := make([]byte, 2048)
	each := min(uint64(quicConnWindow)/streams, quicStreamWindow)
	for stream := range streams {
		var payload []byte
		for offset := uint64(1); offset+uint64(size) <= each; offset += uint64(size) {
			frame := quicvarint.Append(quicvarint.Append([]byte{0x0e}, 4*stream+3), offset)
			payload = append(append(payload, quicvarint.Append(frame, uint64(size))...), make([]byte, size)...)
			if len(payload)+size+8 < 1200 && offset+2*uint64(size) <= each {
				continue
			}
			q.send(tls.QUICEncryptionLevelApplication, payload)
			payload = payload[:0]
			_ = q.conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
			if _, _, err := q.conn.ReadFrom(buf); errors.Is(err, net.ErrClosed) {
				return
			}
		}
	}
}
