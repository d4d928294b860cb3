package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes"
)

// namespaceChild is the environment variable that tells a test that it runs in
// namespaces of its own.
const namespaceChild = "SONDE_TEST_NAMESPACE_CHILD"

// TestPathMTUOfEachAddress searches the path MTU to each address of a name and over
// both families, in a network whose only interface takes packets of 1400 bytes.
func TestPathMTUOfEachAddress(t *testing.T) {
	const mtu = 1400
	if os.Getenv(namespaceChild) == "" {
		inNamespaces(t, 0)
		return
	}
	raiseLoopback(t, mtu)
	zone, err := testnet.NewZone("all.test. 60 IN A 127.0.0.1", "all.test. 60 IN A 127.0.0.2", "all.test. 60 IN AAAA ::1")
	if err != nil {
		t.Fatal(err)
	}
	names, err := testnet.ListenDNS(zone.Serve)
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	file := filepath.Join(t.TempDir(), "checks.yaml")
	text := fmt.Sprintf(`version: 1
defaults: {timeout: 30s}
checks:
  - name: all
    icmp: {host: all.test, path_mtu: true, interval: 1ms, resolver: %q, address: all}
    expect: ["mtu.path == %[2]d"]
  - name: both
    icmp: {host: all.test, path_mtu: true, interval: 1ms, resolver: %[1]q, family: both}
    expect: ["mtu.path == %[2]d"]
`, names.Addr(), mtu)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProcess("run", file, "--report", "json")
	p.Kinds = probes.Kinds()
	p.demand(t, ExitOK)
	found := make(map[string]int)
	for _, part := range partsOf(t, p.out.String()) {
		found[part.Name] = part.Facts.MTU.Path
	}
	for _, name := range []string{"127.0.0.1", "127.0.0.2", "::1", "v4", "v6"} {
		if found[name] != mtu {
			t.Errorf("%s: %d, want %d; all are %v", name, found[name], mtu, found)
		}
	}
	fmt.Println(childDone)
}

// part is one of a result, as JSON shows it.
type part struct {
	Name  string
	Facts struct {
		MTU struct{ Path int }
	}
}

// partsOf returns the parts of all results.
func partsOf(t *testing.T, document string) (all []part) {
	t.Helper()
	var report struct{ Results []struct{ Parts []part } }
	if err := json.Unmarshal([]byte(document), &report); err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		all = append(all, r.Parts...)
	}
	return all
}

// childDone is what the test in namespaces of its own prints at its end.
const childDone = "done in namespaces of its own"

// inNamespaces runs the calling test again in a user and a network namespace, as the
// user with the id there: root with all privileges there, another with none.
func inNamespaces(t *testing.T, id int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), namespaceChild+"=yes")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: id, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: id, HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	switch text := string(out); {
	case text == "" && err != nil:
		t.Logf("this machine allows no user namespace: %v", err)
	case err != nil || !strings.Contains(text, childDone):
		t.Errorf("%v\n%s", err, text)
	}
}

// raiseLoopback turns on the loopback interface of a new network namespace.
func raiseLoopback(t *testing.T, mtu uint32) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint32(mtu)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, lo); err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}
