package dnssec

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// Bounds of one validation, against answers that are made to cost much.
const (
	maxChainQueries  = 64
	maxSignedRecords = 512 // of one answer
	maxDNSKEYs       = 32  // of one zone
	maxKeyText       = 700 // a key of 4096 bits in base64, characters
	maxTries         = 8   // signatures verified for one set of records
	maxVerified      = 128 // in all
	maxHashed        = 512 // names hashed for NSEC3, in all
	maxIterations    = 150 // of NSEC3; more counts as not signed (RFC 9276 section 3.2)
)

// Validator follows the chain of trust from an anchor to an answer. It is used
// once.
type Validator struct {
	anchors Anchors
	now     time.Time
	fetch   Fetch

	zones            map[string]*signedZone // zones whose keys are verified, and names inside them that are no zones
	queries          int
	verified, hashed int
	expires          time.Time // of the first signature
	chain            []string
}

// signedZone is a zone with its verified keys.
type signedZone struct {
	name string
	keys []zoneKey
	end  bool // only as the zone of a name that does not exist: nothing is below it
}

// zoneKey is a key with its tag, which costs as much as to read the key.
type zoneKey struct {
	*dns.DNSKEY
	tag uint16
}

// query asks a question of the chain.
func (v *Validator) query(ctx context.Context, name string, qtype uint16) (dnsmsg.Message, *check.Reason) {
	if v.queries++; v.queries > maxChainQueries {
		return nil, &check.Reason{Code: check.DNSMalformed, Message: fmt.Sprintf("the chain needs more than %d questions", maxChainQueries)}
	}
	return v.fetch(ctx, name, qtype)
}

func (v *Validator) signed(ctx context.Context, name string, qtype uint16) (*signedAnswer, *mistrust) {
	msg, reason := v.query(ctx, name, qtype)
	if reason != nil {
		return nil, unanswered(name, qtype, reason)
	}
	if msg.Truncated() {
		return nil, indeterminate("the answer to the question for %s %s was cut", dnsmsg.Shown(name), dnsmsg.TypeName(qtype))
	}
	s, doubt := readSigned(msg)
	if doubt == nil && s.rcode != dns.RcodeSuccess && s.rcode != dns.RcodeNameError {
		doubt = unanswered(name, qtype, dnsmsg.RcodeReason(s.rcode, name, "the server"))
	}
	return s, doubt
}

// judge returns nil when the answer is secure, else why it is not.
func (v *Validator) judge(ctx context.Context, name string, qtype uint16, m dnsmsg.Message) *mistrust {
	s, doubt := readSigned(m)
	if doubt != nil {
		return doubt
	}
	aliases, err := s.aliases.Follow(name, qtype)
	if err != nil {
		return indeterminate("%v", err)
	}
	s.rcode = m.FullRcode(s.edns)
	if s.rcode != dns.RcodeSuccess && s.rcode != dns.RcodeNameError {
		return indeterminate("the server answers %s", dnsmsg.RcodeName(s.rcode))
	}
	name = dns.CanonicalName(name)
	var weakest *mistrust
	for _, target := range aliases {
		alias := found(s.answer, name, dns.TypeCNAME)
		if alias == nil {
			return bogus("%s is no alias", dnsmsg.Shown(name)) // cannot happen: it was followed
		}
		if weakest = worse(weakest, v.judgeSet(ctx, s, alias)); weakest != nil && weakest.status != Insecure {
			return weakest
		}
		name = dns.CanonicalName(target)
	}
	return worse(weakest, v.judgeEnd(ctx, s, name, qtype, len(aliases) > 0))
}

// judgeEnd judges what an answer says of the name at the end of the aliases.
func (v *Validator) judgeEnd(ctx context.Context, s *signedAnswer, name string, qtype uint16, aliased bool) *mistrust {
	set := found(s.answer, name, qtype)
	switch {
	case qtype == dns.TypeANY:
		return v.judgeAll(ctx, s, name)
	case set != nil && s.rcode == dns.RcodeNameError:
		return bogus("the server answers NXDOMAIN with %s", set)
	case set != nil:
		return v.judgeSet(ctx, s, set)
	case aliased && len(s.authority) == 0:
		return indeterminate("the answer ends at the alias %s", dnsmsg.Shown(name))
	}
	return v.judgeDenial(ctx, s, name, qtype)
}

// judgeAll judges all sets of the name.
func (v *Validator) judgeAll(ctx context.Context, s *signedAnswer, name string) (weakest *mistrust) {
	seen := false
	for _, set := range s.answer {
		if set.name == name && len(set.records) > 0 {
			seen = true
			weakest = worse(weakest, v.judgeSet(ctx, s, set))
		}
	}
	if !seen {
		return v.judgeDenial(ctx, s, name, dns.TypeANY)
	}
	return weakest
}

// judgeSet judges a set of an answer.
func (v *Validator) judgeSet(ctx context.Context, s *signedAnswer, set *signedSet) *mistrust {
	set = s.synthesized(set)
	signer := set.signer()
	at := signer
	if at == "" {
		at = set.name
		if set.rrtype == dns.TypeDS && at != "." {
			at = parentOf(at)
		}
	}
	zone, doubt := v.zoneOf(ctx, at)
	switch {
	case doubt != nil:
		return doubt
	case signer == "":
		return bogus("%s has no signature, but the zone %s is signed", set, dnsmsg.Shown(zone.name))
	case zone.name != signer:
		return bogus("%s is signed by %s, which is no zone", set, dnsmsg.Shown(signer))
	}
	labels, doubt := v.verify(set, zone)
	if doubt != nil || labels == ownLabels(set.name) {
		return doubt
	}
	// A wildcard's records: the name itself must not exist (RFC 4035 section 5.3.4).
	proofs, doubt := v.proofs(s.authority, zone)
	if doubt != nil {
		return doubt
	}
	if !proofs.noCloser(set.name, labels) && proofs.doubt == nil {
		return bogus("%s comes from a wildcard, and nothing proves that the name does not exist itself", set)
	}
	return proofs.doubt
}

// verify checks that the zone signed the set and returns how many labels the
// signature counts.
func (v *Validator) verify(set *signedSet, zone *signedZone) (labels int, doubt *mistrust) {
	doubt = bogus("%s has no signature of %s with a known key and algorithm", set, dnsmsg.Shown(zone.name))
	tries := 0
	for _, sig := range set.sigs {
		if !sameName(sig.SignerName, zone.name) || !supportedAlgorithm(sig.Algorithm) || int(sig.Labels) > ownLabels(set.name) || !dns.IsSubDomain(zone.name, set.name) {
			continue
		}
		if !v.holds(sig) {
			doubt = bogus("the signature of %s is valid from %s to %s", set, dns.TimeToString(sig.Inception), dns.TimeToString(sig.Expiration))
			continue
		}
		for _, key := range zone.keys {
			if key.Algorithm != sig.Algorithm || key.tag != sig.KeyTag {
				continue
			}
			if tries++; tries > maxTries {
				return 0, bogus("%s has more than %d signatures and keys to try", set, maxTries)
			}
			if v.verified++; v.verified > maxVerified {
				return 0, indeterminate("more than %d signatures to verify", maxVerified)
			}
			if err := sig.Verify(key.DNSKEY, set.records); err != nil {
				doubt = bogus("the signature of %s by the key %d of %s does not verify", set, sig.KeyTag, dnsmsg.Shown(zone.name))
				continue
			}
			v.lasts(sig)
			return int(sig.Labels), nil
		}
	}
	return 0, doubt
}

// holds reports whether a signature is valid now. Its times are in serial
// arithmetic (RFC 4034 section 3.1.5).
func (v *Validator) holds(sig *dns.RRSIG) bool {
	notBefore := func(a, b uint32) bool { return int32(a-b) >= 0 }
	now := uint32(v.now.Unix())
	return notBefore(now, sig.Inception) && notBefore(sig.Expiration, now) && notBefore(sig.Expiration, sig.Inception)
}

// lasts notes when a signature that holds expires.
func (v *Validator) lasts(sig *dns.RRSIG) {
	now := v.now.Unix()
	until := time.Unix(now+int64(int32(sig.Expiration-uint32(now))), 0)
	if v.expires.IsZero() || until.Before(v.expires) {
		v.expires = until
	}
}

// zoneOf returns the signed zone that a name is in, following the delegations
// from the anchor to the name.
func (v *Validator) zoneOf(ctx context.Context, name string) (*signedZone, *mistrust) {
	top, ok := v.anchors.closest(name)
	if !ok {
		return nil, indeterminate("no trust anchor is above %s", dnsmsg.Shown(name))
	}
	var doubt *mistrust
	zone := v.zones[top]
	if zone == nil {
		if zone, doubt = v.enter(ctx, top, v.anchors[top]); doubt != nil {
			return nil, doubt
		}
	}
	offsets := dns.Split(name)
	for i := len(offsets) - dns.CountLabel(top) - 1; i >= 0 && !zone.end; i-- {
		child := name[offsets[i]:]
		next := v.zones[child]
		if next == nil {
			if next, doubt = v.step(ctx, zone, child); doubt != nil {
				return nil, doubt
			}
			v.remember(child, next)
		}
		zone = next
	}
	return zone, nil
}

func (v *Validator) remember(name string, zone *signedZone) {
	if v.zones == nil {
		v.zones = make(map[string]*signedZone)
	}
	v.zones[name] = zone
}

// enter fetches the keys of a zone and verifies them by the DS records.
func (v *Validator) enter(ctx context.Context, name string, trusted []*dns.DS) (*signedZone, *mistrust) {
	trusted = slices.DeleteFunc(slices.Clone(trusted), func(ds *dns.DS) bool { return !supportedDS(ds) })
	if len(trusted) == 0 {
		return nil, insecure("%s is signed with unknown algorithms only", dnsmsg.Shown(name))
	}
	s, doubt := v.signed(ctx, name, dns.TypeDNSKEY)
	if doubt != nil {
		return nil, doubt
	}
	set := found(s.answer, name, dns.TypeDNSKEY)
	if set == nil {
		return nil, bogus("%s has no DNSKEY, but a trusted DS", dnsmsg.Shown(name))
	}
	if len(set.records) > maxDNSKEYs {
		return nil, bogus("%s has more than %d keys", dnsmsg.Shown(name), maxDNSKEYs)
	}
	zone, entry := &signedZone{name: name}, &signedZone{name: name}
	for _, rr := range set.records {
		key := zoneKey{rr.(*dns.DNSKEY), 0}
		if key.Flags&dns.ZONE == 0 || key.Flags&dns.REVOKE != 0 || key.Protocol != 3 || !supportedAlgorithm(key.Algorithm) || len(key.PublicKey) > maxKeyText {
			continue
		}
		key.tag = key.KeyTag()
		zone.keys = append(zone.keys, key)
		if anchored(key, trusted) {
			entry.keys = append(entry.keys, key)
		}
	}
	if len(entry.keys) == 0 {
		return nil, bogus("no key of %s has a trusted DS", dnsmsg.Shown(name))
	}
	if _, doubt := v.verify(set, entry); doubt != nil {
		return nil, doubt
	}
	v.chain = append(v.chain, name)
	v.remember(name, zone)
	return zone, nil
}

// anchored reports whether a trusted DS is of the key.
func anchored(key zoneKey, trusted []*dns.DS) bool {
	for _, ds := range trusted[:min(len(trusted), maxDNSKEYs)] {
		if ds.KeyTag != key.tag || ds.Algorithm != key.Algorithm {
			continue
		}
		if made := key.ToDS(ds.DigestType); made != nil && strings.EqualFold(made.Digest, ds.Digest) {
			return true
		}
	}
	return false
}

// step goes one label down from a zone: to another signed zone, to the same one
// when the name is no delegation, or to none when what is below is not signed
// (RFC 4035 section 5.2).
func (v *Validator) step(ctx context.Context, zone *signedZone, child string) (*signedZone, *mistrust) {
	s, doubt := v.signed(ctx, child, dns.TypeDS)
	if doubt != nil {
		return nil, doubt
	}
	if set := found(s.answer, child, dns.TypeDS); set != nil {
		if _, doubt := v.verify(set, zone); doubt != nil {
			return nil, doubt
		}
		var trusted []*dns.DS
		for _, rr := range set.records {
			trusted = append(trusted, rr.(*dns.DS))
		}
		return v.enter(ctx, child, trusted)
	}
	for _, set := range s.answer { // an alias is no delegation
		alias := set.rrtype == dns.TypeCNAME && set.name == child || set.rrtype == dns.TypeDNAME && dns.IsSubDomain(set.name, child)
		if !alias || len(set.records) == 0 || len(set.sigs) == 0 {
			continue
		}
		_, doubt := v.verify(set, zone)
		return zone, doubt
	}
	proofs, doubt := v.proofs(s.authority, zone)
	if doubt != nil {
		return nil, doubt
	}
	switch proofs.deny(child, dns.TypeDS) {
	case deniedDelegation, deniedOptOut:
		return nil, insecure("%s is not signed: %s delegates it without a DS", dnsmsg.Shown(child), dnsmsg.Shown(zone.name))
	case deniedType:
		return zone, proofs.doubt
	case deniedName:
		return &signedZone{name: zone.name, keys: zone.keys, end: true}, proofs.doubt
	}
	if proofs.doubt != nil {
		return nil, proofs.doubt
	}
	return nil, bogus("%s has no DS, and nothing proves that", dnsmsg.Shown(child))
}

// judgeDenial judges an answer that there is no such record or name.
func (v *Validator) judgeDenial(ctx context.Context, s *signedAnswer, name string, qtype uint16) *mistrust {
	at := name
	if qtype == dns.TypeDS && at != "." {
		at = parentOf(at)
	}
	for _, set := range s.authority {
		if signer := set.signer(); signer != "" && dns.IsSubDomain(signer, name) {
			at = signer
			break
		}
	}
	zone, doubt := v.zoneOf(ctx, at)
	if doubt != nil {
		return doubt
	}
	proofs, doubt := v.proofs(s.authority, zone)
	if doubt != nil {
		return doubt
	}
	got := proofs.deny(name, qtype)
	switch {
	case proofs.doubt != nil:
		return proofs.doubt
	case got == deniedOptOut:
		return insecure("%s may be delegated without a signature (NSEC3 opt-out)", dnsmsg.Shown(name))
	case got == deniedDelegation && qtype == dns.TypeDS, got == deniedType && s.rcode == dns.RcodeSuccess, got == deniedName && s.rcode == dns.RcodeNameError:
		return nil
	}
	return bogus("nothing proves that there is no %s %s", dnsmsg.Shown(name), dnsmsg.TypeName(qtype))
}
