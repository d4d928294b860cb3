//go:build unix

package probes

import (
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

// TestA13OutOfDescriptors lowers the limit of a process of its own.
func TestA13OutOfDescriptors(t *testing.T) {
	if os.Getenv(role) == "" {
		t.Parallel()
		alone(t)
		return
	}
	host, port := listen(t, testnet.Silence)
	if o := observeTCP(t, tcpOptions{}, host, port, patience); !o.Failure.IsZero() {
		t.Fatal(o.Failure)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	if o := observeTCP(t, tcpOptions{}, host, port, patience); o.Failure.Code != check.LocalFD {
		t.Errorf("%v", o.Failure)
	}
}
