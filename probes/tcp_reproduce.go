package probes

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// reproduce returns a shell line that makes the same connection, from the
// same address where the check has one.
func (p *tcpProbe) reproduce(from netip.Addr) string {
	if p.route.via != nil || p.route.device != "" {
		return p.proxied.viaCurl(from, p.route, p.host, p.port, p.secure)
	}
	if p.tls != nil {
		return opensslLine(p.route, p.host, p.port, p.secure, from, nil)
	}
	host := p.route.to(p.host)
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

// reproduce returns a shell line that makes the same handshake.
func (p *tlsProbe) reproduce(from netip.Addr) string {
	if (p.route.via != nil || p.route.device != "") && p.start == nil {
		return p.proxied.viaCurl(from, p.route, p.host, p.port, p.secure)
	}
	var more shellLine
	switch via := p.route.via; {
	case via == nil:
	case via.scheme != schemeHTTP:
		return "" // openssl knows no such proxy
	default:
		more.add("-proxy", net.JoinHostPort(via.host, via.port))
		if via.user != "" {
			more.add("-proxy_user", via.user, "-proxy_pass", "pass:"+via.pass)
		}
	}
	if p.start != nil {
		more.add("-starttls", p.start.name)
		if name := cmp.Or(p.secure.ServerName, p.host); p.start.name == "xmpp" && (name != p.host || p.route.address.IsValid()) {
			more.add("-xmpphost", name) // openssl asks for the host that it connects to
		}
	}
	if len(p.alpn) > 0 {
		more.add("-alpn", strings.Join(p.alpn, ","))
	}
	return opensslLine(p.route, p.host, p.port, p.secure, from, more)
}

// opensslLine returns the line for TLS, which fails where the probe's judgement
// of the certificate does.
func opensslLine(route *router, host, port string, o *TLS, from netip.Addr, more shellLine) string {
	c := shellLine{"openssl", "s_client"}
	c.add(more...)
	if route.family != 0 {
		c.add("-" + strconv.Itoa(int(route.family)))
	}
	if from.IsValid() {
		c.add("-bind", net.JoinHostPort(from.String(), "0"))
	}
	c.add("-connect", net.JoinHostPort(route.to(host), port))
	name, kind := cmp.Or(o.ServerName, host), "-verify_hostname"
	if _, err := netip.ParseAddr(name); err == nil {
		kind = "-verify_ip"
	} else {
		c.add("-servername", name)
	}
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
