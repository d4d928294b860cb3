package probes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

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
	packed := make([]byte, dnsmsg.HeaderSize, maxQuery)
	packed[3] = 1 << 5 // AD: understand the AD bit of the answer (RFC 6840 section 5.7)
	if flags.recursion {
		packed[2] = 1
	}
	if flags.unchecked {
		packed[3] |= 1 << 4
	}
	packed[5] = 1 // one question
	packed = packed[:cap(packed)]
	end, err := dns.PackDomainName(name, packed, dnsmsg.HeaderSize, nil, false)
	if err == nil { // as answers are read: a space, say, is escaped there
		name, _, err = dns.UnpackDomainName(packed, dnsmsg.HeaderSize)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not a domain name: a label has 1 to 63 bytes, a name at most 255", strings.TrimSuffix(name, "."))
	}
	packed = binary.BigEndian.AppendUint16(packed[:end], qtype)
	packed = binary.BigEndian.AppendUint16(packed, class)
	q := &question{name: name, qtype: qtype, class: class, flags: flags, asked: packed[dnsmsg.HeaderSize:], limit: 512}
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
const maxQuery = 2 + dnsmsg.HeaderSize + 255 + 4 + 11

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

// errIgnored marks a message that is no answer to the question: the remains of
// another one or a forgery. The wait for the answer goes on.
var errIgnored = errors.New("not the answer to this question")

// accept tells whether msg answers the question that was sent with the id. It
// returns errIgnored when it is not an answer to it, and a [*dnsmsg.MalformedError] when
// it is one and broken (RFC 5452 section 9.1 lists what has to match).
func (q *question) accept(msg dnsmsg.Message, id uint16) error {
	if len(msg) < 2 || msg.ID() != id {
		return errIgnored
	}
	if len(msg) < dnsmsg.HeaderSize {
		return dnsmsg.Malformed("%d bytes, a header has %d", len(msg), dnsmsg.HeaderSize)
	}
	if !msg.Response() || msg.Opcode() != dns.OpcodeQuery {
		return errIgnored
	}
	switch msg.Questions() {
	case 1:
		if err := q.matches(msg[dnsmsg.HeaderSize:]); err != nil || q.ownCookie(msg) {
			return err
		}
		return errIgnored
	case 0:
		// A server that could not read the question may leave it out.
		if rc := msg.Rcode(); rc == dns.RcodeSuccess || rc == dns.RcodeNameError {
			return errIgnored
		}
		return nil
	default:
		return dnsmsg.Malformed("%d questions", msg.Questions())
	}
}

// matches compares the answer's question section with the one asked, without
// regard to the case of the name (RFC 4343).
func (q *question) matches(body []byte) error {
	if n := len(q.asked); len(body) >= n && foldedEqual(body[:n-4], q.asked[:n-4]) && string(body[n-4:n]) == string(q.asked[n-4:]) {
		return nil
	}
	if _, end, err := dns.UnpackDomainName(body, 0); err != nil || end+4 > len(body) {
		return dnsmsg.Malformed("the question cannot be read")
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
