//go:build unix

package probes

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

func TestA3FullBacklog(t *testing.T) {
	t.Parallel()
	jam, err := testnet.Jam()
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, jam)
	host, port := split(t, jam.Addr())
	o := observeTCP(t, tcpOptions{}, host, port, brief)
	if o.Failure.Code != check.ConnectTimeout || o.Latency > hung {
		t.Errorf("%v after %v", o.Failure, o.Latency)
	}
}

// alone runs the named test in a process of its own, with role set to its
// name, and shows the output when it fails.
func alone(t *testing.T, env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), append(env, role+"="+t.Name())...)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

const role = "SONDE_TEST_ALONE"

// TestA13OutOfDescriptors lowers the limit of a process of its own, and looks at
// every kind there.
func TestA13OutOfDescriptors(t *testing.T) {
	if os.Getenv(role) == "" {
		t.Parallel()
		alone(t)
		return
	}
	host, port := listen(t, testnet.Silence)
	site, system := rawSite(t, testnet.Silence), buildDNS(t, "", nil)
	named := testSystem(t, "nameserver 127.0.0.1\n", "127.0.0.1 web.test\n")
	var plans []check.Plan
	eachKind(t, func(t *testing.T, k check.Kind, row conformance) {
		plans = append(plans, built(t, k, row, net.JoinHostPort(host, port)))
	})
	plans = append(plans, buildHTTP(t, site, nil), check.Plan{Probe: system, Target: "the system's resolver"})
	if o := observeTCP(t, tcpOptions{}, host, port, patience); !o.Failure.IsZero() {
		t.Fatal(o.Failure)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	before := limit
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before) }) // other cleanups open files
	limit.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, p := range plans {
		o := p.Probe.Observe(timeout(t, patience))
		// Who may not ping at all is told so first.
		if code := o.Failure.Code; code != check.LocalFD && (strings.HasPrefix(p.Target, "icmp") && code != check.LocalPermission || !code.Local()) {
			t.Errorf("%s: %v", p.Target, o.Failure)
		}
	}
	j := begin()
	if _, reason := j.resolve(timeout(t, patience), &router{system: named}, "web.test"); !code(reason).Local() {
		t.Errorf("a name of the hosts file: %v", reason)
	}
}
