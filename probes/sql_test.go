package probes

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// atSQL builds a check of a server that speaks the driver's protocol and observes
// once.
func atSQL(t *testing.T, driver, host, port string, d time.Duration, change func(*sqlOptions)) check.Observation {
	t.Helper()
	o := &sqlOptions{Query: "SELECT 1"}
	if err := o.SetTarget(driver + "://probe:s3cret@" + net.JoinHostPort(host, port) + "/shop"); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(o)
	}
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	return promptly(t, plan.Probe, d)
}

const pgSync = "S\x00\x00\x00\x04"

// pgWelcome is a login that asks for no password.
func pgWelcome() string {
	return testnet.PostgresMessage('R', "\x00\x00\x00\x00") + testnet.PostgresMessage('S', "server_version\x0018.1\x00") + testnet.PostgresMessage('S', "in_hot_standby\x00on\x00") +
		testnet.PostgresMessage('Z', "I")
}

// pgRows begins a result with a column n and so many rows of it.
func pgRows(n int) string {
	column := "\x00\x01n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00"
	return testnet.PostgresMessage('1', "") + testnet.PostgresMessage('2', "") + testnet.PostgresMessage('T', column) + strings.Repeat(testnet.PostgresMessage('D', "\x00\x01\x00\x00\x00\x0242"), n)
}

// pgServer logs everybody in and answers a query.
func pgServer(answer string) func(net.Conn) {
	return testnet.PostgresStarted([]testnet.Turn{{Say: pgWelcome(), Until: pgSync}}, testnet.Say(answer))
}

func TestSQL(t *testing.T) {
	t.Parallel()
	done := testnet.PostgresMessage('C', "SELECT 2\x00") + testnet.PostgresMessage('Z', "I")
	host, port := listen(t, pgServer(pgRows(2)+done))
	o := atSQL(t, sqlPostgres, host, port, patience, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"value": "42", "rows": 2, "version": "18.1", "standby": true, "truncated": false}))
	if diff := cmp.Diff(map[string]string{"n": "42"}, o.Facts.Get("row")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"n"}, o.Facts.Get("columns")); diff != "" {
		t.Error(diff)
	}

	host, port = listen(t, pgServer(pgRows(0)+done))
	o = atSQL(t, sqlPostgres, host, port, patience, nil)
	wantFacts(t, o, check.FactsOf(map[string]any{"rows": 0}))
	if o.Facts.Get("value") != nil || !strings.Contains(o.Because["value"].Message, "no row") {
		t.Errorf("%v because %v", o.Facts, o.Because)
	}

	host, port = listen(t, pgServer(pgRows(maxSQLRows+5))) // and no end
	o = atSQL(t, sqlPostgres, host, port, patience, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"rows": maxSQLRows, "truncated": true}))
}

func TestSQLGoesWrong(t *testing.T) {
	t.Parallel()
	first := func(text string) func(net.Conn) {
		return testnet.PostgresStarted(nil, testnet.Say(text))
	}
	fails := func(code, message string) string {
		return testnet.PostgresMessage('E', "SFATAL\x00VFATAL\x00C"+code+"\x00M"+message+"\x00\x00")
	}
	sasl := testnet.PostgresMessage('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00")
	tests := map[string]wrong{
		"silence":             {testnet.Silence, check.ReplyTimeout, "login: no complete answer"},
		"silence to a query":  {testnet.PostgresStarted([]testnet.Turn{{Say: pgWelcome(), Until: pgSync}}, testnet.Silence), check.ReplyTimeout, "query: no complete"},
		"rows stall":          {pgServer(pgRows(1)), check.ReplyTimeout, "query: no complete"},
		"dribble":             {testnet.Drip(testnet.PostgresMessage('R', "\x00\x00\x00\x00"), 50*time.Millisecond), check.ReplyTimeout, "login: no complete"},
		"closes":              {func(net.Conn) {}, check.ConnectReset, "login: "},
		"closes at the query": {testnet.PostgresStarted([]testnet.Turn{{Say: pgWelcome(), Until: pgSync}}, func(net.Conn) {}), check.ConnectReset, "query: "},
		"another protocol":    {first("HTTP/1.1 400 Bad Request\r\n\r\n"), check.ReplyMalformed, "does not speak"},
		"huge message":        {first("R\x7f\xff\xff\xff"), check.ReplyMalformed, "more than the limit"},
		"message too short":   {first("R\x00\x00\x00\x00"), check.ReplyMalformed, "more than the limit"},
		"unknown message":     {first(testnet.PostgresMessage('~', "x")), check.ReplyMalformed, `login: "unknown message type`},
		"cut body":            {first(testnet.PostgresMessage('R', "\x00")), check.ReplyMalformed, "login: "},
		"endless settings":    {flood(testnet.PostgresMessage('S', "a\x00b\x00")), check.ReplyMalformed, "more than the limit"},
		"endless notices":     {flood(testnet.PostgresMessage('N', "SNOTICE\x00\x00")), check.ReplyMalformed, "more than the limit"},
		"endless proof":       {testnet.PostgresStarted([]testnet.Turn{{Say: sasl, Until: "n=,r="}}, testnet.Say(testnet.PostgresMessage('R', "\x00\x00\x00\x0br=x,s=c2FsdA==,i=9999999"))), check.ReplyMalformed, "iterations"},
		"plain password":      {first(testnet.PostgresMessage('R', "\x00\x00\x00\x03")), check.ReplyAuth, "plain text"},
		"wrong password":      {first(fails("28P01", "password authentication failed")), check.ReplyAuth, "28P01"},
		"no entry in pg_hba":  {first(fails("28000", "no pg_hba.conf entry")), check.ReplyAuth, "no pg_hba.conf entry"},
		"no database":         {first(fails("3D000", "database does not exist")), check.ReplyError, "3D000"},
		"starts up":           {first(fails("57P03", "the database system is starting up")), check.ReplyError, "starting up"},
		"copies rows in":      {pgServer(testnet.PostgresMessage('G', "\x00\x00\x00")), check.ReplyError, "query: the server waits for data to copy"},
		"bad query":           {pgServer(fails("42601", "syntax error")), check.ReplyError, "query: the server says"},
	}
	for title, w := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w.hold(t, func(host, port string, d time.Duration) check.Observation {
				return atSQL(t, sqlPostgres, host, port, d, nil)
			})
		})
	}
}

// TestSQLReadsAtOnce reads in two goroutines, as the driver does when it gives up
// while a write is slow.
func TestSQLReadsAtOnce(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go flood("x")(theirs)
	m := meter(ours)
	defer m.Close()
	var got [2]int64
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			for b, err := make([]byte, 1<<10), error(nil); err == nil; {
				var n int
				n, err = m.Read(b)
				got[i] += int64(n)
			}
		})
	}
	all.Wait()
	if sum := got[0] + got[1]; sum < maxSQLTalk || sum > maxSQLTalk+1<<10 {
		t.Errorf("read %d bytes, the limit is %d", sum, maxSQLTalk)
	}
}

func TestSQLTargets(t *testing.T) {
	t.Parallel()
	const end = " -c 'SELECT 1'"
	wantTargets(t, map[string]string{
		"postgres://probe@db.test":                          "PGSSLMODE=disable psql -X -h db.test -p 5432 -U probe -d probe" + end,
		"postgresql://probe:p%20w@db.test:6432/shop":        "PGPASSWORD='p w' PGSSLMODE=disable psql -X -h db.test -p 6432 -U probe -d shop" + end,
		"postgres://probe@db.test/shop?sslmode=verify-full": "PGSSLROOTCERT=system PGSSLMODE=verify-full psql -X -h db.test -p 5432 -U probe -d shop" + end,
		"postgres://probe@db.test/shop?sslmode=require":     "PGSSLMODE=require psql -X -h db.test -p 5432 -U probe -d shop" + end,
		"postgres://probe:s3cret@db.test?sslmode=prefer":    "error: sslmode is not",
		"postgres://probe:s3cret@db.test?options=x":         "error: postgres://host:port/database takes sslmode once",
		"postgres://db.test/shop":                           "error: user: is missing",
		"postgres://probe:s3cret@db.test:70000":             "error: port: 70000",
		"postgres://probe:s3cret%00@db.test":                "error: password: holds a zero byte",
		"postgres://probe:s3cret@/shop":                     "error: needs a host",
	}, func() check.Options { return &sqlOptions{Query: "SELECT 1"} }, func(plan check.Plan) string { return plan.Probe.(*sqlProbe).reproduce() })
}
