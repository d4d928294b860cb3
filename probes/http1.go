package probes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/sonde-cli/sonde/check"
)

// Limits of a response head; what is larger is refused, not cut.
const (
	maxHeadBytes  = 64 << 10
	maxHeadFields = 500
	maxInterim    = 5 // 1xx responses before the final one
)

// httpError is a breach of HTTP by the peer, with the code it has in results.
type httpError struct {
	code    check.Code
	message string
}

func (e *httpError) Error() string { return e.message }

func malformed(format string, args ...any) error {
	return &httpError{check.HTTPMalformed, fmt.Sprintf(format, args...)}
}

// field is one header field; its name is in lower case.
type field struct{ name, value string }

// httpHead is a response up to its body.
type httpHead struct {
	version string // "1.0", "1.1", "2" or "3"
	status  int
	reason  string
	fields  []field
}

// get returns the first value of the named field, "" when there is none.
func (h *httpHead) get(name string) string {
	for _, f := range h.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// all returns the values of the named field joined as RFC 9110, section 5.3
// allows.
func (h *httpHead) all(name string) string {
	var values []string
	for _, f := range h.fields {
		if f.name == name {
			values = append(values, f.value)
		}
	}
	return strings.Join(values, ", ")
}

// bodyless reports whether the response has no body whatever its fields say
// (RFC 9112, section 6.3).
func (h *httpHead) bodyless(method string) bool {
	return method == "HEAD" || h.status < 200 || h.status == 204 || h.status == 304
}

// http1 reads one HTTP/1 response from a connection. It is strict where
// leniency lets two readers see two different messages (RFC 9112, section 11).
type http1 struct {
	conn net.Conn
	buf  []byte // storage, grows up to maxHeadBytes
	r, w int    // unread bytes are buf[r:w]
	keep bool   // the connection is to stay open
	err  error  // what ended reading
}

var http1Buffers = sync.Pool{New: func() any { return &http1{buf: make([]byte, 4<<10)} }}

func newHTTP1(conn net.Conn, keep bool) *http1 {
	h := http1Buffers.Get().(*http1)
	h.conn, h.r, h.w, h.err, h.keep = conn, 0, 0, nil, keep
	return h
}

// release gives the buffer back; h must not be used after it.
func (h *http1) release() {
	h.conn = nil
	if len(h.buf) == 4<<10 {
		http1Buffers.Put(h)
	}
}

// fill reads more bytes behind the unread ones.
func (h *http1) fill() error {
	if h.err != nil {
		return h.err
	}
	if h.r > 0 && h.r == h.w {
		h.r, h.w = 0, 0
	}
	if h.w == len(h.buf) {
		h.makeRoom()
	}
	n, err := h.conn.Read(h.buf[h.w:])
	h.w += n
	h.err = err
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (h *http1) makeRoom() {
	if h.r > 0 {
		h.w = copy(h.buf, h.buf[h.r:h.w])
		h.r = 0
		return
	}
	h.buf = append(h.buf, make([]byte, len(h.buf))...)
}

// send writes the request: one write for the head and a small body.
func (h *http1) send(m *httpMessage) error {
	b := h.buf[:0] // nothing is read before the request is written
	b = append(append(append(b, m.method...), ' '), m.target...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), m.authority...)
	for _, f := range m.fields {
		b = append(append(b, "\r\n"...), f.name...)
		b = append(append(b, ": "...), f.value...)
	}
	if !h.keep {
		b = append(b, "\r\nConnection: close"...)
	}
	b = append(b, "\r\n\r\n"...)
	rest := m.body
	if len(rest) <= 16<<10 {
		b, rest = append(b, rest...), nil
	}
	if _, err := h.conn.Write(b); err != nil || len(rest) == 0 {
		return err
	}
	_, err := h.conn.Write(rest)
	return err
}

func (h *http1) untouched() bool { return h.w == 0 }

// spent reports whether the connection is of further use (RFC 9112, section
// 9.3): the body was framed and read to its end, nothing came behind it, and
// the server does not close.
func (h *http1) spent(head *httpHead, body io.Reader) bool {
	switch b := body.(type) {
	case *lengthReader:
		if b.left > 0 {
			return false
		}
	case *chunkedReader:
		if !b.complete() {
			return false
		}
	case untilClose:
		return false
	}
	return h.keep && h.err == nil && h.r == h.w && head.version == "1.1" && head.status >= 200 && !head.closes()
}

// closes reports whether the server closes the connection after the response.
func (h *httpHead) closes() bool {
	for _, f := range h.fields {
		if f.name != "connection" {
			continue
		}
		for option := range strings.SplitSeq(f.value, ",") {
			if strings.EqualFold(strings.Trim(option, " \t"), "close") {
				return true
			}
		}
	}
	return false
}

// await waits for the first byte of the response.
func (h *http1) await() error {
	if err := h.fill(); err != nil {
		return headCut(err, 0)
	}
	return nil
}

// readHead reads the head of the final response, skipping interim ones.
func (h *http1) readHead() (*httpHead, error) {
	for range maxInterim + 1 {
		head, err := h.oneHead()
		if err != nil {
			return nil, err
		}
		if head.status >= 200 || head.status == 101 {
			return head, nil
		}
	}
	return nil, malformed("more than %d interim (1xx) responses", maxInterim)
}

func (h *http1) oneHead() (*httpHead, error) {
	raw, err := h.rawHead()
	if err != nil {
		return nil, err
	}
	text := string(raw)
	line, rest := cutLine(text)
	head, err := parseStatusLine(line)
	if err != nil {
		return nil, err
	}
	head.fields, err = parseFields(rest)
	return head, err
}

// rawHead reads through the empty line that ends a head. The bytes are valid
// until the next read.
func (h *http1) rawHead() ([]byte, error) {
	for scanned := 0; ; {
		unread := h.buf[h.r:h.w]
		if !plausible(unread) {
			return nil, malformed("not an HTTP response: %s", excerpt(unread))
		}
		if n := headEnd(unread, scanned); n > 0 && n <= maxHeadBytes {
			h.r += n
			return unread[:n], nil
		}
		if len(unread) >= maxHeadBytes {
			return nil, &httpError{check.HTTPHeaderTooLarge, fmt.Sprintf("the response head is larger than %d KiB", maxHeadBytes>>10)}
		}
		scanned = len(unread)
		if err := h.fill(); err != nil {
			return nil, headCut(err, len(unread))
		}
	}
}

// headCut words an end of the connection inside the head.
func headCut(err error, got int) error {
	switch {
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case got == 0:
		return &httpError{check.HTTPTruncated, "empty reply: the connection was closed before a response"}
	default:
		return &httpError{check.HTTPTruncated, fmt.Sprintf("the connection was closed after %d bytes of the response head", got)}
	}
}

// plausible reports whether b may begin an HTTP/1 response.
func plausible(b []byte) bool {
	const start = "HTTP/1."
	n := min(len(b), len(start))
	return string(b[:n]) == start[:n]
}

// headEnd returns the length of the head in b, 0 when its end is not there
// yet. The first scanned bytes were looked at before.
func headEnd(b []byte, scanned int) int {
	for i := max(scanned-3, 0); ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return 0
		}
		i += n + 1
		switch rest := b[i:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
}

// cutLine returns the first line without its end, and the rest. A bare LF ends
// a line too (RFC 9112, section 2.2).
func cutLine(s string) (line, rest string) {
	line, rest, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// parseStatusLine reads "HTTP/1.1 200 OK" (RFC 9112, section 4).
func parseStatusLine(line string) (*httpHead, error) {
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	if version != "HTTP/1.1" && version != "HTTP/1.0" || len(code) != 3 || !allDigits(code) || code[0] == '0' {
		return nil, malformed("bad status line: %s", excerpt([]byte(line)))
	}
	status := int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	return &httpHead{version: version[len("HTTP/"):], status: status, reason: reason}, nil
}

// parseFields reads field lines up to the empty line (RFC 9112, section 5).
func parseFields(text string) ([]field, error) {
	fields := make([]field, 0, min(strings.Count(text, "\n"), maxHeadFields))
	for {
		line, rest := cutLine(text)
		if line == "" {
			return fields, nil
		}
		text = rest
		if len(fields) == maxHeadFields {
			return nil, &httpError{check.HTTPHeaderTooLarge, fmt.Sprintf("the response has more than %d header fields", maxHeadFields)}
		}
		if line[0] == ' ' || line[0] == '\t' { // obsolete line folding
			if len(fields) == 0 {
				return nil, malformed("bad header line: %s", excerpt([]byte(line)))
			}
			last := &fields[len(fields)-1]
			last.value = strings.TrimSpace(last.value + " " + cleanValue(line))
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return nil, malformed("bad header line: %s", excerpt([]byte(line)))
		}
		fields = append(fields, field{lowerName(name), cleanValue(value)})
	}
}

// lowerName returns a field's name in lower case, without an allocation for
// those that come with nearly every response.
func lowerName(name string) string {
	switch name {
	case "Server":
		return "server"
	case "Date":
		return "date"
	case "Content-Type":
		return "content-type"
	case "Content-Length":
		return "content-length"
	case "Connection":
		return "connection"
	case "Cache-Control":
		return "cache-control"
	case "Last-Modified":
		return "last-modified"
	case "Transfer-Encoding":
		return "transfer-encoding"
	default:
		return strings.ToLower(name)
	}
}

// cleanValue trims a field's value and replaces what RFC 9110, section 5.5
// forbids inside it.
func cleanValue(v string) string {
	if strings.ContainsAny(v, "\x00\r") {
		v = strings.Map(func(r rune) rune {
			if r == 0 || r == '\r' {
				return ' '
			}
			return r
		}, v)
	}
	return strings.Trim(v, " \t")
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// openBody returns the reader of the body that follows head (RFC 9112,
// section 6).
func (h *http1) openBody(head *httpHead, method string) (io.Reader, error) {
	length, chunked, err := framing(head)
	switch {
	case err != nil:
		return nil, err
	case head.bodyless(method):
		return &lengthReader{h: h}, nil
	case chunked:
		return &chunkedReader{h: h}, nil
	case length >= 0:
		return &lengthReader{h: h, left: length, want: length}, nil
	default:
		return untilClose{h}, nil
	}
}

// framing reads Content-Length and Transfer-Encoding and refuses what is
// ambiguous. A length of -1 means that the end of the connection ends the body.
func framing(head *httpHead) (length int64, chunked bool, err error) {
	length = -1
	for _, f := range head.fields {
		switch f.name {
		case "transfer-encoding":
			if chunked || head.version == "1.0" || !strings.EqualFold(f.value, "chunked") {
				return 0, false, malformed("transfer-encoding %s is not supported here", excerpt([]byte(f.value)))
			}
			chunked = true
		case "content-length":
			for part := range strings.SplitSeq(f.value, ",") {
				n, err := parseLength(strings.Trim(part, " \t"))
				if err != nil {
					return 0, false, err
				}
				if length >= 0 && n != length {
					return 0, false, malformed("two different content-lengths, %d and %d", length, n)
				}
				length = n
			}
		}
	}
	if chunked && length >= 0 {
		return 0, false, malformed("both content-length and transfer-encoding")
	}
	return length, chunked, nil
}

// announced returns the length that the head says the body has, -1 for none, in
// the versions whose frames end the body.
func announced(head *httpHead) (int64, error) {
	if head.get("content-length") == "" {
		return -1, nil
	}
	length, _, err := framing(head)
	return length, err
}

// wrongLength tells that the body is not as long as its head says.
func wrongLength(got, want int64) error {
	return malformed("the body has %d bytes where content-length says %d", got, want)
}

func parseLength(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || !allDigits(s) {
		return 0, malformed("bad content-length %s", excerpt([]byte(s)))
	}
	return n, nil
}

// read gives buffered bytes first and then those of the connection.
func (h *http1) read(p []byte) (int, error) {
	if h.r < h.w {
		n := copy(p, h.buf[h.r:h.w])
		h.r += n
		return n, nil
	}
	if h.err != nil {
		return 0, h.err
	}
	n, err := h.conn.Read(p)
	h.err = err
	if n > 0 {
		return n, nil
	}
	return 0, err
}
