package probes

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Parts of a message of NTP (RFC 5905 section 7.3).
const (
	ntpSize    = 48   // without extensions
	maxNTP     = 1024 // of what is read of a datagram; only the first ntpSize bytes count
	ntpVersion = 4
	modeClient = 3
	modeServer = 4
)

// Values of the fact leap.
const (
	leapNone           = "none"
	leapInsert         = "insert"
	leapDelete         = "delete"
	leapUnsynchronised = "unsynchronised"
)

// ntpStamp is a time stamp: seconds since 1900 in the upper half, their fraction
// in the lower one. It comes round every 136 years.
type ntpStamp uint64

// ntpTime returns a time as a stamp.
func ntpTime(t time.Time) ntpStamp {
	const to1970 = 2_208_988_800
	seconds, rest := uint64(t.Unix()+to1970), uint64(t.Nanosecond())
	return ntpStamp(seconds<<32 | (rest<<32)/uint64(time.Second))
}

// since returns the time from another stamp to this one, which are less than 68
// years apart, whatever their eras.
func (s ntpStamp) since(from ntpStamp) time.Duration {
	d := int64(s - from)
	return time.Duration(d>>32)*time.Second + time.Duration((d&0xffffffff)*int64(time.Second)>>32)
}

// ntpMessage is an answer.
type ntpMessage struct {
	leap, version, stratum    int
	precision                 int8 // as a power of 2, of a second
	rootDelay, rootDispersion time.Duration
	reference                 [4]byte
	set, received, sent       ntpStamp // the clock, the request, the answer
}

// ntpNonce returns a number that nobody can guess.
func ntpNonce() (nonce ntpStamp) {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return ntpStamp(binary.BigEndian.Uint64(b[:]))
}

// ntpRequest returns a request that tells nothing of this machine: all is zero
// but version, mode and the transmit time stamp, which is a nonce. The server
// sends that back and does nothing else with it (RFC 9109; the clock's own time
// stays here).
func ntpRequest(nonce ntpStamp) (request [ntpSize]byte) {
	request[0] = ntpVersion<<3 | modeClient
	binary.BigEndian.PutUint64(request[40:], uint64(nonce))
	return request
}

// parseNTP reads the answer to the request with the nonce. It returns what is
// wrong with anything else: that is not of the server that was asked.
func parseNTP(b []byte, nonce ntpStamp) (m ntpMessage, wrong string) {
	if len(b) < ntpSize {
		return m, fmt.Sprintf("too short, %d bytes", len(b))
	}
	stamp := func(at int) ntpStamp { return ntpStamp(binary.BigEndian.Uint64(b[at:])) }
	m = ntpMessage{
		leap: int(b[0] >> 6), version: int(b[0] >> 3 & 7), stratum: int(b[1]), precision: int8(b[3]),
		rootDelay: shortTime(b[4:]), rootDispersion: shortTime(b[8:]), reference: [4]byte(b[12:]),
		set: stamp(16), received: stamp(32), sent: stamp(40),
	}
	switch mode := b[0] & 7; {
	case mode != modeServer:
		return m, fmt.Sprintf("of mode %d, want %d", mode, modeServer)
	case m.version == 0 || m.version > ntpVersion:
		return m, fmt.Sprintf("of version %d, want %d", m.version, ntpVersion)
	case stamp(24) != nonce:
		return m, "an answer to another request (origin time stamp)"
	case m.stratum != 0 && (m.received == 0 || m.sent == 0):
		return m, "without time stamps"
	case m.stratum != 0 && m.sent.since(m.received) < 0:
		return m, "sent before the request was received"
	}
	return m, ""
}

// shortTime reads a duration of 16 bits of seconds and 16 of their fraction.
func shortTime(b []byte) time.Duration {
	return time.Duration(uint64(binary.BigEndian.Uint32(b)) * uint64(time.Second) >> 16)
}

// report sets the facts of an answer to what was sent at a time and took so long.
func (m *ntpMessage) report(o *check.Observation, sent time.Time, took time.Duration) {
	kiss := m.kiss()
	o.Set("kiss", kiss)
	if kiss != "" {
		o.Explain("kiss", check.ExpectCode("kiss"), "the server refuses: "+kissMeaning(kiss))
	}
	o.Set("stratum", m.stratum)
	o.Set("version", m.version)
	leap := [...]string{leapNone, leapInsert, leapDelete, leapUnsynchronised}[m.leap]
	o.Set("leap", leap)
	if leap == leapUnsynchronised {
		o.Explain("leap", check.ExpectCode("leap"), fmt.Sprintf("the server says that its own clock is not synchronised (stratum %d)", m.stratum))
	}
	if m.stratum == 0 { // it tells no time (RFC 5905 section 7.4)
		return
	}
	// RFC 5905 section 8. The two halves may each be 68 years.
	ahead, back := m.received.since(ntpTime(sent)), m.sent.since(ntpTime(sent.Add(took)))
	offset := ahead/2 + back/2
	rtt := max(0, took-m.sent.since(m.received)) // clocks of different speed may make it negative
	o.Set("offset", offset)
	o.Set("off_by", max(offset, -offset))
	o.Set("rtt", rtt)
	o.Set("reference_id", m.referenceID())
	if m.set != 0 {
		o.Set("reference_age", m.sent.since(m.set))
	}
	o.Set("root.delay", m.rootDelay)
	o.Set("root.dispersion", m.rootDispersion)
	o.Set("root.distance", m.rootDelay/2+rtt/2+m.rootDispersion)
	if m.precision < 0 && m.precision > -64 {
		o.Set("precision", time.Duration(uint64(time.Second)>>-m.precision))
	}
}

// kiss returns the code of a kiss-o'-death (RFC 5905 section 7.4), ” when the
// message is none.
func (m *ntpMessage) kiss() string {
	if m.stratum != 0 {
		return ""
	}
	code := m.name()
	if len(code) != 4 {
		return ""
	}
	return code
}

// kissMeaning says what a kiss-o'-death means.
func kissMeaning(code string) string {
	switch code {
	case "RATE":
		return "RATE, it is asked too often"
	case "DENY", "RSTR":
		return code + ", it gives no access to this machine"
	case "INIT", "STEP":
		return code + ", it has no time yet"
	default:
		return code
	}
}

// name returns the reference as a name of printable ASCII, ” when it is none.
func (m *ntpMessage) name() string {
	name := strings.TrimRight(string(m.reference[:]), "\x00 ")
	for _, c := range name {
		if c < '!' || c > '~' {
			return ""
		}
	}
	return name
}

func (m *ntpMessage) referenceID() string {
	if m.stratum == 1 {
		if name := m.name(); name != "" {
			return name
		}
		return hex.EncodeToString(m.reference[:])
	}
	return netip.AddrFrom4(m.reference).String()
}
