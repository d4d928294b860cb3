package probes

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// reproduce returns a shell line that makes the same connection, from the
// same address where the check has one, and holds the same dialogue.
func (p *tcpProbe) reproduce(from netip.Addr) string {
	switch {
	case p.route.via != nil || p.route.device != "":
		line := p.proxied.viaCurl(from, p.route, p.host, p.port, p.secure)
		if p.tls == nil {
			return p.spoken() + line
		}
		return line // it asks for a page
	case p.tls == nil:
		return p.spoken() + netcatLine(p.route, p.host, p.port, from, len(p.steps) > 0)
	case len(p.steps) == 0:
		return opensslLine(p.route, p.host, p.port, p.secure, from, nil)
	}
	line := opensslLine(p.route, p.host, p.port, p.secure, from, shellLine{"-quiet"})
	return p.spoken() + strings.TrimSuffix(line, noInput)
}

// netcatLine returns the line of nc(1), which shows what the peer says when it
// listens.
func netcatLine(route *router, host, port string, from netip.Addr, listen bool) string {
	c := shellLine{"nc", "-vz"}
	if listen {
		c = shellLine{"nc", "-v", "-w2"}
	}
	if route.family != 0 {
		c.add("-" + strconv.Itoa(int(route.family)))
	}
	if from.IsValid() {
		c.add("-s", from.String())
	}
	c.add(route.to(host), port)
	return c.String()
}

// spoken is the part of a line that says what the dialogue's steps send, with time
// between them for the peer's answers; "" when there is no dialogue.
func (p *tcpProbe) spoken() string {
	if len(p.steps) == 0 {
		return ""
	}
	var says []string
	for _, s := range p.steps {
		if s.Send != "" {
			says = append(says, printed(s.Send)+"; ")
		}
		if s.Expect != nil {
			says = append(says, "sleep 1; ")
		}
	}
	return "{ " + strings.Join(says, "") + "} | "
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
			more.add("-proxy_user", via.user, "-proxy_pass", "pass:"+hidden(via.pass))
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
	return c.String() + noInput
}

// noInput keeps a program from waiting for what a person types.
const noInput = " </dev/null"

// opensslVersion returns what openssl calls a TLS version.
func opensslVersion(version string) string {
	if version == "" {
		return ""
	}
	return "TLSv" + strings.TrimSuffix(version, ".0")
}
