package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/sonde-cli/sonde/check"
)

// proxy validates the proxy. The environment is looked at only for "env".
func (b *httpBuilder) proxy() error {
	o := b.options
	if o.Proxy == "" {
		return nil
	}
	choose, err := b.chooser()
	if err != nil {
		return check.OptionErrorf("proxy", "%w", err)
	}
	b.probe.proxy = choose
	if b.probe.start == nil {
		return nil
	}
	via := choose(b.probe.start)
	switch {
	case via == nil:
		return nil
	case o.Address != "":
		return check.OptionErrorf("address", "goes with no proxy, for the proxy connects to the target")
	case o.Version == "2" && b.probe.start.Scheme == "http":
		return check.OptionErrorf("version", "HTTP/2 over http:// goes with no proxy")
	}
	return nil
}

func (b *httpBuilder) chooser() (func(*url.URL) *url.URL, error) {
	if b.options.Proxy != "env" {
		via, err := b.parseProxy(b.options.Proxy)
		return func(*url.URL) *url.URL { return via }, err
	}
	env := func(name string) string {
		if v := b.setup.Getenv(strings.ToLower(name)); v != "" {
			return v
		}
		return b.setup.Getenv(name)
	}
	config := httpproxy.Config{HTTPProxy: env("HTTP_PROXY"), HTTPSProxy: env("HTTPS_PROXY"), NoProxy: env("NO_PROXY")}
	for name, value := range map[string]string{"HTTP_PROXY": config.HTTPProxy, "HTTPS_PROXY": config.HTTPSProxy} {
		if value == "" {
			continue
		}
		if _, err := b.parseProxy(value); err != nil {
			return nil, fmt.Errorf("%s of the environment %w", name, err)
		}
	}
	choose := config.ProxyFunc()
	return func(u *url.URL) *url.URL {
		via, err := choose(u)
		if err != nil { // only in CGI, which this is not
			return nil
		}
		return via
	}, nil
}

// parseProxy reads a proxy's URL; its password is a secret.
func (b *httpBuilder) parseProxy(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, badURL(err)
	}
	if u.Scheme != "http" {
		return nil, fmt.Errorf("has the scheme %s, only http:// proxies are supported", u.Scheme)
	}
	if _, err := normalHost(u.Hostname()); err != nil {
		return nil, err
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, errors.New("has a path, a proxy is only host and port")
	}
	if password, ok := u.User.Password(); ok {
		b.secrets = append(b.secrets, password, strings.TrimPrefix(proxyAuth(u), "Basic "))
	}
	return u, nil
}

// proxyAuth returns the credentials for the proxy, "" when it needs none.
func proxyAuth(via *url.URL) string {
	if via.User == nil {
		return ""
	}
	password, _ := via.User.Password()
	return basicAuth(via.User.Username(), password)
}

// connect connects to the URL's host, or to its proxy and through it. Of a host
// behind the proxy only an address can be held against what ctx permits.
func (r *httpRun) connect(ctx context.Context, u *url.URL, path *httpPath) (net.Conn, *check.Reason) {
	host, port := hostPort(u)
	r.via = nil
	if path.unix != "" {
		return r.j.connectUnix(ctx, path.unix)
	}
	if r.p.proxy != nil {
		r.via = r.p.proxy(u)
	}
	if r.via == nil {
		return r.j.connect(ctx, path.route, host, port)
	}
	if addr := literalAddr(host); addr.IsValid() { // a name is the proxy's to resolve
		if _, reason := permitted(ctx, []netip.Addr{addr}); reason != nil {
			return nil, reason
		}
	}
	viaHost, viaPort := hostPort(r.via)
	conn, reason := r.j.connect(ctx, r.p.away.route, viaHost, viaPort)
	if reason == nil && u.Scheme == "https" {
		if reason = r.tunnel(conn, net.JoinHostPort(host, port)); reason != nil {
			conn.Close()
		}
	}
	if reason != nil {
		reason.Message = "proxy " + r.via.Host + ": " + reason.Message
		return nil, reason
	}
	return conn, nil
}

// tunnel asks the proxy for a connection to the target (RFC 9110, section
// 9.3.6). It is part of the phase connect.
func (r *httpRun) tunnel(conn net.Conn, target string) *check.Reason {
	defer r.j.timed(check.PhaseConnect, time.Now())
	m := &httpMessage{method: "CONNECT", target: target, authority: target, fields: []field{{"User-Agent", r.p.agent}}}
	if auth := proxyAuth(r.via); auth != "" {
		m.fields = append(m.fields, field{"Proxy-Authorization", auth})
	}
	wire := newHTTP1(conn, true)
	defer wire.release()
	err := wire.send(m)
	if err == nil {
		err = wire.await()
	}
	var head *httpHead
	if err == nil {
		head, err = wire.readHead()
	}
	switch {
	case err != nil:
		return r.broken(err, check.ConnectTimeout, "no answer to CONNECT in time")
	case head.status < 200 || head.status > 299:
		return &check.Reason{Code: check.HTTPStatus, Message: fmt.Sprintf("CONNECT %s was answered with status %d %s", target, head.status, head.reason)}
	case wire.r < wire.w:
		return &check.Reason{Code: check.HTTPMalformed, Message: "bytes after the answer to CONNECT: " + excerpt(wire.buf[wire.r:wire.w])}
	}
	return nil
}

// viaProxy makes the message one for a proxy: the target in absolute form
// (RFC 9112, section 3.2.2) and the credentials for the proxy.
func (r *httpRun) viaProxy(m *httpMessage, u *url.URL) {
	m.target = "http://" + m.authority + m.target
	if auth := proxyAuth(r.via); auth != "" {
		m.fields = append(m.fields, field{"Proxy-Authorization", auth})
	}
}
