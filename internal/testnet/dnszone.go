package testnet

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// Zone answers queries from a few records, like an authoritative server that
// also recurses: NOERROR with the records, following CNAMEs, NODATA for a name
// without the type and NXDOMAIN for a name that is not there.
type Zone struct {
	records map[string][]dns.RR // by canonical owner
	codes   map[string]int
	soa     dns.RR
}

// NewZone makes a zone of records in the master file format.
func NewZone(records ...string) (*Zone, error) {
	z := &Zone{records: make(map[string][]dns.RR), codes: make(map[string]int)}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			return nil, fmt.Errorf("record %q: %w", text, err)
		}
		owner := dns.CanonicalName(rr.Header().Name)
		z.records[owner] = append(z.records[owner], rr)
	}
	soa, err := dns.NewRR(". 60 IN SOA ns.test. admin.test. 1 3600 600 86400 60")
	z.soa = soa
	return z, err
}

// Fail makes the zone answer with the response code for the name.
func (z *Zone) Fail(name string, rcode int) *Zone {
	z.codes[dns.CanonicalName(name)] = rcode
	return z
}

// Serve is a [DNSHandler]. Over UDP it truncates what is too large for the
// client.
func (z *Zone) Serve(q *DNSQuery) {
	if q.Msg == nil || len(q.Msg.Question) != 1 {
		return
	}
	m := z.Reply(q)
	if q.Network == "udp" {
		size := dns.MinMsgSize
		if opt := q.Msg.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		m.Truncate(size)
	}
	q.ReplyMsg(m)
}

// Reply makes the answer to a query.
func (z *Zone) Reply(q *DNSQuery) *dns.Msg {
	m := q.Answer()
	m.Authoritative, m.RecursionAvailable, m.Compress = true, true, true
	if opt := q.Msg.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	question := q.Msg.Question[0]
	if rcode, ok := z.codes[dns.CanonicalName(question.Name)]; ok {
		m.Rcode = rcode
		return m
	}
	name, found := dns.CanonicalName(question.Name), false
	for range 100 {
		records := z.records[name]
		found = len(records) > 0
		next := ""
		for _, rr := range records {
			cname, alias := rr.(*dns.CNAME)
			switch {
			case rr.Header().Rrtype == question.Qtype || question.Qtype == dns.TypeANY:
				m.Answer = append(m.Answer, dns.Copy(rr))
			case alias:
				m.Answer = append(m.Answer, dns.Copy(rr))
				next = dns.CanonicalName(cname.Target)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	if !found && !z.ancestor(name) {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		m.Ns = append(m.Ns, dns.Copy(z.soa))
	}
	return m
}

// ancestor reports whether the name has names below it, so that it exists
// without records (RFC 8020).
func (z *Zone) ancestor(name string) bool {
	for owner := range z.records {
		if strings.HasSuffix(owner, "."+name) {
			return true
		}
	}
	return false
}
