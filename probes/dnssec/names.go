package dnssec

import (
	"bytes"
	"strings"

	"github.com/miekg/dns"
)

// lastLabels returns the end of the name with so many labels.
func lastLabels(name string, n int) string {
	offsets := dns.Split(name)
	switch {
	case n <= 0:
		return "."
	case n > len(offsets):
		return name
	}
	return name[offsets[len(offsets)-n]:]
}

// nameOrder compares names in the canonical order (RFC 4034 section 6.1).
func nameOrder(a, b string) int {
	x, y := wireLabels(a), wireLabels(b)
	for i := 1; i <= min(len(x), len(y)); i++ {
		if c := bytes.Compare(x[len(x)-i], y[len(y)-i]); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// sameName compares names without regard to case.
func sameName(a, b string) bool { return strings.EqualFold(a, b) }

// parentOf returns the name without its first label.
func parentOf(name string) string {
	next, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[next:]
}

// wireLabels returns a name's labels as they are on the wire, in lower case.
func wireLabels(name string) (labels [][]byte) {
	buf := make([]byte, 256)
	end, err := dns.PackDomainName(dns.CanonicalName(name), buf, 0, nil, false)
	if err != nil {
		return nil
	}
	for off := 0; off < end && buf[off] > 0; off += int(buf[off]) + 1 {
		labels = append(labels, buf[off+1:off+1+int(buf[off])])
	}
	return labels
}

// wildcardAt returns the name of the wildcard below a name.
func wildcardAt(name string) string {
	if name == "." {
		return "*."
	}
	return "*." + name
}

// ownLabels counts a name's labels as RRSIG does: without root and wildcard
// (RFC 4034 section 3.1.3).
func ownLabels(name string) int {
	n := dns.CountLabel(name)
	if strings.HasPrefix(name, "*.") {
		n--
	}
	return n
}
