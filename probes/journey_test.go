package probes

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// patience is the timeout of probes that are to succeed or fail by themselves. It
// only tells a slow one from one that hangs: beside many others, with the race
// detector, a second's work has been seen to take half a minute.
const patience = time.Minute

// brief is the timeout of probes that are to run into it.
const brief = 150 * time.Millisecond

// hung is when a probe that had a brief timeout is taken for hung, however busy
// the machine is.
const hung = patience / 2

// promptly observes with a timeout that runs out. Promise 1 is that the probe
// ends no later than 250 ms after it; here it gets some slack, and a probe that
// is later gets more chances, for it may have been the machine. One that is late
// each time, as long as anybody has the patience, breaks the promise.
func promptly(t *testing.T, probe check.Probe, limit time.Duration) check.Observation {
	t.Helper()
	for begin := time.Now(); ; {
		start := time.Now()
		o := probe.Observe(timeout(t, limit))
		took := time.Since(start)
		if took <= 4*(limit+250*time.Millisecond) {
			return o
		}
		if time.Since(begin) > patience || took > limit+hung {
			t.Errorf("took %v with a timeout of %v: %v", took, limit, o.Failure)
			return o
		}
	}
}

// inTime observes with a timeout that is to run out, but not before the probe got
// as far as its case wants. How long that takes is up to the machine: a probe that
// is not there yet gets four times as long, as long as anybody has the patience.
func inTime(limit time.Duration, observe func(time.Duration) check.Observation, there func(*check.Observation) bool) check.Observation {
	for {
		o := observe(limit)
		if limit *= 4; limit > patience || there(&o) {
			return o
		}
	}
}

// endsAs is where a probe is to be when its time is over: at a failure with the
// code and the parts. Another one is no reason to wait, unless it is a timeout of
// something that comes before.
func endsAs(code check.Code, parts ...string) func(*check.Observation) bool {
	return func(o *check.Observation) bool {
		if !strings.HasSuffix(string(o.Failure.Code), "timeout") {
			return true
		}
		missing := func(part string) bool { return !strings.Contains(o.Failure.Message, part) }
		return o.Failure.Code == code && !slices.ContainsFunc(parts, missing)
	}
}

// patiently is inTime for a probe that is prompt once its time is over.
func patiently(t *testing.T, probe check.Probe, limit time.Duration, code check.Code, parts ...string) check.Observation {
	t.Helper()
	return inTime(limit, func(d time.Duration) check.Observation { return promptly(t, probe, d) }, endsAs(code, parts...))
}

// untilRefused observes until the server's refusal of a client certificate is
// heard. In TLS 1.3 it comes when the handshake is over, and a probe waits for it
// only so long; a busy server may be later than that, but not time after time. It
// may even close with what it did not read, which resets the connection.
func untilRefused(observe func() check.Observation) check.Observation {
	for attempt := 1; ; attempt++ {
		o := observe()
		if late := o.Failure.IsZero() || o.Failure.Code == check.ConnectReset; !late || attempt == 10 {
			return o
		}
	}
}

// noneLeft waits until no goroutine is left but those of before. goleak alone waits
// for less than half a second, in which a busy machine does not get to all of them.
func noneLeft(t *testing.T, before goleak.Option) {
	t.Helper()
	for start := time.Now(); ; {
		err := goleak.Find(before)
		if err == nil {
			return
		}
		if time.Since(start) > patience {
			t.Error(err)
			return
		}
	}
}

// testCA is one authority for all tests.
var testCA = sync.OnceValues(testnet.NewCA)

func authority(t *testing.T) *testnet.CA {
	t.Helper()
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// caFile returns a file with the test authority's root.
func caFile(t *testing.T) string {
	t.Helper()
	return tempFile(t, "ca.pem", authority(t).PEM())
}

func tempFile(t *testing.T, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serverConfig returns a TLS configuration with a certificate as asked for.
func serverConfig(t *testing.T, o testnet.CertOptions) *tls.Config {
	t.Helper()
	cert, err := authority(t).Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

func closeLater(t *testing.T, c interface{ Close() error }) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// listen serves until the test ends and returns host and port.
func listen(t *testing.T, handler func(net.Conn)) (host, port string) {
	t.Helper()
	server, err := testnet.ListenTCP(handler)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, server)
	return split(t, server.Addr())
}

func listenTLS(t *testing.T, cfg *tls.Config, handler func(net.Conn)) (host, port string) {
	t.Helper()
	server, err := testnet.ListenTLS(cfg, handler)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, server)
	return split(t, server.Addr())
}

// refused returns an address that refuses connections and datagrams.
func refused(t *testing.T) (host, port string) {
	t.Helper()
	r, err := testnet.Refuse()
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, r)
	return split(t, r.Addr())
}

func split(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

func timeout(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func code(r *check.Reason) check.Code {
	if r == nil {
		return ""
	}
	return r.Code
}

func TestConnectRecordsPhaseAndFacts(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Silence)
	j := begin()
	conn, reason := j.connect(timeout(t, patience), &router{}, host, port)
	if reason != nil {
		t.Fatal(reason)
	}
	conn.Close()
	o := j.end()
	if o.Facts.Get("ip") != "127.0.0.1" || o.Facts.Get("family") != 4 {
		t.Errorf("facts %v", o.Facts)
	}
	if _, ok := o.Phases.Get(check.PhaseResolve); ok {
		t.Error("phase resolve for an IP address")
	}
	if d, _ := o.Phases.Get(check.PhaseConnect); d <= 0 || d > o.Latency {
		t.Errorf("phase connect %v of %v", d, o.Latency)
	}
}

func TestA1RefusedConnection(t *testing.T) {
	t.Parallel()
	host, port := refused(t)
	conn, reason := begin().connect(timeout(t, patience), &router{}, host, port)
	if conn != nil || code(reason) != check.ConnectRefused {
		t.Errorf("got %v", reason)
	}
}

func TestConnectCancelled(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Silence)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, reason := begin().connect(ctx, &router{}, host, port); code(reason) != check.LocalShutdown {
		t.Errorf("got %v", reason)
	}
}

func TestCancelInterruptsARead(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Silence)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, reason := begin().connect(ctx, &router{}, host, port)
	if reason != nil {
		t.Fatal(reason)
	}
	defer conn.Close()
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := conn.Read(make([]byte, 1))
	if got := cause(err, check.ConnectTimeout); got.Code != check.LocalShutdown {
		t.Errorf("got %v", got)
	}
}
