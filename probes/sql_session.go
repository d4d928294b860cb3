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

// maxSCRAMIterations bounds the work that a server may ask of us to prove the
// password (RFC 5802). PostgreSQL asks for 4096, unless told otherwise.
const maxSCRAMIterations = 100_000

// errIterations tells that the server asked for more.
var errIterations = errors.New("the server asks for too many iterations of SCRAM")

// errCopyIn tells that the server waits for rows, as COPY FROM STDIN makes it do. It
// would do so to the end of the time.
var errCopyIn = errors.New("the server waits for data to copy, and a check has none to send")

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
	if kind := message[0]; kind == 'G' || kind == 'W' { // CopyInResponse, CopyBothResponse
		return nil, errCopyIn
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

// talkPostgres makes the connection one of TLS where that is wanted, logs in,
// queries and says goodbye. The phase wait holds the time.
func (p *sqlProbe) talkPostgres(ctx context.Context, j *journey, conn net.Conn) *check.Reason {
	if p.tls == nil {
		return p.postgresSession(ctx, j, conn)
	}
	if reason := j.upgrade(ctx, conn, postgresTLS(), p.tls.nameFor(p.host)); reason != nil {
		return reason
	}
	secure, reason := j.handshake(ctx, conn, p.tls, p.host, nil)
	if reason != nil {
		return reason
	}
	defer secure.Close()
	return p.postgresSession(ctx, j, secure)
}

// postgresSession is what follows the connection.
func (p *sqlProbe) postgresSession(ctx context.Context, j *journey, conn net.Conn) *check.Reason {
	start := time.Now()
	defer j.timed(check.PhaseWait, start)
	config := p.login.Copy()
	if p.unverified(j) != nil {
		config.RequireAuth = "!password"
	}
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return p.postgresReason(ctx, j, err, "login")
	}
	defer pg.Close(ctx)
	j.obs.Set("login.time", time.Since(start))
	setSQLText(j, "version", pg.ParameterStatus("server_version"))
	if standby := pg.ParameterStatus("in_hot_standby"); standby != "" {
		j.obs.Set("standby", standby == "on")
	}
	asked := time.Now()
	err = p.queryPostgres(ctx, j, pg)
	if err != nil {
		return p.postgresReason(ctx, j, err, "query")
	}
	j.obs.Set("query.time", time.Since(asked))
	return nil
}

// queryPostgres runs the query, and takes its facts.
func (p *sqlProbe) queryPostgres(ctx context.Context, j *journey, pg *pgconn.PgConn) error {
	asked := pg.ExecParams(ctx, p.options.Query, nil, nil, nil, nil)
	var result sqlResult
	for !result.truncated && asked.NextRow() {
		if result.count() {
			for _, v := range asked.Values() {
				result.first = append(result.first, bytes.Clone(v))
			}
		}
	}
	for _, f := range asked.FieldDescriptions() {
		result.columns = append(result.columns, f.Name)
	}
	if !result.truncated { // else the rest is left unread, and the connection closed
		if _, err := asked.Close(); err != nil {
			return err
		}
	}
	j.setResult(&result)
	return nil
}

// postgresReason tells why the login or the query failed.
func (p *sqlProbe) postgresReason(ctx context.Context, j *journey, err error, doing string) *check.Reason {
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
	case errors.Is(err, errCopyIn):
		return &check.Reason{Code: check.ReplyError, Message: doing + ": " + errCopyIn.Error()}
	case strings.Contains(err.Error(), "require_auth"):
		return p.unverified(j)
	}
	return j.sqlBroken(err, doing, "PostgreSQL")
}
