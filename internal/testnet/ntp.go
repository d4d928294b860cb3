package testnet

import (
	"encoding/binary"
	"time"
)

// NTP is what a time server says of itself. The zero value is one that was never
// set.
type NTP struct {
	Ahead          time.Duration // of this machine's clock
	Leap, Stratum  byte
	Reference      string // four bytes
	RootDelay      time.Duration
	RootDispersion time.Duration
}

// Answer returns the server's answer to a request (RFC 5905 section 7.3); nil to
// what is none.
func (s NTP) Answer(request []byte) []byte {
	if len(request) < 48 || request[0]&7 != 3 {
		return nil
	}
	now := ntpStamp(time.Now().Add(s.Ahead))
	b := make([]byte, 48)
	b[0], b[1], b[3] = s.Leap<<6|4<<3|4, s.Stratum, 0xec // 2^-20 s
	binary.BigEndian.PutUint32(b[4:], ntpShort(s.RootDelay))
	binary.BigEndian.PutUint32(b[8:], ntpShort(s.RootDispersion))
	copy(b[12:16], s.Reference)
	binary.BigEndian.PutUint64(b[16:], ntpStamp(time.Now().Add(s.Ahead-time.Minute)))
	copy(b[24:32], request[40:48])
	binary.BigEndian.PutUint64(b[32:], now)
	binary.BigEndian.PutUint64(b[40:], now)
	return b
}

// Serve is a handler for [ListenUDP].
func (s NTP) Serve(request []byte, reply func([]byte)) {
	if b := s.Answer(request); b != nil {
		reply(b)
	}
}

func ntpStamp(t time.Time) uint64 {
	return uint64(t.Unix()+2_208_988_800)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

func ntpShort(d time.Duration) uint32 { return uint32(d << 16 / time.Second) }
