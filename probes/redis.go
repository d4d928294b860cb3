package probes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "redis",
		Doc:     "logs in to Redis or a server that speaks its protocol, and pings it",
		Schemes: []string{"redis", "rediss"},
		Facts:   redisFacts(),
		New:     func() check.Options { return new(redisOptions) },
	})
}

func redisFacts() []check.Fact {
	facts := []check.Fact{
		{Name: "reply", Type: check.String, Doc: "what the server answers to PING"},
		{Name: "ping.rtt", Type: check.Duration, Doc: "time from the PING to its answer, without login"},
	}
	facts = append(facts, redisInfoFacts()...)
	return append(append(facts, connectFacts()...), tlsFacts()...)
}

// redisInfoFacts are those that INFO gives.
func redisInfoFacts() []check.Fact {
	return []check.Fact{
		{Name: "role", Type: check.String, Doc: "'master' or 'slave', as INFO calls them; with info, or when an expectation names it"},
		{Name: "version", Type: check.String, Doc: "version of the server; with info, or when an expectation names it"},
		{Name: "info", Type: check.Map, Hidden: true, Doc: "all fields of INFO, as texts by name; with info, or when an expectation names it"},
	}
}

// redisPort is where Redis is spoken unless said otherwise.
const redisPort = 6379

// redisOptions are the options of the kind redis.
type redisOptions struct {
	Host     string `yaml:"host" address:"true" required:"true" doc:"name or IP address"`
	Port     int    `yaml:"port" doc:"port to connect to; default is 6379"`
	User     string `yaml:"user" doc:"user to log in as (ACL); default is the server's user default"`
	Password string `yaml:"password" secret:"true" doc:"password to log in with"`
	Database int    `yaml:"database" doc:"number of the database to select; 0 selects none"`
	Info     bool   `yaml:"info" doc:"ask for INFO after the ping, for the facts role, version and info"`
	Close    string `yaml:"close" enum:"normal,reset" doc:"how to end the connection; reset leaves no port in TIME_WAIT, see docs/connections.md"`
	Route    `yaml:",inline"`
	TLS      *TLS `yaml:"tls" doc:"speak TLS; {} does so with the defaults"`

	target string // as given on the command line
}

// SetTarget reads redis://[[user]:password@]host[:port][/database], and rediss://
// for TLS.
func (o *redisOptions) SetTarget(target string) error {
	u, err := parseServerURL(target)
	switch {
	case err != nil:
		return err
	case len(u.query) > 0:
		return errors.New("redis://host:port/database takes nothing behind a ?")
	}
	if u.path != "" {
		if o.Database, err = strconv.Atoi(u.path); err != nil {
			return errors.New("the path of redis://host:port/database is not the number of a database")
		}
	}
	if u.scheme == "rediss" && o.TLS == nil {
		o.TLS = new(TLS)
	}
	o.Host, o.Port, o.User, o.Password, o.target = u.host, u.port, u.user, u.password, target
	return nil
}

// redisProbe is a built check of the kind redis.
type redisProbe struct {
	host, port string
	route      *router
	tls        *tlsPlan // nil: no TLS
	options    *redisOptions
	info       bool
}

// Build validates the options.
func (o *redisOptions) Build(setup check.Setup) (check.Plan, error) {
	errs := checkServer(o.Host, o.Port)
	if o.User != "" && o.Password == "" {
		errs = append(errs, check.OptionErrorf("user", "a user needs a password"))
	}
	if o.Database < 0 {
		errs = append(errs, check.OptionErrorf("database", "%d is not the number of a database", o.Database))
	}
	p := &redisProbe{
		host: o.Host, port: strconv.Itoa(cmp.Or(o.Port, redisPort)), options: o,
		info: o.Info || slices.ContainsFunc(redisInfoFacts(), func(f check.Fact) bool { return setup.Needs(f.Name) }),
	}
	var err error
	p.route, err = o.Route.build()
	errs = append(errs, err, p.route.reaches("host", o.Host), p.route.closeBy(o.Close))
	plan := check.Plan{
		Probe: p, Target: net.JoinHostPort(o.Host, p.port), Secrets: writtenSecrets(o.Password, o.target),
		Defaults: []check.Default{{Expect: "reply == 'PONG'"}},
	}
	if o.TLS != nil {
		p.tls, err = o.TLS.build()
		errs = append(errs, err)
		p.tls.detail = needsDetail(setup)
		plan.Defaults = append(plan.Defaults, p.tls.defaults()...)
	}
	return plan, errors.Join(errs...)
}

// Footprint is that of the connection.
func (p *redisProbe) Footprint() check.Footprint { return p.route.footprint() }

// Observe connects, logs in, selects the database, pings and asks for INFO.
func (p *redisProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	j.obs.Reproduce = p.reproduce
	conn, reason := j.connect(ctx, p.route, p.host, p.port)
	if reason != nil {
		return j.stop(reason)
	}
	defer conn.Close()
	if p.tls != nil {
		secure, reason := j.handshake(ctx, conn, p.tls, p.host, nil)
		if reason != nil {
			return j.stop(reason)
		}
		defer secure.Close()
		if reason := j.distrusted(p.tls); reason != nil && p.options.Password != "" {
			return j.stop(reason)
		}
		conn = secure
	}
	if reason := p.talk(newRESP(j, conn)); reason != nil {
		return j.stop(reason)
	}
	return j.end()
}

func (p *redisProbe) talk(r *resp) *check.Reason {
	o := p.options
	switch {
	case o.User != "":
		if _, reason := r.ask("AUTH", o.User, o.Password); reason != nil {
			return reason
		}
	case o.Password != "":
		if _, reason := r.ask("AUTH", o.Password); reason != nil {
			return reason
		}
	}
	if o.Database != 0 {
		if _, reason := r.ask("SELECT", strconv.Itoa(o.Database)); reason != nil {
			return reason
		}
	}
	reply, reason := r.ask("PING")
	if reason != nil {
		return reason
	}
	r.j.obs.Set("reply", strings.ToValidUTF8(string(reply), "\uFFFD"))
	r.j.obs.Set("ping.rtt", r.took)
	if !p.info {
		return nil
	}
	return p.inform(r)
}

// inform takes the facts of INFO. A user may be allowed to ping and no more, so
// a refusal only leaves them absent.
func (p *redisProbe) inform(r *resp) *check.Reason {
	text, reason := r.ask("INFO")
	if reason != nil && (reason.Code == check.ReplyAuth || reason.Code == check.ReplyError) {
		for _, f := range redisInfoFacts() {
			r.j.obs.Explain(f.Name, reason.Code, reason.Message)
		}
		return nil
	}
	if reason != nil {
		return reason
	}
	info := parseRedisInfo(text)
	r.j.obs.Set("info", info)
	for fact, fields := range map[string][]string{"role": {"role"}, "version": {"valkey_version", "redis_version"}} {
		i := slices.IndexFunc(fields, func(name string) bool { return info[name] != "" })
		if i < 0 {
			r.j.obs.Explain(fact, check.ExpectCode(fact), "INFO has no field "+fields[len(fields)-1])
			continue
		}
		r.j.obs.Set(fact, info[fields[i]])
	}
	return nil
}

// reproduce returns a shell line that makes the same connection and pings.
func (p *redisProbe) reproduce() string {
	o := p.options
	var c shellLine
	if o.Password != "" {
		c = append(c, "REDISCLI_AUTH="+shellQuote(hidden(o.Password))) // no argument, which others can read
	}
	host := p.route.to(p.host)
	c.add("redis-cli", "-h", host, "-p", p.port)
	if o.User != "" {
		c.add("--user", o.User)
	}
	if o.Database != 0 {
		c.add("-n", strconv.Itoa(o.Database))
	}
	if o.TLS != nil {
		c.add("--tls")
		name := cmp.Or(o.TLS.ServerName, p.host)
		if _, err := netip.ParseAddr(name); err != nil {
			c.add("--sni", name)
		}
		for _, f := range [][2]string{{"--cacert", o.TLS.CA}, {"--cert", o.TLS.Cert}, {"--key", o.TLS.Key}} {
			if f[1] != "" {
				c.add(f[0], f[1])
			}
		}
		if o.TLS.Insecure {
			c.add("--insecure")
		}
	}
	c.add("ping")
	return c.String()
}

// parseRedisInfo reads the lines name:value of INFO.
func parseRedisInfo(text []byte) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(strings.ToValidUTF8(string(text), "\uFFFD")) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if ok && name != "" && name[0] != '#' && len(info) < maxRedisInfo {
			info[name] = value
		}
	}
	return info
}

// redisError words an error reply with what helps.
func redisError(text string) *check.Reason {
	word, _, _ := strings.Cut(text, " ")
	reason := &check.Reason{Code: check.ReplyError, Message: fmt.Sprintf("the server says %s", excerpt([]byte(text)))}
	switch word {
	case "NOAUTH":
		reason.Code = check.ReplyAuth
		reason.Message += "\nhint: set password"
	case "WRONGPASS", "NOPERM":
		reason.Code = check.ReplyAuth
	case "DENIED": // protected mode
		reason.Code = check.ReplyAuth
		reason.Message += "\nhint: the server has neither a password nor bind addresses set, and lets only its own machine in"
	case "ERR":
		// Of a server before version 6, and of one without a password.
		if strings.Contains(text, "invalid password") || strings.Contains(text, "without any password configured") ||
			strings.Contains(text, "no password is set") {
			reason.Code = check.ReplyAuth
		}
	}
	return reason
}
