package testnet

import (
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// SignedZone is a zone that signs its records when they are asked for, with one
// key (Ed25519), and that denies with all its NSEC records.
type SignedZone struct {
	Name        string
	Key         *dns.DNSKEY
	From, Until time.Time // of the signatures

	private crypto.Signer
	records map[string]map[uint16][]dns.RR
}

// NewSignedZone returns a zone of a new key and of the records, with an SOA and an
// NS record. Its signatures are valid from an hour ago for 30 days.
func NewSignedZone(name string, records ...string) (*SignedZone, error) {
	z := &SignedZone{
		Name: name, records: make(map[string]map[uint16][]dns.RR),
		From: time.Now().Add(-time.Hour), Until: time.Now().Add(30 * day),
		Key: &dns.DNSKEY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 60}, Flags: 257, Protocol: 3, Algorithm: dns.ED25519},
	}
	private, err := z.Key.Generate(256)
	if err != nil {
		return nil, err
	}
	z.private = private.(crypto.Signer)
	z.Add(z.Key)
	for _, text := range append(records, name+" 60 IN SOA ns.test. admin.test. 1 2 3 4 5", name+" 60 IN NS ns.test.") {
		rr, err := dns.NewRR(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		z.Add(rr)
	}
	return z, nil
}

// Anchor returns the DS record of the zone's key.
func (z *SignedZone) Anchor() *dns.DS { return z.Key.ToDS(dns.SHA256) }

// Add puts a record into the zone.
func (z *SignedZone) Add(rr dns.RR) {
	name := dns.CanonicalName(rr.Header().Name)
	if z.records[name] == nil {
		z.records[name] = make(map[uint16][]dns.RR)
	}
	z.records[name][rr.Header().Rrtype] = append(z.records[name][rr.Header().Rrtype], rr)
}

// Set returns the records of a name and type.
func (z *SignedZone) Set(name string, rrtype uint16) []dns.RR { return z.records[name][rrtype] }

// Sign returns the records, which are a set of any zone, with their signature. What
// cannot be signed stays without.
func (z *SignedZone) Sign(set ...dns.RR) []dns.RR { return z.SignAs(func(*dns.RRSIG) {}, set...) }

// SignAs is Sign with fields of the signature changed before.
func (z *SignedZone) SignAs(change func(*dns.RRSIG), set ...dns.RR) []dns.RR {
	h := set[0].Header()
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: h.Ttl},
		Inception: uint32(z.From.Unix()), Expiration: uint32(z.Until.Unix()),
		KeyTag: z.Key.KeyTag(), SignerName: z.Name, Algorithm: z.Key.Algorithm,
	}
	change(sig)
	if sig.Sign(z.private, set) != nil {
		return slices.Clone(set)
	}
	return append(slices.Clone(set), sig)
}

// Denials returns the zone's chain of NSEC records, signed. It knows the order of
// names of plain letters only.
func (z *SignedZone) Denials() (all []dns.RR) {
	var names []string
	for name := range z.records {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
		slices.Reverse(x)
		slices.Reverse(y)
		return slices.Compare(x, y)
	})
	for i, name := range names {
		types := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
		for rrtype := range z.records[name] {
			types = append(types, rrtype)
		}
		slices.Sort(types)
		all = append(all, z.Sign(&dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 60},
			NextDomain: names[(i+1)%len(names)], TypeBitMap: types,
		})...)
	}
	return all
}

// AnswerSigned answers a query from the zones, children before their parents. A
// query for what is in none of them gets an empty answer.
func AnswerSigned(query *dns.Msg, zones ...*SignedZone) *dns.Msg {
	m := new(dns.Msg).SetReply(query)
	m.SetEdns0(1232, true)
	name, qtype := dns.CanonicalName(query.Question[0].Name), query.Question[0].Qtype
	for _, z := range zones {
		if !dns.IsSubDomain(z.Name, name) || qtype == dns.TypeDS && z.Name == name {
			continue
		}
		switch types := z.records[name]; {
		case types[qtype] != nil:
			m.Answer = z.Sign(types[qtype]...)
		case types[dns.TypeCNAME] != nil:
			m.Answer = z.Sign(types[dns.TypeCNAME]...)
		default:
			if types == nil {
				m.Rcode = dns.RcodeNameError
			}
			m.Ns = append(z.Sign(z.Set(z.Name, dns.TypeSOA)...), z.Denials()...)
		}
		break
	}
	return m
}
