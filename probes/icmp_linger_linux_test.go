package probes

import "testing"

// TestSocketLingers tells that pings which follow each other share a socket, and
// that it is closed once no more come.
func TestSocketLingers(t *testing.T) {
	opened := make(map[*icmpSocket]bool)
	for range 3 {
		if !measured(t, observePing(t, pingTimeout(t, pingSlack), "127.0.0.1")) {
			return
		}
		icmpSockets.mu.Lock()
		if s := icmpSockets.open[socketKey{}]; s != nil {
			opened[s] = true
		}
		icmpSockets.mu.Unlock()
	}
	if len(opened) > 2 { // a busy machine may let one expire
		t.Errorf("%d sockets for three pings", len(opened))
	}
	for s := range opened {
		<-s.reader
	}
}
