package probes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// headerSize is the size of a DNS header in bytes (RFC 1035 section 4.1.1).
const headerSize = 12

// ednsSize is the UDP payload size that is offered unless the check says
// otherwise: what passes without fragments nearly everywhere (DNS flag day
// 2020; RFC 9715 section 3.2 recommends at most 1400).
const ednsSize = 1232

// queryFlags are the choices of a query besides its question.
type queryFlags struct {
	recursion bool   // RD
	unchecked bool   // CD
	ednsSize  uint16 // UDP payload size; 0 leaves EDNS out, and with it the rest

	dnssec  bool // the DO bit
	nsid    bool
	subnet  netip.Prefix // invalid: none
	cookie  []byte       // nil: none
	padding int          // to a multiple of so many bytes; 0: none
}

// question is a query that is packed once and sent many times; only the id
// differs. It is not changed after it was made.
type question struct {
	name   string // absolute, as asked
	qtype  uint16
	class  uint16
	flags  queryFlags
	packed []byte // the whole query, id 0
	asked  []byte // its question section, inside packed
	limit  int    // size of the UDP answers that are accepted, in bytes
}

// newQuestion packs a query. The name is absolute.
func newQuestion(name string, qtype, class uint16, flags queryFlags) (*question, error) {
	packed := make([]byte, headerSize, maxQuery)
	packed[3] = 1 << 5 // AD: understand the AD bit of the answer (RFC 6840 section 5.7)
	if flags.recursion {
		packed[2] = 1
	}
	if flags.unchecked {
		packed[3] |= 1 << 4
	}
	packed[5] = 1 // one question
	packed = packed[:cap(packed)]
	end, err := dns.PackDomainName(name, packed, headerSize, nil, false)
	if err != nil {
		return nil, fmt.Errorf("%q is not a domain name: a label has 1 to 63 bytes, a name at most 255", strings.TrimSuffix(name, "."))
	}
	packed = binary.BigEndian.AppendUint16(packed[:end], qtype)
	packed = binary.BigEndian.AppendUint16(packed, class)
	q := &question{name: name, qtype: qtype, class: class, flags: flags, asked: packed[headerSize:], limit: 512}
	if flags.ednsSize > 0 {
		packed[11] = 1 // one additional record
		packed = appendOPT(packed, flags)
		q.limit = max(512, int(flags.ednsSize))
	}
	q.packed = packed
	return q, nil
}

// maxQuery is the size of the largest query without options of EDNS, with its
// length for a stream, in bytes: header, name, type and class, EDNS.
const maxQuery = 2 + headerSize + 255 + 4 + 11

// withID appends the query with an id to b.
func (q *question) withID(b []byte, id uint16) []byte {
	start := len(b)
	b = append(b, q.packed...)
	binary.BigEndian.PutUint16(b[start:], id)
	return b
}

// newID returns a query id that cannot be guessed: the generator is ChaCha8,
// seeded by the operating system.
func newID() uint16 { return uint16(rand.Uint32()) }

// message is a DNS answer as it came, checked by [question.accept].
type message []byte

func (m message) id() uint16                     { return binary.BigEndian.Uint16(m) }
func (m message) response() bool                 { return m[2]&(1<<7) != 0 }
func (m message) opcode() int                    { return int(m[2]>>3) & 0xF }
func (m message) authoritative() bool            { return m[2]&(1<<2) != 0 }
func (m message) truncated() bool                { return m[2]&(1<<1) != 0 }
func (m message) recursionDesired() bool         { return m[2]&1 != 0 }
func (m message) recursionAvail() bool           { return m[3]&(1<<7) != 0 }
func (m message) authenticated() bool            { return m[3]&(1<<5) != 0 }
func (m message) checkingDisabled() bool         { return m[3]&(1<<4) != 0 }
func (m message) rcode() int                     { return int(m[3] & 0xF) }
func (m message) count(i int) int                { return int(binary.BigEndian.Uint16(m[4+2*i:])) }
func (m message) section(i section) int          { return m.count(int(i)) }
func dnsMalformed(format string, a ...any) error { return &malformedError{fmt.Sprintf(format, a...)} }

// malformedError tells how an answer breaks the protocol.
type malformedError struct{ what string }

func (e *malformedError) Error() string { return "malformed answer: " + e.what }

// errIgnored marks a message that is no answer to the question: the remains of
// another one or a forgery. The wait for the answer goes on.
var errIgnored = errors.New("not the answer to this question")

// accept tells whether msg answers the question that was sent with the id. It
// returns errIgnored when it is not an answer to it, and a *malformedError when
// it is one and broken (RFC 5452 section 9.1 lists what has to match).
func (q *question) accept(msg message, id uint16) error {
	if len(msg) < 2 || msg.id() != id {
		return errIgnored
	}
	if len(msg) < headerSize {
		return dnsMalformed("%d bytes, a header has %d", len(msg), headerSize)
	}
	if !msg.response() || msg.opcode() != dns.OpcodeQuery {
		return errIgnored
	}
	switch msg.count(0) {
	case 1:
		if err := q.matches(msg[headerSize:]); err != nil || q.ownCookie(msg) {
			return err
		}
		return errIgnored
	case 0:
		// A server that could not read the question may leave it out.
		if rc := msg.rcode(); rc == dns.RcodeSuccess || rc == dns.RcodeNameError {
			return errIgnored
		}
		return nil
	default:
		return dnsMalformed("%d questions", msg.count(0))
	}
}

// matches compares the answer's question section with the one asked, without
// regard to the case of the name (RFC 4343).
func (q *question) matches(body []byte) error {
	if n := len(q.asked); len(body) >= n && foldedEqual(body[:n-4], q.asked[:n-4]) && string(body[n-4:n]) == string(q.asked[n-4:]) {
		return nil
	}
	if _, end, err := dns.UnpackDomainName(body, 0); err != nil || end+4 > len(body) {
		return dnsMalformed("the question cannot be read")
	}
	return errIgnored
}

// foldedEqual compares wire-format names. The length bytes, 0 to 63, are below
// the letters, so that folding all bytes folds the labels only.
func foldedEqual(a, b []byte) bool {
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// section is a part of an answer.
type section int

// The sections, numbered as the header's counts are.
const (
	sectionAnswer section = 1 + iota
	sectionAuthority
	sectionAdditional
)

// records calls visit with every record, in order, and returns a
// *malformedError for the first that cannot be read. Records are read one at a
// time, so that an answer full of long names is never in memory as a whole.
func (m message) records(visit func(section, dns.RR) error) error {
	off := headerSize
	if m.count(0) == 1 {
		_, end, err := dns.UnpackDomainName(m, off)
		if err != nil || end+4 > len(m) {
			return dnsMalformed("the question cannot be read")
		}
		off = end + 4
	}
	for s := sectionAnswer; s <= sectionAdditional; s++ {
		for i := range m.section(s) {
			if off >= len(m) {
				return dnsMalformed("the header counts more records than there are")
			}
			rr, end, err := dns.UnpackRR(m, off)
			if err != nil && s == sectionAdditional {
				rr, end, err = m.bareOPT(off, err)
			}
			if err != nil {
				return dnsMalformed("record %d of section %d cannot be read: %v", i+1, s, err)
			}
			off = end
			if err := visit(s, rr); err != nil {
				return err
			}
		}
	}
	return nil
}

// refusesEDNS reports whether the server failed on EDNS itself, which calls
// for the same question without it (RFC 6891 section 7).
func (m message) refusesEDNS() bool {
	switch m.rcode() {
	case dns.RcodeFormatError, dns.RcodeNotImplemented:
		return true
	case dns.RcodeSuccess: // or BADVERS, whose upper bits are in the EDNS record
		if m.section(sectionAnswer) > 0 || m.section(sectionAdditional) == 0 {
			return false
		}
	default:
		return false
	}
	bad := false
	err := m.records(func(_ section, rr dns.RR) error {
		if opt, ok := rr.(*dns.OPT); ok {
			bad = bad || opt.Hdr.Ttl>>24<<4 == dns.RcodeBadVers
		}
		return nil
	})
	return bad && err == nil
}

// bareOPT reads the EDNS record at off without its options, because a server's
// unreadable options say nothing about its answer. It returns err when there is
// no such record.
func (m message) bareOPT(off int, err error) (dns.RR, int, error) {
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

// maxChain is how many CNAME records in a row are followed, as in BIND.
const maxChain = 16

// chain follows the CNAMEs of an answer from one name to the last.
type chain struct {
	next map[string]string // owner to target, canonical
}

// add takes the record into account if it is a CNAME.
func (c *chain) add(rr dns.RR) {
	cname, ok := rr.(*dns.CNAME)
	if !ok {
		return
	}
	if c.next == nil {
		c.next = make(map[string]string, 4)
	}
	if len(c.next) <= maxChain {
		c.next[dns.CanonicalName(cname.Hdr.Name)] = cname.Target
	}
}

// follow returns the aliases in order, the last being the canonical name; none
// when name is no alias.
func (c *chain) follow(name string) ([]string, error) {
	var aliases []string
	for at := dns.CanonicalName(name); ; {
		target, ok := c.next[at]
		if !ok {
			return aliases, nil
		}
		if len(aliases) == maxChain {
			return aliases, dnsMalformed("CNAME records loop, or follow each other more than %d times", maxChain)
		}
		aliases = append(aliases, target)
		at = dns.CanonicalName(target)
	}
}
