//go:build oracle && linux

package cmd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// TestOracleWaitFromScratch waits, and runs a command, in a root file system of
// nothing but the binary: no shell, libc, /etc, /proc or /dev.
func TestOracleWaitFromScratch(t *testing.T) {
	root := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(root, "sonde"), "github.com/sonde-cli/sonde")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server, err := testnet.ListenTCP(func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 4096)); err == nil {
			_, _ = fmt.Fprint(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{server.Addr(), "http://" + server.Addr() + "/", "--", "/sonde", "version"}, 0, `^sonde `, `(?m)^http://.*: up after`},
		{[]string{server.Addr(), "127.0.0.1:1", "--for", "200ms", "--", "/sonde", "version"}, 124, `^$`, `(?m)^  127\.0\.0\.1:1: down connect\.refused`},
		{[]string{server.Addr(), "--", "sh", "-c", "true"}, 127, `^$`, `cannot run sh: executable file not found`},
	} {
		c := exec.Command("/sonde", append([]string{"wait"}, tt.args...)...)
		c.Dir, c.Env = "/", []string{"PATH=/"}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		if uid := os.Getuid(); uid != 0 {
			c.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
			c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		}
		var stdout, stderr strings.Builder
		c.Stdout, c.Stderr = &stdout, &stderr
		_ = c.Run() // its code is looked at
		if c.ProcessState == nil || c.ProcessState.ExitCode() != tt.code ||
			!regexp.MustCompile(tt.stdout).MatchString(stdout.String()) || !regexp.MustCompile(tt.stderr).MatchString(stderr.String()) {
			t.Errorf("sonde wait %v ended with %v\nstdout: %s\nstderr: %s", tt.args, c.ProcessState, &stdout, &stderr)
		}
	}
}

// TestOracleWaitTerminal waits on a real terminal, which the command then has.
func TestOracleWaitTerminal(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	term := newTerminal(t, 100, 24, "wait", "toy://up", addr, "--", "sh", "-c", `"test -t 0 && test -t 1 && test -t 2 && exec head -n 1"`)
	term.shows(`(?m)\A1/2 up  ` + regexp.QuoteMeta(addr) + `: down connect\.refused: .* refused the connection \(\d+ attempts\)$`)
	eventually(t, "nobody's connection has the port", func() bool {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err == nil
	})
	term.shows(`\A2 checks up after [\d.]+m?s\n`)
	term.keys("hello", "Enter")
	term.shows(`(?m)^hello\nhello$`)
	term.shows(`(?m)^left 0$`)
}

// TestOracleWaitInterruptedTerminal interrupts it while it waits.
func TestOracleWaitInterruptedTerminal(t *testing.T) {
	term := newTerminal(t, 100, 24, "wait", "toy://down", "--", "echo", "ran")
	term.shows(`\A0/1 up  toy://down: down`)
	term.kill(syscall.SIGINT)
	term.shows(`(?sm)\Asonde: interrupted; not up after [\d.]+m?s: 1 of 1 check\n  toy://down: down .*\n.*^left 130$`)
}
