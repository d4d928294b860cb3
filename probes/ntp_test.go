package probes

import (
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/ntp"
)

// buildNTP returns the plan for a server.
func buildNTP(t *testing.T, host, port string) check.Plan {
	t.Helper()
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := (&ntpOptions{Host: host, Port: number}).Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// synchronised is a good server.
func synchronised() testnet.NTP {
	return testnet.NTP{Stratum: 2, Reference: "\xc0\x00\x02\x01", RootDelay: 20 * time.Millisecond, RootDispersion: 5 * time.Millisecond}
}

func TestNTP(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, time.Hour, -90 * time.Second, 30 * 365 * 24 * time.Hour, -40 * 365 * 24 * time.Hour} {
		server := synchronised()
		server.Ahead = ahead
		host, port := listenUDP(t, server.Serve)
		o := buildNTP(t, host, port).Probe.Observe(timeout(t, patience))
		wantFailure(t, o, "")
		wantFacts(t, o, check.FactsOf(map[string]any{
			"stratum": 2, "leap": "none", "kiss": "", "reference_id": "192.0.2.1", "version": 4, "mismatched": 0,
			"root.dispersion": 4989624 * time.Nanosecond, "root.delay": 19989013 * time.Nanosecond, // in steps of 1/65536 s
			"precision": 953 * time.Nanosecond,
		}))
		offset, _ := o.Facts.Get("offset").(time.Duration)
		rtt, _ := o.Facts.Get("rtt").(time.Duration)
		if off := max(offset-ahead, ahead-offset); off > rtt/2+time.Microsecond || rtt <= 0 || rtt > o.Latency {
			t.Errorf("offset %v, want %v; rtt %v of %v", offset, ahead, rtt, o.Latency)
		}
		if o.Facts.Get("off_by") != max(offset, -offset) {
			t.Errorf("off_by %v of %v", o.Facts.Get("off_by"), offset)
		}
	}
}

// TestNTPDefaults judges servers that tell no time, by what is most telling.
func TestNTPDefaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*testnet.NTP)
		fact   string // that explains it
		part   string
	}{
		"rate":           {func(s *testnet.NTP) { s.Stratum, s.Reference, s.Leap = 0, "RATE", 3 }, "kiss", "asked too often"},
		"deny":           {func(s *testnet.NTP) { s.Stratum, s.Reference = 0, "DENY" }, "kiss", "no access"},
		"init":           {func(s *testnet.NTP) { s.Stratum, s.Reference = 0, "INIT" }, "kiss", "no time yet"},
		"other":          {func(s *testnet.NTP) { s.Stratum, s.Reference = 0, "XYZ1" }, "kiss", "XYZ1"},
		"never set":      {func(s *testnet.NTP) { *s = testnet.NTP{Leap: 3} }, "leap", "not synchronised"},
		"alarm":          {func(s *testnet.NTP) { s.Leap = 3 }, "leap", "not synchronised"},
		"unprintable":    {func(s *testnet.NTP) { s.Stratum, s.Reference, s.Leap = 0, "\x01ATE", 3 }, "leap", "not synchronised"},
		"leap to insert": {func(s *testnet.NTP) { s.Leap = 1 }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := synchronised()
			c.change(&server)
			host, port := listenUDP(t, server.Serve)
			o := buildNTP(t, host, port).Probe.Observe(timeout(t, patience))
			wantFailure(t, o, "")
			first := ""
			for _, fact := range []string{"kiss", "leap"} { // the order of the defaults
				if _, explained := o.Because[fact]; explained && first == "" {
					first = fact
				}
			}
			if first != c.fact || !strings.Contains(o.Because[first].Message, c.part) {
				t.Errorf("%q %v", first, o.Because)
			}
			if server.Stratum == 0 && o.Facts.Get("offset") != nil {
				t.Errorf("an offset of no time: %v", o.Facts.Get("offset"))
			}
		})
	}
}

// TestNTPForged has datagrams that do not answer the request before the one that
// does, and alone.
func TestNTPForged(t *testing.T) {
	t.Parallel()
	forge := func(change func(b []byte) []byte) func([]byte, func([]byte)) {
		return func(request []byte, reply func([]byte)) {
			b := synchronised().Answer(request)
			reply(change(b))
		}
	}
	forgeries := map[string]struct {
		change func(b []byte) []byte
		part   string
	}{
		"short":         {func(b []byte) []byte { return b[:47] }, "too short, 47 bytes"},
		"empty":         {func([]byte) []byte { return nil }, "too short, 0 bytes"},
		"our own":       {func(b []byte) []byte { b[0] = 4<<3 | 3; return b }, "of mode 3"},
		"broadcast":     {func(b []byte) []byte { b[0] = 4<<3 | 5; return b }, "of mode 5"},
		"version 7":     {func(b []byte) []byte { b[0] = 7<<3 | 4; return b }, "of version 7"},
		"other origin":  {func(b []byte) []byte { b[31]++; return b }, "another request"},
		"forged kiss":   {func(b []byte) []byte { b[1] = 0; copy(b[12:], "DENY"); b[24]++; return b }, "another request"},
		"no time":       {func(b []byte) []byte { clear(b[40:48]); return b }, "without time stamps"},
		"back in time":  {func(b []byte) []byte { b[43]--; return b }, "sent before"},
		"garbage of 1K": {func([]byte) []byte { return make([]byte, 2000) }, "of mode 0"},
	}
	for name, c := range forgeries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forged := forge(c.change)
			host, port := listenUDP(t, forged)
			o := promptly(t, buildNTP(t, host, port).Probe, brief)
			wantFailure(t, o, check.ConnectTimeout, "passed over 1 datagrams", c.part)
			host, port = listenUDP(t, func(b []byte, reply func([]byte)) {
				forged(b, reply)
				synchronised().Serve(b, reply)
			})
			o = buildNTP(t, host, port).Probe.Observe(timeout(t, patience))
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"stratum": 2, "mismatched": 1}))
		})
	}
}

// TestNTPTellsNothing looks at the request: nothing of this machine's clock, and
// a number that is another each time.
func TestNTPTellsNothing(t *testing.T) {
	t.Parallel()
	requests := make(chan []byte, 2)
	host, port := listenUDP(t, func(b []byte, reply func([]byte)) {
		requests <- b
		synchronised().Serve(b, reply)
	})
	p := buildNTP(t, host, port).Probe
	var stamps []uint64
	for range 2 {
		wantFailure(t, p.Observe(timeout(t, patience)), "")
		b := <-requests
		stamp := binary.BigEndian.Uint64(b[40:])
		stamps = append(stamps, stamp)
		clear(b[40:])
		if want := append([]byte{0x23}, make([]byte, 47)...); string(b) != string(want) {
			t.Errorf("request % x", b)
		}
		if off := ntp.StampOf(time.Now()).Since(ntp.Stamp(stamp)); off < time.Hour && off > -time.Hour {
			t.Errorf("the time stamp is %v from the time", off)
		}
	}
	if stamps[0] == stamps[1] {
		t.Error("the same nonce twice")
	}
}

func TestNTPOptions(t *testing.T) {
	t.Parallel()
	wantTargets(t, map[string]string{
		"ntp://time.test":       "time.test:123",
		"ntp://[::1]:1123":      "[::1]:1123",
		"ntp://user@time.test":  "error: ",
		"ntp://time.test/x":     "error: ",
		"ntp://time.test?x=1":   "error: ",
		"ntp://":                "error: ",
		"ntp://time.test:0":     "error: ",
		"ntp://time.test:99999": "error: ",
	}, func() check.Options { return &ntpOptions{Port: 123} }, func(plan check.Plan) string { return plan.Target })
}

func FuzzNTP(f *testing.F) {
	request := ntp.Request(7)
	f.Add(synchronised().Answer(request[:]))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, wrong := ntp.Parse(b, 7)
		if wrong != "" {
			return
		}
		var o check.Observation
		reportNTP(&m, &o, time.Now(), time.Millisecond)
		if rtt, ok := o.Facts.Get("rtt").(time.Duration); ok && rtt < 0 {
			t.Errorf("rtt %v", rtt)
		}
		if d, ok := o.Facts.Get("root.distance").(time.Duration); ok && d < 0 {
			t.Errorf("root.distance %v", d)
		}
	})
}
