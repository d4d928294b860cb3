package probes

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the protocol's, and no secret
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// closeWait is how long the server has to answer our close frame, when no
// expectation is about it. The wait is no part of the latency.
const closeWait = time.Second

// wsRun is one Observe call of a websocket check.
type wsRun struct {
	*httpRun
	p    *wsProbe
	conn *wsConn
}

// Observe opens the WebSocket, makes the steps, pings and closes.
func (p *wsProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	timeout := time.Duration(0)
	if deadline, ok := ctx.Deadline(); ok {
		timeout = deadline.Sub(j.start)
	}
	j.from = p.upgrade.home.route.from()
	from := j.from
	j.obs.Reproduce = func() string { return p.shown.reproduce(timeout, from) }
	run := &wsRun{httpRun: &httpRun{p: p.upgrade, j: j}, p: p}
	if reason := run.visit(ctx); reason != nil {
		return j.stop(reason)
	}
	return j.end()
}

func (r *wsRun) visit(ctx context.Context) *check.Reason {
	l, reason := r.open(ctx, r.p.upgrade.start)
	if reason != nil {
		return reason
	}
	defer l.close()
	r.secure = l.secure != nil
	if reason := r.shake(l); reason != nil || r.conn == nil {
		return reason
	}
	ok, err := r.converse()
	if ok && err == nil && r.p.ping {
		err = r.ping()
	}
	if err != nil && !errors.Is(err, errWSClosed) {
		return r.broken(err, check.HTTPBodyTimeout, "the server did not take what was sent in time")
	}
	r.end(l)
	return nil
}

// shake makes the opening handshake (RFC 6455 section 4). r.conn stays nil when
// the server answers with another status than 101.
func (r *wsRun) shake(l *link) *check.Reason {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	wire := l.wire.(*http1)
	wire.keep = true // what Connection says is among the fields
	m := r.message(&httpRequest{url: r.p.upgrade.start, method: "GET"})
	m.fields = append(m.fields, r.p.fields(key)...)
	if reason := r.send(l, m); reason != nil {
		return reason
	}
	defer r.j.timed(check.PhaseTransfer, time.Now())
	head, err := wire.readHead()
	if err == nil {
		r.j.obs.Set("status", head.status)
		setText(&r.j.obs, "status_text", head.reason)
		if head.status != 101 {
			return nil
		}
		err = r.accepts(head, key)
	}
	if err != nil {
		return r.broken(err, check.HTTPHeaderTimeout, "the response head was not complete in time")
	}
	r.conn = &wsConn{in: bufio.NewReaderSize(http1Rest{wire}, 4<<10), out: l.conn, max: r.p.max}
	return nil
}

// http1Rest reads what comes behind a head.
type http1Rest struct{ *http1 }

// Read reads as [io.Reader] does.
func (r http1Rest) Read(p []byte) (int, error) { return r.read(p) }

// accepts looks whether the response opens the WebSocket that was asked for.
func (r *wsRun) accepts(head *httpHead, key string) error {
	chosen := head.all("sec-websocket-protocol")
	switch {
	case head.version != "1.1":
		return malformed("status 101 in HTTP/%s", head.version)
	case !strings.EqualFold(head.all("upgrade"), "websocket"):
		return malformed("status 101 without the header Upgrade: websocket, it has %s", excerpt([]byte(head.all("upgrade"))))
	case !hasOption(head.all("connection"), "upgrade"):
		return malformed("status 101 without the header Connection: Upgrade, it has %s", excerpt([]byte(head.all("connection"))))
	case head.all("sec-websocket-accept") != wsAccept(key):
		return malformed("the header Sec-WebSocket-Accept does not answer our key: %s", excerpt([]byte(head.all("sec-websocket-accept"))))
	case head.all("sec-websocket-extensions") != "":
		return malformed("the server uses a WebSocket extension that was not offered: %s", excerpt([]byte(head.all("sec-websocket-extensions"))))
	case chosen != "" && !slices.Contains(r.p.subprotocols, chosen):
		return malformed("the server chose a subprotocol that was not offered: %s", excerpt([]byte(chosen)))
	}
	r.j.obs.Set("subprotocol", chosen)
	if chosen == "" {
		r.j.obs.Explain("subprotocol", check.ExpectCode("subprotocol"), "the server chose none of the subprotocols "+strings.Join(r.p.subprotocols, ", "))
	}
	return nil
}

// hasOption reports whether a comma-separated list has the option.
func hasOption(list, want string) bool {
	for option := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(option, " \t"), want) {
			return true
		}
	}
	return false
}

// wsAccept is the server's answer to the key (RFC 6455 section 4.2.2).
func wsAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // the protocol's
	return base64.StdEncoding.EncodeToString(sum[:])
}

// converse makes the steps and reports whether they went as expected. What the
// server says or fails to say becomes facts; an error is of the connection.
func (r *wsRun) converse() (bool, error) {
	for i, s := range r.p.steps {
		if s.Send != "" {
			start := time.Now()
			err := r.conn.write(wsText, []byte(s.Send))
			r.j.timed(check.PhaseSend, start)
			if err != nil {
				return false, err
			}
		}
		if s.Expect == nil {
			continue
		}
		if ok, err := r.hear(i, s); !ok || err != nil {
			r.j.obs.Set("dialogue", false)
			return false, err
		}
	}
	if len(r.p.steps) > 0 {
		r.j.obs.Set("dialogue", true)
	}
	return true, nil
}

// hear waits for a message that matches.
func (r *wsRun) hear(i int, s wsStep) (bool, error) {
	start := time.Now()
	defer r.j.timed(check.PhaseWait, start)
	var last []byte // reused, for messages may come in floods
	came := false
	for {
		op, text, err := r.conn.next()
		switch {
		case err != nil:
			got := "nothing"
			if came {
				r.answer(last)
				got = excerpt(last)
			}
			r.missed("dialogue", err, fmt.Sprintf("step %d: got %s, want a match of %s", i+1, got, s.Expect), start)
			return false, unheard(err)
		case op == wsPong:
			continue
		}
		if found := s.Expect.FindSubmatchIndex(text); found != nil {
			r.answer(text)
			capture(&r.j.obs, s.Expect, text, found)
			return true, nil
		}
		came, last = true, append(last[:0], text...)
	}
}

func (r *wsRun) answer(text []byte) {
	r.j.obs.Set("answer", strings.ToValidUTF8(string(text), "\uFFFD"))
}

// missed explains a fact that is false because of err.
func (r *wsRun) missed(fact string, err error, message string, start time.Time) {
	switch {
	case errors.Is(err, errWSClosed):
		message += fmt.Sprintf("; the server closed with the code %d %s", r.conn.code, excerpt([]byte(r.conn.reason)))
	case ended(err):
		message += "; the server closed the connection"
	default:
		message += " within " + check.FormatDuration(time.Since(start))
	}
	r.j.obs.Explain(fact, check.ExpectCode(fact), message)
}

// ping measures the time to the pong. Messages and other pongs are skipped.
func (r *wsRun) ping() error {
	var payload [8]byte
	rand.Read(payload[:]) // never fails
	start := time.Now()
	if err := r.conn.write(wsPing, payload[:]); err != nil {
		return err
	}
	defer r.j.timed(check.PhaseWait, start)
	for {
		op, text, err := r.conn.next()
		switch {
		case err != nil:
			r.j.obs.Set("pong", false)
			r.missed("pong", err, "no pong", start)
			return unheard(err)
		case op == wsPong && bytes.Equal(text, payload[:]):
			r.j.obs.Set("pong", true)
			r.j.obs.Set("ping.rtt", time.Since(start))
			return nil
		}
	}
}

// end makes the closing handshake (RFC 6455 section 7), of which nothing but
// its facts counts.
func (r *wsRun) end(l *link) {
	start := time.Now()
	defer func() { r.j.idle += time.Since(start) }()
	if !r.p.awaitClose {
		_ = l.conn.SetDeadline(start.Add(closeWait)) // else that of the run
	}
	c := r.conn
	err := c.close(wsNormal)
	for err == nil && c.code == 0 {
		_, _, err = c.next()
	}
	if c.code == 0 {
		reason := r.broken(err, check.ExpectCode("close.code"), "the server did not answer the close within "+check.FormatDuration(time.Since(start)))
		if reason.Code != check.ConnectReset {
			r.j.obs.Explain("close.code", reason.Code, reason.Message)
			return
		}
		c.code = wsAbnormal
	}
	r.j.obs.Set("close.code", c.code)
	r.j.obs.Set("close.reason", c.reason)
}
