package probes

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "sql",
		Doc:     "logs in to PostgreSQL or MySQL and runs a query",
		Schemes: []string{"postgres", "postgresql", "mysql", "mariadb"},
		Facts:   sqlFacts(),
		New:     func() check.Options { return &sqlOptions{Query: "SELECT 1"} },
	})
}

func sqlFacts() []check.Fact {
	facts := []check.Fact{
		{Name: "value", Type: check.String, Doc: "first column of the query's first row, as text; absent when there is no row or the value is NULL"},
		{Name: "row", Type: check.Map, Doc: "the first row, as texts by column; without those that are NULL"},
		{Name: "rows", Type: check.Int, Doc: "rows that the query returned"},
		{Name: "columns", Type: check.Strings, Doc: "names of the columns"},
		{Name: "truncated", Type: check.Bool, Doc: "the query has more rows than the 1000 that are read"},
		{Name: "version", Type: check.String, Doc: "version of the server"},
		{Name: "standby", Type: check.Bool, Doc: "the server is a hot standby; PostgreSQL tells since version 14, MySQL never"},
		{Name: "login.time", Type: check.Duration, Doc: "time of the login, from the first message to a session that is ready"},
		{Name: "query.time", Type: check.Duration, Doc: "time of the query, all rows included"},
	}
	return append(append(facts, connectFacts()...), tlsFacts()...)
}

// Values of the option driver.
const (
	sqlPostgres = "postgres"
	sqlMySQL    = "mysql"
)

// postgresPort is where PostgreSQL is spoken unless said otherwise.
const postgresPort = 5432

// sqlOptions are the options of the kind sql.
type sqlOptions struct {
	Driver   string `yaml:"driver" enum:"postgres,mysql" doc:"protocol to speak; mysql is MariaDB's, too"`
	Host     string `yaml:"host" address:"true" required:"true" doc:"name or IP address"`
	Port     int    `yaml:"port" doc:"port to connect to; default is 5432, for mysql 3306"`
	User     string `yaml:"user" required:"true" doc:"user to log in as"`
	Password string `yaml:"password" secret:"true" doc:"password to log in with"`
	Database string `yaml:"database" doc:"database to use; default is the user's name, for mysql none"`
	Query    string `yaml:"query" doc:"one statement to run"`
	Close    string `yaml:"close" enum:"normal,reset" doc:"how to end the connection; reset leaves no port in TIME_WAIT, see docs/connections.md"`
	Route    `yaml:",inline"`
	TLS      *TLS `yaml:"tls" doc:"speak TLS; {} does so with the defaults"`

	target string // as given on the command line
}

// SetTarget reads postgres://user[:password]@host[:port][/database][?sslmode=...],
// and mysql://...[?ssl-mode=...].
func (o *sqlOptions) SetTarget(target string) error {
	u, err := parseServerURL(target)
	if err != nil {
		return err
	}
	o.Driver = sqlPostgres
	if u.scheme == "mysql" || u.scheme == "mariadb" {
		o.Driver = sqlMySQL
	}
	if err := o.setMode(u.query); err != nil {
		return err
	}
	o.Host, o.Port, o.User, o.Password, o.Database, o.target = u.host, u.port, u.user, u.password, u.path, target
	return nil
}

// setMode reads how much TLS is wanted, in the words of the database's own tools.
func (o *sqlOptions) setMode(query url.Values) error {
	key, modes := "sslmode", []string{"disable", "require", "verify-full"}
	if o.Driver == sqlMySQL {
		key, modes = "ssl-mode", []string{"disabled", "required", "verify_identity"}
	}
	for k, values := range query {
		if k != key || len(values) != 1 {
			return fmt.Errorf("%s://host:port/database takes %s once and nothing else behind the ?", o.Driver, key)
		}
		switch slices.Index(modes, strings.ToLower(values[0])) {
		case 0:
			o.TLS = nil
		case 1:
			o.TLS = &TLS{Insecure: true}
		case 2:
			o.TLS = new(TLS)
		default:
			return fmt.Errorf("%s is not %s, %s or %s", key, modes[0], modes[1], modes[2])
		}
	}
	return nil
}

// sqlProbe is a built check of the kind sql.
type sqlProbe struct {
	host, port string
	route      *router
	tls        *tlsPlan       // nil: no TLS
	login      *pgconn.Config // for PostgreSQL
	options    *sqlOptions
}

// Build validates the options.
func (o *sqlOptions) Build(setup check.Setup) (check.Plan, error) {
	errs := checkServer(o.Host, o.Port)
	if o.User == "" {
		errs = append(errs, check.OptionErrorf("user", "is missing"))
	}
	if strings.TrimSpace(o.Query) == "" {
		errs = append(errs, check.OptionErrorf("query", "must not be empty"))
	}
	for _, f := range [][2]string{{"user", o.User}, {"password", o.Password}, {"database", o.Database}, {"query", o.Query}} {
		if strings.ContainsRune(f[1], 0) {
			errs = append(errs, check.OptionErrorf(f[0], "holds a zero byte"))
		}
	}
	usual := postgresPort
	switch o.Driver {
	case "", sqlPostgres:
	case sqlMySQL:
		usual = mysqlPort
	default:
		errs = append(errs, check.OptionErrorf("driver", "%q is not postgres or mysql", o.Driver))
	}
	p := &sqlProbe{host: o.Host, port: strconv.Itoa(cmp.Or(o.Port, usual)), options: o}
	var err error
	p.route, err = o.Route.build()
	errs = append(errs, err, p.route.reaches("host", o.Host), p.route.closeBy(o.Close))
	plan := check.Plan{Probe: p, Target: net.JoinHostPort(o.Host, p.port), Secrets: writtenSecrets(o.Password, o.target)}
	if o.TLS != nil {
		p.tls, err = o.TLS.build()
		errs = append(errs, err)
		p.tls.detail = needsDetail(setup)
		plan.Defaults = p.tls.defaults()
	}
	if o.Driver != sqlMySQL {
		p.login, err = o.login()
		errs = append(errs, err)
	}
	return plan, errors.Join(errs...)
}

// login returns the driver's configuration. Nothing of it comes from the
// environment or from files, which the driver reads as libpq does.
func (o *sqlOptions) login() (*pgconn.Config, error) {
	c, err := pgconn.ParseConfig("host=localhost user=sonde sslmode=disable")
	if err != nil {
		return nil, fmt.Errorf("the environment has settings for PostgreSQL that are wrong: %w", err)
	}
	c.Host, c.Port, c.Fallbacks = o.Host, postgresPort, nil // not used: the journey connects
	c.User, c.Password, c.Database = o.User, o.Password, cmp.Or(o.Database, o.User)
	c.TLSConfig, c.ConnectTimeout, c.ValidateConnect, c.AfterConnect = nil, 0, nil, nil
	c.MaxProtocolMessageBodyLen = maxSQLMessage
	c.MinProtocolVersion, c.MaxProtocolVersion = "3.0", "3.0"
	c.ChannelBinding, c.RequireAuth = "prefer", ""
	c.RuntimeParams = map[string]string{"application_name": "sonde"} // poolers refuse most others
	c.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(&postgresReader{in: bufio.NewReader(r)}, w) // else a flood of tiny messages costs two system calls each
	}
	c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	return c, nil
}

// Footprint is that of the connection.
func (p *sqlProbe) Footprint() check.Footprint { return p.route.footprint() }

// Observe connects, shakes hands where TLS is wanted, logs in and queries.
func (p *sqlProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	talk := p.talkPostgres
	j.obs.Reproduce = p.reproduce
	if p.options.Driver == sqlMySQL {
		talk, j.obs.Reproduce = p.talkMySQL, p.reproduceMySQL
	}
	conn, reason := j.connect(ctx, p.route, p.host, p.port)
	if reason != nil {
		return j.stop(reason)
	}
	defer conn.Close()
	if reason := talk(ctx, j, meter(conn)); reason != nil {
		return j.stop(reason)
	}
	return j.end()
}

// reproduce returns a shell line that runs the same query.
func (p *sqlProbe) reproduce() string {
	o := p.options
	var c shellLine
	if o.Password != "" {
		c = append(c, "PGPASSWORD="+shellQuote(hidden(o.Password))) // no argument, which others can read
	}
	mode := "disable"
	if o.TLS != nil {
		if mode = "verify-full"; o.TLS.Insecure {
			mode = "require"
		}
		for _, f := range [][2]string{{"PGSSLROOTCERT", cmp.Or(o.TLS.CA, "system")}, {"PGSSLCERT", o.TLS.Cert}, {"PGSSLKEY", o.TLS.Key}} {
			if f[1] != "" && !(o.TLS.Insecure && f[0] == "PGSSLROOTCERT") {
				c = append(c, f[0]+"="+shellQuote(f[1]))
			}
		}
	}
	c = append(c, "PGSSLMODE="+mode)
	if p.route.address.IsValid() {
		c = append(c, "PGHOSTADDR="+p.route.address.String())
	}
	name := p.host
	if o.TLS != nil && o.TLS.ServerName != "" {
		name = o.TLS.ServerName
		if !p.route.address.IsValid() {
			c = append(c, "PGHOSTADDR="+shellQuote(p.host))
		}
	}
	c.add("psql", "-X", "-h", name, "-p", p.port, "-U", o.User, "-d", cmp.Or(o.Database, o.User), "-c", unescaped(o.Query))
	return c.String()
}
