package probes

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// dnsFacts declares what the dns kind observes.
func dnsFacts() []check.Fact {
	facts := []check.Fact{
		{Name: "rcode", Type: check.String, Doc: "response code, such as NOERROR, NXDOMAIN or SERVFAIL"},
		{Name: "answers", Type: check.Strings, Doc: "data of the records of the type asked for, at the end of any aliases, in the server's order and in the presentation format of zone files"},
		{Name: "answer_set", Type: check.Strings, Doc: "the answers sorted, each once, and names in lower case: answer_set == ['192.0.2.1', '192.0.2.2']; only when an expectation names it"},
		{Name: "answer_count", Type: check.Int, Code: check.DNSNoData, Doc: "number of the records of the type asked for"},
		{Name: "cnames", Type: check.Strings, Doc: "aliases that lead to the answers, in order"},
		{Name: "authority", Type: check.Strings, Doc: "first 64 records of the authority section: owner, type and data"},
		{Name: "additional", Type: check.Strings, Doc: "first 64 records of the additional section without EDNS: owner, type and data"},
		{Name: "ttl.min", Type: check.Duration, Doc: "shortest time to live in the answer section"},
		{Name: "ttl.max", Type: check.Duration, Doc: "longest time to live in the answer section"},
		{Name: "flags", Type: check.Strings, Doc: "header flags that are set, as dig names them: qr aa tc rd ra ad cd"},
		{Name: "authoritative", Type: check.Bool, Doc: "the server is an authority for the name (AA)"},
		{Name: "authenticated", Type: check.Bool, Doc: "the server verified the answer with DNSSEC (AD)"},
		{Name: "recursion_available", Type: check.Bool, Doc: "the server resolves names for its clients (RA)"},
		{Name: "truncated", Type: check.Bool, Code: check.DNSTruncated, Doc: "the answer over UDP was cut (TC)"},
		{Name: "ede", Type: check.Strings, Doc: "extended errors of the server, such as 'DNSSEC Bogus (6)'"},
		{Name: "query_name", Type: check.String, Doc: "name that was asked for, absolute and in ASCII"},
		{Name: "server", Type: check.String, Doc: "IP:port of the server that was asked"},
		{Name: "transport", Type: check.String, Doc: "how the answer came: udp, tcp, tls, https or quic"},
		{Name: "size", Type: check.Int, Unit: "bytes", Doc: "size of the answer"},
		{Name: "http.status", Type: check.Int, Code: check.HTTPStatus, Doc: "status of the HTTP response around the answer, of the transport https"},
		{Name: "http.version", Type: check.String, Doc: "version of HTTP that the server spoke: 1.0, 1.1 or 2"},
		{Name: "http.age", Type: check.Duration, Doc: "how long an HTTP cache has kept the answer, already taken off the times to live; absent when it does not say"},
		{Name: "retransmits", Type: check.Int, Doc: "queries sent again over UDP because no answer had come after a third of the time, at most 2s"},
		{Name: "mismatched", Type: check.Int, Doc: "messages passed over because they answer another question or carry another id"},
		{Name: "ip", Type: check.String, Doc: "address that the probe connected to"},
		{Name: "family", Type: check.Int, Doc: "its address family, 4 or 6"},
		{Name: "resolved_name", Type: check.String, Doc: "name that the server's host was found under; absent when it is the one given"},
	}
	facts = slices.Concat(facts, ednsFacts(), groupFacts(), dnssecFacts(), traceFacts())
	return append(facts, tlsFacts()...)
}

// Bounds of what is kept of an answer. All records are counted.
const (
	maxAnswerText    = 256 << 10 // bytes of the answers in all
	maxOtherRecords  = 64        // per section
	maxExtendedError = 8
)

// dnsAnswer is what an answer says.
type dnsAnswer struct {
	message    dnsmsg.Message
	rcode      int // with EDNS's upper bits
	answers    []string
	text       int // bytes in answers
	count      int
	cnames     []string
	authority  []string
	additional []string
	records    int // in the answer section
	ttlMin     uint32
	ttlMax     uint32
	edns       *dns.OPT
}

// readAnswer reads the answer to q. When it fails, what was read up to there is
// returned with the error, a [*dnsmsg.MalformedError].
func readAnswer(m dnsmsg.Message, q *question) (*dnsAnswer, error) {
	a := &dnsAnswer{message: m, rcode: m.Rcode()}
	var aliases dnsmsg.Aliases
	err := m.Records(func(s dnsmsg.Section, rr dns.RR) error {
		switch {
		case s == dnsmsg.Answer && rr.Header().Class != q.class: // no answer, and nobody signs it
		case s == dnsmsg.Answer:
			a.lifetime(rr.Header().Ttl)
			a.keep(rr, q, q.name)
			aliases.Add(rr)
		case s == dnsmsg.Authority:
			a.authority = appendRecord(a.authority, rr)
		case s == dnsmsg.Additional:
			if opt, ok := rr.(*dns.OPT); ok {
				a.setEDNS(opt)
				return nil
			}
			a.additional = appendRecord(a.additional, rr)
		}
		return nil
	})
	if err != nil {
		return a, err
	}
	if a.cnames, err = aliases.Follow(q.name, q.qtype); err != nil || len(a.cnames) == 0 {
		return a, err
	}
	// The answers belong to the last alias, which is only known now.
	a.answers, a.text, a.count = nil, 0, 0
	last := a.cnames[len(a.cnames)-1]
	return a, m.Records(func(s dnsmsg.Section, rr dns.RR) error {
		if s == dnsmsg.Answer {
			a.keep(rr, q, last)
		}
		return nil
	})
}

// keep counts a record that is of the type asked for and of the owner.
func (a *dnsAnswer) keep(rr dns.RR, q *question, owner string) {
	h := rr.Header()
	if h.Class != q.class || h.Rrtype != q.qtype && q.qtype != dns.TypeANY || !strings.EqualFold(h.Name, owner) {
		return
	}
	a.count++
	if data := rdata(rr); a.text+len(data) <= maxAnswerText {
		a.text += len(data)
		a.answers = append(a.answers, data)
	}
}

func (a *dnsAnswer) lifetime(ttl uint32) {
	if ttl > 1<<31-1 {
		ttl = 0 // RFC 2181 section 8
	}
	if a.records++; a.records == 1 || ttl < a.ttlMin {
		a.ttlMin = ttl
	}
	a.ttlMax = max(a.ttlMax, ttl)
}

func (a *dnsAnswer) setEDNS(opt *dns.OPT) {
	if a.edns == nil {
		a.edns = opt
		a.rcode = a.message.FullRcode(opt)
	}
}

// rdata returns a record's data in the presentation format (RFC 1035 section
// 5.1, RFC 3597 section 5).
func rdata(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.A: // the usual ones, at a tenth of the cost
		if len(rr.A) == net.IPv4len {
			return rr.A.String()
		}
	case *dns.AAAA:
		if len(rr.AAAA) == net.IPv6len && rr.AAAA.To4() == nil {
			return rr.AAAA.String()
		}
	case *dns.RFC3597:
		return fmt.Sprintf("\\# %d %s", len(rr.Rdata)/2, rr.Rdata)
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}

func appendRecord(records []string, rr dns.RR) []string {
	if len(records) == maxOtherRecords {
		return records
	}
	return append(records, rr.Header().Name+" "+dnsmsg.TypeName(rr.Header().Rrtype)+" "+rdata(rr))
}

// extendedErrors returns the server's extended errors (RFC 8914).
func (a *dnsAnswer) extendedErrors() []string {
	if a.edns == nil {
		return nil
	}
	var all []string
	for _, o := range a.edns.Option {
		ede, ok := o.(*dns.EDNS0_EDE)
		if !ok || len(all) == maxExtendedError {
			continue
		}
		name, known := dns.ExtendedErrorCodeToString[ede.InfoCode]
		if !known {
			name = "code"
		}
		text := fmt.Sprintf("%s (%d)", name, ede.InfoCode)
		if ede.ExtraText != "" {
			text += ": " + ede.ExtraText
		}
		all = append(all, text)
	}
	return all
}

// record sets the facts of an answer and explains those that nobody wants.
func (a *dnsAnswer) record(o *check.Observation, q *question, server string) {
	m := a.message
	o.Set("rcode", dnsmsg.RcodeName(a.rcode))
	setList(o, "answers", a.answers)
	o.Set("answer_count", a.count)
	setList(o, "cnames", a.cnames)
	setList(o, "authority", a.authority)
	setList(o, "additional", a.additional)
	if a.records > 0 {
		o.Set("ttl.min", time.Duration(a.ttlMin)*time.Second)
		o.Set("ttl.max", time.Duration(a.ttlMax)*time.Second)
	}
	o.Set("flags", m.Flags())
	o.Set("authoritative", m.Authoritative())
	o.Set("authenticated", m.Authenticated())
	o.Set("recursion_available", m.RecursionAvailable())
	a.recordEDNS(o, q)
	o.Set("size", len(m))
	errs := a.extendedErrors()
	setList(o, "ede", errs)
	if r := a.reason(q, server, errs); r != nil {
		o.Explain("answer_count", r.Code, r.Message)
		if a.rcode != dns.RcodeSuccess {
			o.Explain("rcode", r.Code, r.Message)
		}
	}
}

// emptyList is the value of lists without items: not nil, and shared.
var emptyList any = []string{}

func setList(o *check.Observation, fact string, list []string) {
	if len(list) == 0 {
		o.Set(fact, emptyList)
		return
	}
	o.Set(fact, list)
}

// reason tells why there is no answer; nil when there is one, or when the
// response code has no reason of its own.
func (a *dnsAnswer) reason(q *question, server string, extended []string) *check.Reason {
	var r *check.Reason
	switch a.rcode {
	case dns.RcodeSuccess:
		if a.count > 0 {
			return nil
		}
		at := q.name
		if n := len(a.cnames); n > 0 {
			at = a.cnames[n-1]
		}
		r = &check.Reason{Code: check.DNSNoData, Message: fmt.Sprintf("no %s record for %s at %s", dnsmsg.TypeName(q.qtype), dnsmsg.Shown(at), server)}
	case dns.RcodeNameError, dns.RcodeRefused, dns.RcodeServerFailure:
		r = dnsmsg.RcodeReason(a.rcode, q.name, server)
	default:
		return nil
	}
	if len(extended) > 0 {
		r.Message += ", " + strings.Join(extended, ", ")
	}
	return r
}
