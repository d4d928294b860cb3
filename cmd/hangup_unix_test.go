//go:build unix

package cmd

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestHangup sends a real process SIGHUP: serve reads its files again and goes
// on, until SIGTERM ends it.
func TestHangup(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "checks.yaml")
	if err := os.WriteFile(file, []byte("version: 1\nchecks: [{name: a, toy: {does: up}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = []string{"sonde", "serve", file, "--listen", "127.0.0.1:0", "--no-watch"}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	next := map[string]syscall.Signal{"msg=serving": syscall.SIGHUP, "SIGHUP": syscall.SIGTERM}
	for lines := bufio.NewScanner(log); lines.Scan(); {
		for word, signal := range next {
			if strings.Contains(lines.Text(), word) {
				delete(next, word)
				if err := cmd.Process.Signal(signal); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if err := cmd.Wait(); err != nil || len(next) > 0 {
		t.Errorf("it ended with %v, and said nothing of %v", err, next)
	}
}
