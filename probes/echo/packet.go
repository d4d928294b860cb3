package echo

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// ICMP message types that the pinger knows (RFC 792, RFC 4443).
const (
	typeEchoReply4    = 0
	typeUnreachable4  = 3
	typeEcho4         = 8
	typeTimeExceeded4 = 11
	typeParameter4    = 12

	typeUnreachable6  = 1
	typeTooBig6       = 2
	typeTimeExceeded6 = 3
	typeParameter6    = 4
	typeEcho6         = 128
	typeEchoReply6    = 129
)

const (
	echoHeader = 8  // type, code, checksum, id, sequence
	ip4Header  = 20 // without options (RFC 791 section 3.1)
	ip6Header  = 40 // RFC 8200 section 3
	protoICMP4 = 1
	protoICMP6 = 58
)

// nonce is 128 random bits at the start of each payload of a round. An id has
// only 16 bits: of 500 pingers that choose one at random, two share one with a
// probability of 85 %.
type nonce [16]byte

// putRequest writes an echo request into buf, which already holds the payload
// after the header. The checksum is that of RFC 792; for ICMPv6 the kernel
// replaces it, as the source address is a part of it.
func putRequest(buf []byte, v6 bool, id, seq uint16) {
	buf[0], buf[1], buf[2], buf[3] = typeEcho4, 0, 0, 0
	if v6 {
		buf[0] = typeEcho6
	}
	binary.BigEndian.PutUint16(buf[4:], id)
	binary.BigEndian.PutUint16(buf[6:], seq)
	if !v6 {
		binary.BigEndian.PutUint16(buf[2:], checksum(buf))
	}
}

// fillPayload fills p with the nonce and a counting pattern, as ping(8) does.
func fillPayload(p []byte, n nonce) {
	for i := copy(p, n[:]); i < len(p); i++ {
		p[i] = byte(i)
	}
}

// checksum is the Internet checksum (RFC 1071). That of a packet which carries
// a right one is 0.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
		sum = sum&0xffff + sum>>16
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// echo is an echo reply, or the echo request inside an ICMP error.
type echo struct {
	id, seq uint16
	payload []byte
}

// Report is an ICMP error about one of our packets.
type Report struct {
	From   netip.Addr // who reports: a router or the target
	Type   byte       // of RFC 792, or of RFC 4443 for IPv6
	Code   byte
	IPv6   bool
	MTU    uint32     // of the next hop, with "fragmentation needed"; 0 when not told
	to     netip.Addr // where the packet was going
	packet echo       // the packet, its payload often cut
}

// parseMessage reads an ICMP message: a reply, or a report whose embedded
// packet is an echo request of the same family. Both are nil for anything
// else: other types, short or corrupt messages (case F10).
func parseMessage(b []byte, v6 bool) (*echo, *Report) {
	if len(b) < echoHeader {
		return nil, nil
	}
	switch {
	case !v6 && b[0] == typeEchoReply4, v6 && b[0] == typeEchoReply6:
		if b[1] != 0 {
			return nil, nil
		}
		r := parseEcho(b)
		return &r, nil
	case isReport(b[0], v6):
		return nil, parseReport(b, v6)
	}
	return nil, nil
}

func parseEcho(b []byte) echo {
	return echo{
		id: binary.BigEndian.Uint16(b[4:]), seq: binary.BigEndian.Uint16(b[6:]), payload: b[echoHeader:],
	}
}

func isReport(typ byte, v6 bool) bool {
	if v6 {
		return typ >= typeUnreachable6 && typ <= typeParameter6
	}
	return typ == typeUnreachable4 || typ == typeTimeExceeded4 || typ == typeParameter4
}

// parseReport reads an ICMP error with the IP packet that it is about.
func parseReport(b []byte, v6 bool) *Report {
	r := &Report{Type: b[0], Code: b[1], IPv6: v6}
	inner := b[echoHeader:]
	var rest []byte
	if v6 {
		if len(inner) < ip6Header+echoHeader || inner[0]>>4 != 6 || inner[6] != protoICMP6 {
			return nil
		}
		r.to = netip.AddrFrom16([16]byte(inner[24:40]))
		rest = inner[ip6Header:]
	} else {
		header := trimIP4(inner)
		if header < 0 || inner[9] != protoICMP4 || binary.BigEndian.Uint16(inner[6:])&0x1fff != 0 {
			return nil
		}
		r.to = netip.AddrFrom4([4]byte(inner[16:20]))
		rest = inner[header:]
	}
	if len(rest) < echoHeader || !isEchoRequest(rest, v6) {
		return nil
	}
	r.packet = parseEcho(rest)
	r.MTU = reportedMTU(b, v6)
	return r
}

func isEchoRequest(b []byte, v6 bool) bool {
	return b[1] == 0 && (v6 && b[0] == typeEcho6 || !v6 && b[0] == typeEcho4)
}

// reportedMTU is the next hop's MTU (RFC 1191 section 4, RFC 4443 section 3.2).
func reportedMTU(b []byte, v6 bool) uint32 {
	switch {
	case v6 && b[0] == typeTooBig6:
		return binary.BigEndian.Uint32(b[4:])
	case !v6 && b[0] == typeUnreachable4 && b[1] == 4:
		return uint32(binary.BigEndian.Uint16(b[6:]))
	}
	return 0
}

// trimIP4 returns the length of the IPv4 header that b starts with, or -1 when
// there is none that is whole.
func trimIP4(b []byte) int {
	if len(b) < ip4Header || b[0]>>4 != 4 {
		return -1
	}
	header := int(b[0]&0xf) * 4
	if header < ip4Header || header > len(b) {
		return -1
	}
	return header
}

// Reason returns the code that the report stands for.
func (r *Report) Reason() check.Code {
	switch {
	case r.TooBig():
		return check.ICMPFragmentation
	case !r.IPv6 && r.Type == typeTimeExceeded4, r.IPv6 && r.Type == typeTimeExceeded6:
		return check.ICMPTTLExceeded
	}
	return check.ICMPUnreachable
}

// TooBig reports whether a router would have had to fragment the packet.
func (r *Report) TooBig() bool {
	return r.IPv6 && r.Type == typeTooBig6 || !r.IPv6 && r.Type == typeUnreachable4 && r.Code == 4
}

// unreachable4 names the codes of ICMP destination unreachable (RFC 792,
// RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1).
const unreachable4 = "net unreachable|host unreachable|protocol unreachable|port unreachable|" +
	"fragmentation needed|source route failed|net unknown|host unknown|source host isolated|" +
	"net admin prohibited|host admin prohibited|net unreachable for the type of service|" +
	"host unreachable for the type of service|admin prohibited|host precedence violation|precedence cutoff"

// unreachable6 names the codes of ICMPv6 destination unreachable (RFC 4443
// section 3.1).
const unreachable6 = "no route to the target|admin prohibited|beyond the scope of the source address|" +
	"address unreachable|port unreachable|source address failed policy|route rejected"

// String names the kind of the report, such as "host unreachable".
func (r *Report) String() string {
	switch {
	case r.IPv6 && r.Type == typeUnreachable6:
		return nameOf(unreachable6, r.Code, "unreachable")
	case r.TooBig():
		if r.MTU == 0 {
			return "fragmentation needed"
		}
		return fmt.Sprintf("fragmentation needed for an MTU of %d", r.MTU)
	case !r.IPv6 && r.Type == typeUnreachable4:
		return nameOf(unreachable4, r.Code, "unreachable")
	case r.Reason() == check.ICMPTTLExceeded && r.Code == 1:
		return "fragments not reassembled in time"
	case r.Reason() == check.ICMPTTLExceeded:
		return "ttl exceeded"
	}
	return fmt.Sprintf("parameter problem (code %d)", r.Code)
}

func nameOf(names string, code byte, other string) string {
	if all := strings.Split(names, "|"); int(code) < len(all) {
		return all[code]
	}
	return fmt.Sprintf("%s (code %d)", other, code)
}
