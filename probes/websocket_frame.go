package probes

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/sonde-cli/sonde/check"
)

// Opcodes of frames (RFC 6455 section 5.2); those from wsClose on are of
// control frames.
const (
	wsContinuation byte = 0x0
	wsText         byte = 0x1
	wsBinary       byte = 0x2
	wsClose        byte = 0x8
	wsPing         byte = 0x9
	wsPong         byte = 0xa
)

const (
	wsMaxControl = 125    // bytes of a control frame (section 5.5)
	wsMaxIdle    = 10_000 // frames of a run that carry nothing

	// Status codes of the closing handshake (section 7.4.1).
	wsNormal   = 1000
	wsNoCode   = 1005 // never on the wire: the close frame has no code
	wsAbnormal = 1006 // never on the wire: no close frame came
)

// errWSClosed tells that the server's close frame has come.
var errWSClosed = errors.New("the server closed the WebSocket")

// wsConn is the client's side of an open WebSocket. Like the rest of a journey
// it works in the caller's goroutine, and a flood of frames queues nothing.
type wsConn struct {
	in  *bufio.Reader
	out io.Writer
	max int // bytes of a message

	part   bytes.Buffer // the message whose fragments are coming
	partOp byte         // its opcode, 0: none is coming
	idle   int          // frames seen that carry nothing
	ending bool         // our close frame is out

	code   int // of the server's close frame, 0: it has not come
	reason string
}

// write sends one frame, masked as a client's must be (section 5.3).
func (c *wsConn) write(op byte, payload []byte) error {
	const final, masked = 0x80, 0x80
	b := make([]byte, 0, 14+len(payload))
	b = append(b, final|op)
	switch n := len(payload); {
	case n <= wsMaxControl:
		b = append(b, masked|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	var mask [4]byte
	rand.Read(mask[:]) // never fails
	b = append(b, mask[:]...)
	for i, x := range payload {
		b = append(b, x^mask[i%4])
	}
	_, err := c.out.Write(b)
	return err
}

// close sends our close frame, once.
func (c *wsConn) close(code int) error {
	if c.ending {
		return nil
	}
	c.ending = true
	return c.write(wsClose, binary.BigEndian.AppendUint16(nil, uint16(code)))
}

// next returns the next message or pong; the bytes are valid until the call
// after. It answers pings, and a close frame, after which it returns
// errWSClosed.
func (c *wsConn) next() (op byte, payload []byte, err error) {
	for {
		if c.partOp == 0 {
			c.part.Reset()
		}
		f, err := c.header()
		if err != nil {
			return 0, nil, err
		}
		if f.op < wsClose {
			if err := c.fragment(f); err != nil {
				return 0, nil, err
			}
			if f.final {
				op, c.partOp = c.partOp, 0
				return op, c.part.Bytes(), nil
			}
			continue
		}
		payload := make([]byte, f.length)
		if _, err := io.ReadFull(c.in, payload); err != nil {
			return 0, nil, cutFrame(err)
		}
		switch f.op {
		case wsPong:
			return wsPong, payload, nil
		case wsPing:
			if c.ending {
				continue // nothing may follow our close frame
			}
			if err := c.write(wsPong, payload); err != nil {
				return 0, nil, err
			}
		default:
			return 0, nil, c.onClose(payload)
		}
	}
}

// wsHeader is the head of a frame.
type wsHeader struct {
	op     byte
	final  bool
	length int
}

// header reads the head of a frame and refuses what a server may not send.
func (c *wsConn) header() (f wsHeader, err error) {
	var b [2]byte
	if n, err := io.ReadFull(c.in, b[:]); n > 0 && err != nil {
		return f, cutFrame(err)
	} else if err != nil {
		return f, err
	}
	f.op, f.final = b[0]&0x0f, b[0]&0x80 != 0
	control := f.op >= wsClose
	switch {
	case b[0]&0x70 != 0:
		return f, malformed("a WebSocket frame with reserved bits, for which no extension was agreed on")
	case f.op > wsBinary && f.op < wsClose || f.op > wsPong:
		return f, malformed("a WebSocket frame with the unknown opcode %d", f.op)
	case b[1]&0x80 != 0:
		return f, malformed("a masked WebSocket frame, which a server may not send")
	case control && !f.final:
		return f, malformed("a WebSocket control frame in fragments")
	}
	length, err := c.length(b[1])
	switch {
	case err != nil:
		return f, err
	case control && length > wsMaxControl:
		return f, malformed("a WebSocket control frame of more than %d bytes", wsMaxControl)
	case !control && length > uint64(c.max-c.part.Len()):
		return f, &httpError{check.HTTPBodyTooLarge, fmt.Sprintf("a WebSocket message is larger than %s\nhint: max_message", check.Size(c.max))}
	}
	f.length = int(length)
	if control || length == 0 {
		if c.idle++; c.idle > wsMaxIdle {
			return f, malformed("more than %d WebSocket frames that carry nothing", wsMaxIdle)
		}
	}
	return f, nil
}

// length reads the payload's length, which must be in its shortest form.
func (c *wsConn) length(first byte) (uint64, error) {
	var b [8]byte
	size, least := 0, uint64(0)
	switch first {
	case 126:
		size, least = 2, 126
	case 127:
		size, least = 8, 1<<16
	default:
		return uint64(first), nil
	}
	if _, err := io.ReadFull(c.in, b[8-size:]); err != nil {
		return 0, cutFrame(err)
	}
	n := binary.BigEndian.Uint64(b[:])
	if n < least || n > 1<<63-1 {
		return 0, malformed("a WebSocket frame with a bad length")
	}
	return n, nil
}

// fragment reads the payload of a data frame behind those before it.
func (c *wsConn) fragment(f wsHeader) error {
	switch {
	case c.partOp == 0 && f.op == wsContinuation:
		return malformed("a WebSocket fragment of no message")
	case c.partOp != 0 && f.op != wsContinuation:
		return malformed("a WebSocket message inside another")
	case c.partOp == 0:
		c.partOp = f.op
	}
	c.part.Grow(f.length + bytes.MinRead) // not by doubling
	if _, err := io.CopyN(&c.part, c.in, int64(f.length)); err != nil {
		return cutFrame(err)
	}
	if f.final && c.partOp == wsText && !utf8.Valid(c.part.Bytes()) {
		return malformed("a WebSocket text message that is not UTF-8: %s", excerpt(c.part.Bytes()))
	}
	return nil
}

// cutFrame words an end of the connection inside a frame.
func cutFrame(err error) error {
	if ended(err) {
		return &httpError{check.HTTPTruncated, "the connection was closed inside a WebSocket frame"}
	}
	return err
}

// onClose reads the server's close frame and answers it (section 5.5.1).
func (c *wsConn) onClose(payload []byte) error {
	code := wsNoCode
	if len(payload) >= 2 {
		code = int(binary.BigEndian.Uint16(payload))
		c.reason = string(payload[2:])
	}
	if len(payload) == 1 || len(payload) >= 2 && !wsCloseCode(code) || !utf8.ValidString(c.reason) {
		c.reason = ""
		return malformed("a bad WebSocket close frame: %s", excerpt(payload))
	}
	c.code = code
	if code == wsNoCode {
		code = wsNormal
	}
	_ = c.close(code) // the server may be gone already
	return errWSClosed
}

// wsCloseCode reports whether a peer may send the status code (section 7.4.2
// and the IANA registry).
func wsCloseCode(code int) bool {
	return code >= 1000 && code <= 1014 && code != 1004 && code != wsNoCode && code != wsAbnormal || code >= 3000 && code <= 4999
}
