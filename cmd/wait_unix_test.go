//go:build unix

package cmd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// urgent is the signal with which Go's runtime preempts its goroutines.
const urgent = syscall.SIGURG

// programs returns a folder with the names that this program goes by.
func programs(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"sonde", "parrot"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// waitFor returns a command of this program: sonde wait, and then a command.
func waitFor(t *testing.T, command ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, filepath.Join(programs(t), "sonde"), append([]string{"wait", "toy://up", "--"}, command...)...)
	return c
}

// TestWaitPassesSignals has a command in sonde's place: the same process, which
// gets each signal itself.
func TestWaitPassesSignals(t *testing.T) {
	c := waitFor(t, filepath.Join(programs(t), "parrot"))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the command says %q, want %q", lines.Text(), want)
		}
	}
	expect(strconv.Itoa(c.Process.Pid))
	for _, s := range []syscall.Signal{
		syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGPIPE, syscall.SIGINT,
	} {
		if err := c.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		expect(s.String())
	}
	if rest, _ := io.ReadAll(out); len(rest) > 0 {
		t.Errorf("and then %q", rest)
	}
	demandExit(t, c.Wait(), 9)
}

func demandExit(t *testing.T, err error, code int) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Errorf("it ended with %v, want exit code %d", err, code)
	}
}

// TestWaitEndsAsItsCommand has a command that a signal kills: who started sonde
// sees that.
func TestWaitEndsAsItsCommand(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGPIPE} {
		err := waitFor(t, "sh", "-c", "kill -"+strconv.Itoa(int(s))+" $$").Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != s {
			t.Errorf("%v: it ended with %v", s, err)
		}
	}
}

// TestWaitStopsForASignal sends one while it waits: the command is not run.
func TestWaitStopsForASignal(t *testing.T) {
	// A child has the default for what is handled here; below nohup it would
	// ignore SIGHUP else.
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, syscall.SIGHUP)
	defer signal.Stop(handled)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		c := waitFor(t, "echo", "ran")
		c.Args[2] = "toy://down"
		said, err := c.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(said)
		lines.Scan() // that it is down
		if err := c.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, said)
		demandExit(t, c.Wait(), ExitInterrupted)
	}
}
