package probes

import (
	"net/http"
	"strings"
	"testing"
)

// TestHTTPReproduceResolved has the address that the check's own resolver gave in
// its line, unless a redirect led elsewhere: curl would ask the system's.
func TestHTTPReproduceResolved(t *testing.T) {
	t.Parallel()
	site := http.NewServeMux()
	site.Handle("/away", http.RedirectHandler("/", http.StatusFound))
	_, port, _ := strings.Cut(strings.TrimPrefix(httpSite(t, nil, site), "http://"), ":")
	server := dnsServer(t, zone(t, "web.test. 60 IN A 127.0.0.1", "none.test. 60 IN TXT x").Serve)
	pinned := " --resolve web.test:" + port + ":127.0.0.1 "
	for target, want := range map[string]bool{
		"http://web.test:" + port + "/": true, "http://web.test:" + port + "/away": false,
		"http://none.test:" + port + "/": false, "http://127.0.0.1:" + port + "/": false,
	} {
		o := observeHTTP(t, target, patience, func(o *httpOptions) { o.Resolver = server.Addr() })
		line := o.Reproduce()
		if !strings.HasSuffix(line, " "+target) || strings.Contains(line, pinned) != want || !want && strings.Contains(line, "--resolve") {
			t.Errorf("%s", line)
		}
	}
}
