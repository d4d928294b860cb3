package importer

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
)

// kumaDatabase takes over a monitor of a database, and reports whether its
// connection string is one that can be read: a URL with a host
// and, where one logs in always, a user.
func (j *job) kumaDatabase(it *item, o *object, kind string) bool {
	const given = "databaseConnectionString"
	u, err := url.Parse(o.str(given))
	if err != nil || u.Hostname() == "" || kind != "redis" && u.User.Username() == "" {
		return false
	}
	at := o.place(given)
	it.kind = map[string]string{"redis": "redis"}[kind]
	if it.kind == "" {
		it.kind = "sql"
		if kind == "mysql" {
			it.option("driver", kind)
		}
	}
	it.option("host", j.literal(u.Hostname()))
	if u.Port() != "" {
		it.option("port", j.port(u.Port()))
	}
	password, _ := u.User.Password()
	if user := u.User.Username(); user != "" && (kind != "redis" || password != "") {
		it.option("user", j.literal(user))
	}
	if kind == "mysql" { // a monitor has its password in a field that was free
		password = cmp.Or(o.str("radiusPassword"), password)
	}
	if password != "" {
		it.option("password", j.secret(it, "password", password, at))
	}
	if name := strings.TrimPrefix(u.Path, "/"); name != "" {
		j.kumaDatabaseName(it, kind, name)
	}
	if query := o.str("databaseQuery"); it.kind == "sql" && query != "" {
		it.option("query", j.literal(query))
	}
	j.kumaDatabaseTLS(it, o, u)
	return true
}

func (j *job) kumaDatabaseName(it *item, kind, name string) {
	if kind != "redis" {
		it.option("database", j.literal(name))
		return
	}
	if n, err := strconv.Atoi(name); err == nil {
		it.option("database", n)
	} else {
		j.miss(it, nil, "the path of the connection string is no number of a database")
	}
}

// kumaDatabaseTLS takes over how much TLS the connection string wants.
func (j *job) kumaDatabaseTLS(it *item, o *object, u *url.URL) {
	query := u.Query()
	mode := query.Get("sslmode")
	switch {
	case u.Scheme == "rediss" && !o.flag("ignoreTls", false), mode == "verify-full", mode == "verify-ca":
		it.option("tls", fields{})
	case u.Scheme == "rediss", mode == "require", mode == "no-verify":
		it.tls("insecure", true)
	}
	query.Del("sslmode")
	if len(query) > 0 {
		j.miss(it, o.place("databaseConnectionString"), "what stands behind the ? of the connection string is left out")
	}
}
