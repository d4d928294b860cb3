package probes

import (
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// listenUDP starts a server that lives as long as the test.
func listenUDP(t *testing.T, handler func([]byte, func([]byte))) (host, port string) {
	t.Helper()
	server, err := testnet.ListenUDP(handler)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, server)
	return split(t, server.Addr())
}

// observeUDP makes the steps at the address.
func observeUDP(t *testing.T, host, port string, d time.Duration, steps []turn, change ...func(*udpOptions)) check.Observation {
	t.Helper()
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	o := &udpOptions{Host: host, Port: number, MaxDatagram: defaultMaxDatagram, Steps: steps}
	for _, c := range change {
		c(o)
	}
	plan, err := o.Build(needs(answerHexFact))
	if err != nil {
		t.Fatal(err)
	}
	return plan.Probe.Observe(timeout(t, d))
}

func TestUDPDialogue(t *testing.T) {
	t.Parallel()
	host, port := listenUDP(t, func(b []byte, reply func([]byte)) {
		switch string(b) {
		case "hello":
			reply([]byte("welcome, you are number 7\n"))
		case "\x00\xff":
			reply([]byte("\xfe\x00"))
		}
	})
	talk := []turn{{Send: "hello", Expect: steps("", `number (?P<n>\d+)`)[0].Expect}, {SendHex: "00 FF", Expect: steps("", `(?s)^..$`)[0].Expect}}
	o := observeUDP(t, host, port, patience, talk)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{
		"dialogue": true, "answer": "\uFFFD\x00", answerHexFact: "fe00", "bytes": 2, "ip": "127.0.0.1", "family": 4,
	}))
	if got := o.Facts.Get("captures"); !cmp.Equal(got, map[string]string{"n": "7"}) {
		t.Errorf("captures %v", got)
	}
	if rtt, ok := o.Facts.Get("rtt").(time.Duration); !ok || rtt <= 0 || rtt > o.Latency {
		t.Errorf("rtt %v of %v", rtt, o.Latency)
	}
}

// TestUDPGoesWrong has each way in which no answer is the right one.
func TestUDPGoesWrong(t *testing.T) {
	t.Parallel()
	closed, closedPort := refused(t)
	answers := func(texts ...string) func([]byte, func([]byte)) {
		return func(_ []byte, reply func([]byte)) {
			for _, text := range texts {
				reply([]byte(text))
			}
		}
	}
	for name, c := range map[string]struct {
		handler func([]byte, func([]byte)) // nil: nothing listens
		want    check.Code
		because string // of the fact dialogue, when the code is ""
	}{
		"silence":        {answers(), check.ConnectTimeout, ""},
		"refused":        {nil, check.ConnectRefused, ""},
		"empty":          {answers(""), "", "step 1: got an empty datagram, want a match of pong"},
		"another answer": {answers("ping?"), "", `step 1: got "ping?", want a match of pong`},
		"too large":      {answers(strings.Repeat("x", 5000) + "pong"), "", "step 1: got more than 4KiB in one datagram"},
		"others first":   {answers("", "late", strings.Repeat("pong", 2000), "pong"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := closed, closedPort
			if c.handler != nil {
				host, port = listenUDP(t, c.handler)
			}
			limit := patience
			if c.want == check.ConnectTimeout || c.because != "" {
				limit = brief
			}
			o := inTime(limit, func(d time.Duration) check.Observation { return observeUDP(t, host, port, d, steps("ping", "pong")) },
				func(o *check.Observation) bool { return strings.Contains(o.Because["dialogue"].Message, c.because) })
			wantFailure(t, o, c.want)
			reason, want := o.Because["dialogue"], any(c.because == "")
			if c.want != "" {
				want = nil
			}
			if got := o.Facts.Get("dialogue"); got != want || !strings.Contains(reason.Message, c.because) {
				t.Errorf("%v, dialogue %v, want %v", reason, got, want)
			}
			if c.want == check.ConnectTimeout && (!strings.Contains(o.Failure.Message, "want a match of pong") || o.Facts.Get("answer") != nil) {
				t.Errorf("%v, answer %v", o.Failure, o.Facts.Get("answer"))
			}
		})
	}
}

// TestUDPEmptyIsAnAnswer expects an empty datagram.
func TestUDPEmptyIsAnAnswer(t *testing.T) {
	t.Parallel()
	host, port := listenUDP(t, func(_ []byte, reply func([]byte)) { reply(nil) })
	o := observeUDP(t, host, port, patience, steps("x", "^$"))
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"dialogue": true, "answer": "", "bytes": 0, answerHexFact: ""}))
}

// TestUDPSource sends from an address of this machine that is not the usual one.
func TestUDPSource(t *testing.T) {
	t.Parallel()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	came := make(chan string, 1)
	go func() {
		buf := make([]byte, 16)
		if n, from, err := server.ReadFrom(buf); err == nil {
			came <- from.String()
			_, _ = server.WriteTo(buf[:n], from)
		}
	}()
	host, port := split(t, server.LocalAddr().String())
	o := observeUDP(t, host, port, patience, steps("x", "x"), func(o *udpOptions) { o.Source = []string{"127.0.0.3"} })
	if runtime.GOOS != "linux" { // others have to give loopback more addresses first
		if o.Failure.Code != "" && !o.Failure.Code.Local() {
			t.Errorf("%v", o.Failure)
		}
		return
	}
	wantFailure(t, o, "")
	if from := <-came; !strings.HasPrefix(from, "127.0.0.3:") {
		t.Errorf("it came from %s", from)
	}
}

// TestUDPFlood floods the probe with answers that are none until its time is over.
func TestUDPFlood(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	host, port := listenUDP(t, func(_ []byte, reply func([]byte)) {
		for {
			select {
			case <-done:
				return
			default:
				reply([]byte("never that"))
			}
		}
	})
	t.Cleanup(func() { close(done) })
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := (&udpOptions{Host: host, Port: number, MaxDatagram: defaultMaxDatagram, Steps: steps("x", "^this")}).Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	o := patiently(t, plan.Probe, brief, "")
	wantFailure(t, o, "")
	if o.Facts.Get("dialogue") != false {
		t.Errorf("%+v", o)
	}
}

func TestUDPOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		target string
		want   string
	}{
		"no steps":      {"udp://127.0.0.1:9", "steps: needs a step with send and expect"},
		"no expect":     {"udp://127.0.0.1:9?send=x", "steps: needs a step with send and expect"},
		"no send":       {"udp://127.0.0.1:9?expect=x", "steps[0]: needs send"},
		"two sends":     {"udp://127.0.0.1:9?expect=x&send=a&send_hex=00", "steps[0]: give send or send_hex"},
		"odd hex":       {"udp://127.0.0.1:9?expect=x&send_hex=000", "steps[0].send_hex: "},
		"blank hex":     {"udp://127.0.0.1:9?expect=x&send_hex=%20", "steps[0].send_hex: "},
		"too long":      {"udp://127.0.0.1:9?expect=x&send=" + strings.Repeat("x", 65_508), "steps[0].send: 65508 bytes"},
		"bad regexp":    {"udp://127.0.0.1:9?send=x&expect=(", "expect: "},
		"unknown key":   {"udp://127.0.0.1:9?say=x", "not \"say\""},
		"twice":         {"udp://127.0.0.1:9?send=x&send=y", "takes send once"},
		"no port":       {"udp://127.0.0.1?send=x&expect=x", "needs a host and a port"},
		"a path":        {"udp://127.0.0.1:9/x?send=x&expect=x", "takes no user, path or fragment"},
		"port 0":        {"udp://127.0.0.1:0?send=x&expect=x", "port: "},
		"bad host":      {"udp://a%20b:9?send=x&expect=x", ""},
		"all is well":   {"udp://127.0.0.1:9?send=x&expect=x", "none"},
		"hex with gaps": {"udp://127.0.0.1:9?send_hex=00%20fF&expect=x", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &udpOptions{MaxDatagram: defaultMaxDatagram}
			err := o.SetTarget(c.target)
			if err == nil {
				_, err = o.Build(needs())
			}
			switch {
			case c.want == "none" && err != nil, c.want != "none" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	for _, size := range []check.Size{0, largestMaxDatagram + 1} {
		if _, err := (&udpOptions{Host: "h", Port: 9, MaxDatagram: size, Steps: steps("x", "x")}).Build(needs()); err == nil {
			t.Errorf("max_datagram %s passes", size)
		}
	}
}

func TestUDPReproduce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		step turn
		want string
	}{
		{turn{Send: "it's\r\n"}, `printf %s $'it\047s\r\n' | nc -u -w2 -4 192.0.2.1 9`},
		{turn{SendHex: "00ff"}, `echo 00ff | xxd -r -p | nc -u -w2 -4 192.0.2.1 9`},
	} {
		c.step.Expect = steps("", "x")[0].Expect
		o := &udpOptions{Host: "service.test", Port: 9, MaxDatagram: 1, Steps: []turn{c.step}, Route: Route{Address: "192.0.2.1", Family: "4"}}
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		p := plan.Probe.(*udpProbe)
		if got := p.reproduce(p.route.from()); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
		if plan.Target != net.JoinHostPort("service.test", "9") {
			t.Errorf("target %s", plan.Target)
		}
	}
}
