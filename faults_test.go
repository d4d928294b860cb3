package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes"
)

// faultCases are the faults that `sonde playground --fault` starts, and what
// sonde says to each; docs/hostile.md tells of the cases. Those that end at the
// timeout get a short one, the others more time than they can need.
var faultCases = []struct {
	name  string
	says  string // verdict and code
	hangs bool   // ends at the timeout
}{
	// A. Connections
	{"closed-port", "down connect.refused", false},
	{"black-hole", "down connect.timeout", true},
	{"silence", "down http.header_timeout", true},
	{"empty-reply", "down http.truncated", false},
	{"reset", "down connect.reset", false},
	{"reset-in-body", "down http.truncated", false},
	{"short-body", "down http.truncated", false},
	{"short-chunk", "down http.truncated", false},
	{"zero-window", "down http.header_timeout", true},
	{"throttle", "down http.body_timeout", true},
	{"endless-banner", "down expect.dialogue", false},
	{"wrong-banner", "down expect.dialogue", true},

	// B. TLS
	{"no-handshake", "down tls.handshake_timeout", true},
	{"plaintext", "down tls.plaintext", false},
	{"handshake-trickle", "down tls.handshake_timeout", true},
	{"expired", "down tls.expired", false},
	{"not-yet-valid", "down tls.not_yet_valid", false},
	{"expires-soon", "degraded expect.cert.expires_in", false},
	{"wrong-host", "down tls.hostname", false},
	{"name-only", "down tls.hostname", false},
	{"self-signed", "down tls.self_signed", false},
	{"untrusted", "down tls.untrusted", false},
	{"incomplete-chain", "down tls.incomplete_chain", false},
	{"revoked", "down expect.cert.ocsp", false},
	{"no-staple", "degraded expect.cert.must_staple", false},
	{"many-names", "up", false},
	{"long-chain", "up", false},
	{"huge-key", "down tls.alert", false},
	{"old-tls", "down tls.version", false},
	{"client-cert", "down tls.client_cert", false},
	{"key-updates", "down tls.alert", false},
	{"new-key", "degraded expect.cert.pin", false},

	// C. HTTP
	{"header-trickle", "down http.header_timeout", true},
	{"header-flood", "down http.header_too_large", false},
	{"tiny-headers", "down http.header_too_large", false},
	{"interim-flood", "down http.malformed", false},
	{"two-lengths", "down http.malformed", false},
	{"smuggling", "down http.malformed", false},
	{"no-http", "down http.malformed", false},
	{"status-9999", "down http.malformed", false},
	{"redirect-loop", "down http.redirect_loop", false},
	{"slow-redirects", "down http.header_timeout", true},
	{"redirect-to-file", "down http.malformed", false},
	{"huge-location", "down http.malformed", false},
	{"error-page", "down expect.body", false},
	{"escapes", "down http.malformed", false},
	{"absurd-date", "up", false},
	{"endless-body", "down http.body_too_large", false},
	{"endless-chunks", "down http.body_too_large", false},
	{"body-stall", "down http.body_timeout", true},
	{"gzip-bomb", "down http.body_too_large", false},
	{"brotli-bomb", "down http.body_too_large", false},
	{"zstd-bomb", "down http.body_too_large", false},
	{"nested-codings", "down http.decode", false},
	{"corrupt-gzip", "down http.decode", false},
	{"chunk-overflow", "down http.malformed", false},
	{"chunk-extensions", "down http.malformed", false},
	{"endless-trailers", "down http.malformed", false},
	{"deep-json", "down expect.json", false},
	{"socks-silence", "down connect.timeout", true},
	{"socks-garbage", "down connect.unreachable", false},
	{"socks-refusal", "down connect.unreachable", false},
	{"proxy-407", "down http.status", false},
	{"proxy-silence", "down connect.timeout", true},
	{"proxy-endless", "down http.header_too_large", false},
	{"token-refused", "down http.status", false},
	{"digest-garbage", "down http.status", false},
	{"cookie-loop", "down http.redirect_limit", false},
	{"token-silence", "unknown local.auth", true},

	// D. HTTP/2, HTTP/3, WebSocket and gRPC
	{"h3-silence", "down connect.timeout", true},
	{"h3-closed", "down connect.refused", false},
	{"h3-garbage", "down tls.plaintext", true},
	{"h3-version", "down tls.version", false},
	{"h3-reset", "down http.stream_reset", false},
	{"h2-silence", "down http.header_timeout", true},
	{"h2-garbage", "down http.malformed", false},
	{"h2-announced-frame", "down http.header_timeout", true},
	{"h2-continuations", "down http.header_too_large", false},
	{"hpack-bomb", "down http.header_too_large", false},
	{"h2-pings", "down http.malformed", false},
	{"h2-empty-data", "down http.malformed", false},
	{"refused-stream", "down http.stream_reset", false},
	{"goaway", "down http.goaway", false},
	{"h2-reset-in-body", "down http.stream_reset", false},
	{"alpn-lies", "down http.malformed", false},
	{"ws-declined", "down http.status", false},
	{"ws-bad-frame", "down http.malformed", false},
	{"ws-huge-message", "down http.body_too_large", false},
	{"ws-pings", "down http.malformed", false},
	{"ws-silence", "down expect.dialogue", true},
	{"grpc-no-status", "down http.malformed", false},
	{"grpc-huge-message", "down http.body_too_large", false},
	{"grpc-not-serving", "down expect.status", false},

	// Databases
	{"redis-silence", "down reply.timeout", true},
	{"redis-endless-line", "down reply.malformed", false},
	{"redis-huge-text", "down reply.malformed", false},
	{"redis-other", "down reply.malformed", false},
	{"redis-loading", "down reply.error", false},
	{"redis-noauth", "down reply.auth", false},
	{"sql-silence", "down reply.timeout", true},
	{"sql-other", "down reply.malformed", false},
	{"sql-huge-message", "down reply.malformed", false},
	{"sql-endless-notices", "down reply.malformed", false},
	{"sql-plain-password", "down reply.auth", false},
	{"sql-refused", "down reply.auth", false},

	// E. DNS
	{"nxdomain", "down dns.nxdomain", false},
	{"servfail", "down dns.servfail", false},
	{"refused", "down dns.refused", false},
	{"dns-silence", "down dns.timeout", true},
	{"dns-truncated", "down dns.truncated", true},
	{"dns-spoof", "down dns.timeout", true},
	{"dns-malformed", "down dns.malformed", false},
	{"dns-pointer-loop", "down dns.malformed", false},
	{"cname-loop", "down dns.malformed", false},
	{"nodata", "down dns.nodata", false},
	{"dns-sinkhole", "degraded expect.answers", false},
	{"doh-web-page", "down dns.malformed", false},
	{"dnssec-bogus", "down dns.bogus", false},

	// Datagrams, SSH, time
	{"udp-silence", "down connect.timeout", true},
	{"udp-closed", "down connect.refused", false},
	{"udp-huge", "down expect.dialogue", true},
	{"udp-stranger", "down connect.timeout", true},
	{"ssh-silence", "down ssh.timeout", true},
	{"ssh-stall", "down ssh.timeout", true},
	{"ssh-endless-text", "down ssh.malformed", false},
	{"ssh-other", "down ssh.malformed", true},
	{"ssh-ignore", "down ssh.malformed", false},
	{"ssh-bad-exchange", "down ssh.malformed", false},
	{"ssh-nothing-common", "down ssh.negotiation", false},
	{"ntp-forged", "down connect.timeout", true},
	{"ntp-silence", "down connect.timeout", true},
	{"ntp-kiss", "down expect.kiss", false},
	{"ntp-unsynchronised", "down expect.leap", false},
	{"ntp-stratum-16", "down expect.stratum", false},
}

const (
	// heapPerProbe is what one probe in flight may hold, bytes: promise 2.
	heapPerProbe = 2 << 20
	// atOnce is how many probes of one target are in flight.
	atOnce = 6
	// hangsFor is the timeout of those that end at it: within it, all of them have
	// to come as far as the target makes them wait, at once and on a busy machine.
	hangsFor = "4s"
	// grace is how long after its timeout a probe may end: promise 1.
	grace = 250 * time.Millisecond
	// late is when a probe is taken for hung, however busy the machine is.
	late = time.Minute
	// breath is between two looks at the heap, each of which takes all processors.
	breath = 5 * time.Millisecond
)

// faultyTarget is a running target with its check.
type faultyTarget struct {
	name, says string
	hangs      bool
	check      *check.Check
}

// TestFaults holds sonde to the promises with every fault: the verdict, the
// time, the memory, and that nothing is left running. It does not run in
// parallel, for the heap is the process's.
func TestFaults(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	targets, stop := startFaults(t)
	defer stop()
	var hanging []*faultyTarget
	for _, target := range targets {
		if target.hangs {
			hanging = append(hanging, target)
			continue
		}
		t.Run(target.name, func(t *testing.T) { holdFaults(t, []*faultyTarget{target}, late) })
	}
	t.Run("in time", func(t *testing.T) { endInTime(t, hanging) })
	t.Run("hanging", func(t *testing.T) { holdFaults(t, hanging, late) })
}

// startFaults starts all targets and makes their checks.
func startFaults(t *testing.T) (targets []*faultyTarget, stop func()) {
	t.Helper()
	ca, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := testnet.WriteFaultFiles(dir, ca); err != nil {
		t.Fatal(err)
	}
	known := make(map[string]testnet.Fault)
	for _, f := range testnet.Faults() {
		if _, twice := known[f.Name]; twice {
			t.Errorf("%s stands twice", f.Name)
		}
		known[f.Name] = f
	}
	var closers []func() error
	for _, c := range faultCases {
		fault, ok := known[c.name]
		if !ok {
			t.Errorf("there is no fault %s", c.name)
			continue
		}
		delete(known, c.name)
		running, err := fault.Start(ca)
		if err != nil {
			t.Fatal(err)
		}
		closers = append(closers, running.Close)
		timeout := "60s"
		if c.hangs {
			timeout = hangsFor
		}
		targets = append(targets, &faultyTarget{c.name, c.says, c.hangs, loadFault(t, running.Check(dir, timeout))})
	}
	for name := range known {
		t.Errorf("the fault %s is not in the table", name)
	}
	return targets, func() {
		for _, c := range closers {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
	}
}

func loadFault(t *testing.T, entry string) *check.Check {
	t.Helper()
	path := filepath.Join(t.TempDir(), "checks.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nchecks:\n"+entry+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	loader := config.Loader{Kinds: probes.Kinds(), Version: "test"}
	set, err := loader.Load(context.Background(), path)
	if err != nil {
		t.Fatalf("%s: %v", entry, err)
	}
	return set.Checks[0]
}

// holdFaults probes the targets and looks at the heap meanwhile. What is allocated
// while the collector marks is live to it, garbage or not, so a measurement can
// be too high, but not one after another.
func holdFaults(t *testing.T, targets []*faultyTarget, limit time.Duration) {
	t.Helper()
	each := int64(heapPerProbe + 1)
	for tries := 0; each > heapPerProbe && tries < 3; tries++ {
		each = probeFaults(t, targets, limit)
	}
	if each > heapPerProbe {
		t.Errorf("%d KiB of heap per probe, promised are %d", each>>10, heapPerProbe>>10)
	}
	for _, target := range targets {
		if err := target.check.Close(); err != nil {
			t.Errorf("%s: %v", target.name, err)
		}
	}
}

// probeFaults probes each of the targets several times at once and returns the
// most live heap per probe.
func probeFaults(t *testing.T, targets []*faultyTarget, limit time.Duration) (each int64) {
	before := liveHeap()
	var probing sync.WaitGroup
	for _, target := range targets {
		for range atOnce {
			probing.Go(func() { probeFault(t, target, limit) })
		}
	}
	ended := make(chan struct{})
	go func() { probing.Wait(); close(ended) }()
	most := before
	for running := true; running; {
		most = max(most, liveHeap())
		select {
		case <-ended:
			running = false
		case <-time.After(breath):
		}
	}
	return int64(most-before) / int64(len(targets)*atOnce)
}

func probeFault(t *testing.T, target *faultyTarget, limit time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), target.check.Timeout)
	defer cancel()
	began := time.Now()
	o := target.check.Probe.Observe(ctx)
	if took := time.Since(began); took > limit {
		t.Errorf("%s: took %v", target.name, took)
	}
	judgement := target.check.Judge(&o)
	says := strings.TrimSpace(judgement.Verdict.String() + " " + string(judgement.Reason.Code))
	if says != target.says {
		t.Errorf("%s: sonde says %s (%s), want %s", target.name, says, judgement.Reason.Message, target.says)
	}
	if message := judgement.Reason.Message; len(message) > 1000 || bytes.ContainsAny([]byte(message), "\x1b\x07\x00") {
		t.Errorf("%s: message %q", target.name, message)
	}
}

// endInTime holds probes to promise 1, all at once. One that is late gets more
// chances, for it may have been the machine; one that is late each time breaks it.
func endInTime(t *testing.T, targets []*faultyTarget) {
	for round := 1; len(targets) > 0; round++ {
		by := make([]time.Duration, len(targets))
		var probing sync.WaitGroup
		for i, target := range targets {
			probing.Go(func() { by[i] = lateness(t, target) })
		}
		probing.Wait()
		var again []*faultyTarget
		for i, target := range targets {
			if by[i] <= grace {
				continue
			}
			if again = append(again, target); round == 5 {
				t.Errorf("%s: ends %v after its timeout, each time", target.name, by[i])
			}
		}
		if round == 5 {
			return
		}
		targets = again
	}
}

// lateness returns how long after its timeout a probe ends, by the time at which
// this machine gets round to it.
func lateness(t *testing.T, target *faultyTarget) time.Duration {
	ctx, cancel := context.WithTimeout(t.Context(), target.check.Timeout)
	expired := make(chan time.Time, 1)
	context.AfterFunc(ctx, func() { expired <- time.Now() })
	target.check.Probe.Observe(ctx)
	ended := time.Now()
	cancel()
	return ended.Sub(<-expired)
}

// liveHeap collects garbage and returns what is left, bytes.
func liveHeap() uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
