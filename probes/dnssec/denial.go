package dnssec

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// denied is what is proved not to exist.
type denied int

// What can be denied of a name and a type.
const (
	deniedNothing    denied = iota
	deniedType              // the name has no record of the type
	deniedDelegation        // and it is delegated
	deniedName              // the name does not exist
	deniedOptOut            // the name may exist as a delegation that is not signed
)

// denials are the verified proofs of an answer: NSEC (RFC 4034 section 4) or
// NSEC3 (RFC 5155).
type denials struct {
	v     *Validator
	zone  string
	nsec  []*dns.NSEC
	nsec3 []*dns.NSEC3
	known map[string]string // hashes of names
	doubt *mistrust         // the proofs hold only so far
}

// proofs verifies the NSEC and NSEC3 records of a section. Those that do not
// verify are no proofs; when none does, that is the doubt.
func (v *Validator) proofs(sets []*signedSet, zone *signedZone) (*denials, *mistrust) {
	p := &denials{v: v, zone: zone.name, known: make(map[string]string)}
	var last *mistrust
	for _, set := range sets {
		if set.rrtype != dns.TypeNSEC && set.rrtype != dns.TypeNSEC3 || len(set.records) != 1 {
			continue
		}
		labels, doubt := v.verify(set, zone)
		if doubt == nil && labels != ownLabels(set.name) {
			doubt = bogus("%s comes from a wildcard and proves nothing", set)
		}
		if doubt != nil {
			if doubt.status == Indeterminate {
				return nil, doubt
			}
			last = doubt
			continue
		}
		p.keep(set.records[0])
	}
	if last != nil && len(p.nsec) == 0 && len(p.nsec3) == 0 && p.doubt == nil {
		return nil, last
	}
	return p, nil
}

func (p *denials) keep(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.NSEC:
		p.nsec = append(p.nsec, rr)
	case *dns.NSEC3:
		switch {
		case rr.Hash != dns.SHA1 || rr.Flags > 1: // RFC 5155 sections 8.1 and 8.2
		case rr.Iterations > maxIterations:
			p.doubt = insecure("NSEC3 of %s with %d iterations, more than %d", dnsmsg.Shown(p.zone), rr.Iterations, maxIterations)
		case len(p.nsec3) > 0 && (rr.Iterations != p.nsec3[0].Iterations || rr.Salt != p.nsec3[0].Salt):
		default:
			p.nsec3 = append(p.nsec3, rr)
		}
	}
}

// deny tells what the proofs say of the name and the type.
func (p *denials) deny(name string, qtype uint16) denied {
	if len(p.nsec) > 0 {
		if got := p.denyNSEC(name, qtype); got != deniedNothing {
			return got
		}
	}
	if len(p.nsec3) > 0 {
		return p.denyNSEC3(name, qtype)
	}
	return deniedNothing
}

// deniedByTypes tells what the types at a name itself say.
func deniedByTypes(name string, types []uint16, qtype uint16) denied {
	has := func(t uint16) bool { return slices.Contains(types, t) }
	delegated := has(dns.TypeNS) && !has(dns.TypeSOA)
	switch {
	case qtype == dns.TypeANY, has(qtype), has(dns.TypeCNAME):
		return deniedNothing
	case delegated && qtype == dns.TypeDS:
		return deniedDelegation
	case delegated: // the parent knows nothing of other types (RFC 6840 section 4.1)
		return deniedNothing
	case qtype == dns.TypeDS && has(dns.TypeSOA) && name != ".": // the child's own
		return deniedNothing
	}
	return deniedType
}

// noTypes is deniedByTypes for a wildcard, where a delegation means nothing.
func noTypes(types []uint16, qtype uint16) bool {
	return qtype != dns.TypeANY && !slices.Contains(types, qtype) && !slices.Contains(types, dns.TypeCNAME)
}

func (p *denials) denyNSEC(name string, qtype uint16) denied {
	for _, n := range p.nsec {
		if sameName(n.Hdr.Name, name) {
			return deniedByTypes(name, n.TypeBitMap, qtype)
		}
	}
	cover := p.coverNSEC(name)
	if cover == nil {
		return deniedNothing
	}
	if dns.IsSubDomain(name, dns.CanonicalName(cover.NextDomain)) {
		return deniedType // an empty non-terminal
	}
	wildcard := wildcardAt(encloser(name, cover))
	for _, n := range p.nsec {
		if sameName(n.Hdr.Name, wildcard) {
			if noTypes(n.TypeBitMap, qtype) {
				return deniedType
			}
			return deniedNothing
		}
	}
	if p.coverNSEC(wildcard) != nil {
		return deniedName
	}
	return deniedNothing
}

// coverNSEC returns the record that the name would lie behind.
func (p *denials) coverNSEC(name string) *dns.NSEC {
	for _, n := range p.nsec {
		owner, next := dns.CanonicalName(n.Hdr.Name), dns.CanonicalName(n.NextDomain)
		if !dns.IsSubDomain(p.zone, name) || !dns.IsSubDomain(p.zone, next) {
			continue
		}
		after, before := nameOrder(owner, name) < 0, nameOrder(name, next) < 0
		if last := nameOrder(next, owner) <= 0; !after || !before && !last {
			continue
		}
		if dns.IsSubDomain(owner, name) && cutAt(n.TypeBitMap) {
			continue // it is the child that knows (RFC 6840 section 4.1)
		}
		return n
	}
	return nil
}

// cutAt reports whether the names below are not of the zone.
func cutAt(types []uint16) bool {
	return slices.Contains(types, dns.TypeDNAME) || slices.Contains(types, dns.TypeNS) && !slices.Contains(types, dns.TypeSOA)
}

// encloser returns the closest ancestor of the name that exists, as the record
// that covers it shows.
func encloser(name string, cover *dns.NSEC) string {
	labels := max(dns.CompareDomainName(name, cover.Hdr.Name), dns.CompareDomainName(name, cover.NextDomain))
	return lastLabels(name, labels)
}

// hash returns the name's hash with the parameters of the proofs, "" when there
// were too many.
func (p *denials) hash(name string) string {
	hash, ok := p.known[name]
	if ok {
		return hash
	}
	if p.v.hashed++; p.v.hashed > maxHashed {
		p.doubt = indeterminate("more than %d names to hash for NSEC3", maxHashed)
		return ""
	}
	hash = dns.HashName(name, dns.SHA1, p.nsec3[0].Iterations, p.nsec3[0].Salt)
	p.known[name] = hash
	return hash
}

// matchNSEC3 returns the record of the name itself.
func (p *denials) matchNSEC3(name string) *dns.NSEC3 {
	hash := p.hash(name)
	for _, n := range p.nsec3 {
		if owner := hashOf(n); hash != "" && owner == hash && sameName(parentOf(n.Hdr.Name), p.zone) {
			return n
		}
	}
	return nil
}

// hashOf returns the hash in the owner of an NSEC3 record.
func hashOf(n *dns.NSEC3) string {
	hash, _, _ := strings.Cut(n.Hdr.Name, ".")
	return strings.ToUpper(hash)
}

// coverNSEC3 returns the record that the name's hash would lie behind.
func (p *denials) coverNSEC3(name string) *dns.NSEC3 {
	hash := p.hash(name)
	if hash == "" {
		return nil
	}
	for _, n := range p.nsec3 {
		owner, next := hashOf(n), strings.ToUpper(n.NextDomain)
		if !sameName(parentOf(n.Hdr.Name), p.zone) {
			continue
		}
		after, before := owner < hash, hash < next
		if last := next <= owner; after && before || last && (after || before) {
			return n
		}
	}
	return nil
}

// encloserNSEC3 returns the closest ancestor of the name that exists and the
// name one label longer (RFC 5155 section 8.3).
func (p *denials) encloserNSEC3(name string) (closest, next string, ok bool) {
	if !dns.IsSubDomain(p.zone, name) {
		return "", "", false
	}
	for at := name; at != p.zone; {
		next, at = at, parentOf(at)
		n := p.matchNSEC3(at)
		if n == nil {
			continue
		}
		return at, next, !cutAt(n.TypeBitMap)
	}
	return "", "", false
}

func (p *denials) denyNSEC3(name string, qtype uint16) denied {
	if n := p.matchNSEC3(name); n != nil {
		return deniedByTypes(name, n.TypeBitMap, qtype)
	}
	closest, next, ok := p.encloserNSEC3(name)
	if !ok {
		return deniedNothing
	}
	cover := p.coverNSEC3(next)
	if cover == nil {
		return deniedNothing
	}
	if cover.Flags&1 != 0 {
		return deniedOptOut // RFC 5155 sections 8.6 and 9.2
	}
	if n := p.matchNSEC3(wildcardAt(closest)); n != nil && noTypes(n.TypeBitMap, qtype) {
		return deniedType
	}
	if p.coverNSEC3(wildcardAt(closest)) != nil {
		return deniedName
	}
	return deniedNothing
}

// noCloser reports whether nothing is nearer to the name than the wildcard
// whose signature counts so many labels: no name between them exists, not even
// one that has no records (RFC 4592 section 3.3).
func (p *denials) noCloser(name string, labels int) bool {
	if cover := p.coverNSEC(name); cover != nil && dns.CountLabel(encloser(name, cover)) == labels {
		return true
	}
	if len(p.nsec3) == 0 {
		return false
	}
	cover := p.coverNSEC3(lastLabels(name, labels+1))
	if cover != nil && cover.Flags&1 != 0 && p.doubt == nil {
		p.doubt = insecure("%s comes from a wildcard, and may be delegated without a signature (NSEC3 opt-out)", dnsmsg.Shown(name))
	}
	return cover != nil
}
