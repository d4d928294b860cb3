package probes

import (
	"fmt"
	"net"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// heapPerProbe is promise 2: what one probe in flight may hold, bytes.
const heapPerProbe = 2 << 20

// TestPromise2Memory runs many probes at once against servers that send more
// than anybody wants, and looks at the live heap while they are all held at
// their fullest: each server stops short of the end and waits until the heap
// was measured. It does not run in parallel, for the heap is the process's.
func TestPromise2Memory(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	zeros := strings.Repeat("\x00", 1<<20-4096)
	for _, c := range []struct {
		name   string
		say    string // and then nothing more
		change func(*httpOptions)
		facts  []string
	}{
		{"plain body", okHead + "\r\n" + zeros, nil, []string{"body", "json", "headers"}},
		{"header", okHead + "X: " + strings.Repeat("y", 60<<10), nil, []string{"headers"}},
		{"gzip, body kept", codedHead("gzip") + butEnd(squeeze(t, "gzip", noise(1<<20-4096))), nil, []string{"body"}},
		{"gzip in gzip", codedHead("gzip, gzip") + butEnd(squeeze(t, "gzip", squeeze(t, "gzip", zeros))), nil, []string{"body"}},
		{"br", codedHead("br") + butEnd(squeeze(t, "br", noise(1<<20-4096))), nil, nil},
		{"zstd", codedHead("zstd") + butEnd(squeeze(t, "zstd", noise(1<<20-4096))), nil, nil},
		{"br, body kept", codedHead("br") + butEnd(squeeze(t, "br", noise(1<<19-4096))), nil, []string{"body"}},
		{"zstd, body kept", codedHead("zstd") + butEnd(squeeze(t, "zstd", noise(1<<19-4096))), nil, []string{"body"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			holdHeap(t, testnet.ReplyAndStall(c.say), c.change, c.facts)
		})
	}
	t.Run("http2", func(t *testing.T) {
		holdHeap(t, testnet.Frames(func(f *http2.Framer) {
			headers(f, false, ":status", "200", "x", strings.Repeat("y", 15_000))
			for range 60 {
				_ = f.WriteData(1, false, []byte(zeros[:16<<10]))
			}
		}), h2, []string{"body", "headers"})
	})
}

func codedHead(coding string) string {
	return okHead + "Content-Encoding: " + coding + "\r\nContent-Length: 99999999\r\n\r\n"
}

// butEnd takes off the end, so that the decoder waits for more.
func butEnd(s string) string { return s[:len(s)-8] }

// noise is text that compresses to about half.
func noise(n int) string {
	var b strings.Builder
	for x := uint32(1); b.Len() < n; x = x*1664525 + 1013904223 {
		fmt.Fprintf(&b, "%x", x)
	}
	return b.String()[:n]
}

// holdHeap has many probes in flight that have read all that the server says,
// and compares the live heap with that before.
func holdHeap(t *testing.T, handler func(net.Conn), change func(*httpOptions), facts []string) {
	const probes = 6
	arrived := make(chan struct{}, probes)
	site := rawSite(t, func(conn net.Conn) {
		handler(&marked{Conn: conn, arrived: arrived})
	})
	probe := buildHTTP(t, site, change, facts...).Probe
	ctx, cancel := contextWithCancel(t)
	before := liveHeap()
	ended := make(chan check.Observation, probes)
	for range probes {
		go func() { ended <- probe.Observe(ctx) }()
	}
	for range probes {
		<-arrived
	}
	var most uint64
	for range 5 { // the last bytes may still be on their way
		most = max(most, liveHeap())
	}
	cancel()
	for range probes {
		wantFailure(t, <-ended, check.LocalShutdown, "")
	}
	// The servers' own buffers count in this process too: some 10 KiB each.
	if each := (int64(most) - int64(before)) / probes; each > heapPerProbe {
		t.Errorf("%d KiB of heap per probe, promised are %d", each>>10, heapPerProbe>>10)
	} else {
		t.Logf("%d KiB of heap per probe", each>>10)
	}
}

// marked is a server's connection that tells when the server has said its
// piece and reads again: the second read follows the reply.
type marked struct {
	net.Conn
	wrote   bool
	told    bool
	arrived chan<- struct{}
}

func (m *marked) Write(p []byte) (int, error) {
	m.wrote = m.wrote || len(p) > 9+9 // more than HTTP/2's settings and their receipt
	return m.Conn.Write(p)
}

func (m *marked) Read(p []byte) (int, error) {
	if m.wrote && !m.told {
		m.told = true
		m.arrived <- struct{}{}
	}
	return m.Conn.Read(p)
}
