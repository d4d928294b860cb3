package probes

import (
	"context"
	"net"
	"net/url"

	"github.com/sonde-cli/sonde/check"
)

// proxy validates the proxy.
func (b *httpBuilder) proxy() error {
	o := b.options
	choose, err := o.chooser(b.setup, &b.secrets)
	if err != nil || choose == nil {
		return err
	}
	b.probe.proxy = choose
	if b.probe.start == nil {
		return nil
	}
	via := choose(b.probe.start)
	switch {
	case via == nil:
		return nil
	case b.probe.home.route != nil && b.probe.home.route.noProxy() != nil:
		return b.probe.home.route.noProxy()
	case o.Version == "2" && b.probe.start.Scheme == "http" && !via.socks():
		return check.OptionErrorf("version", "HTTP/2 over http:// goes with no HTTP proxy")
	}
	return nil
}

// connect connects to the URL's host, or to its proxy and through it.
func (r *httpRun) connect(ctx context.Context, u *url.URL, path *httpPath) (net.Conn, *check.Reason) {
	host, port := hostPort(u)
	r.via = nil
	if path.unix != "" {
		return r.j.connectUnix(ctx, path.unix)
	}
	if r.p.proxy != nil {
		r.via = r.p.proxy(u)
	}
	switch {
	case r.via == nil:
		return r.j.connect(ctx, path.route, host, port)
	case !r.forwards(u):
		return r.j.connectVia(ctx, r.p.away.route, r.via, host, port)
	}
	if reason := permittedBehind(ctx, host); reason != nil {
		return nil, reason
	}
	return r.j.openVia(ctx, r.p.away.route, r.via, nil)
}

// forwards reports whether the proxy gets the request itself, as HTTP proxies do
// for http:// URLs, and no tunnel is made.
func (r *httpRun) forwards(u *url.URL) bool {
	return r.via != nil && u.Scheme == "http" && !r.via.socks() && !r.p.tunnels
}

// viaProxy makes the message one for a proxy: the target in absolute form
// (RFC 9112, section 3.2.2) and the credentials for the proxy.
func (r *httpRun) viaProxy(m *httpMessage, u *url.URL) {
	m.target = "http://" + m.authority + m.target
	if auth := r.via.auth(); auth != "" {
		m.fields = append(m.fields, field{"Proxy-Authorization", auth})
	}
}
