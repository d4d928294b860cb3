package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "tcp",
		Doc:     "connects to a TCP port, with TLS and a dialogue where wanted",
		Schemes: []string{"tcp"},
		Facts:   tcpFacts(),
		New:     func() check.Options { return &tcpOptions{MaxBanner: defaultMaxBanner} },
	})
}

func tcpFacts() []check.Fact {
	facts := append(connectFacts(), tlsFacts()...)
	return append(facts,
		check.Fact{Name: "banner", Type: check.String, Doc: "what the peer says first, up to a line's end, a short silence or max_banner"},
		check.Fact{Name: "answer", Type: check.String, Doc: "what the last step with expect received"},
		check.Fact{Name: "captures", Type: check.Map, Doc: "groups that the steps' regular expressions captured, by name or number"},
		check.Fact{Name: "dialogue", Type: check.Bool, Doc: "every step of the dialogue went as expected"},
	)
}

// Limits of what a probe reads before it gives up on a banner or an answer.
const (
	defaultMaxBanner check.Size = 64 << 10
	largestMaxBanner check.Size = 1 << 20
)

// tcpOptions are the options of the kind tcp.
type tcpOptions struct {
	Host      string `yaml:"host" address:"true" required:"true" doc:"name or IP address"`
	Port      int    `yaml:"port" required:"true" doc:"port to connect to"`
	Close     string `yaml:"close" enum:"normal,reset" doc:"how to end the connection; reset leaves no port in TIME_WAIT, see docs/connections.md"`
	Route     `yaml:",inline"`
	Proxied   `yaml:",inline"`
	TLS       *TLS       `yaml:"tls" doc:"speak TLS; {} does so with the defaults"`
	Steps     []turn     `yaml:"steps" doc:"dialogue after the connection, step by step"`
	MaxBanner check.Size `yaml:"max_banner" doc:"most that is read for the banner or one step"`
}

// SetTarget reads tcp://host:port.
func (o *tcpOptions) SetTarget(target string) error {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a target such as tcp://host:port", target)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return errors.New("tcp://host:port takes nothing behind the port and no user")
	case u.Hostname() == "" || u.Port() == "":
		return fmt.Errorf("%q needs a host and a port: tcp://host:port", target)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return fmt.Errorf("%q is not a port number", u.Port())
	}
	o.Host, o.Port = u.Hostname(), port
	return nil
}

// tcpProbe is a built check of the kind tcp.
type tcpProbe struct {
	host, port string
	route      *router
	tls        *tlsPlan // nil: no TLS
	secure     *TLS     // what tls was made of
	steps      []turn
	banner     bool // wanted by an expectation
	max        int
	proxied    *Proxied // what route.via was made of
}

// Build validates the options.
func (o *tcpOptions) Build(setup check.Setup) (check.Plan, error) {
	steps, errs := payloads(o.Steps)
	errs = append(errs, o.validate()...)
	route, err := o.Route.buildAll()
	errs = append(errs, err, route.reaches("host", o.Host), route.closeBy(o.Close))
	p := &tcpProbe{
		host: o.Host, port: strconv.Itoa(o.Port), route: route,
		steps: steps, banner: setup.Needs("banner"), max: int(o.MaxBanner),
	}
	p.proxied = &o.Proxied
	plan := check.Plan{Probe: spreadOver(p, route, o.Host), Target: net.JoinHostPort(o.Host, p.port)}
	errs = append(errs, o.fixed(setup, route, o.Host, o.Port, &plan.Secrets))
	if o.TLS != nil {
		p.secure = o.TLS
		p.tls, err = o.TLS.build()
		errs = append(errs, err)
		p.tls.detail = needsDetail(setup)
		plan.Defaults = p.tls.defaults()
	}
	if len(o.Steps) > 0 {
		plan.Defaults = append(plan.Defaults, check.Default{Expect: "dialogue"})
	}
	return plan, errors.Join(errs...)
}

func (o *tcpOptions) validate() []error {
	errs := validateHostPort(o.Host, o.Port)
	if o.MaxBanner < 1 || o.MaxBanner > largestMaxBanner {
		errs = append(errs, check.OptionErrorf("max_banner", "%s is not from 1B to %s", o.MaxBanner, largestMaxBanner))
	}
	if n := len(o.Steps); n > 0 && o.Close == closeReset && o.Steps[n-1].Expect == nil {
		errs = append(errs, check.OptionErrorf("close", "reset may discard what the last step sends; give that step an expect"))
	}
	return errs
}

// validateHostPort checks the options host and port.
func validateHostPort(host string, port int) []error {
	var errs []error
	if err := checkHost(host); err != nil {
		errs = append(errs, &check.OptionError{Option: "host", Err: err})
	}
	if port < 1 || port > 65535 {
		errs = append(errs, check.OptionErrorf("port", "%d is not a port number from 1 to 65535", port))
	}
	return errs
}

// checkHost reports a host that can be neither a name nor an IP address.
func checkHost(host string) error {
	switch {
	case host == "":
		return errors.New("must not be empty")
	case strings.ContainsAny(host, " \t\r\n/?#@[]\\\"'`$;&|<>()") || strings.HasPrefix(host, "-") || strings.Contains(host, ":") && !isIP(host):
		return fmt.Errorf("%q is neither a name nor an IP address", host)
	case len(host) > 253+1: // RFC 1035 section 2.3.4, and the final dot
		return fmt.Errorf("%q is longer than a name can be", host[:32]+"…")
	}
	return nil
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// Observe connects, shakes hands where TLS is wanted, and talks.
func (p *tcpProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	j.from = p.route.from()
	from := j.from
	j.obs.Reproduce = func() string { return p.reproduce(from) }
	if p.tls == nil {
		j.obs.Facts = make(check.Facts, 0, 4) // the usual room is for a certificate
	}
	conn, reason := j.connect(ctx, p.route, p.host, p.port)
	if reason != nil {
		return j.stop(reason)
	}
	defer func() { conn.Close() }()
	talks := p.banner || len(p.steps) > 0
	if p.tls != nil {
		secure, reason := j.handshake(ctx, conn, p.tls, p.host, nil)
		if reason == nil && !talks {
			reason = j.refusal(secure)
		}
		if reason != nil {
			return j.stop(reason)
		}
		conn = secure
	}
	if talks {
		h := &hearing{conn: conn, max: p.max, ctx: ctx}
		if err := j.talk(h, p.steps, p.banner); err != nil {
			j.obs.Failure = j.cause(err, check.ConnectTimeout)
		}
	}
	return j.end()
}
