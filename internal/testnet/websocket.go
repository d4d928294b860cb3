package testnet

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // the protocol's, and no secret
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// WebSocketAccept is what a server answers to a client's key (RFC 6455 section
// 4.2.2).
func WebSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // the protocol's
	return base64.StdEncoding.EncodeToString(sum[:])
}

// WebSocketRaw returns a handler that reads an upgrade request, sends what head
// makes of it and leaves the rest to the script.
func WebSocketRaw(head func(*http.Request) string, script func(conn net.Conn, in *bufio.Reader)) func(net.Conn) {
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, head(request)); err == nil {
			script(conn, in)
		}
	}
}

// WebSocket is as [WebSocketRaw] with a correct head, which chooses the first
// subprotocol on offer.
func WebSocket(script func(conn net.Conn, in *bufio.Reader)) func(net.Conn) {
	return WebSocketRaw(WebSocketHead, script)
}

// WebSocketHead is the response that accepts an upgrade.
func WebSocketHead(r *http.Request) string {
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		WebSocketAccept(r.Header.Get("Sec-WebSocket-Key")) + "\r\n"
	if first, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ","); first != "" {
		head += "Sec-WebSocket-Protocol: " + first + "\r\n"
	}
	return head + "\r\n"
}

// WebSocketFrame is an unmasked frame with the given first byte (0x80 for the
// last fragment, and the opcode).
func WebSocketFrame(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return string(b) + payload
}

// ReadWebSocketFrame reads one frame of a client, which must be masked, and not
// larger than 64 KiB.
func ReadWebSocketFrame(in io.Reader) (first byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, "", err
	}
	if head[1]&0x80 == 0 {
		return 0, "", fmt.Errorf("a client's frame without a mask")
	}
	n := int(head[1] & 0x7f)
	if n == 126 {
		var long [2]byte
		if _, err := io.ReadFull(in, long[:]); err != nil {
			return 0, "", err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	b := make([]byte, 4+n)
	if _, err := io.ReadFull(in, b); err != nil {
		return 0, "", err
	}
	for i := range n {
		b[4+i] ^= b[i%4]
	}
	return head[0], string(b[4:]), nil
}

// WebSocketEcho sends each message back, answers pings and the close.
func WebSocketEcho(conn net.Conn, in *bufio.Reader) {
	for {
		first, payload, err := ReadWebSocketFrame(in)
		if err != nil {
			return
		}
		if first == 0x89 { // a ping
			first = 0x8a
		}
		if _, err := io.WriteString(conn, WebSocketFrame(first, payload)); err != nil || first == 0x88 {
			return
		}
	}
}
