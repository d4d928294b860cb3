package probes

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// reproduce returns the curl command that does what the check does, from the same
// address where the check has one, with more of curl's options.
func (p *httpProbe) reproduce(timeout time.Duration, from netip.Addr, more ...string) string {
	c := p.curlInput()
	if c == nil {
		return ""
	}
	c.add("curl", "-v")
	c.add(more...)
	if timeout > 0 {
		c.add("-m", strconv.FormatFloat(float64(timeout.Round(time.Millisecond).Milliseconds())/1000, 'f', -1, 64))
	}
	target := p.start
	p.curlRequest(&c)
	p.curlConnection(&c, from)
	target = p.curlServerName(&c, target)
	if strings.ContainsAny(target.RequestURI(), "[]{}") {
		c.add("-g") // they would be patterns to curl
	}
	if path := target.EscapedPath(); strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") {
		c.add("--path-as-is")
	}
	c.add(target.String())
	if line := c.String(); len(line) <= maxReproduce {
		return line
	}
	return ""
}

// maxReproduce is how long a line to reproduce may be, in bytes: one with a large
// body fits neither a terminal nor the system's limit of arguments.
const maxReproduce = 64 << 10

func (p *httpProbe) curlRequest(c *shellLine) {
	natural := "GET"
	if len(p.body) > 0 {
		natural = "POST"
	}
	switch {
	case p.method == "HEAD" && natural == "GET":
		c.add("-I")
	case p.method != natural:
		c.add("-X", p.method)
	}
	if _, own := p.header("User-Agent"); !own {
		c.add("-A", p.agent)
	}
	for _, f := range p.headers {
		if p.curlsOwn(f) {
			continue
		}
		text := f.name + ": " + f.shown()
		if f.value == "" {
			text = f.name + ";" // how curl sends an empty one
		}
		c.add("-H", text)
	}
	p.curlAuth(c)
	p.curlBody(c)
	if p.accept != "" {
		c.add("--compressed")
	}
	if p.redirects > 0 {
		c.add("-L", "--max-redirs", strconv.Itoa(p.redirects))
	}
}

func (p *httpProbe) curlConnection(c *shellLine, from netip.Addr) {
	o := &p.options
	switch {
	case p.version == "1.1":
		c.add("--http1.1")
	case p.version == "2" && p.start.Scheme == "http":
		c.add("--http2-prior-knowledge")
	case p.version == "3":
		c.add("--http3-only")
	case p.version == "2":
		c.add("--http2")
	}
	if o.Unix != "" {
		c.add("--unix-socket", o.Unix)
	}
	switch o.Family {
	case "4", "6":
		c.add("-" + o.Family)
	}
	curlInterface(c, p.home.route, from)
	if address := o.pin(); address != "" {
		host, port := hostPort(p.start)
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
		c.add("--resolve", host+":"+port+":"+address)
	}
	if o.curlProxy(c); p.tunnels && o.Proxy != "" {
		c.add("-p")
	}
	if p.start.Scheme == "https" {
		curlTLS(c, &o.TLS)
	}
}

// curlInterface adds the interface or the address to connect from; curl has no
// way to name both that all its versions know.
func curlInterface(c *shellLine, route *router, from netip.Addr) {
	switch {
	case route.device != "":
		c.add("--interface", route.device)
	case from.IsValid():
		c.add("--interface", from.String())
	}
}

func curlTLS(c *shellLine, t *TLS) {
	for _, option := range []struct{ flag, value string }{
		{"--cacert", t.CA}, {"--cert", t.Cert}, {"--key", t.Key}, {"--tls-max", t.MaxVersion},
	} {
		if option.value != "" {
			c.add(option.flag, option.value)
		}
	}
	if t.MinVersion != "" {
		c.add("--tlsv" + t.MinVersion)
	}
	if t.Insecure {
		c.add("-k")
	}
}

// curlResolved tells curl the address that the check's own resolver gave, for it
// would ask the system's.
func (r *httpRun) curlResolved() []string {
	o := &r.p.options
	ip, err := netip.ParseAddr(fmt.Sprint(r.j.obs.Facts.Get("ip")))
	host, port := hostPort(r.p.start)
	_, literal := netip.ParseAddr(host)
	if o.Resolver == "" || o.pin() != "" || r.via != nil || len(r.seen) > 0 || err != nil || literal == nil {
		return nil
	}
	address := ip.String()
	if ip.Is6() {
		address = "[" + address + "]"
	}
	return []string{"--resolve", host + ":" + port + ":" + address}
}

// curlServerName replaces the URL's host by the TLS server name and connects
// to the host all the same, for curl has no option of its own for that.
func (p *httpProbe) curlServerName(c *shellLine, u *url.URL) *url.URL {
	name := p.options.TLS.ServerName
	if name == "" || u.Scheme != "https" {
		return u
	}
	host, port := hostPort(u)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	via := host
	if pin := p.options.pin(); pin != "" {
		via = pin
		if strings.Contains(via, ":") {
			via = "[" + via + "]"
		}
	}
	c.add("--connect-to", name+":"+port+":"+via+":"+port)
	if _, own := p.header("Host"); !own {
		c.add("-H", "Host: "+hostHeader(u))
	}
	named := *u
	named.Host = name
	if u.Port() != "" {
		named.Host = net.JoinHostPort(name, port)
	}
	return &named
}
