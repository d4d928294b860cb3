package probes

import (
	"bytes"
	crand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// dnsEDNS are the options of EDNS (RFC 6891).
type dnsEDNS struct {
	Size    int    `yaml:"size" doc:"UDP payload size that is offered, in bytes; 0 leaves EDNS out"`
	Subnet  string `yaml:"subnet" doc:"client subnet to ask for, such as 198.51.100.0/24, and 0.0.0.0/0 for none to be used (RFC 7871)"`
	NSID    bool   `yaml:"nsid" doc:"ask which server of many answers (RFC 5001)"`
	Cookie  bool   `yaml:"cookie" doc:"send a cookie (RFC 7873)"`
	Padding int    `yaml:"padding" doc:"pad the question to a multiple of so many bytes; 128 is what RFC 8467 recommends"`
	DO      bool   `yaml:"do" doc:"ask for signatures too"`
}

// maxPadding is the largest block that a question is padded to, in bytes: what
// RFC 8467 recommends for answers.
const maxPadding = 468

// build validates the options.
func (e *dnsEDNS) build(flags *queryFlags) error {
	flags.dnssec, flags.ednsSize, flags.nsid, flags.padding = e.DO, uint16(e.Size), e.NSID, e.Padding
	switch {
	case e.Size != 0 && (e.Size < dns.MinMsgSize || e.Size >= maxDatagram):
		return check.OptionErrorf("edns.size", "%d is not a UDP payload size: 512 to %d bytes, or 0 to leave EDNS out", e.Size, maxDatagram-1)
	case e.Size == 0 && *e != dnsEDNS{}:
		return check.OptionErrorf("edns.size", "0 leaves EDNS out, and with it all other options of edns")
	case e.Padding < 0 || e.Padding > maxPadding:
		return check.OptionErrorf("edns.padding", "%d is not a size of blocks: 0 to %d bytes", e.Padding, maxPadding)
	}
	if e.Subnet == "" {
		return nil
	}
	subnet, err := netip.ParsePrefix(e.Subnet)
	if err != nil {
		return check.OptionErrorf("edns.subnet", "%q is not a subnet, write it like 198.51.100.0/24 or 2001:db8::/56", e.Subnet)
	}
	if flags.subnet = subnet.Masked(); flags.subnet != subnet {
		return check.OptionErrorf("edns.subnet", "%s has bits behind the prefix, write it as %s", subnet, flags.subnet)
	}
	return nil
}

// appendOPT appends the EDNS(0) pseudo record (RFC 6891 section 6.1).
func appendOPT(msg []byte, flags queryFlags) []byte {
	msg = append(msg, 0)
	msg = binary.BigEndian.AppendUint16(msg, dns.TypeOPT)
	msg = binary.BigEndian.AppendUint16(msg, flags.ednsSize)
	var do byte
	if flags.dnssec {
		do = 1 << 7
	}
	msg = append(msg, 0, 0, do, 0, 0, 0)
	length := len(msg)
	if flags.nsid {
		msg = appendOption(msg, dns.EDNS0NSID, nil)
	}
	if flags.subnet.IsValid() {
		msg = appendOption(msg, dns.EDNS0SUBNET, subnetOption(flags.subnet))
	}
	if flags.cookie != nil {
		msg = appendOption(msg, dns.EDNS0COOKIE, flags.cookie)
	}
	if flags.padding > 0 {
		const head = 4
		over := (len(msg) + head) % flags.padding
		msg = appendOption(msg, dns.EDNS0PADDING, make([]byte, (flags.padding-over)%flags.padding))
	}
	binary.BigEndian.PutUint16(msg[length-2:], uint16(len(msg)-length))
	return msg
}

func appendOption(msg []byte, code uint16, data []byte) []byte {
	msg = binary.BigEndian.AppendUint16(msg, code)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(data)))
	return append(msg, data...)
}

// subnetOption is the data of the client subnet (RFC 7871 section 6).
func subnetOption(subnet netip.Prefix) []byte {
	family := byte(1)
	if subnet.Addr().Is6() {
		family = 2
	}
	data := []byte{0, family, byte(subnet.Bits()), 0}
	return append(data, subnet.Addr().AsSlice()[:(subnet.Bits()+7)/8]...)
}

// Sizes of cookies in bytes (RFC 7873 section 4).
const (
	clientCookie    = 8
	maxServerCookie = 32
)

// newCookie returns a client cookie that is used once, so that it tells nobody
// who asks.
func newCookie() []byte {
	cookie := make([]byte, clientCookie)
	_, _ = crand.Read(cookie) // never fails
	return cookie
}

// fresh returns the question for one run: with a cookie of its own when it has
// one. What is asked stays the same.
func (q *question) fresh() *question {
	if q.flags.cookie == nil {
		return q
	}
	return q.withCookie(newCookie())
}

// withCookie returns the question with the cookie.
func (q *question) withCookie(cookie []byte) *question {
	flags := q.flags
	flags.cookie = cookie
	again, err := newQuestion(q.name, q.qtype, q.class, flags)
	if err != nil {
		return q // cannot happen: it was packed before
	}
	return again
}

// ownCookie reports whether the answer carries our cookie or none. Another one
// is a forgery (RFC 7873 section 5.3).
func (q *question) ownCookie(msg dnsmsg.Message) bool {
	if q.flags.cookie == nil {
		return true
	}
	cookie := cookieIn(msg)
	return cookie == nil || bytes.HasPrefix(cookie, q.flags.cookie[:clientCookie])
}

// cookieIn returns the cookie in an answer, nil when there is none that can be
// read.
func cookieIn(m dnsmsg.Message) (cookie []byte) {
	_ = m.Records(func(_ dnsmsg.Section, rr dns.RR) error { // what is malformed is found out later
		if opt, ok := rr.(*dns.OPT); ok && cookie == nil {
			cookie = cookieOf(opt)
		}
		return nil
	})
	return cookie
}

func cookieOf(opt *dns.OPT) []byte {
	for _, o := range opt.Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			cookie, err := hex.DecodeString(c.Cookie)
			if err == nil && len(cookie) >= clientCookie && len(cookie) <= clientCookie+maxServerCookie {
				return cookie
			}
		}
	}
	return nil
}

// recordEDNS sets the facts of the EDNS record.
func (a *dnsAnswer) recordEDNS(o *check.Observation, q *question) {
	if a.edns == nil {
		return
	}
	o.Set("edns.size", int(a.edns.Hdr.Class))
	o.Set("edns.version", int(a.edns.Version()))
	if q.flags.cookie != nil {
		o.Set("edns.cookie", len(cookieOf(a.edns)) > clientCookie)
	}
	for _, option := range a.edns.Option {
		switch option := option.(type) {
		case *dns.EDNS0_NSID:
			o.Set("edns.nsid", readable(option.Nsid))
		case *dns.EDNS0_SUBNET:
			if addr, ok := netip.AddrFromSlice(option.Address); ok {
				if option.Family == 1 {
					addr = addr.Unmap()
				}
				o.Set("edns.subnet", fmt.Sprintf("%s/%d", addr, option.SourceNetmask))
			}
			o.Set("edns.scope", int(option.SourceScope))
		case *dns.EDNS0_PADDING:
			o.Set("edns.padding", len(option.Padding))
		}
	}
}

// readable returns bytes given in hexadecimal as text when they are that, as
// most servers' identifiers are.
func readable(hexadecimal string) string {
	raw, err := hex.DecodeString(hexadecimal)
	if err != nil || !utf8.Valid(raw) || bytes.ContainsFunc(raw, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return hexadecimal
	}
	return string(raw)
}

// ednsFacts declares what the EDNS record of an answer says.
func ednsFacts() []check.Fact {
	return []check.Fact{
		{Name: "edns.size", Type: check.Int, Unit: "bytes", Doc: "UDP payload size that the server takes; absent when it does not know EDNS"},
		{Name: "edns.version", Type: check.Int, Doc: "version of EDNS that the server speaks"},
		{Name: "edns.fallback", Type: check.Bool, Doc: "the server failed on EDNS and was asked again without"},
		{Name: "edns.nsid", Type: check.String, Doc: "identifier of the server that answered, as text where it is one, else in hexadecimal; absent when it has not told"},
		{Name: "edns.subnet", Type: check.String, Doc: "client subnet that the server looked at; absent when it does not support them"},
		{Name: "edns.scope", Type: check.Int, Unit: "bits", Doc: "length of the prefix that the answer is for; 0 is for everybody"},
		{Name: "edns.cookie", Type: check.Bool, Doc: "the server sent a cookie of its own; absent when none was asked for"},
		{Name: "edns.badcookie", Type: check.Bool, Doc: "the server wanted its cookie back (BADCOOKIE) and was asked again with it"},
		{Name: "edns.padding", Type: check.Int, Unit: "bytes", Doc: "padding of the answer"},
	}
}

// digEDNS returns dig's options for what is sent with EDNS.
func digEDNS(flags queryFlags) (args []string) {
	if flags.ednsSize == 0 {
		return []string{"+noedns"}
	}
	args = append(args, "+bufsize="+strconv.Itoa(int(flags.ednsSize)))
	if flags.subnet.IsValid() {
		args = append(args, "+subnet="+flags.subnet.String())
	}
	if flags.nsid {
		args = append(args, "+nsid")
	}
	if flags.cookie != nil {
		args = append(args, "+cookie")
	}
	if flags.padding > 0 {
		args = append(args, "+padding="+strconv.Itoa(flags.padding))
	}
	if flags.dnssec {
		args = append(args, "+dnssec")
	}
	if flags.unchecked {
		args = append(args, "+cdflag")
	}
	return args
}
