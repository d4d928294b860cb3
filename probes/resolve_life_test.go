package probes

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// says answers with records by type; those of the type SOA deny.
func says(t *testing.T, records map[uint16][]string) testnet.DNSHandler {
	t.Helper()
	return func(q *testnet.DNSQuery) {
		if q.Msg == nil { // a stranger's
			return
		}
		m := q.Answer()
		for _, text := range records[q.Msg.Question[0].Qtype] {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Error(err)
				return
			}
			if rr.Header().Rrtype == dns.TypeSOA {
				m.Ns = append(m.Ns, rr)
			} else {
				m.Answer = append(m.Answer, rr)
			}
		}
		q.ReplyMsg(m)
	}
}

// TestDNSCachedFor keeps an answer as long as all that it is made of holds: what
// is there, and that something is not.
func TestDNSCachedFor(t *testing.T) {
	t.Parallel()
	const v4, v6 = "web.test. 300 IN A 192.0.2.1", "web.test. 200 IN AAAA 2001:db8::1"
	soa := func(ttl, minimum int) string {
		return fmt.Sprintf("test. %d IN SOA ns.test. admin.test. 1 2 3 4 %d", ttl, minimum)
	}
	for name, tt := range map[string]struct {
		v4, v6 []string
		want   time.Duration
	}{
		"both families":            {[]string{v4}, []string{v6}, 200 * time.Second},
		"denied for less":          {[]string{v4}, []string{soa(900, 20)}, 20 * time.Second},
		"denied with a brief SOA":  {[]string{v4}, []string{soa(10, 20)}, 10 * time.Second},
		"denied for longer":        {[]string{v4}, []string{soa(900, 900)}, 300 * time.Second},
		"denied by nobody":         {[]string{v4}, nil, 0},
		"denied for no time":       {[]string{v4}, []string{soa(900, 0)}, 0},
		"denied behind an alias":   {[]string{v4}, []string{"web.test. 5 IN CNAME b.test.", soa(900, 900)}, 5 * time.Second},
		"IPv4 denied":              {[]string{soa(900, 30)}, []string{v6}, 30 * time.Second},
		"denied for a week":        {[]string{"web.test. 604800 IN A 192.0.2.1"}, []string{soa(604800, 604800)}, maxDeniedFor},
		"there for 68 years":       {[]string{"web.test. 2147483647 IN A 192.0.2.1"}, []string{"web.test. 2147483647 IN AAAA 2001:db8::1"}, maxCachedFor},
		"with the first bit":       {[]string{"web.test. 2147483648 IN A 192.0.2.1"}, []string{v6}, 0},
		"denied with the bit":      {[]string{v4}, []string{soa(900, 1<<31)}, 0},
		"one of two for a little":  {[]string{v4, "web.test. 1 IN A 192.0.2.2"}, []string{v6}, time.Second},
		"no time":                  {[]string{"web.test. 0 IN A 192.0.2.1"}, []string{v6}, 0},
		"the whole answer matters": {[]string{v4}, []string{v6, soa(1, 1)}, 200 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := dnsServer(t, says(t, map[uint16][]string{dns.TypeA: tt.v4, dns.TypeAAAA: tt.v6}))
			now := time.Now()
			cache := newAnswerCache(func() time.Time { return now })
			route := &router{resolver: mustServer(t, server.Addr()), cache: cache}
			resolveUntilKept(t, route, "web.test", tt.want > 0)
			got := time.Duration(0)
			for key, a := range cache.kept {
				if key.family == 0 {
					got = a.until.Sub(now)
				}
			}
			if got != tt.want {
				t.Errorf("kept for %v, want %v", got, tt.want)
			}
		})
	}
}

// resolveUntilKept resolves until the whole answer is kept, if it is to be: one of which
// a family was late is not.
func resolveUntilKept(t *testing.T, route *router, name string, kept bool) {
	t.Helper()
	for ctx := timeout(t, patience); ; {
		if _, reason := begin().resolve(ctx, route, name); reason != nil {
			t.Fatal(reason)
		}
		whole := false
		for key := range route.cache.kept {
			whole = whole || key.family == route.family
		}
		if !kept || whole {
			return
		}
	}
}

// TestDNSCachedLate has IPv6 addresses that come late, or not at all: the others are
// not asked for again, and hold no longer for that.
func TestDNSCachedLate(t *testing.T) {
	t.Parallel()
	var v4, v6 atomic.Int32
	var late atomic.Bool
	late.Store(true)
	answer := says(t, map[uint16][]string{dns.TypeA: {"web.test. 300 IN A 192.0.2.1"}, dns.TypeAAAA: {"web.test. 900 IN AAAA 2001:db8::1"}})
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		switch {
		case q.Msg == nil:
			return
		case q.Msg.Question[0].Qtype == dns.TypeA:
			v4.Add(1)
		default:
			if v6.Add(1); late.Load() {
				return
			}
		}
		answer(q)
	})
	now := time.Now()
	route := &router{resolver: mustServer(t, server.Addr()), cache: newAnswerCache(func() time.Time { return now })}
	look := func(want int, asked4 int32) {
		t.Helper()
		j := begin()
		addrs, reason := j.resolve(timeout(t, patience), route, "web.test")
		if reason != nil || len(addrs) != want || j.obs.Facts.Get("dns.cached") != false || v4.Load() != asked4 {
			t.Fatalf("%v %v %v, asked %d times for IPv4", addrs, reason, j.obs.Facts, v4.Load())
		}
	}
	look(1, 1)
	now = now.Add(299 * time.Second)
	look(1, 1)
	if v6.Load() < 2 {
		t.Error("the addresses of IPv6 were not asked for again")
	}
	now = now.Add(time.Second)
	look(1, 2)
	now = now.Add(100 * time.Second)
	late.Store(false)
	resolveUntilKept(t, route, "web.test", true)
	if n := v4.Load(); n != 2 {
		t.Errorf("asked %d times for IPv4", n)
	}
	for key, a := range route.cache.kept {
		if got := a.until.Sub(now); key.family == 0 && (len(a.addrs) != 2 || got != 200*time.Second || now.Sub(a.at) != 100*time.Second) {
			t.Errorf("%v for %v", a, got)
		}
	}
}

// TestDNSCachedSearch keeps what the second search domain has as long as the
// first has it not.
func TestDNSCachedSearch(t *testing.T) {
	t.Parallel()
	there := zone(t, "web.b.test. 300 IN A 192.0.2.1")
	server := dnsServer(t, there.Serve)
	now := time.Now()
	cache := newAnswerCache(func() time.Time { return now })
	route := &router{family: 4, cache: cache, system: testSystem(t, nameserverLine(server)+"search a.test b.test\n", "")}
	if _, reason := begin().resolve(timeout(t, patience), route, "web"); reason != nil {
		t.Fatal(reason)
	}
	for key, a := range cache.kept {
		if got := a.until.Sub(now); key.name != "web" || a.found != "web.b.test." || got != 60*time.Second { // as the SOA says
			t.Errorf("%s is %s for %v", key.name, a.found, got)
		}
	}
	if len(cache.kept) != 1 {
		t.Errorf("%d are kept", len(cache.kept))
	}
}

// TestDNSCachedFiles forgets an answer when the files that it was found with
// change.
func TestDNSCachedFiles(t *testing.T) {
	t.Parallel()
	first, second := dnsServer(t, zone(t, "web.test. 300 IN A 192.0.2.1").Serve), dnsServer(t, zone(t, "web.test. 300 IN A 192.0.2.2").Serve)
	system := testSystem(t, nameserverLine(first), "")
	route := &router{family: 4, cache: newAnswerCache(time.Now), system: system}
	elsewhere := &router{family: 4, cache: route.cache, system: system, resolver: mustServer(t, first.Addr())}
	look := func(route *router, want string, cached bool) {
		t.Helper()
		j := begin()
		addrs, reason := j.resolve(timeout(t, patience), route, "web.test")
		if reason != nil || len(addrs) != 1 || addrs[0].String() != want || j.obs.Facts.Get("dns.cached") != cached {
			t.Fatalf("%v %v %v, want %s", addrs, reason, j.obs.Facts, want)
		}
	}
	look(route, "192.0.2.1", false)
	look(route, "192.0.2.1", true)
	look(elsewhere, "192.0.2.1", false)
	write(t, system.confPath, "# changed\n"+nameserverLine(second))
	look(route, "192.0.2.2", false)
	look(route, "192.0.2.2", true)
	write(t, system.hostsPath, "192.0.2.3 web.test\n")
	look(route, "192.0.2.3", false)
	look(elsewhere, "192.0.2.1", true) // which looks into neither
	write(t, system.hostsPath, "")
	look(route, "192.0.2.2", false)
}

// TestDNSCachedRecovery finds a name as soon as it is there again.
func TestDNSCachedRecovery(t *testing.T) {
	t.Parallel()
	var back atomic.Bool
	there := zone(t, "web.test. 300 IN A 192.0.2.1")
	for name, gone := range map[string]testnet.DNSHandler{"NXDOMAIN": zone(t).Serve, "NODATA": zone(t, "web.test. 300 IN TXT x").Serve, "SERVFAIL": zone(t).Fail("web.test.", 2).Serve} {
		t.Run(name, func(t *testing.T) {
			back.Store(false)
			server := dnsServer(t, func(q *testnet.DNSQuery) {
				if back.Load() {
					there.Serve(q)
				} else {
					gone(q)
				}
			})
			route := &router{cache: newAnswerCache(time.Now), resolver: mustServer(t, server.Addr())}
			if _, reason := begin().resolve(timeout(t, patience), route, "web.test"); reason == nil {
				t.Fatal("the name is there")
			}
			back.Store(true)
			if addrs, reason := begin().resolve(timeout(t, patience), route, "web.test"); reason != nil || len(addrs) != 1 {
				t.Errorf("%v %v", addrs, reason)
			}
		})
	}
}

// TestDNSCachedAtOnce looks up many names from many goroutines.
func TestDNSCachedAtOnce(t *testing.T) {
	t.Parallel()
	var records []string
	for i := range 8 {
		records = append(records, fmt.Sprintf("n%d.test. 300 IN A 192.0.2.1", i), fmt.Sprintf("n%d.test. 300 IN AAAA 2001:db8::1", i))
	}
	server := dnsServer(t, zone(t, records...).Serve)
	route := &router{cache: newAnswerCache(time.Now), resolver: mustServer(t, server.Addr())}
	ctx := timeout(t, patience)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			if addrs, reason := begin().resolve(ctx, route, fmt.Sprintf("n%d.test", i%8)); reason != nil || len(addrs) == 0 {
				t.Errorf("%d: %v %v", i, addrs, reason)
			}
		})
	}
	all.Wait()
	if n := len(route.cache.kept); n > 2*8 { // some without IPv6, which was late
		t.Errorf("%d names are kept", n)
	}
}

// TestDNSAge reads the header Age.
func TestDNSAge(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "45": 45 * time.Second, "": -1, "x": -1, "-5": -1, "+5": -1, "4.5": -1,
		"2147483647": (1<<31 - 1) * time.Second, "2147483648": (1<<31 - 1) * time.Second, "99999999999999999999999": (1<<31 - 1) * time.Second,
	} {
		x := exchange{http: &httpHead{fields: []field{{"age", text}}}}
		got, ok := x.age()
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("Age: %s is %v, want %v", text, got, want)
		}
	}
	if _, ok := new(exchange).age(); ok {
		t.Error("an answer over UDP has an age")
	}
}
