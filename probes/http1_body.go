package probes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/sonde-cli/sonde/check"
)

// lengthReader reads a body of a known length.
type lengthReader struct {
	h          *http1
	left, want int64
}

func (l *lengthReader) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.h.read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if n == 0 && ended(err) {
		return 0, &httpError{check.HTTPTruncated, fmt.Sprintf("the connection was closed after %d of %d bytes of the body", l.want-l.left, l.want)}
	}
	return n, err
}

// ended reports whether the peer closed the connection, with or without the
// closing alert of TLS.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// cutWatch is the connection under TLS. Once on, it makes the end of TCP an error:
// crypto/tls returns io.EOF for that between two records as it does for the closing
// alert, after which it reads no further.
type cutWatch struct {
	net.Conn
	on bool
}

// errCut wraps io.ErrUnexpectedEOF and is not it, which crypto/tls would replace.
var errCut = fmt.Errorf("the connection ended without the closing alert of TLS: %w", io.ErrUnexpectedEOF)

// Read reads as [net.Conn] does.
func (w *cutWatch) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if w.on && err == io.EOF { //nolint:errorlint // as crypto/tls compares it
		err = errCut
	}
	return n, err
}

// untilClose reads a body that ends where the connection does. Over TLS a
// missing closing alert is an error, for the body may have been cut
// (RFC 9112, section 9.8).
type untilClose struct{ h *http1 }

func (u untilClose) Read(p []byte) (int, error) {
	n, err := u.h.read(p)
	if n == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		err = &httpError{check.HTTPTruncated, "the connection was cut inside the body: it ended without the closing alert of TLS (close_notify), and nothing else tells where the body ends"}
	}
	return n, err
}

// Limits of the chunked coding beside the data itself.
const (
	maxChunkLine   = 4 << 10
	freeOverhead   = 16 << 10 // bytes of chunk lines that are always allowed
	overheadFactor = 16       // and so many for each byte of data
)

// chunkedReader reads the chunked coding (RFC 9112, section 7.1). Chunk
// extensions and trailers are read and dropped.
type chunkedReader struct {
	h        *http1
	left     int64 // of the current chunk
	inChunk  bool  // the CRLF behind the chunk's data is still to come
	data     int64
	overhead int64
	done     bool
}

func (c *chunkedReader) Read(p []byte) (int, error) {
	for c.left == 0 {
		if c.done {
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, c.cut(err)
		}
	}
	n, err := c.h.read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.data += int64(n)
	if n == 0 {
		return 0, c.cut(err)
	}
	return n, nil
}

// complete reports whether the body was read to its end. A decoder may have had
// enough before the last chunk, which is read now if it is there: what is unread
// then ends in an empty line, so that reading it never waits for the peer.
func (c *chunkedReader) complete() bool {
	if !c.done && c.left == 0 && bytes.HasSuffix(c.h.buf[c.h.r:c.h.w], []byte("\r\n\r\n")) {
		_, _ = c.Read(nil) // an error leaves it undone
	}
	return c.done
}

func (c *chunkedReader) cut(err error) error {
	if ended(err) {
		return &httpError{check.HTTPTruncated, fmt.Sprintf("the connection was closed inside the chunked body, after %d bytes", c.data)}
	}
	return err
}

// next reads up to the data of the next chunk, or through the trailers.
func (c *chunkedReader) next() error {
	if c.inChunk {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) != 0 {
			return malformed("chunk data is longer than its size: %s", excerpt(line))
		}
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	c.left, err = parseChunkSize(line)
	if err != nil {
		return err
	}
	c.inChunk = true
	if c.left == 0 {
		return c.trailers()
	}
	return nil
}

func parseChunkSize(line []byte) (int64, error) {
	if bytes.IndexByte(line, '\r') >= 0 { // some readers take it for the line's end
		return 0, malformed("a bare CR in the line of a chunk's size")
	}
	size, _, _ := bytes.Cut(line, []byte(";"))
	size = bytes.TrimRight(size, " \t")
	n, err := strconv.ParseUint(string(size), 16, 63)
	if err != nil || len(size) > 16 || !isHex(size[0]) {
		return 0, malformed("bad chunk size %s", excerpt(line))
	}
	return int64(n), nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (c *chunkedReader) trailers() error {
	for range maxHeadFields + 1 {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			c.done = true
			return nil
		}
	}
	return malformed("more than %d trailer fields", maxHeadFields)
}

// line reads one line that ends in CRLF. The bytes are valid until the next
// read.
func (c *chunkedReader) line() ([]byte, error) {
	h := c.h
	for {
		unread := h.buf[h.r:h.w]
		if i := bytes.IndexByte(unread, '\n'); i >= 0 {
			if i == 0 || unread[i-1] != '\r' {
				return nil, malformed("a chunk's line does not end in CRLF: %s", excerpt(unread[:i]))
			}
			h.r += i + 1
			return unread[:i-1], c.pay(i + 1)
		}
		if len(unread) > maxChunkLine {
			return nil, malformed("a chunk's line is longer than %d KiB", maxChunkLine>>10)
		}
		if err := h.fill(); err != nil {
			return nil, err
		}
	}
}

// pay counts bytes that are not data, so that a peer cannot keep us busy with
// tiny chunks in huge wrapping.
func (c *chunkedReader) pay(n int) error {
	c.overhead += int64(n)
	if c.overhead > freeOverhead+overheadFactor*c.data {
		return malformed("the chunked body is mostly chunk extensions or trailers")
	}
	return nil
}
