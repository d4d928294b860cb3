package web

import "testing"

// TestHosts answers nobody whose page has its own name resolve to us.
func TestHosts(t *testing.T) {
	s := newServer(Options{Hosts: Hosts("Sonde.example.:9780", "")})
	for host, want := range map[string]int{
		"127.0.0.1:9780": 200, "[::1]:9780": 200, "[::1]": 200, "192.0.2.1": 200, "localhost": 200, "LOCALHOST:9780": 200, "localhost.": 200,
		"sonde.example": 200, "sonde.example:80": 200, "SONDE.example.": 200,
		"evil.example": 403, "evil.example:9780": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example:80": 403, "127.0.0.1@evil.example": 403,
	} {
		if code, body := get(s, "http://"+host+"/metrics"); code != want {
			t.Errorf("%s: %d %.200s", host, code, body)
		}
	}
	if code, _ := get(newServer(Options{Hosts: Hosts()}), "http://evil.example/"); code != 403 {
		t.Errorf("without names: %d", code)
	}
	if code, _ := get(newServer(Options{}), "http://any.example/"); code != 200 {
		t.Errorf("without a guard: %d", code)
	}
}
