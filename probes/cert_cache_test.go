package probes

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// issued makes a certificate of the CA that is valid for an hour from now.
func issued(t *testing.T, ca *testnet.CA, now time.Time) []*x509.Certificate {
	t.Helper()
	pair, err := ca.Issue(testnet.CertOptions{Names: []string{"a.test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{leaf}
}

func TestChainCache(t *testing.T) {
	t.Parallel()
	ca, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	other, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	var cache chainCache
	now, roots := time.Now(), ca.Pool()
	certs := issued(t, ca, now)
	end := certs[0].NotAfter
	// The time of the last verification tells whether it was made again.
	verified := func(at time.Time, roots *x509.CertPool) time.Time {
		t.Helper()
		got, err := cache.verify(certs, roots, at)
		if err != nil || !got.Equal(end) {
			t.Errorf("at %v: %v, %v", at, got, err)
		}
		return cache.known[keyOf(certs, roots)].since
	}
	for _, c := range []struct {
		name     string
		at, want time.Duration // since now
	}{
		{"first", 0, 0},
		{"again", time.Minute, 0},
		{"at the end of its time", trustedFor - 1, 0},
		{"after its time", trustedFor, trustedFor},
		{"the clock was set back", time.Minute, time.Minute},
		{"just before it expires", time.Hour - time.Minute, time.Hour - time.Minute},
	} {
		if got := verified(now.Add(c.at), roots); !got.Equal(now.Add(c.want)) {
			t.Errorf("%s: verified at %v, want %v", c.name, got.Sub(now), c.want)
		}
	}
	if _, err := cache.verify(certs, roots, end.Add(time.Second)); err == nil {
		t.Error("an expired certificate is trusted because it was")
	}
	if _, err := cache.verify(certs, other.Pool(), now); err == nil {
		t.Error("a certificate is trusted because other roots trust it")
	}
	if n := len(cache.known); n != 1 {
		t.Errorf("%d chains, want the one that is trusted", n)
	}
	if own := ca.Pool(); !verified(now, own).Equal(now) || len(cache.known) != 2 {
		t.Error("another pool of roots is taken for the same")
	}
}

func TestChainCacheIsBounded(t *testing.T) {
	t.Parallel()
	ca, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cache := chainCache{known: make(map[chainKey]trust)}
	for i := range mostChains {
		cache.known[chainKey{certs: [32]byte{byte(i), byte(i >> 8), 1}}] = trust{}
	}
	now := time.Now()
	if _, err := cache.verify(issued(t, ca, now), ca.Pool(), now); err != nil || len(cache.known) != 1 {
		t.Errorf("%d chains, error %v", len(cache.known), err)
	}
}
