package probes

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Bounds of what a server may answer, in bytes and fields.
const (
	maxRedisLine = 4 << 10
	maxRedisBulk = 256 << 10
	maxRedisInfo = 2000
)

// resp speaks the protocol of Redis (RESP2), a command at a time.
type resp struct {
	j    *journey
	conn net.Conn
	in   *bufio.Reader
	took time.Duration // by the last command
}

func newRESP(j *journey, conn net.Conn) *resp {
	return &resp{j: j, conn: conn, in: bufio.NewReaderSize(conn, maxRedisLine)}
}

// ask sends a command and returns its reply, which is text. The phases send,
// wait and transfer hold the time.
func (r *resp) ask(words ...string) ([]byte, *check.Reason) {
	start := time.Now()
	defer func() { r.took = time.Since(start) }()
	_, sent := io.WriteString(r.conn, respCommand(words))
	r.j.timed(check.PhaseSend, start)
	// A server that turns everybody away says why and closes, before it has read
	// the command.
	waiting := time.Now()
	_, err := r.in.Peek(1)
	r.j.timed(check.PhaseWait, waiting)
	if err != nil {
		if sent != nil && !isTimeout(err) {
			err = sent
		}
		return nil, r.broken(err, words[0])
	}
	transfer := time.Now()
	text, err := readRESP(r.in)
	r.j.timed(check.PhaseTransfer, transfer)
	var refusal *respError
	switch {
	case errors.As(err, &refusal):
		return nil, redisError(refusal.text)
	case err != nil:
		return nil, r.broken(err, words[0])
	}
	return text, nil
}

// broken tells why no reply to the command came.
func (r *resp) broken(err error, command string) *check.Reason {
	var bad *respMalformed
	if errors.As(err, &bad) {
		return &check.Reason{Code: check.ReplyMalformed, Message: bad.message}
	}
	reason := r.j.cause(err, check.ReplyTimeout)
	switch {
	case reason.Code == check.ReplyTimeout:
		reason.Message = "no complete answer to " + command + " in time"
	case !reason.Code.Local() && reason.Code != check.TLSClientCert:
		reason.Message = command + ": " + reason.Message
	}
	return &reason
}

// respCommand is a command as an array of bulk strings.
func respCommand(words []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

// respError is an error that the server answered with.
type respError struct{ text string }

// Error returns what the server said.
func (e *respError) Error() string { return e.text }

// respMalformed tells that the peer does not speak the protocol.
type respMalformed struct{ message string }

// Error returns what is wrong.
func (e *respMalformed) Error() string { return e.message }

func respMalformedf(format string, args ...any) error {
	return &respMalformed{fmt.Sprintf(format, args...)}
}

// readRESP reads a reply that is a text, a number or an error.
func readRESP(in *bufio.Reader) ([]byte, error) {
	raw, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, notRESP(raw, fmt.Sprintf("a line longer than %s", check.Size(maxRedisLine)))
	case err != nil && len(raw) > 0 && !isRESP(raw[0]):
		return nil, notRESP(raw, "no line of it")
	case err != nil:
		return nil, err
	}
	text, ok := strings.CutSuffix(string(raw), "\r\n")
	if !ok || text == "" || !isRESP(text[0]) {
		return nil, notRESP(raw, "no reply of it")
	}
	switch rest := text[1:]; text[0] {
	case '-':
		return nil, &respError{rest}
	case '$':
		return readBulk(in, rest)
	default:
		return []byte(rest), nil
	}
}

// isRESP reports whether a reply that we read may begin with the byte.
func isRESP(b byte) bool { return b == '+' || b == '-' || b == '$' || b == ':' }

// notRESP words that the peer said something else.
func notRESP(said []byte, what string) error {
	hint := ""
	if len(said) > 1 && isTLSRecord(said[0]) && said[1] == 3 {
		hint = "\nhint: the peer speaks TLS; use rediss:// or set tls: {}"
	}
	return respMalformedf("the peer does not speak the protocol of Redis, it sent %s: %s%s", what, excerpt(said), hint)
}

// readBulk reads a text whose size has been told.
func readBulk(in *bufio.Reader, size string) ([]byte, error) {
	n, err := strconv.Atoi(size)
	switch {
	case size == "-1":
		return nil, nil
	case err != nil || n < 0:
		return nil, respMalformedf("the server announced a text of the size %s", excerpt([]byte(size)))
	case n > maxRedisBulk:
		return nil, respMalformedf("the server announced a text of %d bytes, more than %s", n, check.Size(maxRedisBulk))
	}
	text := make([]byte, n+2)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	if text[n] != '\r' || text[n+1] != '\n' {
		return nil, respMalformedf("a text of the server is not %d bytes long, as it said", n)
	}
	return text[:n], nil
}
