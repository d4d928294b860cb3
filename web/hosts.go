package web

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Hosts returns the names of hosts for Options.Hosts, without ports.
func Hosts(hosts ...string) []string {
	names := make([]string, 0, len(hosts))
	for _, host := range hosts {
		if name := hostName(host); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// guard refuses requests for hosts that are not ours. A page of anybody's can
// have its own name resolve to a loopback address (DNS rebinding), and would
// read our answers as its own. Browsers always say whom they ask; an address
// cannot be made to resolve to another.
func (s *Server) guard(next http.Handler) http.Handler {
	if s.o.Hosts == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := hostName(r.Host)
		_, err := netip.ParseAddr(name)
		if err != nil && name != "" && name != "localhost" && !slices.Contains(s.o.Hosts, name) {
			text(w, http.StatusForbidden, "this host is not served here; --allow-host allows it")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostName returns the host of a host or host:port, in lower case, without the
// brackets of an address and the dot of an absolute name.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
