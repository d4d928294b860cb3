package probes

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// reproduce returns a shell line that makes the same connection, from the
// same address where the check has one.
func (p *tcpProbe) reproduce(from netip.Addr) string {
	host := p.host
	if p.route.address.IsValid() {
		host = p.route.address.String()
	}
	if p.tls != nil {
		return p.openssl(host, from)
	}
	c := shellLine{"nc", "-vz"}
	if p.route.family != 0 {
		c.add("-" + strconv.Itoa(int(p.route.family)))
	}
	if from.IsValid() {
		c.add("-s", from.String())
	}
	c.add(host, p.port)
	return c.String()
}

// openssl returns the line for TLS, which fails where the probe's judgement of
// the certificate does.
func (p *tcpProbe) openssl(host string, from netip.Addr) string {
	c := shellLine{"openssl", "s_client"}
	if p.route.family != 0 {
		c.add("-" + strconv.Itoa(int(p.route.family)))
	}
	if from.IsValid() {
		c.add("-bind", net.JoinHostPort(from.String(), "0"))
	}
	c.add("-connect", net.JoinHostPort(host, p.port))
	name, kind := p.host, "-verify_hostname"
	if p.tls.serverName != "" {
		name = p.tls.serverName
	}
	if _, err := netip.ParseAddr(name); err == nil {
		kind = "-verify_ip"
	} else {
		c.add("-servername", name)
	}
	o := p.secure
	for _, option := range []struct{ flag, value string }{
		{"-CAfile", o.CA}, {"-cert", o.Cert}, {"-key", o.Key},
		{"-min_protocol", opensslVersion(o.MinVersion)}, {"-max_protocol", opensslVersion(o.MaxVersion)},
	} {
		if option.value != "" {
			c.add(option.flag, option.value)
		}
	}
	if !o.Insecure {
		c.add("-verify_return_error", kind, name)
	}
	return c.String() + " </dev/null"
}

// opensslVersion returns what openssl calls a TLS version.
func opensslVersion(version string) string {
	if version == "" {
		return ""
	}
	return "TLSv" + strings.TrimSuffix(version, ".0")
}
