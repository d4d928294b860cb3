package probes

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

const maxLocation = 8 << 10 // bytes of a Location header

// redirect returns the request that the response leads to, nil when it is the
// final one. That is also a redirect which would take the request's body to a
// foreign origin, for a body may hold secrets as much as a header does, and a
// request without it would be another request.
func (r *httpRun) redirect(request *httpRequest, head *httpHead) (*httpRequest, *check.Reason) {
	switch head.status {
	case 301, 302, 303, 307, 308:
	default:
		return nil, nil
	}
	location := head.get("location")
	if r.p.redirects == 0 || location == "" {
		return nil, nil
	}
	to, err := resolveLocation(request.url, location)
	if err != nil {
		return nil, &check.Reason{Code: check.HTTPMalformed, Message: fmt.Sprintf("status %d with a bad Location: %v", head.status, err)}
	}
	if r.p.version == "3" && to.Scheme == "http" {
		r.j.obs.Explain("status", check.HTTPStatus, fmt.Sprintf("status %d leads to %s, where version: 3 cannot go", head.status, to))
		return nil, nil
	}
	next := &httpRequest{
		url: to, method: redirectMethod(request.method, head.status), body: request.body,
		strange: request.strange || !sameOrigin(request.url, to),
	}
	if next.method != request.method {
		next.body = nil
	}
	if next.strange && len(next.body) > 0 {
		r.j.obs.Explain("status", check.HTTPStatus, fmt.Sprintf(
			"status %d leads to another origin, %s://%s, and the request's body does not go there", head.status, to.Scheme, to.Host))
		return nil, nil
	}
	return next, r.visit(request, next)
}

// visit notes the hop and refuses a circle and a chain that is too long.
func (r *httpRun) visit(from, to *httpRequest) *check.Reason {
	r.seen = append(r.seen, from.method+" "+from.url.String())
	if r.cookies.loops(r.seen, to.method+" "+to.url.String()) {
		r.j.obs.Set("redirects", len(r.seen))
		return &check.Reason{Code: check.HTTPRedirectLoop, Message: fmt.Sprintf("redirect %d leads back to %s", len(r.seen), to.url)}
	}
	if len(r.seen) > r.p.redirects {
		r.seen = r.seen[:len(r.seen)-1]
		return &check.Reason{Code: check.HTTPRedirectLimit, Message: fmt.Sprintf("more than %d redirects, the next is to %s", r.p.redirects, to.url)}
	}
	return nil
}

// resolveLocation reads a Location field (RFC 9110, section 10.2.2).
func resolveLocation(base *url.URL, location string) (*url.URL, error) {
	if len(location) > maxLocation {
		return nil, fmt.Errorf("it is longer than %d KiB", maxLocation>>10)
	}
	if strings.ContainsFunc(location, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, fmt.Errorf("it holds control characters: %s", excerpt([]byte(location)))
	}
	ref, err := url.Parse(strings.ReplaceAll(location, " ", "%20"))
	if err != nil {
		return nil, badURL(err)
	}
	to := base.ResolveReference(ref)
	to.User = nil
	if to.Scheme != "http" && to.Scheme != "https" {
		return nil, fmt.Errorf("its scheme %s is not followed", excerpt([]byte(to.Scheme)))
	}
	return parseHTTPURL(to.String())
}

// redirectMethod tells the method of the next request (RFC 9110, section
// 15.4): what browsers do, and curl.
func redirectMethod(method string, status int) string {
	if status == 303 && method != "HEAD" || (status == 301 || status == 302) && method == "POST" {
		return "GET"
	}
	return method
}

// sameOrigin reports whether what was meant for one URL may go to the other:
// same host, port and scheme, or the step from http to https on that host.
func sameOrigin(a, b *url.URL) bool {
	aHost, aPort := hostPort(a)
	bHost, bPort := hostPort(b)
	if aHost != bHost {
		return false
	}
	upgrade := a.Scheme == "http" && b.Scheme == "https" && aPort == "80" && bPort == "443"
	return upgrade || a.Scheme == b.Scheme && aPort == bPort
}
