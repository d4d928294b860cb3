package probes

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// atRedis builds a check of a server and observes once.
func atRedis(t *testing.T, host, port string, d time.Duration, change func(*redisOptions), facts ...string) check.Observation {
	t.Helper()
	o := new(redisOptions)
	if err := o.SetTarget("redis://" + net.JoinHostPort(host, port)); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(o)
	}
	plan, err := o.Build(needs(facts...))
	if err != nil {
		t.Fatal(err)
	}
	return promptly(t, plan.Probe, d)
}

// command is what a client of Redis sends.
func command(words ...string) string { return respCommand(words) }

func TestRedisDialogue(t *testing.T) {
	t.Parallel()
	const info = "# Server\r\nredis_version:7.0.15\r\n\r\n# Replication\r\nrole:master\r\n"
	turns := []testnet.Turn{
		{Until: command("AUTH", "probe", "s3cret")}, {Say: "+OK\r\n", Until: command("SELECT", "3")},
		{Say: "+OK\r\n", Until: command("PING")}, {Say: "+PONG\r\n", Until: command("INFO")},
	}
	answer := fmt.Sprintf("$%d\r\n%s\r\n", len(info), info)
	login := func(o *redisOptions) { o.User, o.Password, o.Database = "probe", "s3cret", 3 }
	want := check.FactsOf(map[string]any{"reply": "PONG", "role": "master", "version": "7.0.15"})

	host, port := listen(t, testnet.Converse(turns, testnet.Say(answer)))
	o := atRedis(t, host, port, patience, login, "role")
	wantFailure(t, o, "")
	wantFacts(t, o, want)
	if rtt, ok := o.Facts.Get("ping.rtt").(time.Duration); !ok || rtt <= 0 || rtt > o.Latency {
		t.Errorf("rtt %v of %v", o.Facts.Get("ping.rtt"), o.Latency)
	}
	if diff := cmp.Diff(map[string]string{"redis_version": "7.0.15", "role": "master"}, o.Facts.Get("info")); diff != "" {
		t.Error(diff)
	}

	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"cache.test"}})
	host, port = listenTLS(t, cfg, testnet.Converse(turns, testnet.Say(answer)))
	o = atRedis(t, host, port, patience, func(o *redisOptions) {
		login(o)
		o.TLS, o.Info = &TLS{CA: caFile(t), ServerName: "cache.test"}, true
	})
	wantFailure(t, o, "")
	wantFacts(t, o, want)
	wantFacts(t, o, check.FactsOf(map[string]any{"cert.trusted": true, "cert.hostname_ok": true}))
}

func TestRedisGoesWrong(t *testing.T) {
	t.Parallel()
	first := func(text string) func(net.Conn) {
		return testnet.Converse([]testnet.Turn{{Until: command("PING")}}, testnet.Say(text))
	}
	tests := map[string]wrong{
		"silence":          {testnet.Silence, check.ReplyTimeout, "no complete answer to PING"},
		"dribble":          {testnet.Drip("+PONG+PONG+PONG+PONG", 20*time.Millisecond), check.ReplyTimeout, "no complete answer to PING"},
		"text that stalls": {first("$100\r\nPONG"), check.ReplyTimeout, "no complete answer to PING"},
		"closes":           {func(net.Conn) {}, check.ConnectReset, "PING: "},
		"resets":           {testnet.Converse([]testnet.Turn{{Until: command("PING")}}, testnet.Reset), check.ConnectReset, "PING: "},
		"endless line":     {flood("+x"), check.ReplyMalformed, "longer than 4KiB"},
		"endless errors":   {flood("-ERR no\r\n"), check.ReplyError, "ERR no"},
		"huge text":        {first("$999999999\r\n"), check.ReplyMalformed, "999999999 bytes"},
		"odd size":         {first("$-2\r\n"), check.ReplyMalformed, `the size "-2"`},
		"wrong size":       {first("$2\r\nPONG\r\n"), check.ReplyMalformed, "not 2 bytes"},
		"bare line end":    {first("+PONG\n"), check.ReplyMalformed, "no reply of it"},
		"an array":         {first("*1\r\n+PONG\r\n"), check.ReplyMalformed, "no reply of it"},
		"a mail server":    {testnet.Say("220 mail.test\r\n"), check.ReplyMalformed, "220 mail.test"},
		"a TLS server":     {first("\x15\x03\x01\x00\x02\x02\x28\n"), check.ReplyMalformed, "hint: the peer speaks TLS"},
		"wants a login":    {first("-NOAUTH Authentication required.\r\n"), check.ReplyAuth, "hint: set password"},
		"no permission":    {first("-NOPERM no\r\n"), check.ReplyAuth, "NOPERM"},
		"protected mode":   {testnet.Say("-DENIED Redis is running in protected mode\r\n"), check.ReplyAuth, "only its own machine"},
		"loads its data":   {first("-LOADING Redis is loading the dataset in memory\r\n"), check.ReplyError, "LOADING"},
		"is full":          {testnet.Say("-ERR max number of clients reached\r\n"), check.ReplyError, "max number"},
	}
	for title, w := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w.hold(t, func(host, port string, d time.Duration) check.Observation {
				return atRedis(t, host, port, d, nil)
			})
		})
	}
}

func TestRedisLoginFails(t *testing.T) {
	t.Parallel()
	for say, code := range map[string]check.Code{
		"-WRONGPASS invalid username-password pair or user is disabled.\r\n": check.ReplyAuth,
		"-ERR invalid password\r\n":                                       check.ReplyAuth,
		"-ERR AUTH <password> called without any password configured\r\n": check.ReplyAuth,
		"-ERR unknown command 'AUTH'\r\n":                                 check.ReplyError,
	} {
		host, port := listen(t, testnet.Converse([]testnet.Turn{{Until: command("AUTH", "wrong")}}, testnet.Say(say)))
		o := atRedis(t, host, port, patience, func(o *redisOptions) { o.Password = "wrong" })
		wantFailure(t, o, code)
	}
}

// TestRedisWithoutInfo lets a user ping and no more.
func TestRedisWithoutInfo(t *testing.T) {
	t.Parallel()
	turns := []testnet.Turn{{Until: command("PING")}, {Say: "+PONG\r\n", Until: command("INFO")}}
	for say, code := range map[string]check.Code{
		"-NOPERM User probe has no permissions to run the 'info' command\r\n": check.ReplyAuth,
		"$10\r\nrole:slave\r\n": check.ExpectCode("version"),
	} {
		host, port := listen(t, testnet.Converse(turns, testnet.Say(say)))
		o := atRedis(t, host, port, patience, nil, "version")
		wantFailure(t, o, "")
		wantFacts(t, o, check.FactsOf(map[string]any{"reply": "PONG"}))
		if got := o.Because["version"].Code; got != code || o.Facts.Get("version") != nil {
			t.Errorf("%s, want %s", got, code)
		}
	}
}

func TestRedisTargets(t *testing.T) {
	t.Parallel()
	wantTargets(t, map[string]string{
		"redis://cache.test":                       "redis-cli -h cache.test -p 6379 ping",
		"redis://:p%20w@cache.test:7000/2":         "REDISCLI_AUTH='p w' redis-cli -h cache.test -p 7000 -n 2 ping",
		"rediss://probe:pw@cache.test/":            "REDISCLI_AUTH='***' redis-cli -h cache.test -p 6379 --user probe --tls --sni cache.test ping",
		"rediss://[::1]:7000":                      "redis-cli -h ::1 -p 7000 --tls ping",
		"redis://":                                 "error: needs a host",
		"redis://cache.test/x":                     "error: the path",
		"redis://cache.test/-1":                    "error: database: -1",
		"redis://probe@cache.test":                 "error: user: a user needs a password",
		"redis://cache.test?x=s3cret":              "error: redis://host:port/database takes nothing",
		"redis://cache.test#s3cret":                "error: takes no fragment",
		"redis://:s3cret@cache.test:99999":         "error: port: 99999",
		"redis://:s3cret@cache.test:0":             `error: "0" is not a port`,
		"redis://:s3cret%zz@cache.test":            "error: is no valid URL",
		"redis://:s3cret@cache test":               "error: is no valid URL",
		"redis://:s3cret@cache.test:s3":            "error: is no valid URL",
		"redis://u:s3cret@cache.test/" + "0?a=%zz": "error: the part behind ?",
	}, func() check.Options { return new(redisOptions) }, func(plan check.Plan) string { return plan.Probe.(*redisProbe).reproduce() })
}

func FuzzReadRESP(f *testing.F) {
	for _, text := range []string{"+PONG\r\n", "-ERR no\r\n", "$4\r\nPONG\r\n", "$-1\r\n", ":1\r\n", "$9\r\nrole:a\r\nb"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readRESP(bufio.NewReaderSize(strings.NewReader(text), maxRedisLine))
		if len(got) > len(text) || err != nil && got != nil {
			t.Errorf("%q, %v", got, err)
		}
		if len(parseRedisInfo([]byte(text))) > strings.Count(text, ":") {
			t.Error("more fields than colons")
		}
	})
}
