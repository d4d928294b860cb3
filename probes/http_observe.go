package probes

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// httpRun is one Observe call of an http check.
type httpRun struct {
	p       *httpProbe
	j       *journey
	sent    httpMessage
	via     *proxy    // of the current hop, nil for none
	seen    []string  // the hops that redirected: method and URL
	secure  bool      // what is exchanged goes over TLS
	past    lifetimes // the shortest of those hops' certificates
	token   string    // bearer token that is known at run time only; empty: none
	cookies cookieStore
	held    *link        // for the second request of connection: both, nil: none
	asked   *httpRequest // what was asked over it
	repeats bool         // it is the second request: sent is its message already
	stale   bool         // a digest was refused for its nonce alone, which the server takes no more
}

// httpRequest is what one hop asks for.
type httpRequest struct {
	url    *url.URL
	method string
	body   []byte
	// strange means that a redirect has left the origin of the check's URL, so
	// nothing secret goes along any more.
	strange bool
	digest  *digestAnswer // nil: none
}

// httpMessage is a request as it goes on the wire.
type httpMessage struct {
	method, scheme, authority, target string
	fields                            []field
	room                              [6]field // where fields usually are
	body                              []byte
}

// httpWire makes one exchange over a connection, in one version of HTTP.
type httpWire interface {
	send(m *httpMessage) error
	await() error // until the response begins
	readHead() (*httpHead, error)
	openBody(head *httpHead, method string) (io.Reader, error)
	release()
	// untouched reports whether nothing of the response has come.
	untouched() bool
	// spent reports whether the response was read to its end, so that the
	// connection can carry another request.
	spent(head *httpHead, body io.Reader) bool
}

// Observe makes the request and follows its redirects, each over a connection
// of its own, all within ctx's deadline.
func (p *httpProbe) Observe(ctx context.Context) check.Observation {
	return p.observe(ctx, nil)
}

// observe makes the request with the cookies of a journey, of which it is a part;
// nil for none.
func (p *httpProbe) observe(ctx context.Context, jar *cookieJar) check.Observation {
	j := begin()
	timeout := time.Duration(0)
	if deadline, ok := ctx.Deadline(); ok {
		timeout = deadline.Sub(j.start)
	}
	j.obs.Phases = make(check.Phases, 0, 6)
	j.obs.Facts = make(check.Facts, 0, p.room())
	j.from = p.home.route.from()
	from := j.from
	run := &httpRun{p: p, j: j, cookies: newCookieStore(p, jar)}
	j.obs.Reproduce = func() string {
		return p.reproduce(timeout, from, append(run.cookies.curl(), run.curlResolved()...)...)
	}
	reason := run.authorize(ctx)
	if reason == nil {
		reason = run.follow(ctx)
	}
	if reason != nil {
		return j.stop(reason)
	}
	return j.end()
}

// room is how many facts there usually are: 13 of HTTP, 2 of a kept connection
// and 16 of TLS. A map grows in powers of two, less an eighth.
func (p *httpProbe) room() int {
	switch {
	case p.start.Scheme == "https":
		return 31
	case p.keeper != nil:
		return 15
	default:
		return 13
	}
}

// follow makes exchanges until one is final. The facts of TLS are of the last hop
// that had it, also when a redirect leads from https to http; how long certificates
// last is the shortest of all hops, for whichever expires first ends them all.
func (r *httpRun) follow(ctx context.Context) *check.Reason {
	request := &httpRequest{url: r.p.start, method: r.p.method, body: r.p.body}
	for request != nil {
		next, reason := r.exchange(ctx, request)
		r.setHops(request)
		if reason != nil {
			return reason
		}
		if next != nil {
			r.past = lifetimesOf(&r.j.obs)
		}
		request = next
	}
	if r.p.both() {
		return r.warm(ctx)
	}
	return nil
}

func (r *httpRun) setHops(request *httpRequest) {
	final := r.p.target
	if request.url != r.p.start {
		final = request.url.String()
	}
	r.j.obs.Set("url", final)
	r.j.obs.Set("redirects", len(r.seen))
	if len(r.seen) > 0 {
		chain := make([]string, len(r.seen))
		for i, s := range r.seen {
			_, chain[i], _ = strings.Cut(s, " ")
		}
		r.j.obs.Set("redirect_chain", chain)
	}
	proxy := ""
	if r.via != nil {
		proxy = r.via.String()
	}
	r.j.obs.Set("proxy", proxy)
}

// exchange sends one request over a connection of its own and reads its
// response. It returns the request that a redirect leads to, nil when the
// response is final.
func (r *httpRun) exchange(ctx context.Context, request *httpRequest) (*httpRequest, *check.Reason) {
	if l := r.take(ctx, request); l != nil {
		next, reason := r.over(ctx, l, request)
		if reason == nil || !r.again(l, request.method, reason) {
			return next, reason
		}
	}
	l, reason := r.open(ctx, request.url)
	if reason != nil {
		return nil, reason
	}
	return r.over(ctx, l, request)
}

// over makes the exchange over the connection, and keeps or closes that.
func (r *httpRun) over(ctx context.Context, l *link, request *httpRequest) (*httpRequest, *check.Reason) {
	kept := false
	defer func() {
		if !kept {
			l.close()
		}
	}()
	r.setLink(l)
	r.secure = l.secure != nil
	if reason := r.resume(l); reason != nil {
		return nil, reason
	}
	if reason := r.send(l, r.message(request)); reason != nil {
		return nil, reason
	}
	began := time.Now()
	defer r.j.timed(check.PhaseTransfer, began)
	head, err := l.wire.readHead()
	if err != nil {
		return nil, r.broken(err, check.HTTPHeaderTimeout, "the response head was not complete in time")
	}
	r.cookies.learn(&r.j.obs, request.url, head)
	if next, reason := r.redirect(request, head); next != nil || reason != nil {
		if reason != nil {
			r.setHead(head)
		}
		return next, reason
	}
	if again := r.answer(request, head); again != nil {
		return again, nil
	}
	r.setHead(head)
	r.unauthorized(request, head)
	body := io.Reader(strings.NewReader(""))
	if !head.bodyless(request.method) {
		body, err = l.wire.openBody(head, request.method)
	} else if strings.HasPrefix(head.version, "1.") {
		_, _, err = framing(head) // strict even where it does not matter
	}
	if err != nil {
		return nil, r.broken(err, check.HTTPBodyTimeout, "")
	}
	if reason := r.readBody(head, body); reason != nil {
		return nil, reason
	}
	kept = r.keep(ctx, l, request, head, body) ||
		r.p.both() && r.hold(ctx, l, request, l.wire.spent(head, body))
	return nil, nil
}

// send writes the request and waits for the response to begin. A server may
// answer and close before it has read all of a request; its answer counts.
func (r *httpRun) send(l *link, m *httpMessage) *check.Reason {
	start := time.Now()
	sendErr := l.wire.send(m)
	r.j.timed(check.PhaseSend, start)
	if sendErr != nil && isTimeout(sendErr) {
		return r.broken(sendErr, check.HTTPHeaderTimeout, "the peer did not take the request in time")
	}
	start = time.Now()
	err := l.wire.await()
	r.j.timed(check.PhaseWait, start)
	if err == nil {
		return nil
	}
	l.silent = l.wire.untouched()
	if sendErr != nil {
		err = sendErr
	}
	return r.broken(err, check.HTTPHeaderTimeout, "no response in time")
}

// broken explains an error on the connection. A timeout gets the code and the
// message given.
func (r *httpRun) broken(err error, timeout check.Code, message string) *check.Reason {
	var he *httpError
	if errors.As(err, &he) {
		if r.secure && strings.HasPrefix(he.message, noHTTP2) { // which ALPN agreed on
			he.message += "\nhint: version: \"1.1\" does without"
		}
		return &check.Reason{Code: he.code, Message: he.message}
	}
	reason := r.j.cause(err, timeout)
	switch {
	case reason.Code == timeout:
		reason.Message = message
	case reason.Code == check.ConnectUnreachable && r.secure && !isErrno(err): // what is left is a defect of the TLS
		reason.Code = check.TLSAlert
	}
	return &reason
}

func (r *httpRun) setHead(head *httpHead) {
	obs := &r.j.obs
	obs.Set("status", head.status)
	setText(obs, "version", head.version)
	obs.Set("content_type", head.get("content-type"))
	setText(obs, "status_text", head.reason)
	if r.p.needs.fields {
		r.setFields(head, time.Now())
	}
	if r.p.needs.headers {
		all := make(map[string]string, len(head.fields))
		for _, f := range head.fields {
			if v, ok := all[f.name]; ok {
				all[f.name] = v + ", " + f.value
				continue
			}
			all[f.name] = f.value
		}
		obs.Set("headers", all)
	}
	if r.p.needs.cookies {
		obs.Set("cookies", r.cookies.seen())
	}
}

// setText sets a fact, without an allocation for the usual values.
func setText(obs *check.Observation, fact, value string) {
	switch value {
	case "1.1":
		obs.Set(fact, "1.1")
	case "2":
		obs.Set(fact, "2")
	case "3":
		obs.Set(fact, "3")
	case "OK":
		obs.Set(fact, "OK")
	default:
		obs.Set(fact, value)
	}
}

// open connects to the URL's host, through the proxy if there is one, with TLS
// if it is https.
func (r *httpRun) open(ctx context.Context, u *url.URL) (*link, *check.Reason) {
	path := r.p.path(u)
	if r.p.version == "3" {
		return r.open3(ctx, u, path)
	}
	r.secure = false // a proxy's tunnel is not
	conn, reason := r.connect(ctx, u, path)
	if reason != nil {
		return nil, reason
	}
	l := &link{conn: conn, via: r.via}
	if reason := r.speak(ctx, l, u, path); reason != nil {
		l.close()
		return nil, reason
	}
	if r.p.keeper != nil || r.p.both() {
		facts := r.j.obs.Facts
		l.made, l.bound, l.ip, l.family = time.Now(), boundOf(conn), facts.Get("ip"), facts.Get("family")
	}
	return l, nil
}

// speak puts TLS and HTTP over a new connection.
func (r *httpRun) speak(ctx context.Context, l *link, u *url.URL, path *httpPath) *check.Reason {
	if u.Scheme == "http" {
		if r.p.version == "2" && !r.forwards(u) {
			l.wire = newHTTP2(l.conn)
		} else {
			l.wire = newHTTP1(l.conn, r.keeps(u) || r.p.both())
		}
		return nil
	}
	watch := &cutWatch{Conn: l.conn}
	secure, reason := r.j.handshake(ctx, watch, path.tls, hostName(u), r.p.protocols())
	r.past.bound(&r.j.obs)
	if reason != nil {
		return reason
	}
	l.conn, l.secure, l.asked, watch.on = secure, secure, r.j.certAsked, true
	if reason := r.trusts(); reason != nil {
		return reason
	}
	switch protocol := secure.ConnectionState().NegotiatedProtocol; {
	case protocol == "h2":
		l.wire = newHTTP2(secure)
	case r.p.version == "2":
		message := "the server does not offer HTTP/2 (ALPN h2) on this port"
		if r.p.options.Version == "2" { // not of another kind over HTTP/2
			message += "\nhint: version: auto takes what the server has"
		}
		return &check.Reason{Code: check.HTTPMalformed, Message: message}
	default:
		l.wire = newHTTP1(secure, r.keeps(u) || r.p.both())
	}
	return nil
}

// trusts looks at what the handshake gave. To a peer that cannot prove who it
// is nothing is sent, unless the check says insecure.
func (r *httpRun) trusts() *check.Reason {
	if r.p.insecure {
		return nil
	}
	return distrust(&r.j.obs)
}

// protocols is the ALPN list (RFC 7301).
func (p *httpProbe) protocols() []string {
	switch p.version {
	case "1.1":
		return []string{"http/1.1"}
	case "2":
		return []string{"h2"}
	default:
		return []string{"h2", "http/1.1"}
	}
}

// message writes the request's head, unless that is there already. On foreign
// ground only harmless headers of the user's go along.
func (r *httpRun) message(request *httpRequest) *httpMessage {
	p, u, m := r.p, request.url, &r.sent
	if r.repeats {
		return m
	}
	*m = httpMessage{
		method: request.method, scheme: u.Scheme, authority: hostHeader(u), target: u.RequestURI(), body: request.body,
		fields: m.room[:0],
	}
	if r.forwards(u) {
		r.viaProxy(m, u)
	}
	var agent, accept, encoding bool
	for _, f := range p.headers {
		if request.strange && !harmlessHeader(f.name) {
			continue
		}
		switch strings.ToLower(f.name) {
		case "host":
			m.authority = f.value
			continue
		case "user-agent":
			agent = true
		case "accept":
			accept = true
		case "accept-encoding":
			encoding = true
		case "content-type", "content-encoding", "content-language":
			if len(request.body) == 0 && len(p.body) > 0 {
				continue // the body was dropped on the way
			}
		}
		m.fields = append(m.fields, f)
	}
	r.cookies.send(m, u)
	if !agent {
		m.fields = append(m.fields, field{"User-Agent", p.agent})
	}
	if !accept {
		m.fields = append(m.fields, field{"Accept", "*/*"})
	}
	if !encoding && p.accept != "" {
		m.fields = append(m.fields, field{"Accept-Encoding", p.accept})
	}
	if authorization := r.authorization(request); authorization != "" {
		m.fields = append(m.fields, field{"Authorization", authorization})
	}
	if len(request.body) > 0 || request.method == "POST" || request.method == "PUT" || request.method == "PATCH" {
		m.fields = append(m.fields, field{"Content-Length", strconv.Itoa(len(request.body))})
	}
	return m
}

// harmlessHeader reports whether a request header tells nothing but what the
// client can read, so that it may go to other hosts.
func harmlessHeader(name string) bool {
	switch strings.ToLower(name) {
	case "accept", "accept-charset", "accept-encoding", "accept-language", "user-agent", "cache-control", "pragma",
		"content-type", "content-language", "content-encoding", "range", "if-modified-since", "if-none-match", "dnt":
		return true
	}
	return false
}

// sensitiveHeader reports whether a request header's value is a secret.
func sensitiveHeader(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"auth", "cookie", "token", "secret", "key", "password", "session", "signature", "credential"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
