package probes

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// enemies are peers that keep a client busy for as long as it lets them.
// The one that takes nothing does so until release is closed.
func enemies(release <-chan struct{}) map[string]func(net.Conn) {
	const slowly = 5 * time.Millisecond
	return map[string]func(net.Conn){
		"silence":        testnet.Silence,
		"takes nothing":  testnet.NeverRead(release),
		"bytes":          testnet.ReplyForever("", "x"),
		"lines":          testnet.ReplyForever("", "x\r\n"),
		"flood at once":  flood("x"),
		"lines at once":  flood("x\r\n"),
		"dribbled text":  testnet.Drip("hello\r\n", slowly),
		"dribbled zeros": testnet.Drip("\x00", slowly),
		"dribbled TLS":   testnet.Drip("\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03", slowly),
		"dribbled HTTP":  testnet.ReplyDrip("", "HTTP/1.1 100 Continue\r\n\r\n", slowly),
		"endless body":   testnet.ReplyDrip("HTTP/1.1 200 OK\r\n\r\n", "x", slowly),
		"endless chunks": testnet.ReplyDrip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", slowly),
		"warnings":       flood("\x15\x03\x03\x00\x02\x01\x5a"), // TLS alerts that end nothing
	}
}

// flood sends the text again and again without having been asked.
func flood(text string) func(net.Conn) {
	block := []byte(strings.Repeat(text, 1+4096/len(text)))
	return func(conn net.Conn) {
		for {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	}
}

// TestPromise1BoundedTime has every kind, in plain and over TLS, against every
// enemy.
func TestPromise1BoundedTime(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	for name, enemy := range enemies(release) {
		host, port := listen(t, enemy)
		addr := net.JoinHostPort(host, port)
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		plans := map[string]check.Plan{"https": buildHTTP(t, "https://"+addr, nil, "body")}
		for _, k := range Kinds() {
			if row := kindsUnderTest()[k.Name]; !row.portless {
				plans[k.Name] = built(t, k, row, addr)
			}
		}
		for kind, change := range map[string]check.Options{
			"tcp with tls":  &tcpOptions{Host: host, Port: number, TLS: &TLS{}, MaxBanner: defaultMaxBanner},
			"mysql":         &sqlOptions{Driver: sqlMySQL, Host: host, Port: number, User: "probe", Query: "SELECT 1"},
			"tls over smtp": &tlsOptions{Host: host, Port: number, StartTLS: "smtp"},
			"tls over ftp":  &tlsOptions{Host: host, Port: number, StartTLS: "ftp"},
			"tls over xmpp": &tlsOptions{Host: host, Port: number, StartTLS: "xmpp"},
			"dialogue": &tcpOptions{
				Host: host, Port: number, MaxBanner: defaultMaxBanner,
				Steps: steps(strings.Repeat("hello\r\n", 1<<20), "never", "", "never"),
			},
			"dns over tcp": func() check.Options {
				o := newDNSOptions()
				o.Name, o.Server, o.Transport = "web.test", addr, "tcp"
				return o
			}(),
		} {
			plan, err := change.Build(needs("banner"))
			if err != nil {
				t.Fatal(err)
			}
			plans[kind] = plan
		}
		for kind, plan := range plans {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				if o := promptly(t, plan.Probe, brief); o.Failure.Code.Local() {
					t.Errorf("our own fault: %v", o.Failure)
				}
			})
		}
	}
	t.Cleanup(func() { close(release) }) // before the servers wait for their handlers
}
