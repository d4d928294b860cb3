//go:build oracle && linux

package probes

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sonde-cli/sonde/check"
)

// startRedis runs redis-server on a port, with TLS on another.
func startRedis(t *testing.T, args ...string) (port, securePort string) {
	t.Helper()
	h := newHome(t, "")
	cert, key := h.key(t)
	port, securePort = freePort(t), freePort(t)
	h.start(t, port, syscall.SIGTERM, "redis-server", append([]string{
		"--port", port, "--tls-port", securePort, "--bind", "127.0.0.1", "--save", "", "--dir", h.dir,
		"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", h.file(t, "ca.pem", string(authority(t).PEM())),
		"--tls-auth-clients", "optional",
	}, args...)...)
	return port, securePort
}

// redisCLI runs the reproduce line of a check, or another.
func redisCLI(t *testing.T, line string) string {
	t.Helper()
	out, _ := exec.CommandContext(timeout(t, patience), "sh", "-c", line).CombinedOutput() // it fails where the check does
	return strings.TrimSpace(string(out))
}

// TestOracleRedis compares what the probe sees with what redis-cli says.
func TestOracleRedis(t *testing.T) {
	t.Parallel()
	port, secure := startRedis(t, "--requirepass", "s3cret", "--user", "probe", "on", ">probe-password", "+ping")
	tls := &TLS{CA: caFile(t)}
	for name, c := range map[string]struct {
		port   string
		change func(*redisOptions)
		code   check.Code
		says   string // redis-cli, by the line that reproduces it
		info   check.Code
	}{
		"login":       {port, func(o *redisOptions) { o.Password = "s3cret" }, "", "PONG", ""},
		"database":    {port, func(o *redisOptions) { o.Password, o.Database = "s3cret", 3 }, "", "PONG", ""},
		"no database": {port, func(o *redisOptions) { o.Password, o.Database = "s3cret", 99 }, check.ReplyError, "DB index is out of range", ""},
		"TLS":         {secure, func(o *redisOptions) { o.Password, o.TLS = "s3cret", tls }, "", "PONG", ""},
		"untrusted":   {secure, func(o *redisOptions) { o.Password, o.TLS = "s3cret", new(TLS) }, check.TLSUntrusted, "certificate verify failed", ""},
		"stranger":    {port, nil, check.ReplyAuth, "NOAUTH Authentication required.", ""},
		"wrong":       {port, func(o *redisOptions) { o.Password = "wrong" }, check.ReplyAuth, "WRONGPASS", ""},
		"wrong, TLS":  {secure, func(o *redisOptions) { o.User, o.Password, o.TLS = "no", "no", tls }, check.ReplyAuth, "WRONGPASS", ""},
		"ping only":   {port, func(o *redisOptions) { o.User, o.Password = "probe", "probe-password" }, "", "PONG", check.ReplyAuth},
		"no select":   {port, func(o *redisOptions) { o.User, o.Password, o.Database = "probe", "probe-password", 1 }, check.ReplyAuth, "NOPERM", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := atRedis(t, "127.0.0.1", c.port, patience, func(o *redisOptions) {
				o.Info = true
				if c.change != nil {
					c.change(o)
				}
			})
			wantFailure(t, o, c.code)
			if said := redisCLI(t, o.Reproduce()); !strings.Contains(said, c.says) {
				t.Errorf("%s: %s", o.Reproduce(), said)
			}
			if c.code == "" && o.Facts.Get("reply") != "PONG" || o.Because["role"].Code != c.info {
				t.Errorf("%v because %v", o.Facts, o.Because)
			}
		})
	}
	o := atRedis(t, "127.0.0.1", port, patience, func(o *redisOptions) { o.Password = "s3cret" }, "info")
	info := parseRedisInfo([]byte(redisCLI(t, "REDISCLI_AUTH=s3cret redis-cli -p "+port+" info")))
	got, _ := o.Facts.Get("info").(map[string]string)
	for _, field := range []string{"redis_version", "role", "run_id", "tcp_port", "redis_mode", "os"} {
		if diff := cmp.Diff(info[field], got[field]); diff != "" || got[field] == "" {
			t.Errorf("%s: %s", field, diff)
		}
	}
	wantFacts(t, o, check.FactsOf(map[string]any{"role": "master", "version": info["redis_version"]}))
	// Redis waits for the end of what it takes for a line, as redis-cli waits then.
	o = atRedis(t, "127.0.0.1", port, brief, func(o *redisOptions) { o.TLS = tls })
	wantFailure(t, o, check.TLSHandshakeTimeout)
	// The other way round: plain text at the port for TLS.
	o = atRedis(t, "127.0.0.1", secure, patience, nil)
	if o.Failure.Code != check.ReplyMalformed && o.Failure.Code != check.ConnectReset {
		t.Errorf("plain at TLS: %v", o.Failure)
	}
}

// TestOracleRedisTurnsAway has a replica without its master, one client too
// many, and a server that demands a client certificate.
func TestOracleRedisTurnsAway(t *testing.T) {
	t.Parallel()
	port, _ := startRedis(t, "--replicaof", "127.0.0.1 "+freePort(t), "--replica-serve-stale-data", "no")
	wantFailure(t, atRedis(t, "127.0.0.1", port, patience, nil), check.ReplyError, "MASTERDOWN")

	port, _ = startRedis(t, "--replicaof", "127.0.0.1 "+freePort(t))
	o := atRedis(t, "127.0.0.1", port, patience, nil, "role")
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"reply": "PONG", "role": "slave"}))

	port, _ = startRedis(t, "--maxclients", "1")
	defer holdRedis(t, port).Close()
	wantFailure(t, atRedis(t, "127.0.0.1", port, patience, nil), check.ReplyError, "max number of clients")

	_, secure := startRedis(t, "--tls-auth-clients", "yes")
	o = untilRefused(func() check.Observation {
		return atRedis(t, "127.0.0.1", secure, patience, func(o *redisOptions) { o.TLS = &TLS{CA: caFile(t)} })
	})
	wantFailure(t, o, check.TLSClientCert)
	cert, key := loopbackKey(t)
	o = atRedis(t, "127.0.0.1", secure, patience, func(o *redisOptions) { o.TLS = &TLS{CA: caFile(t), Cert: cert, Key: key} })
	wantFailure(t, o, "")
}

// holdRedis is the one client that the server lets in. Others before it may
// still be leaving.
func holdRedis(t *testing.T, port string) net.Conn {
	t.Helper()
	for range 1000 {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		var said [7]byte
		_, _ = conn.Write([]byte(respCommand([]string{"PING"})))
		if _, err := io.ReadFull(conn, said[:]); err == nil && string(said[:]) == "+PONG\r\n" {
			return conn
		}
		conn.Close()
	}
	t.Fatal("the server lets nobody in")
	return nil
}
