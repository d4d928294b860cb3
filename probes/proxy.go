package probes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/sonde-cli/sonde/check"
)

// Proxied are the options of kinds that can go through a proxy, embedded in
// theirs beside [Route].
type Proxied struct {
	Proxy    string `yaml:"proxy" address:"true" doc:"proxy to go through, [user:password@]host:port behind http://, https://, socks5:// (which is told addresses) or socks5h:// (which resolves the name); or env for that of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY"`
	ProxyTLS TLS    `yaml:"proxy_tls" doc:"TLS of an https:// proxy"`
}

// The schemes of proxies, with their usual ports.
const (
	schemeHTTP    = "http"
	schemeHTTPS   = "https"
	schemeSOCKS5  = "socks5"  // RFC 1928, told addresses
	schemeSOCKS5H = "socks5h" // the same, told names
)

var proxyPorts = map[string]string{schemeHTTP: "80", schemeHTTPS: "443", schemeSOCKS5: "1080", schemeSOCKS5H: "1080"}

// proxy is a validated proxy. It is never changed once built.
type proxy struct {
	scheme     string
	host, port string
	shown      string // host and port as written
	user, pass string
	tls        *tlsPlan // of the scheme https
	agent      string
}

// String is the proxy without its user and password.
func (p *proxy) String() string { return p.scheme + "://" + p.shown }

// socks reports whether the proxy speaks SOCKS.
func (p *proxy) socks() bool { return p.scheme == schemeSOCKS5 || p.scheme == schemeSOCKS5H }

// auth returns the credentials for an HTTP proxy, "" when it needs none.
func (p *proxy) auth() string {
	if p.user == "" && p.pass == "" {
		return ""
	}
	return basicAuth(p.user, p.pass)
}

// chooser returns the proxy on the way to a URL, nil when there is none.
type chooser func(*url.URL) *proxy

// chooser validates the options. Without a proxy it returns nil. The environment
// is looked at only for "env".
func (o *Proxied) chooser(s check.Setup, secrets *[]string) (chooser, error) {
	if o.Proxy == "" {
		if o.ProxyTLS != (TLS{}) {
			return nil, check.OptionErrorf("proxy_tls", "there is no proxy")
		}
		return nil, nil
	}
	b := proxyBuilder{setup: s, secrets: secrets}
	plan, err := o.proxyTLS()
	if err != nil {
		return nil, err
	}
	b.tls = plan
	if o.Proxy == "env" {
		return b.environment()
	}
	if password := writtenPassword(o.Proxy); password != "" {
		*secrets = append(*secrets, password)
	}
	via, err := b.parse(o.Proxy)
	switch {
	case err != nil:
		return nil, check.OptionErrorf("proxy", "%w", err)
	case o.ProxyTLS != (TLS{}) && via.scheme != schemeHTTPS:
		return nil, check.OptionErrorf("proxy_tls", "a proxy of %s:// speaks no TLS", via.scheme)
	}
	return func(*url.URL) *proxy { return via }, nil
}

// proxyTLS builds the TLS of the way to the proxy.
func (o *Proxied) proxyTLS() (*tlsPlan, error) {
	plan, err := o.ProxyTLS.build()
	if err == nil {
		return plan, nil
	}
	var errs []error
	for _, e := range check.OptionErrors(err) {
		errs = append(errs, &check.OptionError{Option: "proxy_" + e.Option, Err: e.Err})
	}
	return nil, errors.Join(errs...)
}

// fixed returns the proxy on the way to host and port over plain TCP.
func (o *Proxied) fixed(s check.Setup, route *router, host string, port int, secrets *[]string) error {
	choose, err := o.chooser(s, secrets)
	if err != nil || choose == nil {
		return err
	}
	route.via = choose(&url.URL{Scheme: "tcp", Host: net.JoinHostPort(host, strconv.Itoa(port))})
	if route.via != nil {
		return route.noProxy()
	}
	return nil
}

// noProxy reports options that choose addresses, which is up to the proxy.
func (r *router) noProxy() error {
	switch {
	case r.address.IsValid(), r.spread == everyAddress:
		return check.OptionErrorf("address", "goes with no proxy, for the proxy connects to the target")
	case r.spread == bothFamilies:
		return check.OptionErrorf("family", "both goes with no proxy, for the proxy connects to the target")
	}
	return nil
}

// proxyBuilder reads proxies.
type proxyBuilder struct {
	setup   check.Setup
	tls     *tlsPlan
	secrets *[]string
}

// environment takes the proxies that the environment names, as curl does:
// ALL_PROXY is that of everything without one of its own.
func (b *proxyBuilder) environment() (chooser, error) {
	env := func(name string) string {
		if v := b.setup.Getenv(strings.ToLower(name)); v != "" {
			return v
		}
		return b.setup.Getenv(name)
	}
	named := make(map[string]*proxy)
	for scheme, name := range map[string]string{schemeHTTP: "HTTP_PROXY", schemeHTTPS: "HTTPS_PROXY", "tcp": "ALL_PROXY"} {
		value := env(name)
		if value == "" {
			continue
		}
		via, err := b.parse(value)
		if err != nil {
			return nil, check.OptionErrorf("proxy", "%s of the environment %w", name, err)
		}
		named[scheme] = via
	}
	// Only what NO_PROXY means is left to the library.
	config := httpproxy.Config{HTTPProxy: "http://proxy.invalid", HTTPSProxy: "http://proxy.invalid", NoProxy: env("NO_PROXY")}
	wanted := config.ProxyFunc()
	return func(u *url.URL) *proxy {
		asked := *u
		if asked.Scheme != schemeHTTPS {
			asked.Scheme = schemeHTTP
		}
		if via, err := wanted(&asked); err != nil || via == nil {
			return nil
		}
		if via := named[u.Scheme]; via != nil {
			return via
		}
		return named["tcp"]
	}, nil
}

// parse reads a proxy's URL; its password is a secret.
func (b *proxyBuilder) parse(text string) (*proxy, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, badURL(err)
	}
	usual, known := proxyPorts[u.Scheme]
	if !known {
		return nil, fmt.Errorf("has the scheme %s, it must be http, https, socks5 or socks5h", u.Scheme)
	}
	host, err := normalHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, errors.New("has a path, a proxy is only host and port")
	}
	p := &proxy{scheme: u.Scheme, host: host, port: u.Port(), shown: u.Host, agent: "sonde/" + b.setup.Version}
	if p.port == "" {
		p.port = usual
	}
	if n, err := strconv.ParseUint(p.port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("port %s is not in 1..65535", p.port)
	}
	p.user = u.User.Username()
	p.pass, _ = u.User.Password()
	if p.pass != "" {
		*b.secrets = append(*b.secrets, p.pass, strings.TrimPrefix(p.auth(), "Basic "))
	}
	if p.socks() && u.User != nil && (p.user == "" || len(p.user) > maxSOCKSText || len(p.pass) > maxSOCKSText) {
		return nil, fmt.Errorf("has a user or a password that SOCKS cannot express: a user has 1 to %d bytes, a password at most as many", maxSOCKSText)
	}
	if p.scheme == schemeHTTPS {
		p.tls = b.tls
	}
	return p, nil
}

// curlProxy adds the options by which curl takes the same way.
func (o *Proxied) curlProxy(c *shellLine) {
	switch {
	case o.Proxy == "":
		c.add("--noproxy", "*")
	case o.Proxy != "env":
		c.add("-x", o.shownProxy())
	}
	t := &o.ProxyTLS
	for _, option := range []struct{ flag, value string }{
		{"--proxy-cacert", t.CA}, {"--proxy-cert", t.Cert}, {"--proxy-key", t.Key},
	} {
		if option.value != "" {
			c.add(option.flag, option.value)
		}
	}
	if t.Insecure {
		c.add("--proxy-insecure")
	}
}

// shownProxy is the proxy as a line to reproduce has it.
func (o *Proxied) shownProxy() string {
	password := writtenPassword(o.Proxy)
	return strings.Replace(o.Proxy, ":"+password+"@", ":"+hidden(password)+"@", 1)
}

// viaCurl returns a shell line that goes to host and port, with TLS or without,
// where other tools know no proxy or interface.
func (o *Proxied) viaCurl(from netip.Addr, route *router, host, port string, secure *TLS) string {
	c := shellLine{"curl", "-v"}
	curlInterface(&c, route, from)
	o.curlProxy(&c)
	if addr := route.address; addr.IsValid() {
		c.add("--resolve", net.JoinHostPort(host, port)+":"+urlHost(addr.String()))
	}
	scheme := "telnet://" // through a tunnel; what comes is shown
	if secure != nil {
		scheme = "https://"
		curlTLS(&c, secure)
	} else if route.via != nil {
		c.add("-p")
	}
	if route.family != 0 {
		c.add("-" + strconv.Itoa(int(route.family)))
	}
	c.add(scheme + net.JoinHostPort(host, port))
	return c.String()
}
