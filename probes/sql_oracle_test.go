//go:build oracle && linux

package probes

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// TestOraclePostgres compares what the probe sees with what psql says, by the
// line that reproduces it.
func TestOraclePostgres(t *testing.T) {
	t.Parallel()
	port := startPostgres(t)
	admin := func(o *sqlOptions) { o.User, o.Password, o.Database = "postgres", "s3cret", "postgres" }
	secure := func(change func(*sqlOptions)) func(*sqlOptions) {
		return func(o *sqlOptions) {
			admin(o)
			o.TLS = &TLS{CA: caFile(t)}
			if change != nil {
				change(o)
			}
		}
	}
	wantFailure(t, atSQL(t, sqlPostgres, "127.0.0.1", port, patience, secure(func(o *sqlOptions) { o.Query = "CREATE TABLE wanting (n int)" })), "")
	for name, c := range map[string]struct {
		change func(*sqlOptions)
		code   check.Code
		value  any
		says   string
	}{
		"plain":         {admin, "", "1", "1"},
		"rows to copy":  {secure(func(o *sqlOptions) { o.Query = "COPY wanting FROM STDIN" }), check.ReplyError, nil, "COPY 0"},
		"TLS":           {secure(func(o *sqlOptions) { o.Query = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()" }), "", "t", "TLSv1.3"},
		"NULL":          {secure(func(o *sqlOptions) { o.Query = "SELECT NULL" }), "", nil, ""},
		"many rows":     {secure(func(o *sqlOptions) { o.Query = "SELECT * FROM generate_series(1, 9999) n" }), "", "1", "9999"},
		"wrong":         {func(o *sqlOptions) { admin(o); o.Password = "wrong" }, check.ReplyAuth, nil, "password authentication failed"},
		"no user":       {secure(func(o *sqlOptions) { o.User = "nobody" }), check.ReplyAuth, nil, "password authentication failed"},
		"no database":   {secure(func(o *sqlOptions) { o.Database = "shop" }), check.ReplyError, nil, `database "shop" does not exist`},
		"bad query":     {secure(func(o *sqlOptions) { o.Query = "SELEKT 1" }), check.ReplyError, nil, "syntax error"},
		"untrusted":     {secure(func(o *sqlOptions) { o.TLS = &TLS{Insecure: true} }), "", "1", "1"},
		"other name":    {secure(func(o *sqlOptions) { o.TLS.ServerName = "db.test" }), "", "1", "1"},
		"foreign name":  {secure(func(o *sqlOptions) { o.TLS.ServerName = "other.test" }), "", "1", "does not match host name"},
		"a large value": {secure(func(o *sqlOptions) { o.Query = "SELECT repeat('x', 200000)" }), check.ReplyMalformed, nil, "xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			o := atSQL(t, sqlPostgres, "127.0.0.1", port, patience, c.change)
			wantFailure(t, o, c.code)
			if got := o.Facts.Get("value"); got != c.value {
				t.Errorf("value %v, want %v", got, c.value)
			}
			out, _ := exec.CommandContext(timeout(t, patience), "sh", "-c", o.Reproduce()).CombinedOutput() // it fails where the check does
			if !strings.Contains(string(out), c.says) {
				t.Errorf("%s: %s", o.Reproduce(), out)
			}
		})
	}
	o := atSQL(t, sqlPostgres, "127.0.0.1", port, patience, secure(func(o *sqlOptions) { o.Query = "SHOW server_version" }))
	if v := o.Facts.Get("version"); v == nil || v != o.Facts.Get("value") {
		t.Errorf("version %v, the server says %v", v, o.Facts.Get("value"))
	}
	wantFacts(t, o, check.FactsOf(map[string]any{"standby": false, "cert.trusted": true, "cert.hostname_ok": true, "rows": 1}))
	o = atSQL(t, sqlPostgres, "127.0.0.1", port, patience, func(o *sqlOptions) { admin(o); o.Query = "SELECT 1; SELECT 2" })
	wantFailure(t, o, check.ReplyError, "cannot insert multiple commands")
}
