package probes

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	"github.com/sonde-cli/sonde/check"
)

// version3 checks what the other options mean for HTTP/3.
func (b *httpBuilder) version3() error {
	o := b.options
	if o.Version != "3" {
		return nil
	}
	var errs []error
	refuse := func(option, why string) { errs = append(errs, check.OptionErrorf(option, "%s", why)) }
	if b.probe.start != nil && b.probe.start.Scheme != "https" {
		refuse("version", "HTTP/3 is for https:// URLs only")
	}
	if o.Proxy != "" {
		refuse("proxy", "goes with TCP, and version: 3 uses UDP")
	}
	if o.Unix != "" {
		refuse("unix", "goes with TCP, and version: 3 uses UDP")
	}
	if o.Connection == "reuse" {
		refuse("connection", "version: 3 keeps no connection between runs, write fresh or both")
	}
	if o.Close == closeReset {
		refuse("close", "reset is for TCP, and version: 3 uses UDP, where no port stays in TIME_WAIT")
	}
	if o.TLS.MaxVersion != "" && o.TLS.MaxVersion != "1.3" {
		refuse("tls.max_version", "version: 3 needs TLS 1.3")
	}
	return errors.Join(errs...)
}

// open3 makes an HTTP/3 connection to the URL's host.
func (r *httpRun) open3(ctx context.Context, u *url.URL, path *httpPath) (*link, *check.Reason) {
	r.via, r.secure = nil, false
	host, port := hostPort(u)
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, &check.Reason{Code: check.ConnectUnreachable, Message: strconv.Quote(port) + " is not a port number"}
	}
	aim := quicAim{plan: path.tls, host: hostName(u), protocol: "h3", code: h3NoError}
	q, reason := r.j.dialQUIC(ctx, path.route, host, uint16(number), aim)
	r.past.bound(&r.j.obs)
	if reason != nil {
		return nil, reason
	}
	l := &link{conn: q, wire: newHTTP3(ctx, q)}
	if reason := r.trusts(); reason != nil {
		l.close()
		return nil, reason
	}
	return l, nil
}
