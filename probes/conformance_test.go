package probes

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/expect"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// conformance is what the suite must know of a kind.
type conformance struct {
	// target of the kind at host:port of loopback; nil when it takes none.
	target func(addr string) string
	// fill sets what a kind without targets must have, to go to the address.
	fill func(o check.Options, addr string)
	// own are facts that the options of fill bring along.
	own []check.Fact
	// dead is the code at a port where nothing listens; empty when the kind
	// has no ports.
	dead check.Code
	// portless kinds cannot be black-holed on loopback.
	portless bool
	// long makes a probe last, for the kinds that no server can hold.
	long func(check.Options)
}

// kindsUnderTest has a row for each kind; a kind without one fails the suite.
func kindsUnderTest() map[string]conformance {
	return map[string]conformance{
		"tcp":  {target: func(addr string) string { return "tcp://" + addr }, dead: check.ConnectRefused},
		"tls":  {target: func(addr string) string { return "tls://" + addr }, dead: check.ConnectRefused},
		"http": {target: func(addr string) string { return "http://" + addr + "/" }, dead: check.ConnectRefused},
		"dns":  {target: func(addr string) string { return "dns://" + addr + "/example.test?type=A" }, dead: check.ConnectRefused},
		"icmp": {
			target:   func(addr string) string { return "icmp://" + strings.Split(addr, ":")[0] },
			portless: true,
			long:     func(o check.Options) { setField(o, "Count", 1000) },
		},
		"exec": {
			fill:     func(o check.Options, _ string) { setField(o, "Command", []string{"sh", "-c", "echo hello"}) },
			portless: true,
			long:     func(o check.Options) { setField(o, "Command", []string{"sleep", "60"}) },
		},
		"grpc":      {target: func(addr string) string { return "grpc://" + addr + "/orders" }, dead: check.ConnectRefused},
		"websocket": {target: func(addr string) string { return "ws://" + addr + "/" }, dead: check.ConnectRefused},
		"ssh":       {target: func(addr string) string { return "ssh://" + addr }, dead: check.ConnectRefused},
		"udp":       {target: func(addr string) string { return "udp://" + addr + "?send=ping&expect=pong" }, dead: check.ConnectRefused},
		"ntp":       {target: func(addr string) string { return "ntp://" + addr }, dead: check.ConnectRefused},
		"redis":     {target: func(addr string) string { return "redis://" + addr }, dead: check.ConnectRefused},
		"sql":       {target: func(addr string) string { return "postgres://probe@" + addr }, dead: check.ConnectRefused},
		"steps": {
			fill: func(o check.Options, addr string) {
				first, second := stepTo("first", "http://"+addr+"/"), stepTo("second", "")
				first.Capture = map[string]string{"server": "headers.server"}
				second.HTTP.URL = "http://" + addr + "/?" + check.Defer("steps.first.status")
				setField(o, "Requests", []stepRequest{first, second})
				setField(o, "Cleanup", []stepRequest{stepTo("", "http://"+addr+"/")})
			},
			own:  slices.Concat(factsOfStep("first"), factsOfStep("second")),
			dead: check.ConnectRefused,
		},
		"toy": {target: func(addr string) string { return "toy://" + addr }, dead: check.ConnectRefused},
	}
}

// setField sets a field by its Go name; the suite knows kinds by no more.
func setField(o check.Options, name string, value any) {
	reflect.ValueOf(o).Elem().FieldByName(name).Set(reflect.ValueOf(value))
}

// eachKind runs the test for each registered kind.
func eachKind(t *testing.T, test func(*testing.T, check.Kind, conformance)) {
	t.Helper()
	rows := kindsUnderTest()
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			row, ok := rows[k.Name]
			if !ok {
				t.Fatalf("the kind %s has no row in kindsUnderTest", k.Name)
			}
			k.Facts = slices.Concat(k.Facts, row.own)
			test(t, k, row)
		})
	}
}

// built returns a plan of the kind for the address that observes everything.
func built(t *testing.T, k check.Kind, row conformance, addr string, change ...func(check.Options)) check.Plan {
	t.Helper()
	o := k.New()
	if row.fill != nil {
		row.fill(o, addr)
	} else if err := o.(check.Targeter).SetTarget(row.target(addr)); err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		if c != nil {
			c(o)
		}
	}
	plan, err := o.Build(check.Setup{
		Needs: func(string) bool { return true }, Getenv: func(string) string { return "" }, Version: "test", Compile: expect.Compile,
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// blackHole takes TCP connections and UDP packets on one port, and answers
// none. Reached gets a value, if it has room, when somebody came.
type blackHole struct {
	addr    string
	reached chan struct{}
}

func newBlackHole(t *testing.T) blackHole {
	t.Helper()
	h := blackHole{reached: make(chan struct{}, 1)}
	came := func() {
		select {
		case h.reached <- struct{}{}:
		default:
		}
	}
	for range 20 { // a port that is free for both
		server, err := testnet.ListenTCP(func(conn net.Conn) {
			came()
			testnet.Silence(conn)
		})
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", server.Addr())
		if err != nil {
			server.Close()
			continue
		}
		h.addr = server.Addr()
		var reader sync.WaitGroup
		reader.Go(func() {
			for buf := make([]byte, 2048); ; came() {
				if _, _, err := packets.ReadFrom(buf); err != nil {
					return
				}
			}
		})
		t.Cleanup(func() {
			packets.Close()
			reader.Wait()
			server.Close()
		})
		return h
	}
	t.Fatal("no port is free for both TCP and UDP")
	return h
}

// checkObservation holds for every observation of every kind.
func checkObservation(t *testing.T, k check.Kind, o check.Observation) {
	t.Helper()
	declared := make(map[string]check.Fact)
	for _, f := range k.AllFacts() {
		declared[f.Name] = f
	}
	for name, v := range o.Facts.All() {
		if f, ok := declared[name]; !ok || !f.Type.Accepts(v) {
			t.Errorf("fact %s = %v (%T) is not declared so", name, v, v)
		}
	}
	for name := range o.Because {
		if _, ok := declared[name]; !ok {
			t.Errorf("the fact %s is explained but not declared", name)
		}
	}
	for _, p := range o.Phases {
		if p.Duration < 0 || p.Duration > o.Latency || !slices.Contains(check.PhaseNames(), p.Name) {
			t.Errorf("phase %v of %v", p, o.Latency)
		}
	}
	if o.Latency <= 0 {
		t.Errorf("latency %v", o.Latency)
	}
	if code := o.Failure.Code; code != "" && !knownCode(code) {
		t.Errorf("code %s is not in the list", code)
	}
	if o.Failure.Code != "" && o.Failure.Message == "" {
		t.Errorf("%s has no message", o.Failure.Code)
	}
}

func knownCode(code check.Code) bool {
	return strings.HasPrefix(string(code), "expect.") ||
		slices.ContainsFunc(check.Codes(), func(d check.CodeDoc) bool { return d.Code == code })
}

func TestConformDeclaration(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		if k.Doc == "" {
			t.Error("no doc")
		}
		if _, takes := k.New().(check.Targeter); takes != (len(k.Schemes) > 0) || takes != (row.fill == nil) {
			t.Errorf("it takes targets: %v, and has the schemes %v", takes, k.Schemes)
		}
		seen := make(map[string]bool)
		for _, f := range k.AllFacts() {
			if seen[f.Name] {
				t.Errorf("the fact %s is declared twice", f.Name)
			}
			seen[f.Name] = true
			if f.Doc == "" || strings.HasSuffix(f.Doc, ".") || f.Name != strings.ToLower(f.Name) {
				t.Errorf("the fact %s: name or doc %q is not in style", f.Name, f.Doc)
			}
			if f.Code != "" && !knownCode(f.Code) {
				t.Errorf("the fact %s has the unknown code %s", f.Name, f.Code)
			}
		}
		if k.New() == k.New() {
			t.Error("New returns shared options")
		}
	})
}

func TestConformBlackHole(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		if row.portless {
			return
		}
		t.Parallel()
		plan := built(t, k, row, newBlackHole(t).addr)
		o := promptly(t, plan.Probe, brief)
		if o.Failure.Code.Local() {
			t.Errorf("our own fault: %v", o.Failure)
		}
		checkObservation(t, k, o)
	})
}

func TestConformDeadPort(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		if row.dead == "" {
			return
		}
		t.Parallel()
		host, port := refused(t)
		o := built(t, k, row, net.JoinHostPort(host, port)).Probe.Observe(timeout(t, patience))
		if o.Failure.Code != row.dead {
			t.Errorf("%v, want %s", o.Failure, row.dead)
		}
		checkObservation(t, k, o)
	})
}

func TestConformCancelWhileRunning(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		t.Parallel()
		hole := newBlackHole(t)
		plan := built(t, k, row, hole.addr, row.long)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if row.portless {
			time.AfterFunc(brief, cancel)
		} else {
			go func() {
				<-hole.reached
				cancel()
			}()
		}
		start := time.Now()
		o := plan.Probe.Observe(ctx)
		if took := time.Since(start); took > patience/2 {
			t.Errorf("took %v", took)
		}
		// A kind that may not measure here at all says so first.
		if o.Failure.Code != check.LocalShutdown && !(row.portless && o.Failure.Code == check.LocalPermission) {
			t.Errorf("got %v", o.Failure)
		}
		checkObservation(t, k, o)
	})
}

func TestConformCancelledBefore(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		o := built(t, k, row, newBlackHole(t).addr).Probe.Observe(ctx)
		if !o.Failure.Code.Local() {
			t.Errorf("got %v", o.Failure)
		}
	})
}

func TestConformConcurrentObserve(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		t.Parallel()
		plan := built(t, k, row, newBlackHole(t).addr)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { checkObservation(t, k, plan.Probe.Observe(timeout(t, brief))) })
		}
		all.Wait()
	})
}

// probes7 is how many probes promise 7 names.
const probes7 = 10_000

// TestPromise7NothingIsLeaked runs alone, because it counts the process's
// descriptors and goroutines.
func TestPromise7NothingIsLeaked(t *testing.T) {
	each := probes7 / len(Kinds())
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		host, port := refused(t)
		hole := newBlackHole(t)
		plans := []check.Plan{built(t, k, row, hole.addr)}
		if !row.portless {
			talker, talkerPort := listen(t, testnet.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
			plans = append(plans, built(t, k, row, net.JoinHostPort(host, port)), built(t, k, row, net.JoinHostPort(talker, talkerPort)))
		}
		observe := func(n int) {
			const atOnce = 8
			var workers sync.WaitGroup
			for w := range atOnce {
				workers.Go(func() {
					for i := w; i < n; i += atOnce {
						ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
						plans[i%len(plans)].Probe.Observe(ctx)
						cancel()
					}
				})
			}
			workers.Wait()
		}
		observe(50) // what is made once, such as a shared socket
		before, ignore := descriptors(t), goleak.IgnoreCurrent()
		observe(each)
		noneLeft(t, ignore)                            // waits for the servers' handlers, too
		if after := descriptors(t); after > before+8 { // a few are the runtime's own
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

// descriptors counts the open descriptors where the system tells.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0 // Windows: the goroutines alone must do
	}
	return len(entries)
}

// TestPromise2BoundedMemory floods probes and looks at what they hold on to. It
// runs alone, because it measures the process's heap.
func TestPromise2BoundedMemory(t *testing.T) {
	const flying, each = 16, 2 << 20
	floods := map[string]string{
		"bytes":  strings.Repeat("x", 32<<10),
		"lines":  strings.Repeat("x\r\n", 8<<10),
		"header": "HTTP/1.1 200 OK\r\n" + strings.Repeat("x-y: z\r\n", 4<<10),
		"body":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("4\r\nbody\r\n", 4<<10),
	}
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		if row.portless {
			return
		}
		for name, flood := range floods {
			host, port := listen(t, func(conn net.Conn) {
				for text := []byte(flood); ; {
					if _, err := conn.Write(text); err != nil {
						return
					}
				}
			})
			plan := built(t, k, row, net.JoinHostPort(host, port))
			if held := heldBy(t, plan.Probe, flying); held > flying*each {
				t.Errorf("%s: %d probes hold %d KiB", name, flying, held>>10)
			}
		}
	})
}

// heldBy returns the most bytes that the probe holds on to in so many runs at
// once.
func heldBy(t *testing.T, probe check.Probe, flying int) uint64 {
	t.Helper()
	base := liveHeap()
	var all sync.WaitGroup
	for range flying {
		all.Go(func() { probe.Observe(timeout(t, brief)) })
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	most := base
	for {
		most = max(most, liveHeap())
		select {
		case <-ended:
			return most - base
		default:
		}
	}
}

// liveHeap returns the bytes in use after a collection.
func liveHeap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// TestConformRedaction puts a secret into every field that takes one and looks
// for it in the result.
func TestConformRedaction(t *testing.T) {
	t.Parallel()
	const canary = "canary-8c1f2e"
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		host, port := listen(t, testnet.Say("HTTP/1.1 200 OK\r\nX-Echo: "+canary+"\r\nContent-Length: 13\r\n\r\n"+canary))
		var secrets []string
		plant := func(o check.Options) { secrets = plantSecrets(reflect.ValueOf(o).Elem(), canary) }
		plan := built(t, k, row, net.JoinHostPort(host, port), plant)
		o := plan.Probe.Observe(timeout(t, brief))
		c := check.Check{
			ID: k.Name, Kind: k.Name, Target: plan.Target, FactList: k.AllFacts(),
			Mask: check.NewMask(append(plan.Secrets, secrets...)...),
		}
		text, err := json.Marshal(c.Result(&o, check.Judgement{Verdict: check.Down, Reason: o.Failure}))
		if err != nil {
			t.Fatal(err)
		}
		if len(secrets) > 0 && strings.Contains(string(text), canary) {
			t.Errorf("the canary is in %s", text)
		}
	})
}

// plantSecrets sets every string tagged secret and returns the secrets.
func plantSecrets(v reflect.Value, canary string) []string {
	var secrets []string
	for i := range v.NumField() {
		field, f := v.Type().Field(i), v.Field(i)
		switch {
		case field.Tag.Get("secret") == "true" && f.Kind() == reflect.String:
			secret := fmt.Sprintf("%s-%d", canary, i)
			f.SetString(secret)
			return append(secrets, canary) // one at a time: some exclude each other
		case f.Kind() == reflect.Struct && (field.IsExported() || field.Anonymous):
			secrets = append(secrets, plantSecrets(f, canary)...)
		}
	}
	return secrets
}
