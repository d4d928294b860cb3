package probes

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sonde-cli/sonde/check"
)

// errTalkative tells that the server said more than the limit.
var errTalkative = errors.New("more than the limit")

// metered ends the connection of a peer that says too much.
type metered struct {
	net.Conn
	left int
}

// Read reads as [net.Conn] does.
func (m *metered) Read(b []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTalkative
	}
	n, err := m.Conn.Read(b[:min(len(b), m.left)])
	m.left -= n
	return n, err
}

// maxSCRAMIterations bounds the work that a server may ask of us to prove the
// password (RFC 5802). PostgreSQL asks for 4096, unless told otherwise.
const maxSCRAMIterations = 100_000

// errIterations tells that the server asked for more.
var errIterations = errors.New("the server asks for too many iterations of SCRAM")

// postgresReader passes on whole messages of the server, and none that makes the
// driver work for long: nothing would interrupt it.
type postgresReader struct {
	in   io.Reader
	rest []byte // of a message
}

// Read reads as [io.Reader] does.
func (r *postgresReader) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		var err error
		if r.rest, err = readPostgres(r.in); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// readPostgres reads a message: type, length, body.
func readPostgres(in io.Reader) ([]byte, error) {
	const head = 5
	message := make([]byte, head)
	if _, err := io.ReadFull(in, message); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(message[1:])) + 1
	if size < head || size > maxSQLMessage {
		return nil, errTalkative
	}
	message = append(message, make([]byte, size-head)...)
	if _, err := io.ReadFull(in, message[head:]); err != nil {
		return nil, err
	}
	const continues = "\x00\x00\x00\x0b" // AuthenticationSASLContinue
	if text, ok := bytes.CutPrefix(message[head:], []byte(continues)); ok && message[0] == 'R' {
		_, count, _ := bytes.Cut(text, []byte(",i="))
		if n, err := strconv.Atoi(string(count)); err != nil || n > maxSCRAMIterations {
			return nil, errIterations
		}
	}
	return message, nil
}

// postgresTLS is the way from plain text to TLS.
func postgresTLS() *startTLS {
	all := startTLSProtocols()
	return &all[slices.IndexFunc(all, func(s startTLS) bool { return s.name == "postgres" })]
}

// session logs in over the connection, queries and says goodbye. The phase wait
// holds the time.
func (p *sqlProbe) session(ctx context.Context, j *journey, conn net.Conn) *check.Reason {
	start := time.Now()
	defer j.timed(check.PhaseWait, start)
	config := p.login.Copy()
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return j.sqlReason(ctx, err, "login")
	}
	defer pg.Close(ctx)
	j.obs.Set("login.time", time.Since(start))
	setSQLText(j, "version", pg.ParameterStatus("server_version"))
	if standby := pg.ParameterStatus("in_hot_standby"); standby != "" {
		j.obs.Set("standby", standby == "on")
	}
	asked := time.Now()
	err = p.query(ctx, j, pg)
	if err != nil {
		return j.sqlReason(ctx, err, "query")
	}
	j.obs.Set("query.time", time.Since(asked))
	return nil
}

func setSQLText(j *journey, fact, text string) {
	if text != "" {
		j.obs.Set(fact, strings.ToValidUTF8(text, "\uFFFD"))
	}
}

// query runs the query, and takes its facts.
func (p *sqlProbe) query(ctx context.Context, j *journey, pg *pgconn.PgConn) error {
	result := pg.ExecParams(ctx, p.options.Query, nil, nil, nil, nil)
	rows, truncated := 0, false
	for !truncated && result.NextRow() {
		if rows++; rows == 1 {
			firstRow(j, result)
		}
		truncated = rows > maxSQLRows
	}
	columns := columnNames(result)
	if truncated {
		rows = maxSQLRows // the rest is left unread, and the connection closed
	} else if _, err := result.Close(); err != nil {
		return err
	}
	j.obs.Set("columns", columns)
	j.obs.Set("rows", rows)
	j.obs.Set("truncated", truncated)
	if rows == 0 {
		j.obs.Explain("value", check.ExpectCode("value"), "the query returned no row")
	}
	return nil
}

func columnNames(result *pgconn.ResultReader) []string {
	fields := result.FieldDescriptions()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = strings.ToValidUTF8(f.Name, "\uFFFD")
	}
	return names
}

func firstRow(j *journey, result *pgconn.ResultReader) {
	names, row := columnNames(result), make(map[string]string)
	for i, value := range result.Values() {
		if value == nil || i >= len(names) {
			continue
		}
		row[names[i]] = strings.ToValidUTF8(string(value), "\uFFFD")
		if i == 0 {
			j.obs.Set("value", row[names[i]])
		}
	}
	if _, ok := j.obs.Facts.Lookup("value"); !ok {
		j.obs.Explain("value", check.ExpectCode("value"), "the value is NULL")
	}
	j.obs.Set("row", row)
}

// sqlReason tells why the login or the query failed.
func (j *journey) sqlReason(ctx context.Context, err error, doing string) *check.Reason {
	var said *pgconn.PgError
	switch {
	case ctx.Err() == context.Canceled:
		reason := j.cause(ctx.Err(), "")
		return &reason
	case errors.As(err, &said):
		reason := &check.Reason{Code: check.ReplyError, Message: fmt.Sprintf("%s: the server says %s (SQLSTATE %s)", doing, excerpt([]byte(said.Message)), excerpt([]byte(said.Code)))}
		if strings.HasPrefix(said.Code, "28") { // class: invalid authorization specification
			reason.Code = check.ReplyAuth
		}
		return reason
	case errors.Is(err, errIterations):
		return &check.Reason{Code: check.ReplyMalformed, Message: fmt.Sprintf("login: %s, more than %d", errIterations, maxSCRAMIterations)}
	case errors.Is(err, errTalkative):
		return &check.Reason{Code: check.ReplyMalformed, Message: doing + ": the server sends more than the limit, or does not speak the protocol of PostgreSQL"}
	case strings.Contains(err.Error(), "require_auth"):
		return &check.Reason{Code: check.ReplyAuth, Message: "login: the server wants the password in plain text over a connection without TLS, or accepts none\nhint: set tls: {}"}
	}
	reason := j.cause(err, check.ReplyTimeout)
	switch {
	case reason.Code == check.ReplyTimeout:
		reason.Message = doing + ": no complete answer in time"
	case reason.Code == check.ConnectUnreachable && !isErrno(err):
		for errors.Unwrap(err) != nil {
			err = errors.Unwrap(err)
		}
		reason = check.Reason{Code: check.ReplyMalformed, Message: doing + ": " + excerpt([]byte(err.Error()))}
	case !reason.Code.Local() && reason.Code != check.TLSClientCert:
		reason.Message = doing + ": " + reason.Message
	}
	return &reason
}
