package probes

import (
	"context"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// connectionBoth is the value of the option connection that makes the final
// request a second time, over the connection that the first has left.
const connectionBoth = "both"

// warmFacts are of connection: both only.
func warmFacts() []check.Fact {
	return []check.Fact{
		{Name: "cold.latency", Type: check.Duration, Doc: "time of the check over a fresh connection, the same as latency; only with connection: both", Option: "connection: both"},
		{Name: "warm.possible", Type: check.Bool, Doc: "the server kept the connection open for the second request; only with connection: both", Option: "connection: both"},
		{Name: "warm.latency", Type: check.Duration, Doc: "time of the second request, over the connection of the first; only with connection: both", Option: "connection: both"},
		{Name: "warm.status", Type: check.Int, Code: check.HTTPStatus, Doc: "status code of the second response; only with connection: both", Option: "connection: both"},
	}
}

// warmDefaults judge the second response by the first.
func (o *httpOptions) warmDefaults() []check.Default {
	if o.Connection != connectionBoth {
		return nil
	}
	return []check.Default{{Expect: "warm.status == status", WhenSeen: true}}
}

// second is the check of the second request: it follows no redirect, and leaves
// no connection to anybody.
func (p *httpProbe) second() *httpProbe {
	plan := *p.httpPlan
	plan.redirects, plan.options.Connection, plan.needs = 0, "fresh", httpNeeds{}
	return &httpProbe{httpPlan: &plan, start: p.start, target: p.target}
}

// both reports whether the final request is made twice.
func (p *httpProbe) both() bool { return p.options.Connection == connectionBoth }

// hold leaves the connection to the second request, if nothing speaks against
// it. Otherwise it says why there will be none.
func (r *httpRun) hold(ctx context.Context, l *link, request *httpRequest, reusable bool) bool {
	if !r.p.both() {
		return false
	}
	switch {
	case ctx.Err() != nil:
		return false
	case r.j.obs.Facts.Get("truncated") == true:
		r.cold("the first response was not read to its end, for its body is larger than max_body")
		return false
	case !reusable:
		r.cold("the server does not keep the connection after the first response")
		return false
	}
	r.held, r.asked = l, request
	return true
}

// cold records that there was no second request, and why.
func (r *httpRun) cold(why string) {
	r.j.obs.Set("warm.possible", false)
	for _, fact := range []string{"warm.possible", "warm.latency", "warm.status"} {
		r.j.obs.Explain(fact, check.ExpectCode(fact), why)
	}
}

// warm makes the final request again over the connection that was held: the same
// one, with the cookies and the token that the first was sent with. Its time
// is no part of the latency, and its phases are not recorded. A connection that
// ends before anything of the second response comes is one that the server did
// not keep; any other fault is a failure.
func (r *httpRun) warm(ctx context.Context) *check.Reason {
	obs := &r.j.obs
	obs.Set("cold.latency", time.Since(r.j.start)-r.j.idle)
	l := r.held
	if l == nil {
		return nil
	}
	again := &httpRun{p: r.p.second(), j: begin(), via: r.via, token: r.token, sent: r.sent, repeats: true}
	again.recount(&again.sent, r.asked)
	defer func() { r.j.idle += time.Since(again.j.start) }()
	if !l.renew() {
		l.close()
		r.cold("the server closed the connection after the first response")
		return nil
	}
	_, reason := again.over(ctx, l, r.asked)
	switch {
	case reason == nil && again.stale:
		r.cold("the server wants a digest of its own for each request")
		return nil
	case reason == nil:
	case l.silent && (reason.Code == check.HTTPTruncated || reason.Code == check.ConnectReset || reason.Code == check.HTTPGoAway):
		r.cold("the server closed the connection after the first response: " + reason.Message)
		return nil
	default:
		obs.Set("warm.possible", true)
		return &check.Reason{Code: reason.Code, Message: "the second request, over the same connection: " + reason.Message}
	}
	obs.Set("warm.possible", true)
	obs.Set("warm.latency", time.Since(again.j.start))
	obs.Set("warm.status", again.j.obs.Facts.Get("status"))
	return nil
}

// renew makes a connection that was held ready for another exchange; false
// means that it has ended, or that something came which nobody asked for.
func (l *link) renew() bool {
	switch wire := l.wire.(type) {
	case *http3Conn:
		wire.next()
		return true
	case *http2Conn:
		wire.next()
		return true
	case *http1:
		wire.release()
		l.wire = nil
	}
	if stale(l.bound.Conn) || l.unasked() {
		return false
	}
	l.wire = newHTTP1(l.conn, false)
	return true
}
