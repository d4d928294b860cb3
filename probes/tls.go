package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "tls",
		Doc:     "makes a TLS handshake, after STARTTLS where wanted, and looks at the certificate",
		Schemes: []string{"tls"},
		Facts:   tlsKindFacts(),
		New:     func() check.Options { return new(tlsOptions) },
	})
}

func tlsKindFacts() []check.Fact {
	return append(append(connectFacts(), tlsFacts()...),
		check.Fact{Name: versionsFact, Type: check.Strings, Doc: "TLS versions that the server accepts, from 1.0 on; with scan, or an expectation that names it, sonde tries each one over a connection of its own"},
		check.Fact{Name: ciphersFact, Type: check.Strings, Doc: "cipher suites that the server accepts up to TLS 1.2, in its order; with scan, or an expectation that names it, sonde tries them one after another, each over a connection of its own"},
	)
}

// tlsOptions are the options of the kind tls.
type tlsOptions struct {
	Host     string   `yaml:"host" address:"true" required:"true" doc:"name or IP address"`
	Port     int      `yaml:"port" doc:"port to connect to; default is 443, or that of the protocol that starttls names"`
	StartTLS string   `yaml:"starttls" enum:"ftp,imap,ldap,mysql,pop3,postgres,smtp,xmpp" doc:"protocol to begin with in plain text"`
	ALPN     []string `yaml:"alpn" doc:"protocols to offer by ALPN, such as h2"`
	Scan     bool     `yaml:"scan" doc:"find out which versions and cipher suites the server accepts, the facts tls.versions and tls.ciphers"`
	Close    string   `yaml:"close" enum:"normal,reset" doc:"how to end the connection; reset leaves no port in TIME_WAIT, see docs/connections.md"`
	Route    `yaml:",inline"`
	Proxied  `yaml:",inline"`
	TLS      TLS `yaml:"tls" doc:"options of TLS"`
}

// SetTarget reads tls://host[:port][?starttls=protocol].
func (o *tlsOptions) SetTarget(target string) error {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a target such as tls://host:port", target)
	case u.User != nil || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return errors.New("tls://host:port takes no user, path or fragment")
	case u.Hostname() == "":
		return fmt.Errorf("%q needs a host: tls://host:port", target)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Errorf("%q is not a query such as starttls=smtp", u.RawQuery)
	}
	for key, values := range query {
		if key != "starttls" || len(values) != 1 {
			return fmt.Errorf("tls://host:port takes starttls=PROTOCOL once and nothing else, not %q", key)
		}
		o.StartTLS = values[0]
	}
	if u.Port() != "" {
		if o.Port, err = strconv.Atoi(u.Port()); err != nil || o.Port == 0 {
			return fmt.Errorf("%q is not a port number", u.Port())
		}
	}
	o.Host = u.Hostname()
	return nil
}

// tlsProbe is a built check of the kind tls.
type tlsProbe struct {
	host, port string
	route      *router
	start      *startTLS // nil: TLS from the first byte
	alpn       []string
	tls        *tlsPlan
	secure     *TLS     // what tls was made of
	proxied    *Proxied // what route.via was made of
	// What to try out after the measurement.
	versions, ciphers bool
}

// Build validates the options.
func (o *tlsOptions) Build(setup check.Setup) (check.Plan, error) {
	p := &tlsProbe{
		host: o.Host, alpn: o.ALPN, secure: &o.TLS, proxied: &o.Proxied,
		versions: o.Scan || setup.Needs(versionsFact), ciphers: o.Scan || setup.Needs(ciphersFact),
	}
	port, errs := o.validate(p)
	var err error
	p.port = strconv.Itoa(port)
	p.route, err = o.Route.buildAll()
	errs = append(errs, err, p.route.reaches("host", o.Host), p.route.closeBy(o.Close))
	var secrets []string
	errs = append(errs, o.fixed(setup, p.route, o.Host, port, &secrets))
	p.tls, err = o.TLS.build()
	if err = errors.Join(append(errs, err)...); err != nil {
		return check.Plan{}, err
	}
	p.tls.detail = true
	defaults := p.tls.defaults()
	if !o.TLS.Insecure {
		defaults = append(defaults, check.Default{Expect: stapleFact + " != '" + stapleRevoked + "'", WhenSeen: true})
	}
	return check.Plan{Probe: spreadOver(p, p.route, p.host), Target: net.JoinHostPort(o.Host, p.port), Defaults: defaults, Secrets: secrets}, nil
}

// validate returns the port to connect to and what is wrong.
func (o *tlsOptions) validate(p *tlsProbe) (int, []error) {
	var errs []error
	if err := checkHost(o.Host); err != nil {
		errs = append(errs, &check.OptionError{Option: "host", Err: err})
	}
	port := 443
	if o.StartTLS != "" {
		all := startTLSProtocols()
		i := slices.IndexFunc(all, func(s startTLS) bool { return s.name == o.StartTLS })
		if i < 0 {
			errs = append(errs, check.OptionErrorf("starttls", "%q is not ftp, imap, ldap, mysql, pop3, postgres, smtp or xmpp", o.StartTLS))
		} else {
			p.start, port = &all[i], all[i].port
		}
	}
	if o.Port < 0 || o.Port > 65535 {
		errs = append(errs, check.OptionErrorf("port", "%d is not a port number from 1 to 65535", o.Port))
	}
	if o.Port != 0 {
		port = o.Port
	}
	for i, name := range o.ALPN {
		if name == "" || len(name) > 255 { // RFC 7301 section 3.1
			errs = append(errs, check.OptionErrorf(fmt.Sprintf("alpn[%d]", i), "a protocol's name has 1 to 255 bytes"))
		}
	}
	return port, errs
}

// Observe connects and shakes hands.
func (p *tlsProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	j.from = p.route.from()
	from := j.from
	j.obs.Reproduce = func() string { return p.reproduce(from) }
	reason := p.visit(ctx, j, p.tls)
	if reason == nil || refusesTLS(reason) || reason.Code == check.TLSClientCert {
		p.tryOut(ctx, j) // a server that refuses this handshake may take another
	}
	if reason != nil {
		return j.stop(reason)
	}
	return j.end()
}

// visit makes one whole connection by the plan and closes it.
func (p *tlsProbe) visit(ctx context.Context, j *journey, plan *tlsPlan) *check.Reason {
	conn, reason := j.connect(ctx, p.route, p.host, p.port)
	if reason != nil {
		return reason
	}
	defer conn.Close()
	if p.start != nil {
		if reason := j.upgrade(ctx, conn, p.start, plan.nameFor(p.host)); reason != nil {
			return reason
		}
	}
	secure, reason := j.handshake(ctx, conn, plan, p.host, p.alpn)
	if reason != nil {
		return reason
	}
	return j.refusal(secure)
}
