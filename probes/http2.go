package probes

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sonde-cli/sonde/check"
)

// The parts of HTTP/2 (RFC 9113) that one request at a time needs, over the frames of golang.org/x/net/http2. It reads and writes in the
// caller's goroutine, so every wait ends with the connection's deadline, a
// flood of frames queues nothing, and no goroutine outlives the probe.
const (
	h2LastStream   = 1 << 30 // where a connection is not kept any more
	h2Window       = 1 << 20 // what the peer may send ahead, bytes
	h2FirstWindow  = 65535   // both windows before any setting (section 6.9.2)
	h2MaxFrame     = 16 << 10
	h2MaxIdle      = 10_000 // frames that carry nothing of the response
	h2MaxHeadBytes = 4 * maxHeadBytes
)

// http2Conn makes exchanges on a connection, one after the other.
type http2Conn struct {
	stream uint32 // of the exchange; they have odd numbers
	framer *http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder // into block
	in     *bufio.Reader
	out    *bufio.Writer
	budget *budgetReader // bounds the bytes before the response's head ends

	connWindow, streamWindow int64 // what we may send
	firstWindow              int64 // the peer's initial window
	maxFrame                 int   // largest frame the peer takes

	idle    int // frames seen that carry nothing of the response
	interim int
	greeted bool // the peer's first SETTINGS have come

	head     *httpHead
	trailers *httpHead // only the fields; nil: none have come
	ended    bool      // the peer has ended the stream

	rest      []byte // of the DATA frame being read, valid until the next frame
	got, want int64  // bytes of the body; want -1: not announced
	unacked   int64  // bytes read and not yet given back to the peer's window
	goAway    string // why the peer ends the connection; empty: it does not
	refused   bool   // and it says that it has not looked at our request
}

func newHTTP2(conn net.Conn) *http2Conn {
	c := &http2Conn{
		stream:     1,
		budget:     &budgetReader{from: conn, left: h2MaxHeadBytes},
		out:        bufio.NewWriterSize(conn, 4<<10),
		connWindow: h2FirstWindow, streamWindow: h2FirstWindow, firstWindow: h2FirstWindow,
		maxFrame: h2MaxFrame, want: -1,
	}
	c.in = bufio.NewReaderSize(c.budget, 4<<10)
	c.fields = hpack.NewEncoder(&c.block)
	c.framer = http2.NewFramer(c.out, c.in)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(h2MaxFrame)
	c.framer.MaxHeaderListSize = maxHeadBytes
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	return c
}

// next makes the connection ready for another exchange.
func (c *http2Conn) next() {
	c.stream += 2
	c.budget.left = h2MaxHeadBytes
	c.streamWindow = c.firstWindow
	c.idle, c.interim = 0, 0
	c.head, c.trailers, c.ended, c.rest = nil, nil, false, nil
	c.got, c.want = 0, -1
}

func (c *http2Conn) untouched() bool { return c.head == nil && c.interim == 0 }

// spent reports whether the connection is of further use.
func (c *http2Conn) spent(*httpHead, io.Reader) bool {
	return c.ended && len(c.rest) == 0 && c.goAway == "" && c.stream < h2LastStream
}

// budgetReader fails when more than left bytes are read.
type budgetReader struct {
	from io.Reader
	left int // negative: no limit any more
}

var errHeadBudget = &httpError{check.HTTPHeaderTooLarge, fmt.Sprintf("more than %d KiB came before the response's head was complete", h2MaxHeadBytes>>10)}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errHeadBudget
	}
	if b.left > 0 {
		p = p[:min(len(p), b.left)]
	}
	n, err := b.from.Read(p)
	if b.left > 0 {
		b.left -= n
	}
	return n, err
}

// send writes the connection's preface and the request. A body that is larger
// than the peer's window is sent as the peer makes room, unless the response
// comes before that.
func (c *http2Conn) send(m *httpMessage) error {
	err := c.preface()
	if err == nil {
		err = c.writeHead(m)
	}
	if err != nil {
		return err
	}
	return c.sendBody(m.body)
}

// preface opens the connection (RFC 9113, section 3.4), or gives back the
// window that the exchange before has used.
func (c *http2Conn) preface() error {
	if c.stream > 1 {
		if c.unacked == 0 {
			return nil
		}
		n := uint32(c.unacked)
		c.unacked = 0
		return c.framer.WriteWindowUpdate(0, n)
	}
	if _, err := c.out.WriteString(http2.ClientPreface); err != nil {
		return err
	}
	return errors.Join(
		c.framer.WriteSettings(
			http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: h2Window},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeadBytes},
		),
		c.framer.WriteWindowUpdate(0, h2Window-h2FirstWindow),
	)
}

func (c *http2Conn) writeHead(m *httpMessage) error {
	block := &c.block
	block.Reset()
	fields := []field{{":method", m.method}, {":scheme", m.scheme}, {":authority", m.authority}, {":path", m.target}}
	for _, f := range append(fields, m.fields...) {
		hf := hpack.HeaderField{Name: strings.ToLower(f.name), Value: f.value}
		hf.Sensitive = sensitiveHeader(hf.Name)
		if err := c.fields.WriteField(hf); err != nil {
			return err
		}
	}
	last := len(m.body) == 0
	first := block.Next(h2MaxFrame)
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: c.stream, BlockFragment: first, EndStream: last, EndHeaders: block.Len() == 0,
	})
	for err == nil && block.Len() > 0 {
		part := block.Next(h2MaxFrame)
		err = c.framer.WriteContinuation(c.stream, block.Len() == 0, part)
	}
	return err
}

func (c *http2Conn) sendBody(body []byte) error {
	for len(body) > 0 {
		n := min(int64(len(body)), int64(c.maxFrame), c.connWindow, c.streamWindow)
		if n > 0 {
			if err := c.framer.WriteData(c.stream, n == int64(len(body)), body[:n]); err != nil {
				return err
			}
			body = body[n:]
			c.connWindow -= n
			c.streamWindow -= n
			continue
		}
		if err := c.step(); err != nil {
			return err
		}
		if c.head != nil {
			break // answered early; the rest is not wanted
		}
	}
	return c.out.Flush()
}

// await reads frames until the final response's head is there.
func (c *http2Conn) await() error {
	for c.head == nil {
		if err := c.step(); err != nil {
			return c.cut(err)
		}
	}
	return nil
}

// readHead returns the head that await has read.
func (c *http2Conn) readHead() (*httpHead, error) {
	c.budget.left = -1
	var err error
	if c.want, err = announced(c.head); err != nil {
		return nil, err
	}
	return c.head, nil
}

func (c *http2Conn) cut(err error) error {
	if !ended(err) {
		return err
	}
	switch {
	case c.goAway != "":
		return &httpError{check.HTTPGoAway, c.goAway}
	case c.head != nil:
		return &httpError{check.HTTPTruncated, fmt.Sprintf("the connection was closed inside the body, after %d bytes", c.got)}
	case !c.greeted:
		return &httpError{check.HTTPTruncated, "empty reply: the connection was closed before a response"}
	default:
		return &httpError{check.HTTPTruncated, "the connection was closed before the response"}
	}
}

// step reads one frame and does what it asks for.
func (c *http2Conn) step() error {
	if err := c.out.Flush(); err != nil {
		return err
	}
	if !c.greeted {
		if err := c.checkGreeting(); err != nil {
			return err
		}
	}
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return c.frameError(frame, err)
	}
	if c.idle++; c.idle > h2MaxIdle {
		return malformed("more than %d HTTP/2 frames that carry nothing of the response", h2MaxIdle)
	}
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		return c.onHeaders(f)
	case *http2.DataFrame:
		return c.onData(f)
	case *http2.SettingsFrame:
		return c.onSettings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		return c.onWindow(f)
	case *http2.RSTStreamFrame:
		if f.StreamID == c.stream {
			return &httpError{check.HTTPStreamReset, "the server reset the HTTP/2 stream: " + f.ErrCode.String()}
		}
	case *http2.GoAwayFrame:
		return c.onGoAway(f)
	case *http2.PushPromiseFrame:
		return malformed("an HTTP/2 push that was not allowed")
	}
	return nil
}

// noHTTP2 begins the message about a server that does not speak HTTP/2.
const noHTTP2 = "not HTTP/2: "

// checkGreeting looks at the first bytes, for a server that does not speak
// HTTP/2 at all is best described by what it said.
func (c *http2Conn) checkGreeting() error {
	start, err := c.in.Peek(9)
	if err != nil {
		if len(start) > 0 && ended(err) {
			return malformed(noHTTP2+"%s", excerpt(start))
		}
		return err
	}
	if start[3] != byte(http2.FrameSettings) || start[4] != 0 || start[0] != 0 {
		said, _ := c.in.Peek(c.in.Buffered())
		return malformed(noHTTP2+"%s", excerpt(said))
	}
	c.greeted = true
	return nil
}

func (c *http2Conn) frameError(frame http2.Frame, err error) error {
	if mh, ok := frame.(*http2.MetaHeadersFrame); ok && mh != nil && mh.Truncated {
		return &httpError{check.HTTPHeaderTooLarge, fmt.Sprintf("the response head is larger than %d KiB", maxHeadBytes>>10)}
	}
	var conn http2.ConnectionError
	var stream http2.StreamError
	switch {
	case errors.As(err, &conn):
		if detail := c.framer.ErrorDetail(); detail != nil {
			return malformed("bad HTTP/2: %v", detail)
		}
		return malformed("bad HTTP/2: %v", http2.ErrCode(conn))
	case errors.As(err, &stream):
		return malformed("bad HTTP/2 response: %v", stream.Cause)
	case errors.Is(err, http2.ErrFrameTooLarge):
		return malformed("bad HTTP/2: a frame larger than %d KiB", h2MaxFrame>>10)
	}
	return err
}

func (c *http2Conn) onHeaders(f *http2.MetaHeadersFrame) error {
	switch {
	case f.StreamID != c.stream:
		return malformed("HTTP/2 headers on stream %d, which is not open", f.StreamID)
	case f.Truncated || len(f.Fields) > maxHeadFields+1:
		return &httpError{check.HTTPHeaderTooLarge, fmt.Sprintf("the response head is larger than %d KiB or %d fields", maxHeadBytes>>10, maxHeadFields)}
	case c.head != nil: // trailers
		if !f.StreamEnded() {
			return malformed("HTTP/2 trailers that do not end the stream")
		}
		c.trailers, c.ended = &httpHead{fields: regularFields(f)}, true
		return nil
	}
	status, err := strconv.Atoi(f.PseudoValue("status"))
	if err != nil || status < 100 || status > 999 {
		return malformed("bad HTTP/2 status %s", excerpt([]byte(f.PseudoValue("status"))))
	}
	if status < 200 {
		if c.interim++; c.interim > maxInterim || f.StreamEnded() {
			return malformed("more than %d interim (1xx) responses, or one that ends the stream", maxInterim)
		}
		return nil
	}
	c.head, c.ended = &httpHead{version: "2", status: status, fields: regularFields(f)}, f.StreamEnded()
	return nil
}

func regularFields(f *http2.MetaHeadersFrame) (fields []field) {
	for _, hf := range f.RegularFields() {
		fields = append(fields, field{hf.Name, cleanValue(hf.Value)})
	}
	return fields
}

func (c *http2Conn) onData(f *http2.DataFrame) error {
	switch {
	case f.StreamID != c.stream:
		return malformed("HTTP/2 data on stream %d, which is not open", f.StreamID)
	case c.head == nil:
		return malformed("HTTP/2 data before the response's head")
	}
	c.rest = f.Data()
	c.got += int64(len(c.rest))
	c.unacked += int64(f.Length)
	c.ended = f.StreamEnded()
	if len(c.rest) > 0 {
		c.idle--
	}
	if c.want >= 0 && c.got > c.want {
		return wrongLength(c.got, c.want)
	}
	if c.unacked > h2Window+h2Window/2 {
		return malformed("the server sent more than the HTTP/2 window allows")
	}
	if c.unacked < h2Window/2 || c.ended {
		return nil
	}
	n := uint32(c.unacked)
	c.unacked = 0
	return errors.Join(c.framer.WriteWindowUpdate(0, n), c.framer.WriteWindowUpdate(c.stream, n))
}

func (c *http2Conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return malformed("bad HTTP/2 setting %v", s)
		}
		switch s.ID {
		case http2.SettingInitialWindowSize:
			c.streamWindow += int64(s.Val) - c.firstWindow
			c.firstWindow = int64(s.Val)
		case http2.SettingHeaderTableSize: // the encoder takes no more than 4 KiB
			c.fields.SetMaxDynamicTableSize(s.Val)
		case http2.SettingMaxFrameSize:
			c.maxFrame = min(int(s.Val), 64<<10)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.framer.WriteSettingsAck()
}

func (c *http2Conn) onWindow(f *http2.WindowUpdateFrame) error {
	window := &c.connWindow
	if f.StreamID == c.stream {
		window = &c.streamWindow
	} else if f.StreamID != 0 {
		return nil
	}
	if *window += int64(f.Increment); *window > 1<<31-1 {
		return malformed("the HTTP/2 window overflows")
	}
	return nil
}

// onGoAway lets a graceful end finish our stream (RFC 9113, section 6.8).
func (c *http2Conn) onGoAway(f *http2.GoAwayFrame) error {
	c.goAway = "the server ended the HTTP/2 connection: " + f.ErrCode.String()
	if debug := strings.TrimSpace(string(f.DebugData())); debug != "" {
		c.goAway += " " + excerpt([]byte(debug))
	}
	c.refused = f.LastStreamID < c.stream
	if f.ErrCode == http2.ErrCodeNo && f.LastStreamID >= c.stream {
		return nil
	}
	return &httpError{check.HTTPGoAway, c.goAway}
}

func (c *http2Conn) openBody(*httpHead, string) (io.Reader, error) { return c, nil }

func (c *http2Conn) release() {}

// Read reads the response's body.
func (c *http2Conn) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.ended {
			if c.want >= 0 && c.got != c.want {
				return 0, wrongLength(c.got, c.want)
			}
			return 0, io.EOF
		}
		if err := c.step(); err != nil {
			return 0, c.cut(err)
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}
