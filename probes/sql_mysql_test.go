package probes

import (
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// myPacket is one of MySQL's.
func myPacket(number byte, body string) string {
	return string([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), number}) + body
}

// myCapabilities are what servers of today have: protocol 4.1, TLS, secure
// connections, plugins; and no EOF packets.
const myCapabilities = 1<<9 | 1<<11 | 1<<15 | 1<<19 | 1<<24

const myScramble = "abcdefghijklmnopqrst"

// myHello is the body of a greeting.
func myHello(plugin string) string {
	flags := binary.LittleEndian.AppendUint32(nil, myCapabilities)
	return "\x0a8.4.0\x00" + "\x01\x00\x00\x00" + myScramble[:8] + "\x00" + string(flags[:2]) + "\x2d\x02\x00" + string(flags[2:]) +
		"\x15" + strings.Repeat("\x00", 10) + myScramble[8:] + "\x00" + plugin + "\x00"
}

func myGreeting() string { return myPacket(0, myHello("mysql_native_password")) }

// myReady is what a server says to a login.
const myReady = "\x00\x00\x00\x02\x00\x00\x00"

// myTalk says the first text, and each other one as an answer to a packet. Then
// it lets next go on.
func myTalk(next func(net.Conn), texts ...string) func(net.Conn) {
	return func(conn net.Conn) {
		for i, text := range texts {
			if i > 0 && readPacket(conn) == nil {
				return
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
		next(conn)
	}
}

// readPacket returns the client's next packet, nil when there is none.
func readPacket(conn net.Conn) []byte {
	head := make([]byte, 4)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil
	}
	packet := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	if _, err := io.ReadFull(conn, packet); err != nil {
		return nil
	}
	return append(head, packet...)
}

// drain reads until the client closes.
func drain(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// myServer logs everybody in and answers a query.
func myServer(answer string) func(net.Conn) {
	return myTalk(drain, myGreeting(), myPacket(2, myReady), answer)
}

func myText(s string) string { return string(rune(len(s))) + s } // shorter than 128 bytes

// myColumn is the definition of a column of a text.
func myColumn(name string, kind byte) string {
	return "\x03def\x00\x00\x00" + myText(name) + "\x00\x0c\x2d\x00\xff\x00\x00\x00" + string([]byte{kind}) + "\x00\x00\x00\x00\x00"
}

// myRows begins a result with the columns n and m and so many rows of them.
func myRows(n int) string {
	var b strings.Builder
	b.WriteString(myPacket(1, "\x02") + myPacket(2, myColumn("n", 3)) + myPacket(3, myColumn("m", 0xfd)))
	for i := range n {
		b.WriteString(myPacket(byte(4+i), "\x0242\xfb"))
	}
	return b.String()
}

func myEnd(rows int) string { return myPacket(byte(4+rows), "\xfe\x00\x00\x02\x00\x00\x00") }

func TestMySQL(t *testing.T) {
	t.Parallel()
	host, port := listen(t, myServer(myRows(2)+myEnd(2)))
	o := atSQL(t, sqlMySQL, host, port, patience, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"value": "42", "rows": 2, "version": "8.4.0", "truncated": false}))
	if diff := cmp.Diff(map[string]string{"n": "42"}, o.Facts.Get("row")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"n", "m"}, o.Facts.Get("columns")); diff != "" {
		t.Error(diff)
	}

	host, port = listen(t, myServer(myRows(0)+myEnd(0)))
	o = atSQL(t, sqlMySQL, host, port, patience, nil)
	wantFacts(t, o, check.FactsOf(map[string]any{"rows": 0}))
	if o.Facts.Get("value") != nil || !strings.Contains(o.Because["value"].Message, "no row") {
		t.Errorf("%v because %v", o.Facts, o.Because)
	}

	host, port = listen(t, myServer(myPacket(1, myReady))) // of a statement that returns nothing
	o = atSQL(t, sqlMySQL, host, port, patience, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"rows": 0}))

	host, port = listen(t, myServer(myRows(maxSQLRows+5))) // and no end
	o = atSQL(t, sqlMySQL, host, port, patience, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"rows": maxSQLRows, "truncated": true}))
}

// myWrongs are servers that break the protocol, refuse, or say nothing.
func myWrongs() map[string]wrong {
	first := func(body string) func(net.Conn) { return testnet.Say(myPacket(0, body)) }
	login := func(body string) func(net.Conn) { return myTalk(drain, myGreeting(), myPacket(2, body)) }
	answer := func(body string) func(net.Conn) { return myServer(myPacket(1, body)) }
	hello := myHello("mysql_native_password")
	return map[string]wrong{
		"silence":              {testnet.Silence, check.ReplyTimeout, "login: no complete answer"},
		"silence to the login": {myTalk(testnet.Silence, myGreeting()), check.ReplyTimeout, "login: no complete"},
		"silence to a query":   {myTalk(testnet.Silence, myGreeting(), myPacket(2, myReady)), check.ReplyTimeout, "query: no complete"},
		"rows stall":           {myServer(myRows(1)), check.ReplyTimeout, "query: no complete"},
		"dribble":              {testnet.Drip(myGreeting(), 50*time.Millisecond), check.ReplyTimeout, "login: no complete"},
		"closes":               {func(net.Conn) {}, check.ConnectReset, "login: "},
		"closes at the login":  {myTalk(func(net.Conn) {}, myGreeting(), ""), check.ConnectReset, "login: "},
		"closes at the query":  {myTalk(func(net.Conn) {}, myGreeting(), myPacket(2, myReady), ""), check.ConnectReset, "query: "},
		"half a head":          {testnet.Say("\x4a\x00"), check.ReplyTimeout, "login: "},
		"another protocol":     {testnet.Say("SSH-2.0-OpenSSH_10.0\r\n"), check.ReplyMalformed, "does not speak"},
		"huge greeting":        {testnet.Say("\xff\xff\xff\x00"), check.ReplyMalformed, "more than the limit"},
		"empty greeting":       {testnet.Say("\x00\x00\x00\x00"), check.ReplyMalformed, "empty packet"},
		"old protocol":         {first("\x094.0\x00"), check.ReplyMalformed, "no greeting of MySQL"},
		"version without end":  {first("\x0a8.4.0"), check.ReplyMalformed, "is cut"},
		"greeting of MySQL 4":  {first(hello[:7+15]), check.ReplyMalformed, "is cut"},
		"only an error's head": {first("\xff"), check.ReplyMalformed, "no greeting of MySQL"},
		"too many connections": {first("\xff\x10\x04Too many connections"), check.ReplyError, `"Too many connections" (error 1040)`},
		"host not allowed":     {first("\xff\x6a\x04#HY000Host is not allowed"), check.ReplyAuth, `"Host is not allowed" (error 1130)`},
		"wants a key":          {first(myHello("sha256_password")), check.ReplyAuth, "sha256_password"},

		"huge login answer":     {myTalk(drain, myGreeting(), "\xff\xff\xff\x02"), check.ReplyMalformed, "more than the limit"},
		"empty login answer":    {login(""), check.ReplyMalformed, "empty packet"},
		"no login answer":       {login("\x42"), check.ReplyMalformed, "none of MySQL"},
		"OK is cut":             {login("\x00\x00"), check.ReplyMalformed, "consent is cut"},
		"OK with a cut number":  {login("\x00\xfe\x00"), check.ReplyMalformed, "consent is cut"},
		"error is cut":          {login("\xff\x15\x04"), check.ReplyMalformed, "error of the server is cut"},
		"error's state is cut":  {login("\xff\x15\x04#28"), check.ReplyMalformed, "error of the server is cut"},
		"wrong password":        {login("\xff\x15\x04#28000Access denied"), check.ReplyAuth, "error 1045"},
		"no database":           {login("\xff\x19\x04#42000Unknown database 'shop'"), check.ReplyError, "error 1049"},
		"denied database":       {login("\xff\x14\x04#42000Access denied"), check.ReplyAuth, "error 1044"},
		"another number":        {myTalk(drain, myGreeting(), myPacket(9, myReady)), check.ReplyMalformed, "out of sync"},
		"old passwords":         {login("\xfe"), check.ReplyAuth, "plugin"},
		"plain password":        {login("\xfemysql_clear_password\x00"), check.ReplyAuth, "mysql_clear_password"},
		"whole password":        {login("\x01\x04"), check.ReplyAuth, "plain text over a connection without TLS"},
		"a key":                 {login("\x01-----BEGIN PUBLIC KEY-----"), check.ReplyMalformed, "none of MySQL"},
		"unknown plugin":        {login("\xfedialog\x00x"), check.ReplyAuth, `"dialog"`},
		"short challenge":       {login("\xfemysql_native_password\x00abc\x00"), check.ReplyMalformed, "challenge is cut"},
		"no challenge":          {login("\xfemysql_native_password"), check.ReplyMalformed, "challenge is cut"},
		"switches again":        {myTalk(drain, myGreeting(), myPacket(2, "\xfemysql_native_password\x00"+myScramble+"\x00"), myPacket(4, "\xfecaching_sha2_password\x00"+myScramble+"\x00")), check.ReplyMalformed, "malformed packet"},
		"short ed25519":         {login("\xfeclient_ed25519\x00" + myScramble + "\x00"), check.ReplyMalformed, "malformed packet"},
		"endless login answers": {flood(myGreeting()), check.ReplyMalformed, "login: "},

		"bad query":         {answer("\xff\x28\x04#42000syntax error"), check.ReplyError, "query: the server says"},
		"wants a file":      {answer("\xfb/etc/passwd"), check.ReplyMalformed, "a file of this machine"},
		"countless columns": {answer("\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"), check.ReplyMalformed, "columns"},
		"many columns":      {answer("\xfd\x00\x00\x10"), check.ReplyMalformed, "columns"},
		"columns are cut":   {answer("\xfd\x00"), check.ReplyMalformed, "columns"},
		"more results":      {answer("\x00\x00\x00\x0a\x00\x00\x00"), check.ReplyMalformed, "more results"},
		"bad column":        {myServer(myPacket(1, "\x01") + myPacket(2, "\x03def\x00")), check.ReplyMalformed, "broken packet"},
		"negative length":   {myServer(myRows(0) + myPacket(4, "\x0242\xfe\xff\xff\xff\xff\xff\xff\xff\xff")), check.ReplyMalformed, "broken packet"},
		"overlong length":   {myServer(myRows(0) + myPacket(4, "\x7fx")), check.ReplyMalformed, "broken packet"},
		"cut column":        {myServer(myPacket(1, "\x01") + myPacket(2, "\x7fdef")), check.ReplyMalformed, "broken packet"},
		"no number":         {myServer(myRows(0) + myPacket(4, "\x02x!\xfb")), check.ReplyMalformed, "query: "},
		"cut end":           {myServer(myRows(0) + myPacket(4, "\xfe")), check.ReplyMalformed, "broken packet"},
		"error as a row":    {myServer(myRows(1) + myPacket(5, "\xff\x25\x05#70100killed")), check.ReplyError, `"killed" (error 1317)`},
		"huge row":          {myServer(myRows(1) + "\x01\x00\x02\x05"), check.ReplyMalformed, "more than the limit"},
		"endless bytes":     {myTalk(flood(myPacket(4, strings.Repeat("x", 100<<10))), myGreeting(), myPacket(2, myReady), myPacket(1, "\x01")+myPacket(2, myColumn("n", 0xfd))), check.ReplyMalformed, "query: "},
	}
}

func TestMySQLGoesWrong(t *testing.T) {
	for title, w := range myWrongs() {
		t.Run(title, func(t *testing.T) {
			ignore := goleak.IgnoreCurrent()
			t.Cleanup(func() { noneLeft(t, ignore) }) // the server's handlers end before
			w.hold(t, func(host, port string, d time.Duration) check.Observation {
				return atSQL(t, sqlMySQL, host, port, d, nil)
			})
		})
	}
}

// TestMySQLBoundedMemory has servers fill the largest packets without end, at the
// login and behind the columns.
func TestMySQLBoundedMemory(t *testing.T) {
	const flying, each = 16, 2 << 20
	large := myPacket(5, strings.Repeat("x", maxSQLMessage))
	for name, handler := range map[string]func(net.Conn){
		"login":   myTalk(flood(large), myGreeting(), ""),
		"columns": myTalk(flood(large), myGreeting(), myPacket(2, myReady), myPacket(1, "\xfc\x00\x10")),
		"rows":    myTalk(flood(large), myGreeting(), myPacket(2, myReady), myRows(0)),
	} {
		host, port := listen(t, handler)
		o := &sqlOptions{Driver: sqlMySQL, Host: host, User: "probe", Query: "SELECT 1"}
		var err error
		if o.Port, err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		if held := heldBy(t, plan.Probe, flying); held > flying*each {
			t.Errorf("%s: %d probes hold %d KiB", name, flying, held>>10)
		}
	}
}

// FuzzMySQL has the driver meet any packets behind the guard: two in the login,
// three in the answer to the query. Empty ones are not sent.
func FuzzMySQL(f *testing.F) {
	f.Add([]byte(myReady), []byte(""), []byte("\x01"), []byte(myColumn("n", 3)), []byte("\x0242"))
	f.Add([]byte("\x01\x03"), []byte(myReady), []byte("\x02"), []byte("\xfe"), []byte(""))
	f.Add([]byte("\xfemysql_native_password\x00"+myScramble+"\x00"), []byte(myReady), []byte("\x01"), []byte(myColumn("n", 3)), []byte("\xff"))
	f.Add([]byte("\xfecaching_sha2_password\x00"+myScramble+"\x00"), []byte("\xff\x15\x04"), []byte(myReady), []byte(""), []byte(""))
	f.Fuzz(func(t *testing.T, a, b, c, d, e []byte) {
		var text strings.Builder
		text.WriteString(myGreeting())
		for i, body := range [][]byte{a, b, c, d, e} {
			if number := []byte{2, 4, 1, 2, 3}[i]; len(body) > 0 && len(body) <= 1<<16 {
				text.WriteString(myPacket(number, string(body)))
			}
		}
		ignore := goleak.IgnoreCurrent()
		conn := &fed{in: strings.NewReader(text.String())}
		p := &sqlProbe{options: &sqlOptions{Driver: sqlMySQL, User: "probe", Password: "s3cret", Query: "SELECT 1"}}
		reason := p.talkMySQL(t.Context(), begin(), conn)
		if reason != nil && strings.HasPrefix(reason.Message, "login: ") && strings.Contains(reason.Message, errMySQLPanic.what) {
			t.Error("the driver panics in the login")
		}
		noneLeft(t, ignore)
	})
}

// fed is a connection that reads a text and writes to nobody.
type fed struct {
	net.Conn
	in io.Reader
}

func (f *fed) Read(b []byte) (int, error)  { return f.in.Read(b) }
func (f *fed) Write(b []byte) (int, error) { return len(b), nil }
func (f *fed) Close() error                { return nil }

func TestMySQLTargets(t *testing.T) {
	t.Parallel()
	const start, end = "mariadb --no-defaults --protocol=tcp -h db.test -P ", " -e 'SELECT 1'"
	wantTargets(t, map[string]string{
		"mysql://probe@db.test":                               start + "3306 -u probe --skip-ssl" + end,
		"mariadb://probe:p%20w@db.test:3307/shop":             "MYSQL_PWD='p w' " + start + "3307 -u probe --skip-ssl -D shop" + end,
		"mysql://probe@db.test/shop?ssl-mode=VERIFY_IDENTITY": start + "3306 -u probe --ssl-verify-server-cert -D shop" + end,
		"mysql://probe@db.test/shop?ssl-mode=required":        start + "3306 -u probe --ssl --skip-ssl-verify-server-cert -D shop" + end,
		"mysql://probe:s3cret@db.test?ssl-mode=preferred":     "error: ssl-mode is not",
		"mysql://probe:s3cret@db.test?sslmode=disable":        "error: mysql://host:port/database takes ssl-mode once",
		"mysql://db.test/shop":                                "error: user: is missing",
		"mysql://probe:s3cret%00@db.test":                     "error: password: holds a zero byte",
	}, func() check.Options { return &sqlOptions{Query: "SELECT 1"} }, func(plan check.Plan) string { return plan.Probe.(*sqlProbe).reproduceMySQL() })
	if _, err := (&sqlOptions{Driver: "oracle", Host: "db.test", User: "probe", Query: "SELECT 1"}).Build(needs()); err == nil || !strings.Contains(err.Error(), "driver") {
		t.Errorf("got %v", err)
	}
}
