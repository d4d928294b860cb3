package probes

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// doh is where DNS over HTTPS (RFC 8484) is asked, and how.
type doh struct {
	host string // IP address or name; a name is resolved by the system
	port uint16
	path string
	post bool
}

// Of DNS over HTTPS: the port, the usual path, the one content type and the
// largest message (RFC 8484 sections 6 and 4.1, RFC 9461 section 5).
const (
	dohPort       = 443
	dohPath       = "/dns-query"
	dohType       = "application/dns-message"
	maxDNSMessage = dns.MaxMsgSize
)

// parseDoH reads https://host[:port]/path. The end {?dns} of a URI template is
// taken off.
func parseDoH(text string) (*doh, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "{?dns}"))
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the address of DNS over HTTPS, write it like https://dns.example.com/dns-query", text)
	}
	d := &doh{port: dohPort, path: u.EscapedPath()}
	if d.path == "" || d.path == "/" {
		d.path = dohPath
	}
	if d.host, d.port, err = splitServer(u.Host, dohPort); err != nil {
		return nil, err
	}
	return d, nil
}

// authority returns the host with the port when it is not the usual.
func (d *doh) authority() string {
	if d.port != dohPort {
		return net.JoinHostPort(d.host, strconv.Itoa(int(d.port)))
	}
	if strings.Contains(d.host, ":") {
		return "[" + d.host + "]"
	}
	return d.host
}

// String returns the URL.
func (d *doh) String() string { return "https://" + d.authority() + d.path }

// message makes the request. The id is 0, so that caches see equal questions
// as equal (RFC 8484 section 4.1).
func (d *doh) message(q *question) *httpMessage {
	query := q.withID(nil, 0)
	m := &httpMessage{method: "GET", scheme: "https", authority: d.authority(), target: d.path}
	m.fields = append(m.fields, field{"Accept", dohType}, field{"User-Agent", "sonde"})
	if d.post {
		m.method, m.body = "POST", query
		m.fields = append(m.fields, field{"Content-Type", dohType}, field{"Content-Length", strconv.Itoa(len(query))})
		return m
	}
	m.target += "?dns=" + base64.RawURLEncoding.EncodeToString(query)
	return m
}

// dohProtocols is the ALPN list: HTTP/2 is the least that RFC 8484 section 5.2
// recommends, and there are servers of HTTP/1.1.
var dohProtocols = []string{"h2", "http/1.1"}

// https asks over a connection that has made its TLS handshake.
func (x *exchange) https(conn net.Conn, protocol string, d *doh, q *question) error {
	x.begin()
	var wire httpWire
	if protocol == "h2" {
		wire = newHTTP2(conn)
	} else {
		wire = newHTTP1(conn, false)
	}
	defer wire.release()
	sendErr := wire.send(d.message(q))
	if sendErr != nil && isTimeout(sendErr) {
		return sendErr
	}
	x.sent = time.Now()
	if err := wire.await(); err != nil {
		if sendErr != nil {
			return sendErr
		}
		return err
	}
	x.first = time.Now()
	head, err := wire.readHead()
	if err != nil {
		return err
	}
	x.http = head
	body, err := dohBody(wire, head)
	if err != nil {
		return err
	}
	x.last = time.Now()
	if err := q.accept(body, 0); errors.Is(err, errIgnored) {
		return dnsmsg.Malformed("it answers another question")
	} else if err != nil {
		return err
	}
	x.answer = body
	return nil
}

// dohBody reads the DNS message out of a response that has one.
func dohBody(wire httpWire, head *httpHead) (dnsmsg.Message, error) {
	if head.status != 200 {
		return nil, &httpError{check.HTTPStatus, fmt.Sprintf("HTTP status %d, want 200", head.status)}
	}
	kind, _, _ := strings.Cut(head.get("content-type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), dohType) {
		return nil, dnsmsg.Malformed("it is of type %s, not %s", excerpt([]byte(head.get("content-type"))), dohType)
	}
	if coding := head.all("content-encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, dnsmsg.Malformed("it is encoded as %s, which was not asked for", excerpt([]byte(coding)))
	}
	reader, err := wire.openBody(head, "GET")
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(reader, maxDNSMessage+1))
	switch {
	case isTimeout(err):
		return nil, &httpError{check.HTTPBodyTimeout, fmt.Sprintf("the answer was not complete in time, %d bytes of it came", len(body))}
	case err != nil:
		return nil, err
	case len(body) > maxDNSMessage:
		return nil, &httpError{check.HTTPBodyTooLarge, fmt.Sprintf("the answer is larger than %d bytes, the most that a DNS message has", maxDNSMessage)}
	}
	return body, nil
}

// overHTTPS asks over a connection of its own.
func (r *dnsRun) overHTTPS(ctx context.Context, host string, port uint16) *check.Reason {
	conn, reason := r.connect(ctx, r.probe.router, host, strconv.Itoa(int(port)))
	if reason != nil {
		return reason
	}
	defer conn.Close()
	r.server, r.transport = remote(conn), transportHTTPS
	secure, reason := r.handshake(ctx, conn, r.probe.tls, host, dohProtocols)
	if reason != nil {
		return reason
	}
	start := time.Now()
	err := r.https(secure, secure.ConnectionState().NegotiatedProtocol, r.probe.doh, r.question)
	r.phases(start)
	if err != nil {
		return r.reason(dnsEnded(ctx, err))
	}
	return nil
}

// setHTTP records what HTTP said around the answer.
func (r *dnsRun) setHTTP() {
	if r.http == nil {
		return
	}
	r.obs.Set("http.status", r.http.status)
	r.obs.Set("http.version", r.http.version)
	age, ok := r.age()
	if !ok {
		return
	}
	r.obs.Set("http.age", age)
	if r.got != nil { // RFC 8484 section 5.1
		seconds := uint32(age / time.Second)
		r.got.ttlMin -= min(seconds, r.got.ttlMin)
		r.got.ttlMax -= min(seconds, r.got.ttlMax)
	}
}

// age returns how long HTTP caches have kept the answer, and whether they say
// so. What is too long to count is the longest that can be (RFC 9111 section
// 1.2.2).
func (x *exchange) age() (time.Duration, bool) {
	if x.http == nil {
		return 0, false
	}
	seconds, err := strconv.ParseUint(x.http.get("age"), 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(seconds) * time.Second, true
}

// askHTTPS asks a resolver over HTTPS. Its name, if it has one, is resolved by
// the system; its certificate is verified.
func (s *nameserver) askHTTPS(ctx context.Context, x *exchange, q *question, until time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	j := begin()
	conn, reason := j.connect(ctx, &router{}, s.doh.host, strconv.Itoa(int(s.doh.port)))
	if reason != nil {
		return &reasonError{*reason}
	}
	defer conn.Close()
	secure, reason := j.handshake(ctx, conn, &tlsPlan{}, s.doh.host, dohProtocols)
	if reason != nil {
		return &reasonError{*reason}
	}
	for _, fact := range [...]string{"cert.trusted", "cert.hostname_ok"} {
		if ok, _ := j.obs.Facts.Get(fact).(bool); !ok {
			return &reasonError{j.obs.Because[fact]}
		}
	}
	err := x.https(secure, secure.ConnectionState().NegotiatedProtocol, s.doh, q)
	var he *httpError
	if errors.As(err, &he) {
		return &reasonError{check.Reason{Code: he.code, Message: he.message}}
	}
	return dnsEnded(ctx, err)
}

// dohServer makes a resolver of a URL.
func dohServer(text string) (*nameserver, error) {
	d, err := parseDoH(text)
	if err != nil {
		return nil, err
	}
	s := &nameserver{transport: transportHTTPS, doh: d}
	if addr, err := netip.ParseAddr(d.host); err == nil {
		s.addr = netip.AddrPortFrom(addr, d.port)
	}
	return s, nil
}
