//go:build oracle

package probes

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// startChronyd runs chronyd, which leaves the clock alone, until the test ends.
// It returns its port and where chronyc reaches it.
func startChronyd(t *testing.T, config string) (port, socket string) {
	t.Helper()
	program := need(t, "chronyd", "chrony")
	dir, err := os.MkdirTemp("", "chrony") // a short path, for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port = split(t, conn.LocalAddr().String())
	conn.Close()
	socket = filepath.Join(dir, "sock")
	config += fmt.Sprintf("\nport %s\nbindaddress 127.0.0.1\nallow 127.0.0.1\ncmdport 0\nbindcmdaddress %s\npidfile %s/pid\n", port, socket, dir)
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	user := strings.TrimSpace(oracle(t, "id", "-un"))
	var log strings.Builder
	cmd := exec.Command(program, "-U", "-x", "-d", "-u", user, "-f", file)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		if exec.Command("chronyc", "-h", socket, "-n", "tracking").Run() == nil {
			return port, socket
		}
		if time.Now().After(deadline) {
			t.Fatal("chronyd does not come up")
		}
	}
}

// tracking is what chronyc says of its server.
type tracking map[string]string

func track(t *testing.T, socket string) tracking {
	t.Helper()
	out := make(tracking)
	for line := range strings.Lines(oracle(t, "chronyc", "-h", socket, "-n", "tracking")) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			out[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return out
}

// seconds reads a value such as "0.100066409 seconds".
func (tr tracking) seconds(t *testing.T, key string) time.Duration {
	t.Helper()
	f, err := strconv.ParseFloat(strings.TrimSuffix(tr[key], " seconds"), 64)
	if err != nil {
		t.Fatalf("%s: %v of %v", key, err, tr)
	}
	return time.Duration(f * float64(time.Second))
}

// reference turns "7F000001 (127.0.0.1)" into 127.0.0.1.
func (tr tracking) reference(t *testing.T) string {
	t.Helper()
	digits, _, _ := strings.Cut(tr["Reference ID"], " ")
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}).String()
}

// TestOracleNTP compares with what real servers say of themselves: one that is
// set by a server of ours, and one that trusts its own clock.
func TestOracleNTP(t *testing.T) {
	up, upPort := listenUDP(t, testnet.NTP{
		Stratum: 2, Reference: "\xc0\x00\x02\x01", RootDelay: 100 * time.Millisecond, RootDispersion: 20 * time.Millisecond,
	}.Serve)
	set, setSocket := startChronyd(t, fmt.Sprintf("server %s port %s iburst minpoll -4 maxpoll -4", up, upPort))
	oracle(t, "chronyc", "-h", setSocket, "-n", "waitsync", "300", "0", "0", "0.1")
	own, ownSocket := startChronyd(t, "local stratum 8")
	for _, server := range []struct{ port, socket string }{{set, setSocket}, {own, ownSocket}} {
		o := buildNTP(t, "127.0.0.1", server.port).Probe.Observe(timeout(t, patience))
		wantFailure(t, o, "")
		said := track(t, server.socket)
		if said["Leap status"] != "Normal" || o.Facts.Get("leap") != leapNone {
			t.Errorf("leap %v, chronyc says %s", o.Facts.Get("leap"), said["Leap status"])
		}
		if got := fmt.Sprint(o.Facts.Get("stratum")); got != said["Stratum"] {
			t.Errorf("stratum %s, chronyc says %s", got, said["Stratum"])
		}
		if got := o.Facts.Get("reference_id"); got != said.reference(t) {
			t.Errorf("reference_id %v, chronyc says %s", got, said["Reference ID"])
		}
		// Both change with each sample of the server's.
		for fact, key := range map[string]string{"root.delay": "Root delay", "root.dispersion": "Root dispersion"} {
			got, want := o.Facts.Get(fact).(time.Duration), said.seconds(t, key)
			if max(got-want, want-got) > 15*time.Millisecond {
				t.Errorf("%s %v, chronyc says %v", fact, got, want)
			}
		}
		rtt := o.Facts.Get("rtt").(time.Duration)
		if off := o.Facts.Get("off_by").(time.Duration); off > rtt/2+time.Millisecond {
			t.Errorf("one clock, and an offset of %v with a round trip of %v", off, rtt)
		}
	}
}

// TestOracleNTPUnsynchronised has a chronyd that nobody has told the time.
func TestOracleNTPUnsynchronised(t *testing.T) {
	port, socket := startChronyd(t, "")
	o := buildNTP(t, "127.0.0.1", port).Probe.Observe(timeout(t, patience))
	wantFailure(t, o, "")
	if said := track(t, socket)["Leap status"]; said != "Not synchronised" || o.Facts.Get("leap") != leapUnsynchronised || o.Facts.Get("kiss") != "" {
		t.Errorf("leap %v, chronyc says %s; kiss %v", o.Facts.Get("leap"), said, o.Facts.Get("kiss"))
	}
}

// TestOracleNTPOffset has chronyd measure servers whose clocks differ from this
// machine's, by the command that sonde shows.
func TestOracleNTPOffset(t *testing.T) {
	need(t, "chronyd", "chrony")
	wrong := regexp.MustCompile(`System clock wrong by (-?[\d.]+) seconds`)
	for _, ahead := range []time.Duration{3250 * time.Millisecond, -1750 * time.Millisecond, 36 * time.Hour} {
		server := synchronised()
		server.Ahead = ahead
		host, port := listenUDP(t, server.Serve)
		o := buildNTP(t, host, port).Probe.Observe(timeout(t, patience))
		wantFailure(t, o, "")
		out := oracle(t, "sh", "-c", "PATH=$PATH:/usr/sbin; "+o.Reproduce())
		m := wrong.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("chronyd says %s", out)
		}
		f, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		want := time.Duration(f * float64(time.Second))
		got := o.Facts.Get("offset").(time.Duration)
		// Each is off by half of its own round trip, which is a loaded machine's.
		if max(got-want, want-got) > 20*time.Millisecond {
			t.Errorf("offset %v, chronyd says %v", got, want)
		}
	}
}

// TestOracleUDP sends what socat sends and compares the answers: the service is
// socat's as well.
func TestOracleUDP(t *testing.T) {
	program := need(t, "socat", "socat")
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port := split(t, conn.LocalAddr().String())
	conn.Close()
	cmd := exec.Command(program, "UDP4-RECVFROM:"+port+",bind=127.0.0.1,fork", "SYSTEM:tr a-z A-Z")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	const text = "hello over there\n"
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	o := check.Observation{}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		o = observeUDP(t, "127.0.0.1", port, patience, steps(text, "."))
		if o.Failure.Code != check.ConnectRefused { // until socat listens
			break
		}
	}
	wantFailure(t, o, "")
	client := exec.Command(program, "-t", "1", "-", "UDP4:127.0.0.1:"+port)
	client.Stdin = strings.NewReader(text)
	out, err := client.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := string(out)
	if got := o.Facts.Get("answer"); got != strings.TrimSpace(want) || got != "HELLO OVER THERE" || o.Facts.Get("bytes") != len(want) {
		t.Errorf("answer %q of %v bytes, socat gets %q", got, o.Facts.Get("bytes"), want)
	}
}
