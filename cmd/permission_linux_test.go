package cmd

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
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
