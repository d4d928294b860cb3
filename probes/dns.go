package probes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
	"github.com/sonde-cli/sonde/probes/dnssec"
)

func init() {
	register(check.Kind{
		Name:    "dns",
		Doc:     "one question to a name server over UDP, TCP, TLS, HTTPS or QUIC",
		Schemes: []string{"dns", "dns+tcp", "dns+tls", "dns+https", "dns+quic"},
		Facts:   dnsFacts(),
		New:     func() check.Options { return newDNSOptions() },
	})
}

// dnsOptions are the options of a dns check.
type dnsOptions struct {
	Name      string    `yaml:"name" required:"true" doc:"name to ask for, always absolute; for the type PTR an IP address will do"`
	Type      string    `yaml:"type" doc:"record type, such as A, AAAA, MX, TXT or TYPE65280"`
	Class     string    `yaml:"class" enum:"IN,CH,HS" doc:"class of the question"`
	Server    string    `yaml:"server" address:"true" doc:"name server to ask, host[:port] or https://host[:port]/path; default is the route's resolver, or else the system's"`
	Servers   []string  `yaml:"servers" address:"true" doc:"name servers to ask all at once and to compare, instead of server"`
	Trace     bool      `yaml:"trace" doc:"follow the delegations from the root, or from server, whose port all servers then have"`
	Transport string    `yaml:"transport" enum:"auto,udp,tcp,tls,https,quic" doc:"auto is UDP, and TCP when the answer does not fit; tls, https and quic are DNS over these"`
	Method    string    `yaml:"method" enum:"GET,POST" doc:"how DNS over HTTPS sends the question"`
	Recursion bool      `yaml:"recursion" doc:"ask the server to find the answer elsewhere (RD)"`
	DNSSEC    dnsDNSSEC `yaml:"dnssec" doc:"own validation of the answer"`
	EDNS      dnsEDNS   `yaml:"edns" doc:"extensions of the question"`
	TLS       TLS       `yaml:"tls" doc:"TLS of the transports tls, https and quic"`
	Route
}

// The transports of a dns check.
const (
	transportAuto  = "auto"
	transportUDP   = "udp"
	transportTCP   = "tcp"
	transportTLS   = "tls"
	transportHTTPS = "https"
)

// dnsDefaults are what a dns check expects unless it says otherwise. Each is
// lifted by its own fact only: whoever expects NOERROR still gets an answer
// demanded, which NXDOMAIN comes without.
func dnsDefaults(walks bool) []check.Default {
	if walks { // an authority answers up to an alias
		return []check.Default{
			{Expect: "rcode == 'NOERROR'"},
			{Expect: "answer_count > 0 || len(cnames) > 0 || rcode != 'NOERROR'", Fact: "answer_count"},
		}
	}
	return []check.Default{
		{Expect: "rcode == 'NOERROR'"},
		{Expect: "answer_count > 0 || rcode != 'NOERROR'", Fact: "answer_count"},
	}
}

func newDNSOptions() *dnsOptions {
	return &dnsOptions{
		Type: "A", Class: "IN", Transport: transportAuto, Method: "GET", Recursion: true, EDNS: dnsEDNS{Size: ednsSize},
		Route: Route{Family: "any"},
	}
}

// dnsProbe is a built dns check.
type dnsProbe struct {
	question *question
	plain    *question // without EDNS, for servers that do not know it; nil when there is nothing to leave out

	host      string // of the server; empty means the servers of the system
	port      uint16
	transport string
	router    *router
	tls       *tlsPlan
	anchors   dnssec.Anchors // of the validation; nil: there is none
	walks     bool           // follow the delegations
	sorted    bool           // the fact answer_set is wanted
	ca        string         // file of the roots that tls trusts; empty for the system's
	doh       *doh           // of the transport https
}

// Build implements [check.Options].
func (o *dnsOptions) Build(setup check.Setup) (check.Plan, error) {
	plan := check.Plan{Defaults: dnsDefaults(o.Trace)}
	var p *dnsProbe
	if len(o.Servers) > 0 {
		group, err := o.buildGroup(setup)
		if err != nil {
			return check.Plan{}, err
		}
		plan.Probe, plan.Target, p = group, group.target(), group.members[0]
		plan.Defaults = append(plan.Defaults, check.Default{Expect: "servers.answered == servers.total", Fact: "servers.answered"})
	} else {
		var err error
		if p, err = o.buildOne(setup); err != nil {
			return check.Plan{}, err
		}
		plan.Probe, plan.Target = p, p.target()
	}
	if p.anchors != nil { // it says more than the SERVFAIL of a server that validates
		plan.Defaults = append([]check.Default{{Expect: "dnssec.status == 'secure'"}}, plan.Defaults...)
	}
	if p.overTLS() {
		plan.Defaults = append(plan.Defaults, p.tls.defaults()...)
	}
	return plan, nil
}

// buildOne makes the probe of one server.
func (o *dnsOptions) buildOne(setup check.Setup) (*dnsProbe, error) {
	var errs []error
	p := &dnsProbe{transport: o.Transport, sorted: setup.Needs("answer_set")}
	var err error
	if p.router, err = o.build(); err != nil {
		errs = append(errs, err)
	}
	if p.tls, err = o.TLS.build(); err != nil {
		errs = append(errs, err)
	}
	p.tls.detail = needsDetail(setup)
	errs = append(errs, p.buildQuestion(o), p.buildServer(o))
	errs = append(errs, p.buildTrace(o))
	return p, errors.Join(errs...)
}

// buildTrace makes the probe one that walks.
func (p *dnsProbe) buildTrace(o *dnsOptions) error {
	switch {
	case !o.Trace || p.question == nil:
		return nil
	case p.overTLS():
		return check.OptionErrorf("trace", "asks authorities, which speak UDP and TCP, not %s", p.transport)
	case o.DNSSEC.Validate:
		return check.OptionErrorf("trace", "cannot go with dnssec.validate: a check of its own asks a resolver for that")
	case o.Address != "":
		return check.OptionErrorf("address", "is of one server and cannot go with trace")
	case p.question.class != dns.ClassINET:
		return check.OptionErrorf("class", "%s has no delegations to follow, trace needs IN", dns.ClassToString[p.question.class])
	}
	p.walks = true
	if o.Server == "" { // not the resolver, which names are resolved with
		p.host, p.port = "", dnsPort
	}
	p.question.flags.recursion = false
	var err error
	if p.question, err = newQuestion(p.question.name, p.question.qtype, p.question.class, p.question.flags); err != nil || p.plain == nil {
		return err
	}
	p.plain, err = newQuestion(p.question.name, p.question.qtype, p.question.class, queryFlags{})
	return err
}

func (p *dnsProbe) buildQuestion(o *dnsOptions) error {
	qtype, err := dnsType(o.Type)
	if err != nil {
		return &check.OptionError{Option: "type", Err: err}
	}
	class, ok := dns.StringToClass[strings.ToUpper(o.Class)]
	if !ok {
		return check.OptionErrorf("class", "%q is not IN, CH or HS", o.Class)
	}
	flags := queryFlags{recursion: o.Recursion}
	if err := o.EDNS.build(&flags); err != nil {
		return err
	}
	if p.anchors, err = o.DNSSEC.build(); err != nil {
		return err
	}
	if p.anchors != nil {
		if o.EDNS.Size == 0 || class != dns.ClassINET {
			return check.OptionErrorf("dnssec.validate", "needs EDNS and the class IN")
		}
		if qtype == dns.TypeRRSIG || qtype == dns.TypeSIG {
			return check.OptionErrorf("dnssec.validate", "cannot go with the type %s: nobody signs signatures", dnsmsg.TypeName(qtype))
		}
		flags.dnssec = true
	}
	if o.EDNS.Cookie {
		flags.cookie = newCookie() // another one for each run
	}
	name := o.Name
	if ip, err := netip.ParseAddr(name); err == nil && qtype == dns.TypePTR {
		if name, err = dns.ReverseAddr(ip.WithZone("").String()); err != nil {
			return &check.OptionError{Option: "name", Err: err}
		}
	}
	if name, err = asciiName(name); err != nil {
		return &check.OptionError{Option: "name", Err: err}
	}
	name = dns.Fqdn(name)
	if p.question, err = newQuestion(name, qtype, class, flags); err != nil {
		return &check.OptionError{Option: "name", Err: err}
	}
	if o.EDNS.Size > 0 && !flags.dnssec {
		p.plain, err = newQuestion(name, qtype, class, queryFlags{recursion: o.Recursion})
	}
	return err
}

// dnsType returns the number of a record type, by name or as TYPE123
// (RFC 3597 section 5).
func dnsType(text string) (uint16, error) {
	name := strings.ToUpper(text)
	qtype, ok := dns.StringToType[name]
	if number, found := strings.CutPrefix(name, "TYPE"); !ok && found {
		n, err := strconv.ParseUint(number, 10, 16)
		qtype, ok = uint16(n), err == nil
	}
	switch {
	case !ok:
		return 0, fmt.Errorf("%q is not a record type, write it like A, MX or TYPE65280", text)
	case qtype == dns.TypeAXFR || qtype == dns.TypeIXFR:
		return 0, fmt.Errorf("%s is a zone transfer and not one answer", name)
	case qtype == dns.TypeNone || qtype == dns.TypeOPT || qtype == dns.TypeTSIG || qtype == dns.TypeTKEY || qtype == dns.TypeReserved:
		return 0, fmt.Errorf("%s is part of the protocol and cannot be asked for", name)
	}
	return qtype, nil
}

func (p *dnsProbe) buildServer(o *dnsOptions) error {
	switch p.transport {
	case transportAuto, transportUDP, transportTCP, transportTLS, transportHTTPS, transportQUIC:
	default:
		return check.OptionErrorf("transport", "%q is not auto, udp, tcp, tls, https or quic", p.transport)
	}
	if strings.HasPrefix(o.Server, "https://") && p.transport == transportAuto {
		p.transport = transportHTTPS
	}
	p.port = p.usualPort()
	p.ca = o.TLS.CA
	if err := p.chooseServer(o); err != nil {
		return err
	}
	switch {
	case o.TLS != (TLS{}) && !p.overTLS():
		return check.OptionErrorf("tls", "needs transport: tls, https or quic, it is %s", p.transport)
	case p.transport == transportQUIC && o.TLS.MaxVersion != "" && o.TLS.MaxVersion != "1.3":
		return check.OptionErrorf("tls.max_version", "transport: quic needs TLS 1.3")
	case o.Method != "GET" && o.Method != "POST":
		return check.OptionErrorf("method", "%q is not GET or POST", o.Method)
	case o.Method == "POST" && p.doh == nil:
		return check.OptionErrorf("method", "needs transport: https, it is %s", p.transport)
	case p.doh != nil:
		p.doh.post = o.Method == "POST"
	}
	return nil
}

// overTLS reports whether the transport has a certificate.
func (p *dnsProbe) overTLS() bool {
	return p.transport == transportTLS || p.transport == transportHTTPS || p.transport == transportQUIC
}

// usualPort is the transport's port.
func (p *dnsProbe) usualPort() uint16 {
	switch p.transport {
	case transportTLS:
		return dotPort
	case transportHTTPS:
		return dohPort
	case transportQUIC:
		return doqPort
	}
	return dnsPort
}

func (p *dnsProbe) chooseServer(o *dnsOptions) error {
	switch {
	case o.Trace && o.Server == "":
	case o.Server != "" && p.transport == transportHTTPS:
		text := o.Server
		if !strings.Contains(text, "://") {
			text = "https://" + text
			if ip, err := netip.ParseAddr(o.Server); err == nil && ip.Is6() {
				text = "https://[" + o.Server + "]"
			}
		}
		var err error
		if p.doh, err = parseDoH(text); err != nil {
			return &check.OptionError{Option: "server", Err: err}
		}
		p.host, p.port = p.doh.host, p.doh.port
	case o.Server != "":
		var err error
		if p.host, p.port, err = splitServer(o.Server, p.port); err != nil {
			return &check.OptionError{Option: "server", Err: err}
		}
	case o.Address != "":
		return check.OptionErrorf("address", "needs server: it is the address of the server's name")
	case p.router != nil && p.router.resolver != nil:
		return p.askResolver(o, p.router.resolver)
	case !hasResolvConf:
		return check.OptionErrorf("server", "is needed on this system, which does not tell its name servers")
	case p.overTLS():
		return check.OptionErrorf("transport", "%s needs a server: the system's resolver has no name to verify", p.transport)
	}
	return nil
}

// askResolver makes the route's resolver the server that is asked.
func (p *dnsProbe) askResolver(o *dnsOptions, s *nameserver) error {
	switch {
	case p.transport == transportAuto && s.transport != transportUDP:
		p.transport = s.transport
	case p.transport != transportAuto && p.transport != s.transport:
		return check.OptionErrorf("transport", "%s contradicts the resolver %s", p.transport, o.Resolver)
	}
	if s.doh != nil {
		own, direct := *s.doh, *p.router
		direct.resolver = nil // it cannot resolve its own name
		p.router, p.doh, p.host, p.port = &direct, &own, own.host, own.port
		return nil
	}
	p.host, p.port = s.addr.Addr().String(), s.addr.Port()
	return nil
}

// splitServer reads host[:port], the host being a name or an IP address.
func splitServer(text string, port uint16) (string, uint16, error) {
	bad := fmt.Errorf("%q is not a name server, write it like 192.0.2.53, [2001:db8::53]:5353 or ns.example.com:53", text)
	if strings.Contains(text, "://") {
		return "", 0, fmt.Errorf("%q has a scheme; write host[:port] and set transport", text)
	}
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && !strings.Contains(text, "]:") {
		return ip.String(), port, nil
	}
	host := text
	if strings.Contains(text, ":") {
		h, number, err := net.SplitHostPort(text)
		n, err2 := strconv.ParseUint(number, 10, 16)
		if err != nil || err2 != nil || n == 0 {
			return "", 0, bad
		}
		host, port = h, uint16(n)
	}
	if strings.ContainsAny(host, "/?#@ []") {
		return "", 0, bad
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String(), port, nil
	}
	ascii, err := asciiName(host)
	if err == nil && strings.ContainsAny(ascii, "/?#@:%[] ") { // what other characters stand for, too
		err = bad
	}
	return ascii, port, err
}

// targetName writes what a target would read as something else.
var targetName = strings.NewReplacer("%", "%25", "?", "%3F")

// target returns the check's target as SetTarget reads it.
func (p *dnsProbe) target() string {
	var b strings.Builder
	b.WriteString("dns:")
	if p.host != "" {
		fmt.Fprintf(&b, "//%s/", p.address())
	}
	name := targetName.Replace(dnsmsg.Shown(p.question.name))
	if p.host == "" && strings.HasPrefix(name, "//") { // not a server
		name = "%2F" + name[1:]
	}
	fmt.Fprintf(&b, "%s?type=%s", name, dnsmsg.TypeName(p.question.qtype))
	if p.question.class != dns.ClassINET {
		b.WriteString("&class=" + dns.ClassToString[p.question.class])
	}
	if p.transport != transportAuto {
		b.WriteString("&transport=" + p.transport)
	}
	switch {
	case p.walks:
		b.WriteString("&trace=true")
	case !p.question.flags.recursion:
		b.WriteString("&recursion=false")
	}
	switch {
	case p.anchors != nil:
		b.WriteString("&dnssec=true")
	case p.question.flags.dnssec:
		b.WriteString("&do=true")
	}
	if p.doh != nil && p.doh.path != dohPath {
		b.WriteString("&path=" + url.QueryEscape(p.doh.path))
	}
	return b.String()
}

// address returns the server's host, with the port when it is not the usual.
func (p *dnsProbe) address() string {
	if p.port != p.usualPort() {
		return net.JoinHostPort(p.host, strconv.Itoa(int(p.port)))
	}
	if strings.Contains(p.host, ":") {
		return "[" + p.host + "]"
	}
	return p.host
}
