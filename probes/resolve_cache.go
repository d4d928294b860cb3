package probes

import (
	"context"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// The values of the option dns.
const (
	dnsFresh  = "fresh"
	dnsCached = "cached"
)

// Bounds of what is kept of answers: names, and addresses of all together (which
// take 24 bytes each). No answer is kept for longer than a day, whatever its
// records say, and none that a family has no address for longer than RFC 2308
// section 5 finds sensible.
const (
	maxCachedNames = 4096
	maxCachedAddrs = 64 << 10
	maxCachedFor   = 24 * time.Hour
	maxDeniedFor   = 3 * time.Hour
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
	files    stamps // of the system that the answer was found with
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

// put keeps an answer for its shelf life.
func (c *answerCache) put(key answerKey, addrs []netip.Addr, found string, life *shelfLife) {
	at, until := life.span()
	if !c.now().Before(until) || len(addrs) > maxCachedAddrs {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
	c.makeRoom(len(addrs))
	c.kept[key] = cachedAnswer{addrs: addrs, found: found, at: at, until: until}
	c.addrs += len(addrs)
}

func (c *answerCache) drop(key answerKey) {
	c.addrs -= len(c.kept[key].addrs)
	delete(c.kept, key)
}

// makeRoom drops what has expired, and where that is not enough an eighth of
// all, whatever comes first: to ask once more does no harm, but to look for room
// each time would.
func (c *answerCache) makeRoom(addrs int) {
	room := func(names, all int) bool { return len(c.kept) < names && c.addrs+addrs <= all }
	if room(maxCachedNames, maxCachedAddrs) {
		return
	}
	now := c.now()
	for key, a := range c.kept {
		if !now.Before(a.until) {
			c.drop(key)
		}
	}
	for key := range c.kept {
		if room(maxCachedNames-maxCachedNames/8, maxCachedAddrs-maxCachedAddrs/8) {
			return
		}
		c.drop(key)
	}
}

// shelfLife is how long the result of a look-up holds: as long as each of the
// answers that it is made of, which come at the same time for both families.
// The nil value is that of a result which nobody keeps.
type shelfLife struct {
	now func() time.Time

	mu        sync.Mutex
	at, until time.Time // when the first answer came, and when the first expires; zero: none came
	ended     bool
}

// begin returns the shelf life of a look-up that begins.
func (c *answerCache) begin() *shelfLife { return &shelfLife{now: c.now} }

// note takes an answer into account: the times to live of its records, and where
// it is negative that of the denial, less the time that HTTP caches have kept it
// (RFC 8484 section 5.1).
func (s *shelfLife) note(said *exchange, positive bool) {
	if s == nil {
		return
	}
	ttl := timeToLive(said.answer, positive)
	if age, ok := said.age(); ok {
		ttl -= age
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.now()
	s.hold(at, at.Add(ttl))
}

// join takes into account what is known of a part of the result.
func (s *shelfLife) join(part *shelfLife) {
	if s == nil {
		return
	}
	if at, until := part.span(); !at.IsZero() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hold(at, until)
	}
}

// hold takes into account that a part holds from at until then. The caller holds mu.
func (s *shelfLife) hold(at, until time.Time) {
	if s.at.IsZero() || at.Before(s.at) {
		s.at = at
	}
	if s.until.IsZero() || until.Before(s.until) {
		s.until = until
	}
}

// end tells that a part of the result is not known: it will not be kept.
func (s *shelfLife) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// span returns from when until when the result holds, zero when it does not.
func (s *shelfLife) span() (at, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return time.Time{}, time.Time{}
	}
	return s.at, s.until
}

// timeToLive returns how long an answer holds: the shortest time of its records.
// That there is no such record holds as long as the zone's SOA says, and not at
// all without it (RFC 2308 section 5).
func timeToLive(msg dnsmsg.Message, positive bool) time.Duration {
	shortest, denial := maxCachedFor, time.Duration(0)
	_ = msg.Records(func(s dnsmsg.Section, rr dns.RR) error { // read once already
		soa, ok := rr.(*dns.SOA)
		switch {
		case s == dnsmsg.Answer:
			shortest = min(shortest, seconds(rr.Header().Ttl))
		case s == dnsmsg.Authority && ok:
			denial = min(seconds(soa.Hdr.Ttl), seconds(soa.Minttl), maxDeniedFor)
		}
		return nil
	})
	if !positive {
		return min(shortest, denial)
	}
	return shortest
}

// seconds reads a time to live; one with the first bit set is 0 (RFC 2181
// section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > math.MaxInt32 {
		ttl = 0
	}
	return time.Duration(ttl) * time.Second
}

// part is a look-up of the addresses of one family, with a life of its own.
func (l *lookup) part() *lookup {
	part := *l
	if l.life != nil {
		part.life = l.route.cache.begin()
	}
	return &part
}

// keep keeps the IPv4 addresses of one absolute name where those of IPv6 are not
// known: there is no need to ask for them again.
func (l *lookup) keep(name string, addrs []netip.Addr) {
	if l.life != nil {
		l.route.cache.put(l.keyOfPart(name), addrs, name, l.life)
	}
}

// kept returns the IPv4 addresses of one absolute name, which may have been kept.
func (l *lookup) kept(ctx context.Context, config *resolvConf, name string) ([]netip.Addr, *check.Reason) {
	if l.life != nil {
		if a, _, ok := l.route.cache.get(l.keyOfPart(name)); ok {
			l.life.hold(a.at, a.until) // nobody else has it yet
			return a.addrs, nil
		}
	}
	return l.records(ctx, config, name, dns.TypeA)
}

// keyOfPart is that of a check which wants nothing but IPv4.
func (l *lookup) keyOfPart(name string) answerKey {
	key := l.key
	key.name, key.family, key.search = name, 4, false
	return key
}

// keyOf is the look-up's in the cache.
func (l *lookup) keyOf(name string) answerKey {
	key := answerKey{name: name, family: l.route.family, search: l.route.search, system: l.system}
	server := l.route.resolver
	if server != nil {
		key.resolver = server.transport + "://" + server.String()
	}
	if server == nil || l.route.search {
		key.files = l.system.stamps()
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
