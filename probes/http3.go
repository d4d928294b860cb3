package probes

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/sonde-cli/sonde/check"
)

// The parts of HTTP/3 (RFC 9114) that one request at a time needs, over the
// streams of quic-go and the field sections of its qpack. As with HTTP/2 the
// caller's goroutine reads the response, strictly and within bounds. We offer no
// dynamic table (RFC 9204), so the server can make us keep none.
const (
	h3MaxBlock = maxHeadBytes // of a field section as it is sent
	h3Idle     = 16 << 10     // of an extension's frame count as another frame: HTTP/2 lets none be larger
)

// http3Conn makes exchanges on a QUIC connection, one after the other.
type http3Conn struct {
	ctx    context.Context // of the run that the connection belongs to
	q      *quicConn
	side   *http3Side // nil before the first request
	stream *quic.Stream
	freed  func() bool // ends the stream's watch for ctx
	in     *bufio.Reader
	budget *budgetReader // bounds the bytes before the response's head ends

	// With a body, answered is closed when the head was read beside it, and sent
	// when the body was written. They are nil without: await reads the head.
	answered, sent   chan struct{}
	headErr, sendErr error

	head     *httpHead
	trailers bool
	ended    bool // the peer has ended the stream
	interim  int
	idle     int // frames seen that carry nothing of the response

	later     bool   // this is not the connection's first exchange
	left      uint64 // of the DATA frame being read
	got, want int64  // bytes of the body; want -1: not announced
}

func newHTTP3(ctx context.Context, q *quicConn) *http3Conn {
	return &http3Conn{ctx: ctx, q: q, want: -1}
}

// next makes the connection ready for another exchange.
func (c *http3Conn) next() {
	c.unwatch()
	*c = http3Conn{ctx: c.ctx, q: c.q, side: c.side, want: -1, later: true}
}

func (c *http3Conn) unwatch() {
	if c.freed != nil {
		c.freed()
	}
}

// release ends what reads for the connection.
func (c *http3Conn) release() {
	c.unwatch()
	if c.side != nil {
		c.q.end(h3NoError)
		c.side.wait()
		if c.sent != nil {
			<-c.answered
			<-c.sent
		}
	}
}

func (c *http3Conn) untouched() bool { return c.head == nil && c.interim == 0 }

// spent reports whether the connection is of further use. The end of a response
// without a body may come behind its head.
func (c *http3Conn) spent(*httpHead, io.Reader) bool {
	if !c.ended && c.left == 0 {
		_ = c.stream.SetReadDeadline(time.Now().Add(stagger))
		_ = c.step()
	}
	return c.ended && c.left == 0 && c.delivered() && !c.side.ending() && c.q.conn.Context().Err() == nil
}

// send opens the request's stream and writes the request.
func (c *http3Conn) send(m *httpMessage) error {
	err := c.open()
	if err == nil {
		_, err = c.stream.Write(h3Head(m))
	}
	if err == nil {
		err = c.sendBody(m.body)
	}
	return c.explain(err)
}

func (c *http3Conn) open() error {
	if c.side == nil {
		c.side = &http3Side{q: c.q}
		setting := quicvarint.Append(quicvarint.Append(nil, h3MaxFieldSection), maxHeadBytes)
		hello := quicvarint.Append([]byte{h3ControlStream, h3Settings}, uint64(len(setting)))
		if err := c.side.open(append(hello, setting...)); err != nil {
			return err
		}
	}
	stream, err := c.q.conn.OpenStreamSync(c.ctx)
	if err != nil {
		return err
	}
	c.stream, c.freed = stream, bindStream(c.ctx, stream)
	c.side.begins(uint64(stream.StreamID()))
	c.budget = &budgetReader{from: c.q.ledger.Reader(stream.StreamID(), stream), left: h2MaxHeadBytes}
	c.in = bufio.NewReaderSize(c.budget, 4<<10)
	return nil
}

// h3Head is the HEADERS frame of the request.
func h3Head(m *httpMessage) []byte {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	fields := []field{{":method", m.method}, {":scheme", m.scheme}, {":authority", m.authority}, {":path", m.target}}
	for _, f := range append(fields, m.fields...) {
		_ = encoder.WriteField(qpack.HeaderField{Name: strings.ToLower(f.name), Value: f.value}) // a buffer takes all
	}
	frame := quicvarint.Append([]byte{h3Headers}, uint64(block.Len()))
	return append(frame, block.Bytes()...)
}

// sendBody writes the body and ends our side of the stream. A body can wait for
// the server's window while the server answers already; then the response is
// read while the rest is being sent.
func (c *http3Conn) sendBody(body []byte) error {
	if len(body) == 0 {
		return c.stream.Close()
	}
	c.answered, c.sent = make(chan struct{}), make(chan struct{})
	go func() {
		c.headErr = c.readFinal()
		close(c.answered)
	}()
	go func() {
		c.sendErr = c.writeBody(body)
		close(c.sent)
	}()
	select {
	case <-c.sent:
	case <-c.answered:
	}
	return nil // what went wrong, await tells
}

func (c *http3Conn) writeBody(body []byte) error {
	_, err := c.stream.Write(quicvarint.Append([]byte{h3Data}, uint64(len(body))))
	if err == nil {
		_, err = c.stream.Write(body)
	}
	return errors.Join(err, c.stream.Close())
}

// delivered reports whether all of the request was sent.
func (c *http3Conn) delivered() bool {
	if c.sent == nil {
		return true
	}
	select {
	case <-c.sent:
		return c.sendErr == nil
	default:
		return false
	}
}

// await reads frames until the final response's head is there.
func (c *http3Conn) await() error {
	if c.answered != nil {
		<-c.answered
		return c.headErr
	}
	if c.in == nil { // the stream was not opened, send has told why
		return io.ErrUnexpectedEOF
	}
	return c.readFinal()
}

func (c *http3Conn) readFinal() error {
	for c.head == nil {
		if err := c.step(); err != nil {
			return c.explain(err)
		}
		if c.ended && c.head == nil {
			return c.explain(&httpError{check.HTTPTruncated, "the HTTP/3 stream ended before the response"})
		}
	}
	return nil
}

// readHead returns the head that await has read.
func (c *http3Conn) readHead() (*httpHead, error) {
	c.budget.left = -1
	var err error
	if c.want, err = announced(c.head); err != nil {
		return nil, err
	}
	return c.head, nil
}

func (c *http3Conn) openBody(*httpHead, string) (io.Reader, error) { return c, nil }

// step reads up to the next part of the body, or the next head, or the end.
func (c *http3Conn) step() error {
	if _, err := c.in.Peek(1); err != nil {
		if errors.Is(err, io.EOF) {
			c.ended = true
			return nil
		}
		return err
	}
	kind, length, err := h3Frame(c.in)
	if err != nil {
		return err
	}
	if err := c.idles(1); err != nil {
		return err
	}
	switch {
	case kind == h3Headers:
		return c.onHeaders(length)
	case kind == h3Data && (c.head == nil || c.trailers):
		return malformed("HTTP/3 data before the response's head or after its end")
	case kind == h3Data:
		if c.want >= 0 && length > uint64(c.want-c.got) {
			return wrongLength(c.got+int64(length), c.want)
		}
		if c.left = length; length > 0 {
			c.idle--
		}
		return nil
	case kind == h3Push, kind == h3Settings, kind == h3GoAway, kind == h3CancelPush, kind == h3MaxPush, h2Only(kind):
		return malformed("an HTTP/3 frame of type %#x, which has no place in a response", kind)
	}
	if err := c.idles(length / h3Idle); err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, c.in, int64(length)) // of an extension
	return err
}

// idles counts frames that carry nothing of the response.
func (c *http3Conn) idles(frames uint64) error {
	if c.idle += int(min(frames, h2MaxIdle+1)); c.idle > h2MaxIdle {
		return malformed("more than %d HTTP/3 frames that carry nothing of the response", h2MaxIdle)
	}
	return nil
}

func (c *http3Conn) onHeaders(length uint64) error {
	if c.trailers {
		return malformed("HTTP/3 headers behind the trailers")
	}
	if length > h3MaxBlock {
		return errH3Head
	}
	block := make([]byte, length)
	if _, err := io.ReadFull(c.in, block); err != nil {
		return err
	}
	head, err := h3Fields(block)
	switch {
	case err != nil:
		return err
	case c.head != nil:
		if head.status != 0 {
			return malformed("a second HTTP/3 status in the trailers")
		}
		c.trailers = true
		return nil
	case head.status < 100 || head.status == 101:
		return malformed("a bad HTTP/3 status, or none")
	case head.status < 200:
		if c.interim++; c.interim > maxInterim {
			return malformed("more than %d interim (1xx) responses", maxInterim)
		}
		return nil
	}
	c.head = head
	return nil
}

var errH3Head = &httpError{check.HTTPHeaderTooLarge, fmt.Sprintf("the response head is larger than %d KiB or %d fields", maxHeadBytes>>10, maxHeadFields)}

// h3Fields decodes a field section; without :status the status is 0.
func h3Fields(block []byte) (*httpHead, error) {
	head, size := &httpHead{version: "3"}, 0
	decode := qpack.NewDecoder().Decode(block)
	for {
		f, err := decode()
		if errors.Is(err, io.EOF) {
			return head, nil
		}
		if err != nil {
			return nil, malformed("bad HTTP/3 header compression: %v", err)
		}
		if size += len(f.Name) + len(f.Value) + 32; size > maxHeadBytes || len(head.fields) >= maxHeadFields {
			return nil, errH3Head
		}
		if err := head.takeH3(f.Name, f.Value); err != nil {
			return nil, err
		}
	}
}

// takeH3 adds a field as RFC 9114, section 4.2 and 4.3 let it be.
func (h *httpHead) takeH3(name, value string) error {
	if name == ":status" && h.status == 0 && len(h.fields) == 0 {
		status, err := strconv.Atoi(value)
		if err != nil || len(value) != 3 || status < 100 {
			return malformed("bad HTTP/3 status %s", excerpt([]byte(value)))
		}
		h.status = status
		return nil
	}
	hop := []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
	switch {
	case !isToken(name) || name != strings.ToLower(name) || slices.Contains(hop, name):
		return malformed("an HTTP/3 header of the name %s", excerpt([]byte(name)))
	case strings.ContainsAny(value, "\x00\r\n"):
		return malformed("control characters in the HTTP/3 header %s", excerpt([]byte(name)))
	}
	h.fields = append(h.fields, field{name, strings.Trim(value, " \t")})
	return nil
}

// Read reads the response's body.
func (c *http3Conn) Read(p []byte) (int, error) {
	for c.left == 0 {
		if c.ended {
			if c.want >= 0 && c.got != c.want {
				return 0, wrongLength(c.got, c.want)
			}
			return 0, io.EOF
		}
		if err := c.step(); err != nil {
			return 0, c.explain(err)
		}
	}
	n, err := c.in.Read(p[:min(uint64(len(p)), c.left)])
	c.left -= uint64(n)
	c.got += int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, c.explain(err)
}

// explain tells what an error means for the exchange.
func (c *http3Conn) explain(err error) error {
	if err == nil {
		return nil
	}
	if c.side != nil {
		if breach := c.side.failure(); breach != nil {
			return breach
		}
	}
	if c.q.flooded.Load() {
		err = errQUICFlood
	}
	var stream *quic.StreamError
	var app *quic.ApplicationError
	var te *quic.TransportError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && errors.Is(c.ctx.Err(), context.Canceled):
		return context.Canceled
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return c.cut("the HTTP/3 stream ended")
	case errors.As(err, &stream) && stream.Remote && stream.ErrorCode == h3RequestRejected && c.later:
		return &httpError{check.HTTPGoAway, "the server takes no more requests on the HTTP/3 connection"}
	case errors.As(err, &stream) && stream.Remote:
		return &httpError{check.HTTPStreamReset, "the server reset the HTTP/3 stream: " + h3ErrorName(uint64(stream.ErrorCode))}
	case errors.As(err, &app) && app.Remote && app.ErrorCode == h3NoError:
		return c.cut("the connection was closed")
	case errors.As(err, &app) && app.Remote:
		return &httpError{check.HTTPGoAway, "the server ended the HTTP/3 connection: " + h3ErrorName(uint64(app.ErrorCode)) + quicSaid(app.ErrorMessage)}
	case quicAlert(err) != nil:
		return quicAlert(err)
	case errors.As(err, &te) && !te.Remote:
		return malformed("bad QUIC: %v", te)
	}
	if reason, ok := (&journey{}).quicReason(err); ok {
		return &httpError{reason.Code, reason.Message}
	}
	if system := c.q.cause(nil); system != nil {
		return &httpError{check.ConnectReset, "the peer's UDP port closed during the exchange: " + system.Error()}
	}
	return err
}

// cut words an end that came too early.
func (c *http3Conn) cut(what string) error {
	if c.head != nil {
		return &httpError{check.HTTPTruncated, fmt.Sprintf("%s inside the body, after %d bytes", what, c.got)}
	}
	return &httpError{check.HTTPTruncated, what + " before the response"}
}
