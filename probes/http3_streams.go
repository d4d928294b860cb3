package probes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/sonde-cli/sonde/check"
)

// Types of frames and of unidirectional streams, and errors (RFC 9114, sections
// 7.2, 6.2 and 8.1; RFC 9204, section 4.2).
const (
	h3Data       = 0x0
	h3Headers    = 0x1
	h3CancelPush = 0x3
	h3Settings   = 0x4
	h3Push       = 0x5
	h3GoAway     = 0x7
	h3MaxPush    = 0xd

	h3ControlStream = 0x0
	h3PushStream    = 0x1
	h3EncoderStream = 0x2
	h3DecoderStream = 0x3

	h3MaxFieldSection = 0x6 // a setting

	h3NoError         = 0x100
	h3GeneralError    = 0x101
	h3StreamUnwanted  = 0x103
	h3RequestRejected = 0x10b
)

// h3ErrorNames are those of RFC 9114, section 8.1, and of RFC 9204, section 6.
var h3ErrorNames = [...]string{
	"NO_ERROR", "GENERAL_PROTOCOL_ERROR", "INTERNAL_ERROR", "STREAM_CREATION_ERROR", "CLOSED_CRITICAL_STREAM",
	"FRAME_UNEXPECTED", "FRAME_ERROR", "EXCESSIVE_LOAD", "ID_ERROR", "SETTINGS_ERROR", "MISSING_SETTINGS",
	"REQUEST_REJECTED", "REQUEST_CANCELLED", "REQUEST_INCOMPLETE", "MESSAGE_ERROR", "CONNECT_ERROR", "VERSION_FALLBACK",
}

func h3ErrorName(code uint64) string {
	if i := code - h3NoError; i < uint64(len(h3ErrorNames)) {
		return "H3_" + h3ErrorNames[i]
	}
	return fmt.Sprintf("error %#x", code)
}

// h3Frame reads the head of a frame.
func h3Frame(in io.ByteReader) (kind, length uint64, err error) {
	if kind, err = quicvarint.Read(in); err == nil {
		length, err = quicvarint.Read(in)
	}
	return kind, length, err
}

// h2Only reports whether the type is one of HTTP/2's that HTTP/3 forbids (RFC
// 9114, section 7.2.8).
func h2Only(kind uint64) bool { return kind == 2 || kind == 6 || kind == 8 || kind == 9 }

// h3MaxSide bounds what the peer may send on a stream beside the request's.
const h3MaxSide = 64 << 10

// http3Side is what a connection has beside its requests: the streams that the
// server opens, which tell its settings and that it ends the connection. They
// are read in goroutines, at most quicSideStreams and one more.
type http3Side struct {
	q       *quicConn
	running sync.WaitGroup

	mu      sync.Mutex
	err     error  // why we ended the connection; nil: we did not
	request uint64 // the number of the request's stream
	control bool   // the server's control stream is there
	going   bool   // the server has sent GOAWAY
}

// open opens our control stream and begins to read those of the server.
func (s *http3Side) open(settings []byte) error {
	s.running.Go(s.accept)
	control, err := s.q.conn.OpenUniStream()
	var limit quic.StreamLimitReachedError
	if errors.As(err, &limit) {
		return malformed("the server does not let HTTP/3 open its control stream")
	}
	if err != nil {
		return err
	}
	_, err = control.Write(settings) // a few bytes, which never wait
	return err
}

// wait returns when nothing reads any more, which needs a connection that is
// closed.
func (s *http3Side) wait() { s.running.Wait() }

func (s *http3Side) accept() {
	for {
		stream, err := s.q.conn.AcceptUniStream(context.Background())
		if err != nil {
			return // the connection has ended
		}
		s.running.Go(func() {
			if err := s.read(stream); err != nil {
				s.fail(err)
			}
		})
	}
}

// fail ends the connection because of what the server did.
func (s *http3Side) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.q.end(h3GeneralError)
}

func (s *http3Side) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// begins notes the request's stream, which a GOAWAY may or may not include.
func (s *http3Side) begins(stream uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.request = stream
}

func (s *http3Side) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.going || s.err != nil
}

// read reads one stream of the server's. Its error is a breach of HTTP/3.
func (s *http3Side) read(stream *quic.ReceiveStream) error {
	limited := &io.LimitedReader{R: s.q.ledger.Reader(stream.StreamID(), stream), N: h3MaxSide}
	in := bufio.NewReaderSize(limited, 64)
	kind, err := quicvarint.Read(in)
	if err != nil {
		return nil // it never said what it is
	}
	switch kind {
	case h3ControlStream:
		return s.readControl(in, limited)
	case h3PushStream:
		return malformed("an HTTP/3 push that was not allowed")
	case h3EncoderStream, h3DecoderStream:
		_, _ = io.Copy(io.Discard, in) // no table, so nothing of interest
	}
	stream.CancelRead(h3StreamUnwanted)
	s.q.ledger.Forget(stream.StreamID())
	return nil
}

// readControl reads the control stream to its end, which comes with that of the
// connection.
func (s *http3Side) readControl(in *bufio.Reader, limited *io.LimitedReader) error {
	s.mu.Lock()
	twice := s.control
	s.control = true
	s.mu.Unlock()
	if twice {
		return malformed("a second HTTP/3 control stream")
	}
	for first := true; ; first = false {
		kind, length, err := h3Frame(in)
		if err == nil {
			err = s.onControl(kind, length, first, in)
		}
		var breach *httpError
		var reset *quic.StreamError
		switch {
		case err == nil:
		case errors.As(err, &breach):
			return err
		case limited.N == 0:
			return malformed("more than %d KiB on the HTTP/3 control stream", h3MaxSide>>10)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &reset):
			return malformed("the server closed the HTTP/3 control stream")
		default:
			return nil // the connection has ended
		}
	}
}

// onControl reads one frame of the control stream.
func (s *http3Side) onControl(kind, length uint64, first bool, in *bufio.Reader) error {
	if first != (kind == h3Settings) {
		return malformed("the HTTP/3 control stream must begin with SETTINGS and have them once, not with a frame of type %#x", kind)
	}
	switch {
	case kind == h3Data, kind == h3Headers, kind == h3Push, kind == h3MaxPush, kind == h3CancelPush, h2Only(kind):
		return malformed("an HTTP/3 frame of type %#x, which has no place on the control stream", kind)
	case kind == h3GoAway:
		var number [8]byte
		if length > uint64(len(number)) {
			return malformed("an HTTP/3 GOAWAY of %d bytes", length)
		}
		if _, err := io.ReadFull(in, number[:length]); err != nil {
			return err
		}
		last, n, err := quicvarint.Parse(number[:length])
		if err != nil || n != int(length) {
			return malformed("a bad HTTP/3 GOAWAY")
		}
		return s.onGoAway(last)
	}
	_, err := io.CopyN(io.Discard, in, int64(length))
	return err
}

// onGoAway lets a graceful end finish our request (RFC 9114, section 5.2).
func (s *http3Side) onGoAway(last uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.going = true
	if s.request < last {
		return nil
	}
	return &httpError{check.HTTPGoAway, "the server ended the HTTP/3 connection without looking at the request (GOAWAY)"}
}
