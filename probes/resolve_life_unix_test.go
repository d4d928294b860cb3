//go:build unix && !darwin

package probes

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// TestDNSCachedOverHTTPS takes off the time that an HTTP cache has kept an answer
// (RFC 8484 section 5.1), in a process that trusts the server as a resolver.
func TestDNSCachedOverHTTPS(t *testing.T) {
	if os.Getenv(role) == "" {
		t.Parallel()
		alone(t, "SSL_CERT_FILE="+t.TempDir()+"/roots", "SSL_CERT_DIR="+t.TempDir())
		return
	}
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	addr, roots := dohListen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Age", strings.TrimPrefix(r.URL.Path, "/"))
		testnet.DoH(z.Serve).ServeHTTP(w, r)
	}), "h2")
	text, err := os.ReadFile(roots)
	if err != nil {
		t.Fatal(err)
	}
	write(t, os.Getenv("SSL_CERT_FILE"), string(text))
	for _, tt := range []struct {
		age  string
		want time.Duration
	}{{"45", 15 * time.Second}, {"60", 0}, {"4711", 0}, {"99999999999999", 0}, {"soon", time.Minute}, {"-1", time.Minute}} {
		now := time.Now()
		route := &router{family: 4, resolver: mustServer(t, "https://"+addr+"/"+tt.age), cache: newAnswerCache(func() time.Time { return now })}
		if _, reason := begin().resolve(timeout(t, patience), route, "web.test"); reason != nil {
			t.Fatal(reason)
		}
		got := time.Duration(0)
		for _, a := range route.cache.kept {
			got = a.until.Sub(now)
		}
		if got != tt.want {
			t.Errorf("with Age: %s kept for %v, want %v", tt.age, got, tt.want)
		}
	}
}
