package config

import (
	"fmt"
	"net/netip"

	"gopkg.in/yaml.v3"
)

// maxPrefixAddresses is the largest number of addresses that one prefix may stand
// for: a /16 of IPv4.
const maxPrefixAddresses = 1 << 16

// eachCIDR reads a prefix or a list of them and returns their addresses.
func (f *file) eachCIDR(n *yaml.Node, name string) []eachValue {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	if len(items) == 0 {
		f.problem(n, name+" has no values", "")
	}
	var values []eachValue
	failed := false
	for _, item := range items {
		text, ok := f.eachText(item, name)
		if !ok {
			failed = true
			continue
		}
		prefix, err := eachPrefix(text.text)
		if err != nil {
			// What is wrong may quote a secret.
			message := name + ": " + err.Error()
			if len(text.spans) > 0 {
				message = name + ": " + text.masked() + " is not a prefix that can be used"
			}
			f.problem(item, message, "write each: {host: {cidr: 192.0.2.0/28}}")
			failed = true
			continue
		}
		at := place{f.src.name, int32(item.Line), int32(item.Column)}
		for _, addr := range hostsOf(prefix) {
			values = append(values, eachValue{text: addr.String(), secret: len(text.spans) > 0, place: at})
		}
	}
	if failed {
		return nil
	}
	return values
}

// eachPrefix reads a prefix that is not too large to expand.
func eachPrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is not a prefix such as 192.0.2.0/28", text)
	case p != p.Masked():
		return p, fmt.Errorf("%s has bits set behind the prefix, write %s", p, p.Masked())
	}
	free := p.Addr().BitLen() - p.Bits()
	switch {
	case free > 32:
		return p, fmt.Errorf("%s has more than %d addresses", p, maxPrefixAddresses)
	case 1<<free > maxPrefixAddresses:
		return p, fmt.Errorf("%s has %d addresses, more than %d", p, uint64(1)<<free-uint64(noHosts(p)), maxPrefixAddresses)
	}
	return p, nil
}

// noHosts is how many addresses of a prefix are no host's: that of the network
// and the one for broadcasts. A prefix of one or two addresses has none
// (RFC 3021), nor has one of IPv6.
func noHosts(p netip.Prefix) int {
	if p.Addr().Is4() && p.Bits() <= 30 {
		return 2
	}
	return 0
}

// hostsOf returns the addresses of a prefix but those that are no host's.
func hostsOf(p netip.Prefix) []netip.Addr {
	out := make([]netip.Addr, 0, 1<<(p.Addr().BitLen()-p.Bits()))
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		out = append(out, a)
	}
	if noHosts(p) > 0 {
		return out[1 : len(out)-1]
	}
	return out
}
