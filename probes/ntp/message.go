// Package ntp has the messages and time stamps of the Network Time Protocol (RFC
// 5905), of a client that asks once and tells nothing of itself.
package ntp

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// MaxSize is how much is read of a datagram, in bytes. Of that only the first size
// bytes count.
const MaxSize = 1024

// Parts of a message (RFC 5905 section 7.3).
const (
	size       = 48 // without extensions
	version    = 4
	modeClient = 3
	modeServer = 4
)

// Stamp is a time stamp: seconds since 1900 in the upper half, their fraction
// in the lower one. It comes round every 136 years.
type Stamp uint64

// StampOf returns a time as a stamp.
func StampOf(t time.Time) Stamp {
	const to1970 = 2_208_988_800
	seconds, rest := uint64(t.Unix()+to1970), uint64(t.Nanosecond())
	return Stamp(seconds<<32 | (rest<<32)/uint64(time.Second))
}

// Since returns the time from another stamp to this one, which are less than 68
// years apart, whatever their eras.
func (s Stamp) Since(from Stamp) time.Duration {
	d := int64(s - from)
	return time.Duration(d>>32)*time.Second + time.Duration((d&0xffffffff)*int64(time.Second)>>32)
}

// Message is an answer.
type Message struct {
	Leap, Version, Stratum    int           // as they are on the wire
	Precision                 int8          // of the server's clock, as a power of 2, of a second
	RootDelay, RootDispersion time.Duration // between the server and its reference clock
	Set, Received, Sent       Stamp         // when the clock was set, the request came, the answer went

	reference [4]byte
}

// Nonce returns a number that nobody can guess.
func Nonce() (nonce Stamp) {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return Stamp(binary.BigEndian.Uint64(b[:]))
}

// Request returns a request that tells nothing of this machine: all is zero
// but version, mode and the transmit time stamp, which is a nonce. The server
// sends that back and does nothing else with it (RFC 9109; the clock's own time
// stays here).
func Request(nonce Stamp) (request [size]byte) {
	request[0] = version<<3 | modeClient
	binary.BigEndian.PutUint64(request[40:], uint64(nonce))
	return request
}

// Parse reads the answer to the request with the nonce. It returns what is
// wrong with anything else: that is not of the server that was asked.
func Parse(b []byte, nonce Stamp) (m Message, wrong string) {
	if len(b) < size {
		return m, fmt.Sprintf("too short, %d bytes", len(b))
	}
	stamp := func(at int) Stamp { return Stamp(binary.BigEndian.Uint64(b[at:])) }
	m = Message{
		Leap: int(b[0] >> 6), Version: int(b[0] >> 3 & 7), Stratum: int(b[1]), Precision: int8(b[3]),
		RootDelay: shortTime(b[4:]), RootDispersion: shortTime(b[8:]), reference: [4]byte(b[12:]),
		Set: stamp(16), Received: stamp(32), Sent: stamp(40),
	}
	switch mode := b[0] & 7; {
	case mode != modeServer:
		return m, fmt.Sprintf("of mode %d, want %d", mode, modeServer)
	case m.Version == 0 || m.Version > version:
		return m, fmt.Sprintf("of version %d, want %d", m.Version, version)
	case stamp(24) != nonce:
		return m, "an answer to another request (origin time stamp)"
	case m.Stratum != 0 && (m.Received == 0 || m.Sent == 0):
		return m, "without time stamps"
	case m.Stratum != 0 && m.Sent.Since(m.Received) < 0:
		return m, "sent before the request was received"
	}
	return m, ""
}

// shortTime reads a duration of 16 bits of seconds and 16 of their fraction.
func shortTime(b []byte) time.Duration {
	return time.Duration(uint64(binary.BigEndian.Uint32(b)) * uint64(time.Second) >> 16)
}

// Kiss returns the code of a kiss-o'-death (RFC 5905 section 7.4), ” when the
// message is none.
func (m *Message) Kiss() string {
	if m.Stratum != 0 {
		return ""
	}
	code := m.name()
	if len(code) != 4 {
		return ""
	}
	return code
}

// name returns the reference as a name of printable ASCII, ” when it is none.
func (m *Message) name() string {
	name := strings.TrimRight(string(m.reference[:]), "\x00 ")
	for _, c := range name {
		if c < '!' || c > '~' {
			return ""
		}
	}
	return name
}

// ReferenceID names what the server's clock is set by.
func (m *Message) ReferenceID() string {
	if m.Stratum == 1 {
		if name := m.name(); name != "" {
			return name
		}
		return hex.EncodeToString(m.reference[:])
	}
	return netip.AddrFrom4(m.reference).String()
}
