package probes

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "grpc",
		Doc:     "asks a gRPC server for its health, by the protocol grpc.health.v1",
		Schemes: []string{"grpc", "grpcs"},
		Facts:   grpcFacts(),
		New:     func() check.Options { return new(grpcOptions) },
	})
}

func grpcFacts() []check.Fact {
	facts := []check.Fact{
		{Name: "status", Type: check.String, Doc: "health of the service: 'serving', 'not_serving', 'service_unknown', or 'unknown' when the server does not tell"},
		{Name: "grpc_status", Type: check.Int, Doc: "status code of the call, 0 for OK"},
		{Name: "grpc_status_name", Type: check.String, Doc: "its name, such as 'OK' or 'NOT_FOUND'"},
		{Name: "message", Type: check.String, Doc: "what the server says beside the status code"},
	}
	return append(append(facts, connectFacts()...), tlsFacts()...)
}

// grpcOptions are the options of the kind grpc.
type grpcOptions struct {
	Host      string            `yaml:"host" address:"true" required:"true" doc:"name or IP address"`
	Port      int               `yaml:"port" required:"true" doc:"port to connect to"`
	Service   string            `yaml:"service" doc:"service to ask about; default is the server as a whole"`
	Metadata  map[string]string `yaml:"metadata" doc:"metadata of the call, such as authorization"`
	Authority string            `yaml:"authority" doc:"pseudo-header :authority instead of host and port"`
	Close     string            `yaml:"close" enum:"normal,reset" doc:"how to end the connection; reset leaves no port in TIME_WAIT, see docs/connections.md"`
	TLS       *TLS              `yaml:"tls" doc:"speak TLS; {} does so with the defaults"`
	Route     `yaml:",inline"`
	Proxied   `yaml:",inline"`
}

// SetTarget reads grpc://host:port and grpcs://host:port, with the service as
// the path.
func (o *grpcOptions) SetTarget(target string) error {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a target such as grpc://host:port", target)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%s://host:port/service takes nothing behind the service and no user", u.Scheme)
	case u.Hostname() == "" || u.Port() == "":
		return fmt.Errorf("%q needs a host and a port: %s://host:port", target, u.Scheme)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return fmt.Errorf("%q is not a port number", u.Port())
	}
	o.Host, o.Port, o.Service = u.Hostname(), port, strings.TrimPrefix(u.Path, "/")
	if u.Scheme == "grpcs" && o.TLS == nil {
		o.TLS = new(TLS)
	}
	return nil
}

// grpcProbe is a built check of the kind grpc.
type grpcProbe struct {
	call      *httpProbe // the route, TLS and metadata of the call
	authority string
	request   []byte // the message, framed
	options   *grpcOptions
}

// maxGRPCMessage bounds a request and a response, in bytes; either has one
// short field.
const maxGRPCMessage = 4 << 10

// Build validates the options.
func (o *grpcOptions) Build(s check.Setup) (check.Plan, error) {
	scheme, tls := "http", TLS{}
	if o.TLS != nil {
		scheme, tls = "https", *o.TLS
	}
	errs := o.validate()
	if len(errs) > 0 {
		return check.Plan{}, errors.Join(errs...)
	}
	b := &httpBuilder{
		setup: s,
		options: &httpOptions{
			URL:   scheme + "://" + net.JoinHostPort(o.Host, strconv.Itoa(o.Port)) + "/grpc.health.v1.Health/Check",
			Close: o.Close, TLS: tls, Route: o.Route, Proxied: o.Proxied,
		},
		probe: &httpProbe{httpPlan: &httpPlan{method: "POST", version: "2", agent: "sonde/" + s.Version, insecure: tls.Insecure, tunnels: true}},
	}
	if b.url() != nil {
		return check.Plan{}, check.OptionErrorf("host", "%s is neither a name nor an IP address", excerpt([]byte(o.Host)))
	}
	errs = append(errs, b.paths(), o.metadata(b), b.proxy())
	if err := errors.Join(errs...); err != nil {
		return check.Plan{}, err
	}
	if err := b.probe.home.route.reaches("host", b.probe.start.Hostname()); err != nil {
		return check.Plan{}, err
	}
	p := &grpcProbe{call: b.probe, authority: o.Authority, request: healthRequest(o.Service), options: o}
	if p.authority == "" {
		p.authority = hostHeader(b.probe.start)
	}
	return check.Plan{
		Probe: spreadOver(p, b.probe.home.route, b.probe.start.Hostname()), Target: o.target(), Secrets: b.secrets,
		Defaults: append([]check.Default{{Expect: "status == 'serving'"}}, b.probe.home.tls.defaults()...),
	}, nil
}

func (o *grpcOptions) validate() []error {
	var errs []error
	if err := checkHost(o.Host); err != nil {
		errs = append(errs, &check.OptionError{Option: "host", Err: err})
	}
	if o.Port < 1 || o.Port > 65535 {
		errs = append(errs, check.OptionErrorf("port", "%d is not a port number from 1 to 65535", o.Port))
	}
	if len(o.Service) > maxGRPCMessage/2 {
		errs = append(errs, check.OptionErrorf("service", "is longer than %d bytes", maxGRPCMessage/2))
	}
	if strings.ContainsFunc(o.Authority, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, check.OptionErrorf("authority", "%s is no authority", excerpt([]byte(o.Authority))))
	}
	return errs
}

// metadata takes the call's metadata, which are header fields of HTTP/2.
func (o *grpcOptions) metadata(b *httpBuilder) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(o.Metadata)) {
		value, lower := o.Metadata[name], strings.ToLower(name)
		var err error
		switch {
		case strings.HasPrefix(lower, "grpc-"), lower == "content-type", lower == "user-agent", lower == "host":
			err = errors.New("is not for metadata")
		case strings.ContainsFunc(value, func(r rune) bool { return r > '~' }):
			err = errors.New("the value is not ASCII; give a name that ends in -bin a value in base64")
		default:
			err = b.addHeader(name, value)
		}
		if err != nil {
			errs = append(errs, check.OptionErrorf("metadata."+name, "%w", err))
		}
	}
	return errors.Join(errs...)
}

func (o *grpcOptions) target() string {
	scheme := "grpc://"
	if o.TLS != nil {
		scheme = "grpcs://"
	}
	target := scheme + net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
	if o.Service != "" {
		target += "/" + o.Service
	}
	return target
}

// reproduce returns the command of grpc-health-probe that asks the same.
func (p *grpcProbe) reproduce(timeout time.Duration) string {
	o, host := p.options, p.options.Host
	if pin := o.pin(); pin != "" {
		host = pin
	}
	var c shellLine
	if o.Proxy != "" && o.Proxy != "env" {
		c.add("env", "HTTPS_PROXY="+o.shownProxy())
	}
	c.add("grpc_health_probe")
	c.add("-addr=" + net.JoinHostPort(host, strconv.Itoa(o.Port)))
	if o.Service != "" {
		c.add("-service=" + o.Service)
	}
	if timeout > 0 {
		limit := timeout.Round(time.Millisecond).String()
		c.add("-connect-timeout="+limit, "-rpc-timeout="+limit)
	}
	for _, f := range p.call.headers {
		c.add("-rpc-header=" + f.name + ": " + f.shown())
	}
	if o.TLS == nil {
		return c.String()
	}
	c.add("-tls")
	name := o.TLS.ServerName
	if name == "" && host != o.Host {
		name = o.Host
	}
	for _, option := range []struct{ flag, value string }{
		{"-tls-ca-cert=", o.TLS.CA}, {"-tls-client-cert=", o.TLS.Cert}, {"-tls-client-key=", o.TLS.Key}, {"-tls-server-name=", name},
	} {
		if option.value != "" {
			c.add(option.flag + option.value)
		}
	}
	if o.TLS.Insecure {
		c.add("-tls-no-verify")
	}
	return c.String()
}

// Footprint is that of the connection.
func (p *grpcProbe) Footprint() check.Footprint { return p.call.Footprint() }
