package dnssec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/miekg/dns"
)

// Anchors are the keys that are trusted, by the canonical name of their zone.
type Anchors map[string][]*dns.DS

// Limits of a file of trust anchors.
const (
	maxAnchorFile = 1 << 20
	maxAnchors    = 256
)

// Root returns the root zone's key signing keys of 2017 and 2024, from
// https://data.iana.org/root-anchors/root-anchors.xml.
func Root() Anchors {
	return Anchors{".": {
		{KeyTag: 20326, Algorithm: dns.RSASHA256, DigestType: dns.SHA256, Digest: "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"},
		{KeyTag: 38696, Algorithm: dns.RSASHA256, DigestType: dns.SHA256, Digest: "683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"},
	}}
}

// Add trusts a DS or DNSKEY record in the format of zone files.
func (a Anchors) Add(text string) error {
	rr, err := dns.NewRR(text)
	if err != nil {
		return err
	}
	if rr == nil {
		return errors.New("it is empty")
	}
	return a.add(rr)
}

// add trusts a DS or DNSKEY record.
func (a Anchors) add(rr dns.RR) error {
	zone := dns.CanonicalName(rr.Header().Name)
	var ds *dns.DS
	switch rr := rr.(type) {
	case *dns.DS:
		ds = rr
	case *dns.DNSKEY:
		if rr.Flags&dns.ZONE == 0 || rr.Flags&dns.REVOKE != 0 {
			return errors.New("it is revoked, or no key of a zone")
		}
		ds = rr.ToDS(dns.SHA256)
	}
	if ds == nil {
		return errors.New("it is not a DS or DNSKEY record")
	}
	if !supportedDS(ds) {
		return fmt.Errorf("its algorithm %d or digest %d is not supported", ds.Algorithm, ds.DigestType)
	}
	a[zone] = append(a[zone], ds)
	return nil
}

// ReadFile trusts the DS and DNSKEY records of a zone file. There must be one.
func (a Anchors) ReadFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	parser := dns.NewZoneParser(io.LimitReader(f, maxAnchorFile), ".", file)
	parser.SetDefaultTTL(0)
	n := 0
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if n++; n > maxAnchors {
			return fmt.Errorf("%s has more than %d records", file, maxAnchors)
		}
		if err := a.add(rr); err != nil {
			return fmt.Errorf("%s: %s: %w", file, rr.Header().Name, err)
		}
	}
	if err := parser.Err(); err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%s has no DS or DNSKEY record", file)
	}
	return nil
}

// closest returns the zone of the anchors that is the name or nearest above it.
func (a Anchors) closest(name string) (string, bool) {
	for at := name; ; at = parentOf(at) {
		if _, ok := a[at]; ok {
			return at, true
		}
		if at == "." {
			return "", false
		}
	}
}

// supportedAlgorithm reports whether a signature of the algorithm can be
// verified. SHA-1 counts as not signed (RFC 9905).
func supportedAlgorithm(algorithm uint8) bool {
	return slices.Contains([]uint8{dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519}, algorithm)
}

func supportedDS(ds *dns.DS) bool {
	return supportedAlgorithm(ds.Algorithm) && (ds.DigestType == dns.SHA256 || ds.DigestType == dns.SHA384)
}
