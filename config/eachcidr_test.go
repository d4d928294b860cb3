package config

import (
	"net/netip"
	"testing"
)

func TestHostsOfAPrefix(t *testing.T) {
	for prefix, want := range map[string]struct {
		n           int
		first, last string
	}{
		"192.0.2.0/28":       {14, "192.0.2.1", "192.0.2.14"},
		"192.0.2.4/30":       {2, "192.0.2.5", "192.0.2.6"},
		"192.0.2.4/31":       {2, "192.0.2.4", "192.0.2.5"},
		"255.255.255.255/32": {1, "255.255.255.255", "255.255.255.255"},
		"255.255.255.0/24":   {254, "255.255.255.1", "255.255.255.254"},
		"10.1.0.0/16":        {65534, "10.1.0.1", "10.1.255.254"},
		"2001:db8::/112":     {65536, "2001:db8::", "2001:db8::ffff"},
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128": {1, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		p, err := eachPrefix(prefix)
		if err != nil {
			t.Fatal(err)
		}
		got := hostsOf(p)
		if len(got) != want.n || got[0] != netip.MustParseAddr(want.first) || got[len(got)-1] != netip.MustParseAddr(want.last) {
			t.Errorf("%s: %d from %s to %s", prefix, len(got), got[0], got[len(got)-1])
		}
	}
	for _, prefix := range []string{"0.0.0.0/0", "::/0", "10.0.0.0/15", "fe80::%eth0/64", "192.0.2.1", "a/b", "", "192.0.2.1/24", "10.0.0.0/33"} {
		if p, err := eachPrefix(prefix); err == nil {
			t.Errorf("%s is taken as %s", prefix, p)
		}
	}
}
