package probes

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"

	"github.com/sonde-cli/sonde/check"
)

// Bounds of what a server may send: rows, a message, all of it. The last one
// leaves room for TLS and for settings that the server reports.
const (
	maxSQLRows    = 1000
	maxSQLMessage = 128 << 10
	maxSQLTalk    = 512 << 10
)

// errTalkative tells that the server said more than the limit.
var errTalkative = errors.New("more than the limit")

// metered ends the connection of a peer that says too much. The driver of PostgreSQL
// reads in two goroutines at once, when a write takes long and then fails.
type metered struct {
	net.Conn
	left atomic.Int64
}

// meter returns the connection with room for all that a server may say.
func meter(conn net.Conn) *metered {
	m := &metered{Conn: conn}
	m.left.Store(maxSQLTalk)
	return m
}

// Read reads as [net.Conn] does.
func (m *metered) Read(b []byte) (int, error) {
	left := m.left.Load()
	if left <= 0 {
		return 0, errTalkative
	}
	n, err := m.Conn.Read(b[:min(int64(len(b)), left)])
	m.left.Add(-int64(n))
	return n, err
}

// sqlResult is what a query returned.
type sqlResult struct {
	columns   []string
	rows      int
	truncated bool     // there are more
	first     [][]byte // the first row; nil is NULL
}

// count counts a row that was read, and reports whether it is the first.
func (r *sqlResult) count() (first bool) {
	if r.rows == maxSQLRows {
		r.truncated = true
		return false
	}
	r.rows++
	return r.rows == 1
}

// setResult sets the facts of a result.
func (j *journey) setResult(r *sqlResult) {
	names := make([]string, len(r.columns))
	for i, name := range r.columns {
		names[i] = strings.ToValidUTF8(name, "\uFFFD")
	}
	j.obs.Set("columns", names)
	j.obs.Set("rows", r.rows)
	j.obs.Set("truncated", r.truncated)
	if r.rows == 0 {
		j.obs.Explain("value", check.ExpectCode("value"), "the query returned no row")
		return
	}
	row := make(map[string]string)
	for i, value := range r.first[:min(len(r.first), len(names))] {
		if value != nil {
			row[names[i]] = strings.ToValidUTF8(string(value), "\uFFFD")
		}
	}
	j.obs.Set("row", row)
	if len(r.first) > 0 && len(names) > 0 && r.first[0] != nil {
		j.obs.Set("value", strings.ToValidUTF8(string(r.first[0]), "\uFFFD"))
	} else {
		j.obs.Explain("value", check.ExpectCode("value"), "the value is NULL")
	}
}

func setSQLText(j *journey, fact, text string) {
	if text != "" {
		j.obs.Set(fact, strings.ToValidUTF8(text, "\uFFFD"))
	}
}

// unverified tells why the server must not be sent the password itself; nil when
// it may be.
func (p *sqlProbe) unverified(j *journey) *check.Reason {
	if p.tls == nil {
		return &check.Reason{Code: check.ReplyAuth, Message: "login: the server wants the password in plain text over a connection without TLS\nhint: set tls: {}"}
	}
	return j.distrusted(p.tls)
}

// sqlBroken tells how a session ended that is no matter of the database's.
func (j *journey) sqlBroken(err error, doing, protocol string) *check.Reason {
	if errors.Is(err, errTalkative) {
		return &check.Reason{Code: check.ReplyMalformed, Message: doing + ": the server sends more than the limit, or does not speak the protocol of " + protocol}
	}
	reason := j.cause(err, check.ReplyTimeout)
	switch {
	case reason.Code == check.ReplyTimeout:
		reason.Message = doing + ": no complete answer in time"
	case reason.Code == check.ConnectUnreachable && !isErrno(err):
		reason = check.Reason{Code: check.ReplyMalformed, Message: doing + ": " + excerpt([]byte(innermost(err).Error()))}
	case !reason.Code.Local() && reason.Code != check.TLSClientCert:
		reason.Message = doing + ": " + reason.Message
	}
	return &reason
}

// innermost returns what the others wrap. The driver's own words around it name
// an address that is not the server's, for it did not connect.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if all, ok := err.(interface{ Unwrap() []error }); ok && len(all.Unwrap()) == 1 {
			inner = all.Unwrap()[0]
		}
		if inner == nil {
			return err
		}
		err = inner
	}
}
