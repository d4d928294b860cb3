package probes

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// restriction is the key of a context's rule about addresses.
type restriction struct{}

// Restrict returns a context in which probes do not go to the addresses that
// denied gives a reason against. It is asked about every address after names
// are resolved, those of redirects and proxies included, so that a name which
// changes between two look-ups does not get around it. Behind a proxy it is asked
// about a target that is an address; a name is resolved by the proxy, whose own
// rules are all that holds there. A probe whose addresses are all denied ends with
// local.permission.
func Restrict(ctx context.Context, denied func(netip.Addr) error) context.Context {
	return context.WithValue(ctx, restriction{}, denied)
}

// literalAddr returns the address that a host is, the zero Addr for a name. It
// knows the forms that a C library takes beside the usual one (inet_aton: a part
// may be octal or hexadecimal, and the last one stands for all that are left
// out), for whoever gets the host from us may resolve it with one.
func literalAddr(host string) netip.Addr {
	host = strings.TrimSuffix(host, ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}
	}
	var bits uint32
	for i, part := range parts {
		room := 8 // bits of the part
		if i == len(parts)-1 {
			room = 32 - 8*i
		}
		n, err := strconv.ParseUint(part, 0, room)
		if err != nil || strings.ContainsAny(part, "_bo") && !strings.HasPrefix(part, "0x") {
			return netip.Addr{}
		}
		bits |= uint32(n) << (32 - 8*i - room)
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, bits)))
}

// permitted returns the addresses that the context lets probes go to. Without
// one it returns why.
func permitted(ctx context.Context, addrs []netip.Addr) ([]netip.Addr, *check.Reason) {
	denied, _ := ctx.Value(restriction{}).(func(netip.Addr) error)
	if denied == nil || len(addrs) == 0 {
		return addrs, nil
	}
	var rest []netip.Addr
	var last error
	for _, addr := range addrs {
		if err := denied(addr); err != nil {
			last = err
			continue
		}
		rest = append(rest, addr)
	}
	if len(rest) == 0 {
		return nil, &check.Reason{Code: check.LocalPermission, Message: "not allowed to go there: " + last.Error()}
	}
	return rest, nil
}

// Addresses by which machines of clouds learn secrets of theirs: credentials,
// user data, the configuration of their agent.
var metadataPrefixes = [...]struct{ prefix, whose string }{
	{"169.254.0.0/16", "link-local, where the metadata services of clouds are"},
	{"100.100.100.200/32", "metadata service of Alibaba Cloud"},
	{"168.63.129.16/32", "agent's service of Azure"},
	{"192.0.0.192/32", "metadata service of Oracle Cloud"},
	{"fd00:ec2::/32", "metadata services of AWS"},
	{"fd20:ce::254/128", "metadata service of Google Cloud"},
	{"fe80::/10", "link-local, where the metadata services of clouds are"},
}

// DenyMetadata is a rule for [Restrict]: the metadata services of clouds, also
// when an IPv6 address stands for their IPv4 address (mapped, RFC 4291 section
// 2.5.5; NAT64, RFC 6052; 6to4, RFC 3056), and the unspecified addresses, which
// mean this machine.
func DenyMetadata(addr netip.Addr) error {
	if addr.Unmap().IsUnspecified() {
		return fmt.Errorf("%s is no address of a target", addr)
	}
	for _, a := range [...]netip.Addr{addr.Unmap().WithZone(""), embedded(addr)} {
		for _, m := range metadataPrefixes {
			if netip.MustParsePrefix(m.prefix).Contains(a) {
				return fmt.Errorf("%s (%s)", addr, m.whose)
			}
		}
	}
	return nil
}

// embedded returns the IPv4 address inside an IPv6 address that is translated
// to it on the way; the zero Addr when there is none.
func embedded(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return netip.Addr{}
	}
	b := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr), netip.MustParsePrefix("64:ff9b:1::/48").Contains(addr),
		netip.MustParsePrefix("::/96").Contains(addr): // the last is obsolete and still translated by some
		return netip.AddrFrom4([4]byte(b[12:16]))
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
}
