package probes

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// keepsPassword has a server want the password itself: it gets it when it is the
// one that it says it is, or when nobody asks.
func keepsPassword(t *testing.T, observe func(host, port string, options *TLS) check.Observation, serve func(conn net.Conn, config *tls.Config, heard func([]byte))) {
	t.Helper()
	cert, err := authority(t).Issue(testnet.CertOptions{Names: []string{"db.test"}})
	if err != nil {
		t.Fatal(err)
	}
	ca := caFile(t)
	for name, c := range map[string]struct {
		tls  *TLS
		code check.Code
		gets bool
	}{
		"verified":  {&TLS{CA: ca, ServerName: "db.test"}, "", true},
		"insecure":  {&TLS{Insecure: true}, "", true},
		"stranger":  {&TLS{ServerName: "db.test"}, check.TLSUntrusted, false},
		"misnamed":  {&TLS{CA: ca, ServerName: "other.test"}, check.TLSHostname, false},
		"plaintext": {nil, check.ReplyAuth, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got atomic.Bool
			host, port := listen(t, func(conn net.Conn) {
				serve(conn, &tls.Config{Certificates: []tls.Certificate{cert}}, func(said []byte) {
					got.Store(bytes.Contains(said, []byte("s3cret")))
				})
			})
			wantFailure(t, observe(host, port, c.tls), c.code)
			if got.Load() != c.gets {
				t.Errorf("the server has the password: %v", got.Load())
			}
		})
	}
}

func TestRedisKeepsPassword(t *testing.T) {
	t.Parallel()
	keepsPassword(t, func(host, port string, options *TLS) check.Observation {
		o := new(redisOptions)
		if err := o.SetTarget("redis://:s3cret@" + net.JoinHostPort(host, port)); err != nil {
			t.Fatal(err)
		}
		o.TLS = options
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		return promptly(t, plan.Probe, patience)
	}, func(conn net.Conn, config *tls.Config, heard func([]byte)) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		if !isTLSRecord(first[0]) {
			_, _ = io.WriteString(conn, "-ERR invalid password\r\n") // plain text was chosen, and holds the password
			drain(conn)
			return
		}
		secure := tls.Server(&again{Conn: conn, first: first}, config)
		defer secure.Close()
		said := make([]byte, 1<<10)
		n, err := secure.Read(said)
		if err != nil {
			return
		}
		heard(said[:n])
		_, _ = io.WriteString(secure, "+OK\r\n+PONG\r\n")
		drain(secure)
	})
}

// again is a connection whose first bytes are read once more.
type again struct {
	net.Conn
	first []byte
}

func (a *again) Read(b []byte) (int, error) {
	if len(a.first) > 0 {
		n := copy(b, a.first)
		a.first = a.first[n:]
		return n, nil
	}
	return a.Conn.Read(b)
}

func TestMySQLKeepsPassword(t *testing.T) {
	t.Parallel()
	keepsPassword(t, func(host, port string, options *TLS) check.Observation {
		return atSQL(t, sqlMySQL, host, port, patience, func(o *sqlOptions) { o.TLS = options })
	}, func(conn net.Conn, config *tls.Config, heard func([]byte)) {
		_, _ = io.WriteString(conn, myPacket(0, myHello("caching_sha2_password")))
		packet, number := readPacket(conn), byte(1)
		if len(packet) == 4+32 { // SSLRequest
			secure := tls.Server(conn, config)
			defer secure.Close()
			conn, number = secure, 2
			readPacket(conn)
		}
		_, _ = io.WriteString(conn, myPacket(number+1, "\x01\x04")) // full authentication
		heard(readPacket(conn))
		_, _ = io.WriteString(conn, myPacket(number+3, myReady))
		readPacket(conn)
		_, _ = io.WriteString(conn, myRows(1)+myEnd(1))
		drain(conn)
	})
}

func TestSQLKeepsPassword(t *testing.T) {
	t.Parallel()
	keepsPassword(t, func(host, port string, options *TLS) check.Observation {
		return atSQL(t, sqlPostgres, host, port, patience, func(o *sqlOptions) { o.TLS = options })
	}, func(conn net.Conn, config *tls.Config, heard func([]byte)) {
		first := make([]byte, 8)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		if first[3] == 8 { // SSLRequest
			_, _ = io.WriteString(conn, "S")
			secure := tls.Server(conn, config)
			defer secure.Close()
			conn = secure
		}
		_, _ = io.WriteString(conn, testnet.PostgresMessage('R', "\x00\x00\x00\x03")) // AuthenticationCleartextPassword
		said := make([]byte, 1<<10)
		n := 0
		for !bytes.Contains(said[:n], []byte("s3cret\x00")) {
			more, err := conn.Read(said[n:])
			if n += more; err != nil {
				return
			}
		}
		heard(said[:n])
		_, _ = io.WriteString(conn, pgWelcome()+pgRows(1)+testnet.PostgresMessage('C', "SELECT 1\x00")+testnet.PostgresMessage('Z', "I"))
		drain(conn)
	})
}
