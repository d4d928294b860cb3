package testnet

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// checkDNS asks for a name that the servers of the faults are asked about.
const checkDNS = `dns: {name: web.test, type: A, server: "$ADDR"}`

func dnsFaults() []Fault {
	return []Fault{
		{"nxdomain", "E1", "the name does not exist", checkDNS, rcode(dns.RcodeNameError)},
		{"servfail", "E1", "the name server fails", checkDNS, rcode(dns.RcodeServerFailure)},
		{"refused", "E1", "the name server refuses", checkDNS, rcode(dns.RcodeRefused)},
		{"dns-silence", "E2", "the name server says nothing", checkDNS, asks(func(*DNSQuery) {})},
		{"dns-truncated", "E4", "cut over UDP, and over TCP there is nothing", checkDNS, asks(func(q *DNSQuery) {
			if q.Network == "udp" {
				m := q.Answer()
				m.Truncated = true
				q.ReplyMsg(m)
				return
			}
			q.Hang()
		})},
		{"dns-spoof", "E5", "answers to other questions, and none to ours", checkDNS, asks(spoof)},
		{"dns-malformed", "E6", "a message that lies about its content", checkDNS, asks(func(q *DNSQuery) { q.Reply(lyingAnswer(q)) })},
		{"dns-pointer-loop", "E7", "a name that points to itself", checkDNS, asks(func(q *DNSQuery) { q.Reply(pointerLoop(q)) })},
		{"cname-loop", "E8", "aliases in a circle", checkDNS, zoneOf("web.test. 60 IN CNAME b.test.", "b.test. 60 IN CNAME web.test.")},
		{"nodata", "E12", "the name has no such record", checkDNS, rcode(dns.RcodeSuccess)},
		{"dns-sinkhole", "E15", "a filter answers with 0.0.0.0", checkDNS + `, prefer: ["none(answers, # in ['0.0.0.0', '127.0.0.1'])"]`, zoneOf("web.test. 60 IN A 0.0.0.0")},
		{"doh-web-page", "E19", "answers DNS over HTTPS with a web page", `dns: {name: web.test, type: A, server: "https://$ADDR/dns-query", tls: {ca: $CA}}`,
			speaksTLS(Reply(okHead+"Content-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"), nil)},
		{"dnssec-bogus", "E22", "the address was changed after it was signed", `dns: {name: web.test, type: A, server: "$ADDR", dnssec: {validate: true, anchor: "` + bogusAnchor() + `"}}`,
			asks(bogus)},
	}
}

// asks starts a name server with the handler, which gets questions only.
func asks(handler DNSHandler) starter {
	return func(*CA) (server, error) {
		return ListenDNS(func(q *DNSQuery) {
			if q.Msg != nil && len(q.Msg.Question) == 1 {
				handler(q)
			}
		})
	}
}

// zoneOf answers from the records.
func zoneOf(records ...string) starter {
	return func(*CA) (server, error) {
		zone, err := NewZone(records...)
		if err != nil {
			return nil, err
		}
		return ListenDNS(zone.Serve)
	}
}

// rcode answers with the code and without records.
func rcode(code int) starter {
	return asks(func(q *DNSQuery) {
		m := q.Answer()
		m.Rcode = code
		q.ReplyMsg(m)
	})
}

func spoof(q *DNSQuery) {
	wrongID := q.Answer()
	wrongID.Id++
	q.ReplyMsg(wrongID)
	wrongName := q.Answer()
	wrongName.Question[0].Name = "other.test."
	q.ReplyMsg(wrongName)
}

// lyingAnswer is the question with the counts of very many records.
func lyingAnswer(q *DNSQuery) []byte {
	raw, _ := q.Answer().Pack() // of one question, which was read
	for at := 6; at < 12; at += 2 {
		binary.BigEndian.PutUint16(raw[at:], 0xffff)
	}
	return raw
}

// pointerLoop has a record whose owner is a pointer to itself (RFC 1035,
// section 4.1.4).
func pointerLoop(q *DNSQuery) []byte {
	raw, _ := q.Answer().Pack() // of one question, which was read
	binary.BigEndian.PutUint16(raw[6:], 1)
	here := uint16(len(raw))
	raw = binary.BigEndian.AppendUint16(raw, 0xc000|here)
	return append(raw, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
}

// bogusKey is the key of the zone that dnssec-bogus serves. It is no secret.
func bogusKey() (*dns.DNSKEY, crypto.Signer) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	return &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "web.test.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 60},
		Flags: 257, Protocol: 3, Algorithm: dns.ED25519, PublicKey: base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)),
	}, private
}

// bogusAnchor is the DS record of the key, without tabs.
func bogusAnchor() string {
	key, _ := bogusKey()
	return strings.ReplaceAll(key.ToDS(dns.SHA256).String(), "\t", " ")
}

// bogus signs what it answers, and changes addresses behind that.
func bogus(q *DNSQuery) {
	key, private := bogusKey()
	m := q.Answer()
	m.SetEdns0(1232, true)
	address := &dns.A{Hdr: dns.RR_Header{Name: "web.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}
	records := map[uint16]dns.RR{dns.TypeDNSKEY: key, dns.TypeA: address}
	if rr := records[q.Msg.Question[0].Qtype]; rr != nil {
		sig := &dns.RRSIG{
			Hdr:       dns.RR_Header{Name: "web.test.", Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: 60},
			Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(day).Unix()),
			KeyTag: key.KeyTag(), SignerName: "web.test.", Algorithm: key.Algorithm,
		}
		if sig.Sign(private, []dns.RR{rr}) == nil {
			address.A = net.IPv4(192, 0, 2, 66)
			m.Answer = []dns.RR{rr, sig}
		}
	}
	q.ReplyMsg(m)
}
