package dnsmsg

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
)

// Shown returns an absolute name without its final dot, as people write it.
func Shown(name string) string {
	if name == "." {
		return name
	}
	return strings.TrimSuffix(name, ".")
}

// TypeName returns the name of a record type, as dig shows it.
func TypeName(qtype uint16) string { return dns.Type(qtype).String() }

// RcodeName returns a response code's name, as dig shows it.
func RcodeName(rcode int) string {
	if rcode == dns.RcodeBadVers { // the same number is BADSIG inside of TSIG
		return "BADVERS"
	}
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

// RcodeReason returns what a response code other than NOERROR means, when the
// server answers the question for the name with it.
func RcodeReason(rcode int, name, server string) *check.Reason {
	switch rcode {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeNameError:
		return &check.Reason{Code: check.DNSNXDomain, Message: fmt.Sprintf("%s does not exist, says %s", Shown(name), server)}
	case dns.RcodeRefused:
		return &check.Reason{Code: check.DNSRefused, Message: fmt.Sprintf("%s refused the question for %s", server, Shown(name))}
	default:
		return &check.Reason{Code: check.DNSServFail, Message: fmt.Sprintf("%s failed to answer for %s: %s", server, Shown(name), RcodeName(rcode))}
	}
}
