package probes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "dns",
		Doc:     "one question to a name server over UDP, TCP, TLS or QUIC",
		Schemes: []string{"dns", "dns+tcp", "dns+tls", "dns+quic"},
		Facts:   dnsFacts(),
		New:     func() check.Options { return newDNSOptions() },
	})
}

// dnsOptions are the options of a dns check.
type dnsOptions struct {
	Name      string `yaml:"name" required:"true" doc:"name to ask for, always absolute; for the type PTR an IP address will do"`
	Type      string `yaml:"type" doc:"record type, such as A, AAAA, MX, TXT or TYPE65280"`
	Class     string `yaml:"class" enum:"IN,CH,HS" doc:"class of the question"`
	Server    string `yaml:"server" address:"true" doc:"name server to ask, host[:port]; default is the route's resolver, or else the system's"`
	Transport string `yaml:"transport" enum:"auto,udp,tcp,tls,quic" doc:"auto is UDP, and TCP when the answer does not fit; tls and quic are DNS over these"`
	Recursion bool   `yaml:"recursion" doc:"ask the server to find the answer elsewhere (RD)"`
	DNSSEC    bool   `yaml:"dnssec" doc:"ask for signatures too (DO)"`
	EDNS      int    `yaml:"edns" doc:"UDP payload size that is offered with EDNS, in bytes; 0 leaves EDNS out"`
	TLS       TLS    `yaml:"tls" doc:"TLS of the transports tls and quic"`
	Route
}

// The transports of a dns check.
const (
	transportAuto = "auto"
	transportUDP  = "udp"
	transportTCP  = "tcp"
	transportTLS  = "tls"
)

// dnsDefaults are what a dns check expects unless it says otherwise. Each is
// lifted by its own fact only: whoever expects NOERROR still gets an answer
// demanded, which NXDOMAIN comes without.
func dnsDefaults() []check.Default {
	return []check.Default{
		{Expect: "rcode == 'NOERROR'"},
		{Expect: "answer_count > 0 || rcode != 'NOERROR'", Fact: "answer_count"},
	}
}

func newDNSOptions() *dnsOptions {
	return &dnsOptions{
		Type: "A", Class: "IN", Transport: transportAuto, Recursion: true, EDNS: ednsSize,
		Route: Route{Family: "any"},
	}
}

// dnsProbe is a built dns check.
type dnsProbe struct {
	question *question
	plain    *question // without EDNS, for servers that do not know it; nil when there is nothing to leave out
	class    uint16
	flags    queryFlags

	host      string // of the server; empty means the servers of the system
	port      uint16
	transport string
	router    *router
	tls       *tlsPlan
}

// Build implements [check.Options].
func (o *dnsOptions) Build(setup check.Setup) (check.Plan, error) {
	var errs []error
	p := &dnsProbe{transport: o.Transport}
	var err error
	if p.router, err = o.build(); err != nil {
		errs = append(errs, err)
	}
	if p.tls, err = o.TLS.build(); err != nil {
		errs = append(errs, err)
	}
	p.tls.detail = needsDetail(setup)
	errs = append(errs, p.buildQuestion(o), p.buildServer(o))
	if err := errors.Join(errs...); err != nil {
		return check.Plan{}, err
	}
	plan := check.Plan{
		Probe:    p,
		Target:   p.target(),
		Defaults: dnsDefaults(),
	}
	if p.overTLS() {
		plan.Defaults = append(plan.Defaults, p.tls.defaults()...)
	}
	return plan, nil
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
	if o.EDNS != 0 && (o.EDNS < dns.MinMsgSize || o.EDNS >= maxDatagram) {
		return check.OptionErrorf("edns", "%d is not a UDP payload size: 512 to %d bytes, or 0 to leave EDNS out", o.EDNS, maxDatagram-1)
	}
	if o.DNSSEC && o.EDNS == 0 {
		return check.OptionErrorf("dnssec", "signatures are asked for with EDNS, which edns: 0 leaves out")
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
	p.class = class
	p.flags = queryFlags{recursion: o.Recursion, dnssec: o.DNSSEC, ednsSize: uint16(o.EDNS)}
	if p.question, err = newQuestion(name, qtype, class, p.flags); err != nil {
		return &check.OptionError{Option: "name", Err: err}
	}
	if o.EDNS > 0 && !o.DNSSEC {
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
	case transportAuto, transportUDP, transportTCP, transportTLS, transportQUIC:
	default:
		return check.OptionErrorf("transport", "%q is not auto, udp, tcp, tls or quic", p.transport)
	}
	if o.TLS != (TLS{}) && !p.overTLS() {
		return check.OptionErrorf("tls", "needs transport: tls or quic, it is %s", p.transport)
	}
	if p.transport == transportQUIC && o.TLS.MaxVersion != "" && o.TLS.MaxVersion != "1.3" {
		return check.OptionErrorf("tls.max_version", "transport: quic needs TLS 1.3")
	}
	p.port = p.usualPort()
	switch {
	case o.Server != "":
		var err error
		if p.host, p.port, err = splitServer(o.Server, p.port); err != nil {
			return &check.OptionError{Option: "server", Err: err}
		}
	case o.Address != "":
		return check.OptionErrorf("address", "needs server: it is the address of the server's name")
	case p.router != nil && p.router.resolver != nil:
		return p.askResolver(p.router.resolver)
	case !hasResolvConf:
		return check.OptionErrorf("server", "is needed on this system, which does not tell its name servers")
	case p.overTLS():
		return check.OptionErrorf("transport", "%s needs a server: the system's resolver has no name to verify", p.transport)
	}
	return nil
}

// overTLS reports whether the transport has a certificate.
func (p *dnsProbe) overTLS() bool {
	return p.transport == transportTLS || p.transport == transportQUIC
}

// usualPort is the transport's port.
func (p *dnsProbe) usualPort() uint16 {
	switch p.transport {
	case transportTLS:
		return dotPort
	case transportQUIC:
		return doqPort
	}
	return dnsPort
}

// askResolver makes the route's resolver the server that is asked.
func (p *dnsProbe) askResolver(s *nameserver) error {
	switch {
	case p.transport == transportAuto && s.transport != transportUDP:
		p.transport = s.transport
	case p.transport != transportAuto && p.transport != s.transport:
		return check.OptionErrorf("transport", "%s contradicts the resolver %s://%s", p.transport, s.transport, s)
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
	if _, err := netip.ParseAddr(host); err == nil {
		return host, port, nil
	}
	ascii, err := asciiName(host)
	return ascii, port, err
}

// target returns the check's target as SetTarget reads it.
func (p *dnsProbe) target() string {
	var b strings.Builder
	b.WriteString("dns:")
	if p.host != "" {
		fmt.Fprintf(&b, "//%s/", p.address())
	}
	fmt.Fprintf(&b, "%s?type=%s", shown(p.question.name), typeName(p.question.qtype))
	if p.class != dns.ClassINET {
		b.WriteString("&class=" + dns.ClassToString[p.class])
	}
	if p.transport != transportAuto {
		b.WriteString("&transport=" + p.transport)
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

// typeName returns the name of a record type, as dig shows it.
func typeName(qtype uint16) string { return dns.Type(qtype).String() }
