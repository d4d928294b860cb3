//go:build oracle && linux

package probes

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// TestOracleMySQL compares what the probe sees with what MariaDB's client says,
// by the line that reproduces it.
func TestOracleMySQL(t *testing.T) {
	t.Parallel()
	port := startMariaDB(t)
	secure := func(change func(*sqlOptions)) func(*sqlOptions) {
		return func(o *sqlOptions) {
			o.TLS = &TLS{CA: caFile(t)}
			if change != nil {
				change(o)
			}
		}
	}
	query := func(text string) func(*sqlOptions) { return func(o *sqlOptions) { o.Query = text } }
	for name, c := range map[string]struct {
		change func(*sqlOptions)
		code   check.Code
		value  any
		says   string
	}{
		"plain":         {nil, "", "1", "1"},
		"TLS":           {secure(query("SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_version'")), "", "TLSv1.3", "TLSv1.3"},
		"ed25519":       {secure(func(o *sqlOptions) { o.User = "modern" }), "", "1", "1"},
		"NULL":          {query("SELECT NULL"), "", nil, "NULL"},
		"no row":        {query("SELECT 1 FROM dual WHERE false"), "", nil, ""},
		"no result":     {query("DO 1"), "", nil, ""},
		"many rows":     {query("SELECT seq FROM seq_1_to_9999"), "", "1", "9999"},
		"procedure":     {query("CALL shop.twice()"), "", "1", "2"},
		"text":          {query("SELECT 'größer', 2"), "", "größer", "größer"},
		"time":          {query("SELECT TIMESTAMP '2026-02-03 04:05:06.5'"), "", "2026-02-03 04:05:06.5", "2026-02-03 04:05:06.5"},
		"decimal":       {query("SELECT 1.50"), "", "1.50", "1.50"},
		"unsigned":      {query("SELECT 18446744073709551615"), "", "18446744073709551615", "18446744073709551615"},
		"double":        {query("SELECT 100000000000000e0"), "", "100000000000000", "100000000000000"},
		"large double":  {query("SELECT 1.5e20"), "", "1.5e20", "1.5e20"},
		"1e15":          {query("SELECT 1e15"), "", "1e15", "1e15"},
		"small double":  {query("SELECT 1.5e-9"), "", "0.0000000015", "0.0000000015"},
		"tiny double":   {query("SELECT -1.5e-20"), "", "-1.5e-20", "-1.5e-20"},
		"float":         {query("SELECT CAST(0.1 AS FLOAT)"), "", "0.1", "0.1"},
		"wrong":         {func(o *sqlOptions) { o.Password = "wrong" }, check.ReplyAuth, nil, "ERROR 1045"},
		"no password":   {func(o *sqlOptions) { o.Password = "" }, check.ReplyAuth, nil, "ERROR 1045"},
		"no user":       {secure(func(o *sqlOptions) { o.User = "nobody" }), check.ReplyAuth, nil, "ERROR 1045"},
		"no database":   {func(o *sqlOptions) { o.User, o.Password, o.Database = "root", "", "nosuch" }, check.ReplyError, nil, "ERROR 1049"},
		"not allowed":   {func(o *sqlOptions) { o.Database = "nosuch" }, check.ReplyAuth, nil, "ERROR 1044"},
		"bad query":     {secure(query("SELEKT 1")), check.ReplyError, nil, "ERROR 1064"},
		"untrusted":     {func(o *sqlOptions) { o.TLS = &TLS{Insecure: true} }, "", "1", "1"},
		"a large value": {query("SELECT repeat('x', 200000)"), check.ReplyMalformed, nil, "xxx"},
		"a file":        {query("LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE t"), check.ReplyError, nil, "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			o := atSQL(t, sqlMySQL, "127.0.0.1", port, patience, c.change)
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
	o := atSQL(t, sqlMySQL, "127.0.0.1", port, patience, secure(query("SELECT VERSION()")))
	if v := o.Facts.Get("version"); v == nil || v != o.Facts.Get("value") {
		t.Errorf("version %v, the server says %v", v, o.Facts.Get("value"))
	}
	wantFacts(t, o, check.FactsOf(map[string]any{"cert.trusted": true, "cert.hostname_ok": true, "tls.version": "1.3", "rows": 1}))
	if d, ok := o.Phases.Get(check.PhaseTLS); !ok || d <= 0 {
		t.Errorf("phases %v", o.Phases)
	}
	o = atSQL(t, sqlMySQL, "127.0.0.1", port, patience, func(o *sqlOptions) { o.TLS = &TLS{} })
	wantFailure(t, o, "") // the certificate is for the expectations to judge
	wantFacts(t, o, check.FactsOf(map[string]any{"cert.trusted": false, "cert.hostname_ok": true}))
	o = atSQL(t, sqlMySQL, "127.0.0.1", port, patience, query("SELECT 1; SELECT 2"))
	wantFailure(t, o, check.ReplyError, "error in your SQL syntax")
}
