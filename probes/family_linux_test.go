package probes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// TestA15FamilyTurnedOff runs in a network namespace without IPv6, as many
// containers are. localhost is still found under both families there.
func TestA15FamilyTurnedOff(t *testing.T) {
	if os.Getenv(icmpChild) == "" {
		if out, ok := inChild(t, "root", namespace(0)); ok && !strings.Contains(out, "looked without IPv6") {
			t.Fatalf("the child did not probe:\n%s", out)
		}
		return // TestPlaced has the same without a namespace
	}
	raiseLoopback(t)
	const off = "/proc/sys/net/ipv6/conf/lo/disable_ipv6"
	if err := os.WriteFile(off, []byte("1"), 0); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	wantFailure(t, observeTCP(t, tcpOptions{}, "::1", "1", patience), check.LocalRoute)
	wantFailure(t, observeDNS(t, buildDNS(t, "[::1]:53", nil), patience), check.LocalRoute)
	both := router{system: testSystem(t, "", "::1 both.test\n127.0.0.1 both.test\n")}
	_, reason := begin().connect(timeout(t, patience), &both, "both.test", "1")
	if code(reason) != check.ConnectRefused {
		t.Errorf("both families: %v", reason)
	}
	fmt.Println("looked without IPv6")
}
