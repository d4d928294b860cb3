package probes

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/sonde-cli/sonde/check"
)

// mysqlPort is where MySQL is spoken unless said otherwise.
const mysqlPort = 3306

// mysqlConfig returns the driver's configuration for one connection.
func (o *sqlOptions) mysqlConfig(conn net.Conn) *mysql.Config {
	c := mysql.NewConfig() // allows no old passwords, none in plain text, and no files
	c.User, c.Passwd, c.DBName = o.User, o.Password, o.Database
	c.Logger = new(mysql.NopLogger)
	// As over a socket of this machine, so that the driver sends the password
	// itself where the guard lets it be asked for, and asks for no key: one that
	// comes over the same connection protects from nobody who can change it.
	c.Net, c.Addr = "unix", "sonde"
	c.DialFunc = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	return c
}

// talkMySQL logs in, queries and says goodbye. The phase wait holds the time
// without that of TLS, which begins behind the server's greeting.
func (p *sqlProbe) talkMySQL(ctx context.Context, j *journey, conn net.Conn) *check.Reason {
	start, shaking := time.Now(), time.Duration(0)
	talked := func() time.Duration { return time.Since(start) - shaking }
	defer func() { j.obs.Phases.Add(check.PhaseWait, talked()) }()
	guard := &mysqlGuard{Conn: conn}
	if p.tls != nil {
		guard.secure = func(conn net.Conn) (net.Conn, bool, error) {
			begun := time.Now()
			defer func() { shaking = time.Since(begun) }()
			secure, reason := j.handshake(ctx, conn, p.tls, p.host, nil)
			if reason != nil {
				return nil, false, &reasonError{*reason}
			}
			return secure, p.unverified(j) == nil, nil
		}
	}
	connector, err := mysql.NewConnector(p.options.mysqlConfig(guard))
	var session driver.Conn
	if err == nil {
		// The connection obeys ctx, so the driver need not watch it.
		err = safely(func() error { session, err = connector.Connect(context.WithoutCancel(ctx)); return err })
	}
	setSQLText(j, "version", strings.TrimPrefix(guard.version, "5.5.5-")) // MariaDB puts it before its own
	if err != nil {
		return p.mysqlReason(ctx, j, guard.why(err), "login")
	}
	defer func() { _ = safely(session.Close) }()
	j.obs.Set("login.time", talked())
	asked := time.Now()
	if err := safely(func() error { return p.queryMySQL(ctx, j, session, guard) }); err != nil {
		return p.mysqlReason(ctx, j, guard.why(err), "query")
	}
	j.obs.Set("query.time", time.Since(asked))
	return nil
}

// errMySQLPanic tells that the driver stumbled over what the server sent.
var errMySQLPanic = &mysqlMalformed{"the server sent a broken packet"}

// safely calls the driver, which panics at packets that are cut.
func safely(call func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errMySQLPanic
		}
	}()
	return call()
}

// queryMySQL runs the query, and takes its facts.
func (p *sqlProbe) queryMySQL(ctx context.Context, j *journey, session driver.Conn, guard *mysqlGuard) error {
	asker, ok := session.(driver.QueryerContext)
	if !ok {
		return errors.New("the driver cannot query")
	}
	rows, err := asker.QueryContext(context.WithoutCancel(ctx), p.options.Query, nil)
	if err != nil {
		return err
	}
	result := sqlResult{columns: rows.Columns()}
	for values := make([]driver.Value, len(result.columns)); !result.truncated; {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF) && len(values) > 0 && guard.last != mysqlEOF:
			return errMySQLPanic // so the driver says that a value is longer than its row
		case errors.Is(err, io.EOF):
			j.setResult(&result)
			return nil // not closed: what else a procedure returns is left unread
		case err != nil:
			return err
		}
		if result.count() {
			for _, v := range values {
				result.first = append(result.first, mysqlText(v))
			}
		}
	}
	j.setResult(&result)
	return nil
}

// mysqlText is a value as the server's text; nil is NULL. The driver makes
// numbers of numbers.
func mysqlText(value driver.Value) []byte {
	switch v := value.(type) {
	case nil:
		return nil
	case []byte:
		return append([]byte{}, v...) // the driver's, until the next row
	case float32:
		return mysqlFloat(float64(v), 32)
	case float64:
		return mysqlFloat(v, 64)
	default:
		return fmt.Append(nil, v)
	}
}

// mysqlFloat writes a number as MySQL does: with an exponent when it has more
// than 15 digits before the point, or as many zeros behind it.
func mysqlFloat(v float64, bits int) []byte {
	if size := math.Abs(v); size == 0 || size >= 1e-15 && size < 1e15 {
		return strconv.AppendFloat(nil, v, 'f', -1, bits)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', -1, bits), "e")
	n, _ := strconv.Atoi(exponent) // as just written
	return fmt.Appendf(nil, "%se%d", mantissa, n)
}

// mysqlReason tells why the login or the query failed.
func (p *sqlProbe) mysqlReason(ctx context.Context, j *journey, err error, doing string) *check.Reason {
	var told *mysql.MySQLError
	var plugin *mysqlPlugin
	var malformed *mysqlMalformed
	var known *reasonError
	switch {
	case errors.As(err, &known):
		return &known.Reason
	case ctx.Err() == context.Canceled:
		reason := j.cause(ctx.Err(), "")
		return &reason
	case errors.As(err, &told):
		reason := &check.Reason{Code: check.ReplyError, Message: fmt.Sprintf("%s: the server says %s (error %d)", doing, excerpt([]byte(told.Message)), told.Number)}
		if mysqlDenied(told) {
			reason.Code = check.ReplyAuth
		}
		return reason
	case errors.Is(err, errMySQLPlain):
		return p.unverified(j)
	case errors.As(err, &plugin):
		return &check.Reason{Code: check.ReplyAuth, Message: doing + ": " + plugin.Error()}
	case errors.As(err, &malformed), errors.Is(err, errMySQLInfile):
		return &check.Reason{Code: check.ReplyMalformed, Message: doing + ": " + err.Error()}
	}
	return j.sqlBroken(err, doing, "MySQL")
}

// mysqlDenied reports whether the server refuses the user, the password, or the
// machine that it comes from.
func mysqlDenied(told *mysql.MySQLError) bool {
	const deniedDatabase, hostNotAllowed = 1044, 1130
	return strings.HasPrefix(string(told.SQLState[:]), "28") || told.Number == deniedDatabase || told.Number == hostNotAllowed
}

// reproduceMySQL returns a shell line that runs the same query.
func (p *sqlProbe) reproduceMySQL() string {
	o := p.options
	var c shellLine
	if o.Password != "" {
		c = append(c, "MYSQL_PWD="+shellQuote(hidden(o.Password))) // no argument, which others can read
	}
	host := p.route.to(p.host)
	c.add("mariadb", "--no-defaults", "--protocol=tcp", "-h", host, "-P", p.port, "-u", o.User)
	switch {
	case o.TLS == nil:
		c.add("--skip-ssl")
	case o.TLS.Insecure, host != p.tls.nameFor(p.host): // the client has no other name to verify
		c.add("--ssl", "--skip-ssl-verify-server-cert")
	default:
		c.add("--ssl-verify-server-cert")
	}
	if o.TLS != nil {
		for _, f := range [][2]string{{"--ssl-ca", o.TLS.CA}, {"--ssl-cert", o.TLS.Cert}, {"--ssl-key", o.TLS.Key}} {
			if f[1] != "" {
				c.add(f[0] + "=" + f[1])
			}
		}
	}
	if o.Database != "" {
		c.add("-D", o.Database)
	}
	c.add("-e", unescaped(o.Query))
	return c.String()
}
