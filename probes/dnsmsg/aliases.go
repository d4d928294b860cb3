package dnsmsg

import "github.com/miekg/dns"

// MaxAliases is how many CNAME records in a row are followed, as in BIND.
const MaxAliases = 16

// Aliases follows the CNAMEs of an answer from one name to the last.
type Aliases struct {
	next map[string]string // owner to target, canonical
}

// Add takes the record into account if it is a CNAME.
func (a *Aliases) Add(rr dns.RR) {
	cname, ok := rr.(*dns.CNAME)
	if !ok {
		return
	}
	if a.next == nil {
		a.next = make(map[string]string, 4)
	}
	if len(a.next) <= MaxAliases {
		a.next[dns.CanonicalName(cname.Hdr.Name)] = cname.Target
	}
}

// Follow returns the aliases in order, the last being the canonical name; none
// when name is no alias, or the question is for aliases themselves.
func (a *Aliases) Follow(name string, qtype uint16) ([]string, error) {
	if qtype == dns.TypeCNAME || qtype == dns.TypeANY {
		return nil, nil
	}
	var aliases []string
	for at := dns.CanonicalName(name); ; {
		target, ok := a.next[at]
		if !ok {
			return aliases, nil
		}
		if len(aliases) == MaxAliases {
			return aliases, Malformed("CNAME records loop, or follow each other more than %d times", MaxAliases)
		}
		aliases = append(aliases, target)
		at = dns.CanonicalName(target)
	}
}
