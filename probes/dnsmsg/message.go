// Package dnsmsg reads DNS messages as they came off the wire, record by record
// (RFC 1035 section 4). Whatever a peer sends, the cost is bounded by the size of
// the message: no record outlives the call that visits it unless the visitor keeps
// it, and a chain of aliases has an end.
package dnsmsg

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

// HeaderSize is the size of a message's header in bytes (RFC 1035 section 4.1.1).
const HeaderSize = 12

// Message is a DNS message as it came, of at least HeaderSize bytes.
type Message []byte

// ID returns the number that ties an answer to its query. The first two bytes will
// do for it.
func (m Message) ID() uint16 { return binary.BigEndian.Uint16(m) }

// Response reports whether it is an answer and no query (QR).
func (m Message) Response() bool { return m[2]&(1<<7) != 0 }

// Opcode returns the kind of query.
func (m Message) Opcode() int { return int(m[2]>>3) & 0xF }

// Authoritative reports whether the server is an authority for the name (AA).
func (m Message) Authoritative() bool { return m[2]&(1<<2) != 0 }

// Truncated reports whether the message was cut (TC).
func (m Message) Truncated() bool { return m[2]&(1<<1) != 0 }

// RecursionAvailable reports whether the server resolves names for its clients (RA).
func (m Message) RecursionAvailable() bool { return m[3]&(1<<7) != 0 }

// Authenticated reports whether the server verified the answer (AD).
func (m Message) Authenticated() bool { return m[3]&(1<<5) != 0 }

// Rcode returns the response code of the header, without EDNS's upper bits.
func (m Message) Rcode() int { return int(m[3] & 0xF) }

// FullRcode returns the response code with the upper bits of the message's EDNS
// record (RFC 6891 section 6.1.3), which may be nil.
func (m Message) FullRcode(opt *dns.OPT) int {
	if opt == nil {
		return m.Rcode()
	}
	return m.Rcode() | int(opt.Hdr.Ttl>>24)<<4
}

// Questions returns how many questions the header counts.
func (m Message) Questions() int { return m.count(0) }

func (m Message) count(i int) int        { return int(binary.BigEndian.Uint16(m[4+2*i:])) }
func (m Message) section(s Section) int  { return m.count(int(s)) }
func (m Message) recursionDesired() bool { return m[2]&1 != 0 }
func (m Message) checkingDisabled() bool { return m[3]&(1<<4) != 0 }

// Flags returns the names of the header flags that are set, in dig's order.
func (m Message) Flags() []string {
	all := [...]struct {
		name string
		set  bool
	}{
		{"qr", m.Response()}, {"aa", m.Authoritative()}, {"tc", m.Truncated()}, {"rd", m.recursionDesired()},
		{"ra", m.RecursionAvailable()}, {"ad", m.Authenticated()}, {"cd", m.checkingDisabled()},
	}
	flags := make([]string, 0, len(all))
	for _, f := range all {
		if f.set {
			flags = append(flags, f.name)
		}
	}
	return flags
}

// MalformedError tells how an answer breaks the protocol.
type MalformedError struct{ what string }

// Malformed returns a [*MalformedError].
func Malformed(format string, a ...any) error { return &MalformedError{fmt.Sprintf(format, a...)} }

// Error says what is wrong.
func (e *MalformedError) Error() string { return "malformed answer: " + e.what }

// Section is a part of an answer.
type Section int

// The sections, numbered as the header's counts are.
const (
	Answer Section = 1 + iota
	Authority
	Additional
)

// Records calls visit with every record, in order, and returns a
// [*MalformedError] for the first that cannot be read. Records are read one at a
// time, so that an answer full of long names is never in memory as a whole.
func (m Message) Records(visit func(Section, dns.RR) error) error {
	off := HeaderSize
	if m.Questions() == 1 {
		_, end, err := dns.UnpackDomainName(m, off)
		if err != nil || end+4 > len(m) {
			return Malformed("the question cannot be read")
		}
		off = end + 4
	}
	for s := Answer; s <= Additional; s++ {
		for i := range m.section(s) {
			if off >= len(m) {
				return Malformed("the header counts more records than there are")
			}
			rr, end, err := dns.UnpackRR(m, off)
			if err != nil && s == Additional {
				rr, end, err = m.bareOPT(off, err)
			}
			if err != nil {
				return Malformed("record %d of section %d cannot be read: %v", i+1, s, err)
			}
			off = end
			if err := visit(s, rr); err != nil {
				return err
			}
		}
	}
	return nil
}

// RefusesEDNS reports whether the server failed on EDNS itself, which calls
// for the same question without it (RFC 6891 section 7).
func (m Message) RefusesEDNS() bool {
	switch m.Rcode() {
	case dns.RcodeFormatError, dns.RcodeNotImplemented:
		return true
	case dns.RcodeSuccess: // or BADVERS, whose upper bits are in the EDNS record
		if m.section(Answer) > 0 || m.section(Additional) == 0 {
			return false
		}
	default:
		return false
	}
	bad := false
	err := m.Records(func(_ Section, rr dns.RR) error {
		if opt, ok := rr.(*dns.OPT); ok {
			bad = bad || m.FullRcode(opt) == dns.RcodeBadVers
		}
		return nil
	})
	return bad && err == nil
}

// bareOPT reads the EDNS record at off without its options, because a server's
// unreadable options say nothing about its answer. It returns err when there is
// no such record.
func (m Message) bareOPT(off int, err error) (dns.RR, int, error) {
	const fixed = 11 // root name, type, class, TTL, length
	if off+fixed > len(m) || m[off] != 0 || binary.BigEndian.Uint16(m[off+1:]) != dns.TypeOPT {
		return nil, off, err
	}
	end := off + fixed + int(binary.BigEndian.Uint16(m[off+9:]))
	if end > len(m) {
		return nil, off, err
	}
	return &dns.OPT{Hdr: dns.RR_Header{
		Name: ".", Rrtype: dns.TypeOPT,
		Class: binary.BigEndian.Uint16(m[off+3:]), Ttl: binary.BigEndian.Uint32(m[off+5:]),
	}}, end, nil
}
