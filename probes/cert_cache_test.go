package probes

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
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
	return parsed(t, pair)
}

// parsed returns the chain as a client has it.
func parsed(t testing.TB, pair tls.Certificate) []*x509.Certificate {
	t.Helper()
	certs := make([]*x509.Certificate, len(pair.Certificate))
	for i, der := range pair.Certificate {
		var err error
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	return certs
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

// TestRememberedChainsChangeNoVerdict changes what a server presents, and what
// it is asked for, between the runs of one check.
func TestRememberedChainsChangeNoVerdict(t *testing.T) {
	t.Parallel()
	good := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}, Intermediate: true})
	renewed := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	expired := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}, NotAfter: time.Now().Add(-time.Minute)})
	alone := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}, SelfSigned: true})
	short := good.Clone() // the same leaf without its intermediate
	short.Certificates = []tls.Certificate{good.Certificates[0]}
	short.Certificates[0].Certificate = short.Certificates[0].Certificate[:1]
	var now atomic.Pointer[tls.Config]
	now.Store(good)
	host, port := listenTLS(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return now.Load(), nil
	}}, testnet.Silence)
	options := TLS{CA: caFile(t)}
	plan, err := options.build()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		config      *tls.Config
		name        string
		trusted, ok bool
	}{
		{good, "api.test", true, true},
		{good, "api.test", true, true},
		{good, "db.test", true, false},
		{expired, "api.test", false, true},
		{alone, "api.test", false, true},
		{short, "api.test", false, true},
		{renewed, "api.test", true, true},
		{good, "db.test", true, false},
		{good, "api.test", true, true},
	} {
		now.Store(c.config)
		j := begin()
		conn, reason := j.connect(timeout(t, patience), &router{}, host, port)
		if reason != nil {
			t.Fatal(reason)
		}
		if _, reason := j.handshake(t.Context(), conn, plan, c.name, nil); reason != nil {
			t.Fatal(reason)
		}
		conn.Close()
		if f := j.obs.Facts; f.Get("cert.trusted") != c.trusted || f.Get("cert.hostname_ok") != c.ok {
			t.Errorf("run %d: %v because %v", i, f, j.obs.Because)
		}
	}
}

// TestPlanVerifiesByTheTime has one plan judge one chain at several times, with
// the memory and without.
func TestPlanVerifiesByTheTime(t *testing.T) {
	t.Parallel()
	ca, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	certs := issued(t, ca, now)
	for _, each := range []bool{true, false} {
		plan := tlsPlan{roots: ca.Pool(), verifyEach: each}
		for _, c := range []struct {
			at time.Time
			ok bool
		}{
			{now, true},
			{certs[0].NotBefore.Add(-time.Second), false},
			{certs[0].NotBefore, true},
			{certs[0].NotAfter.Add(-time.Second), true},
			{certs[0].NotAfter, true},
			{certs[0].NotAfter.Add(time.Second), false},
			{now, true},
		} {
			if _, err := plan.verify(certs, c.at); (err == nil) != c.ok {
				t.Errorf("verify_each %v, at %v: %v", each, c.at, err)
			}
		}
		trustedChains.mu.Lock()
		_, known := trustedChains.known[keyOf(certs, plan.roots)]
		trustedChains.mu.Unlock()
		if known == each {
			t.Errorf("verify_each %v: remembered is %v", each, known)
		}
	}
}

// A clock that was set back counts though the monotonic one went on.
func TestTrustHolds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		name string
		at   time.Time
		want bool
	}{
		{"at once", now, true},
		{"later", now.Add(trustedFor - 1), true},
		{"too late", now.Add(trustedFor), false},
		{"set back", now.Round(0).Add(-time.Second), false},
		{"set forward", now.Round(0).Add(trustedFor), false},
	} {
		if got := (trust{since: now, end: now.Add(time.Hour)}).holds(c.at); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if (trust{since: now, end: now.Add(time.Second)}).holds(now.Add(2 * time.Second)) {
		t.Error("trusted after its end")
	}
}
