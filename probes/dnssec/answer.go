package dnssec

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// signedSet is a set of records with its signatures.
type signedSet struct {
	name    string // canonical
	rrtype  uint16
	records []dns.RR
	sigs    []*dns.RRSIG
}

// signedAnswer is an answer's sections as sets.
type signedAnswer struct {
	rcode             int
	answer, authority []*signedSet
	aliases           dnsmsg.Aliases
	edns              *dns.OPT // nil: none
}

// readSigned reads the sets of an answer.
func readSigned(m dnsmsg.Message) (*signedAnswer, *mistrust) {
	s := &signedAnswer{rcode: m.Rcode()}
	n := 0
	err := m.Records(func(at dnsmsg.Section, rr dns.RR) error {
		if opt, ok := rr.(*dns.OPT); ok && at == dnsmsg.Additional && s.edns == nil {
			s.edns = opt
		}
		if at == dnsmsg.Additional || rr.Header().Class != dns.ClassINET {
			return nil
		}
		if n++; n > maxSignedRecords {
			return dnsmsg.Malformed("more than %d records to verify", maxSignedRecords)
		}
		if at == dnsmsg.Answer {
			s.answer = addSigned(s.answer, rr)
			s.aliases.Add(rr)
		} else {
			s.authority = addSigned(s.authority, rr)
		}
		return nil
	})
	if err != nil {
		return nil, indeterminate("%v", err)
	}
	return s, nil
}

func addSigned(sets []*signedSet, rr dns.RR) []*signedSet {
	name, rrtype := dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype
	rr.Header().Name = name // so that records of one set differ in no letter
	sig, isSig := rr.(*dns.RRSIG)
	if isSig {
		rrtype = sig.TypeCovered
	}
	set := findSigned(sets, name, rrtype)
	if set == nil {
		set = &signedSet{name: name, rrtype: rrtype}
		sets = append(sets, set)
	}
	if isSig {
		set.sigs = append(set.sigs, sig)
	} else {
		set.records = append(set.records, rr)
	}
	return sets
}

func findSigned(sets []*signedSet, name string, rrtype uint16) *signedSet {
	for _, s := range sets {
		if s.rrtype == rrtype && s.name == name {
			return s
		}
	}
	return nil
}

// found returns the set if it has records.
func found(sets []*signedSet, name string, rrtype uint16) *signedSet {
	if s := findSigned(sets, name, rrtype); s != nil && len(s.records) > 0 {
		return s
	}
	return nil
}

// signer returns who claims to have signed the set: a zone that the owner is
// in, and for a DS one above it. It returns "" when nobody does.
func (s *signedSet) signer() string {
	for _, sig := range s.sigs {
		zone := dns.CanonicalName(sig.SignerName)
		if dns.IsSubDomain(zone, s.name) && (s.rrtype != dns.TypeDS || zone != s.name || zone == ".") {
			return zone
		}
	}
	return ""
}

func (s *signedSet) String() string { return dnsmsg.Shown(s.name) + " " + dnsmsg.TypeName(s.rrtype) }

// synthesized returns the DNAME that a CNAME without signature follows from
// (RFC 6672 section 5.3.1), or the set itself.
func (s *signedAnswer) synthesized(set *signedSet) *signedSet {
	if set.rrtype != dns.TypeCNAME || len(set.sigs) > 0 || len(set.records) != 1 {
		return set
	}
	for _, from := range s.answer {
		if from.rrtype != dns.TypeDNAME || len(from.records) != 1 || from.name == set.name || !dns.IsSubDomain(from.name, set.name) {
			continue
		}
		target := strings.TrimSuffix(set.name, from.name) + strings.TrimPrefix(from.records[0].(*dns.DNAME).Target, ".")
		if sameName(set.records[0].(*dns.CNAME).Target, target) {
			return from
		}
	}
	return set
}
