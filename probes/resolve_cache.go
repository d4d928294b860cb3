package probes

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
)

// The values of the option dns.
const (
	dnsFresh  = "fresh"
	dnsCached = "cached"
)

// Bounds of what is kept of answers: names, and addresses of all together (which
// take 24 bytes each). No answer is kept for longer than a day, whatever its
// records say.
const (
	maxCachedNames = 4096
	maxCachedAddrs = 64 << 10
	maxCachedFor   = 24 * time.Hour
)

// answerCache keeps the addresses of names for the time that their records
// grant. Failures are not kept: whoever cannot resolve a name asks again.
type answerCache struct {
	now func() time.Time

	mu    sync.Mutex
	kept  map[answerKey]cachedAnswer
	addrs int // of all that are kept
}

// answerKey is what an answer depends on.
type answerKey struct {
	name     string
	resolver string // empty: the system's
	family   uint8
	search   bool
	system   *system
}

// cachedAnswer is what was learnt of a name.
type cachedAnswer struct {
	addrs []netip.Addr // never changed
	found string       // the absolute name that has them
	at    time.Time
	until time.Time
}

// sharedAnswers are those of all checks that want dns: cached.
var sharedAnswers = newAnswerCache(time.Now)

func newAnswerCache(now func() time.Time) *answerCache {
	return &answerCache{now: now, kept: make(map[answerKey]cachedAnswer)}
}

// get returns an answer that still holds, and its age.
func (c *answerCache) get(key answerKey) (cachedAnswer, time.Duration, bool) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.kept[key]
	switch {
	case !ok:
		return cachedAnswer{}, 0, false
	case !now.Before(a.until):
		c.drop(key)
		return cachedAnswer{}, 0, false
	}
	return a, now.Sub(a.at), true
}

// put keeps an answer for ttl.
func (c *answerCache) put(key answerKey, addrs []netip.Addr, found string, ttl time.Duration) {
	if ttl <= 0 || len(addrs) > maxCachedAddrs {
		return
	}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
	c.makeRoom(now, len(addrs))
	c.kept[key] = cachedAnswer{addrs: addrs, found: found, at: now, until: now.Add(min(ttl, maxCachedFor))}
	c.addrs += len(addrs)
}

func (c *answerCache) drop(key answerKey) {
	c.addrs -= len(c.kept[key].addrs)
	delete(c.kept, key)
}

// makeRoom drops what has expired, and where that is not enough whatever comes
// first: to ask once more does no harm.
func (c *answerCache) makeRoom(now time.Time, addrs int) {
	full := func() bool { return len(c.kept) >= maxCachedNames || c.addrs+addrs > maxCachedAddrs }
	if !full() {
		return
	}
	for key, a := range c.kept {
		if !now.Before(a.until) {
			c.drop(key)
		}
	}
	for key := range c.kept {
		if !full() {
			return
		}
		c.drop(key)
	}
}

// shelf life of the answers to one look-up, noted by the questions for both
// families at the same time.
type shelfLife struct {
	ttl     atomic.Uint64 // the shortest, in seconds, plus one; 0: none is known
	partial atomic.Bool   // a family is not known
}

// note takes the records that an answer is made of.
func (s *shelfLife) note(msg message) {
	shortest := uint32(math.MaxInt32)
	_ = msg.records(func(sec section, rr dns.RR) error { // read once already
		if ttl := rr.Header().Ttl; sec == sectionAnswer {
			if ttl > math.MaxInt32 { // RFC 2181 section 8
				ttl = 0
			}
			shortest = min(shortest, ttl)
		}
		return nil
	})
	for {
		known := s.ttl.Load()
		if known != 0 && known <= uint64(shortest)+1 || s.ttl.CompareAndSwap(known, uint64(shortest)+1) {
			return
		}
	}
}

// keep returns for how long the answers may be kept.
func (s *shelfLife) keep() time.Duration {
	ttl := s.ttl.Load()
	if ttl == 0 || s.partial.Load() {
		return 0
	}
	return time.Duration(ttl-1) * time.Second
}

// key is the look-up's in the cache.
func (l *lookup) key(name string) answerKey {
	key := answerKey{name: name, family: l.route.family, search: l.route.search, system: l.system}
	if server := l.route.resolver; server != nil {
		key.resolver = server.transport + "://" + server.String()
	}
	return key
}

// setAge records where the addresses come from.
func (j *journey) setAge(cached bool, age time.Duration) {
	j.obs.Set("dns.cached", cached)
	j.obs.Set("dns.age", age)
}

// resolveFacts declares what resolving observes beside resolved_name.
func resolveFacts() []check.Fact {
	return []check.Fact{
		{Name: "dns.cached", Type: check.Bool, Doc: "whether the addresses come from an answer to an earlier run; only with dns: cached", Option: "dns: cached"},
		{Name: "dns.age", Type: check.Duration, Doc: "time since that answer came, 0s for one of this run; only with dns: cached", Option: "dns: cached"},
	}
}
