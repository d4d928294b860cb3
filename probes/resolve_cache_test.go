package probes

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// countingZone counts the questions that a zone is asked.
func countingZone(t *testing.T, asked *atomic.Int32, records ...string) *testnet.DNSServer {
	t.Helper()
	z := zone(t, records...)
	return dnsServer(t, func(q *testnet.DNSQuery) {
		asked.Add(1)
		z.Serve(q)
	})
}

// TestDNSCached resolves as often as the TTL demands, and says how old an answer
// is.
func TestDNSCached(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := countingZone(t, &asked, "web.test. 30 IN A 192.0.2.1", "www.test. 5 IN CNAME web.test.", "none.test. 0 IN A 192.0.2.2")
	now := time.Now()
	cache := newAnswerCache(func() time.Time { return now })
	route, err := (&Route{Family: "4", Resolver: server.Addr(), DNS: dnsCached}).build()
	if err != nil || route.cache != sharedAnswers {
		t.Fatal(err)
	}
	route.cache = cache
	look := func(host string) check.Observation {
		t.Helper()
		j := begin()
		addrs, reason := j.resolve(timeout(t, patience), route, host)
		if reason != nil || len(addrs) != 1 {
			t.Fatal(addrs, reason)
		}
		return j.obs
	}
	for _, step := range []struct {
		host   string
		wait   time.Duration
		cached bool
		age    time.Duration
		asked  int32
	}{
		{"web.test", 0, false, 0, 1},
		{"web.test", 29 * time.Second, true, 29 * time.Second, 1},
		{"web.test", time.Second, false, 0, 2},
		{"www.test", 0, false, 0, 3}, // the alias lasts for 5 s
		{"www.test", 4 * time.Second, true, 4 * time.Second, 3},
		{"www.test", time.Second, false, 0, 4},
		{"none.test", 0, false, 0, 5},
		{"none.test", 0, false, 0, 6},
	} {
		now = now.Add(step.wait)
		o := look(step.host)
		wantFacts(t, o, check.FactsOf(map[string]any{"dns.cached": step.cached, "dns.age": step.age}))
		_, resolved := o.Phases.Get(check.PhaseResolve)
		if resolved == step.cached || asked.Load() != step.asked {
			t.Errorf("%+v: phase %v, asked %d times", step, resolved, asked.Load())
		}
	}
	// Another resolver, family or a fresh check is another matter.
	fresh := *route
	fresh.cache = nil
	j := begin()
	if _, reason := j.resolve(timeout(t, patience), &fresh, "web.test"); reason != nil || asked.Load() != 7 || len(j.obs.Facts) != 0 {
		t.Error(reason, asked.Load(), j.obs.Facts)
	}
	other := countingZone(t, &asked, "web.test. 30 IN A 192.0.2.1")
	elsewhere := *route
	elsewhere.resolver, _ = parseServer(other.Addr())
	j = begin()
	if _, reason := j.resolve(timeout(t, patience), &elsewhere, "web.test"); reason != nil || asked.Load() != 8 {
		t.Error(reason, asked.Load())
	}
}

// TestDNSCachedPartial keeps no answer of which a family is missing by mishap,
// and none that failed.
func TestDNSCachedPartial(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	z := zone(t, "web.test. 30 IN A 192.0.2.1", "four.test. 30 IN A 192.0.2.1")
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		asked.Add(1)
		if strings.HasPrefix(q.Msg.Question[0].Name, "web.") && q.Msg.Question[0].Qtype == 28 {
			m := q.Answer()
			m.Rcode = 2 // SERVFAIL
			q.ReplyMsg(m)
			return
		}
		z.Serve(q)
	})
	route, err := (&Route{Resolver: server.Addr(), DNS: dnsCached}).build()
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"web.test": 0, "four.test": 1, "missing.test": 0} {
		route.cache = newAnswerCache(time.Now)
		if want > 0 {
			resolveUntilKept(t, route, host, true)
		} else {
			_, _ = begin().resolve(timeout(t, patience), route, host)
		}
		got := 0
		for key := range route.cache.kept {
			if key.name == host {
				got++
			}
		}
		if got != want {
			t.Errorf("%s is kept %d times, want %d", host, got, want)
		}
	}
}

// TestDNSCacheBounded never keeps more than it may.
func TestDNSCacheBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newAnswerCache(func() time.Time { return now })
	addrs := make([]netip.Addr, maxAddresses)
	for i := range 3 * maxCachedNames {
		c.put(answerKey{name: fmt.Sprint(i)}, addrs[:1+i%maxAddresses], "", lasting(c, time.Hour))
		if len(c.kept) > maxCachedNames || c.addrs > maxCachedAddrs {
			t.Fatalf("%d names with %d addresses", len(c.kept), c.addrs)
		}
	}
	sum := 0
	for _, a := range c.kept {
		sum += len(a.addrs)
	}
	if diff := cmp.Diff(sum, c.addrs); diff != "" {
		t.Error(diff)
	}
	now = now.Add(2 * time.Hour)
	for i := range 3 * maxCachedNames {
		if _, _, ok := c.get(answerKey{name: fmt.Sprint(i)}); ok {
			t.Fatalf("%d has not expired", i)
		}
	}
	if c.addrs != 0 || len(c.kept) != 0 {
		t.Errorf("%d addresses of %d names are left", c.addrs, len(c.kept))
	}
}

// lasting is the shelf life of an answer that holds for a time.
func lasting(c *answerCache, ttl time.Duration) *shelfLife {
	life := c.begin()
	life.at, life.until = c.now(), c.now().Add(ttl)
	return life
}
