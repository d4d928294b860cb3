package cmd

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sonde-cli/sonde/probes"
)

// TestNoReadPermission reads a file of checks that its user may not read. Root
// may read everything, so root becomes nobody for it, on this one thread.
func TestNoReadPermission(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checks.yaml")
	if err := os.WriteFile(file, []byte("version: 1\n"), 0o000); err != nil {
		t.Fatal(err)
	}
	code := make(chan int)
	p := newProcess("run", file)
	p.measuring = new(atomic.Bool)
	go func() {
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			if err := syscall.Setfsuid(65534); err != nil {
				t.Error(err)
			}
		}
		code <- p.execute(context.Background())
	}()
	if got := <-code; got != ExitUsage {
		t.Errorf("exit code %d, want %d", got, ExitUsage)
	}
	if got := p.err.String(); !strings.Contains(got, "checks.yaml") || !strings.Contains(got, "permission denied") {
		t.Errorf("stderr: %s", got)
	}
}

// TestSocketWithoutPermission connects to a Unix socket that its user may not use:
// that is our side's fault, and the server may be fine.
func TestSocketWithoutPermission(t *testing.T) {
	if os.Getenv(namespaceChild) == "" {
		inNamespaces(t, 65534)
		return
	}
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "socket"), filepath.Join(dir, "checks.yaml")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("version: 1\nchecks:\n  - {name: web, http: {url: \"http://web.test/\", unix: %q}}\n", socket)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProcess("run", file)
	p.Kinds = probes.Kinds()
	p.demand(t, ExitUnknown)
	if got := p.out.String(); !strings.Contains(got, "local.permission: not allowed to connect to the socket") {
		t.Errorf("got %s", got)
	}
	fmt.Println(childDone)
}
