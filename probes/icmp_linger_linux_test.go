package probes

import "testing"

// TestSocketLingers tells that pings which follow each other share a socket, unless
// the machine is so busy that it has expired, and that it is closed once no more
// come.
func TestSocketLingers(t *testing.T) {
	opened := make(map[*icmpSocket]bool)
	shared := false
	for attempt := 0; attempt < 50 && !shared; attempt++ {
		if !measured(t, observePing(t, pingTimeout(t, pingSlack), "127.0.0.1")) {
			return
		}
		icmpSockets.mu.Lock()
		if s := icmpSockets.open[socketKey{}]; s != nil {
			shared = opened[s]
			opened[s] = true
		}
		icmpSockets.mu.Unlock()
	}
	if !shared {
		t.Errorf("%d pings, and none found a socket of the one before", len(opened))
	}
	for s := range opened {
		<-s.reader
	}
}
