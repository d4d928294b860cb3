package probes

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"runtime"
	"sync"
	"time"
)

// How long and for how many chains it is remembered that they were trusted.
const (
	trustedFor = 5 * time.Minute
	mostChains = 16 << 10
)

// trustedChains remembers for the whole process.
var trustedChains chainCache

// chainCache remembers which certificates were found to lead to a trusted root,
// for verifying the same signatures again and again is most of the work of
// looking at a certificate. Only success is remembered, and not longer than the
// chain is valid.
type chainCache struct {
	mu    sync.Mutex
	known map[chainKey]trust
}

// chainKey is what a verification depends on besides the time: the certificates
// byte by byte, and the roots (nil: the system's, which are read once).
type chainKey struct {
	roots *x509.CertPool
	certs [sha256.Size]byte
}

type trust struct {
	since time.Time // when it was verified, by the wall and the monotonic clock
	end   time.Time // when the chain that lasts longest expires
}

// holds reports whether verifying again at now would come to the same. A wall
// clock that was set back does not do: it may show a time before the
// certificates' own.
func (t trust) holds(now time.Time) bool {
	return !now.Round(0).Before(t.since.Round(0)) && now.Sub(t.since) < trustedFor && !now.After(t.end)
}

// rereadable reports whether the roots are those of a system that may change
// them, or its policy, while a process runs. There nothing is remembered.
func rereadable(roots *x509.CertPool) bool {
	return roots == nil && (runtime.GOOS == "windows" || runtime.GOOS == "darwin" || runtime.GOOS == "ios")
}

func keyOf(certs []*x509.Certificate, roots *x509.CertPool) chainKey {
	key := chainKey{roots: roots}
	h := sha256.New()
	for _, c := range certs {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(c.Raw)))
		h.Write(size[:])
		h.Write(c.Raw)
	}
	h.Sum(key.certs[:0])
	return key
}

// verify returns when the longest of the chains to a root expires.
func (c *chainCache) verify(certs []*x509.Certificate, roots *x509.CertPool, now time.Time) (time.Time, error) {
	key := keyOf(certs, roots)
	c.mu.Lock()
	known, ok := c.known[key]
	c.mu.Unlock()
	if ok && known.holds(now) {
		return known.end, nil
	}
	chains, err := verify(certs, roots, now)
	if err != nil {
		return time.Time{}, err
	}
	end := chainEnd(chains)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= mostChains {
		c.known = make(map[chainKey]trust)
	}
	c.known[key] = trust{since: now, end: end}
	return end, nil
}
