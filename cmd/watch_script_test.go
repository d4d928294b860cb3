package cmd

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestWatchScripts runs the scripts of testdata/watch, which are the contract
// of `sonde watch` without a terminal.
func TestWatchScripts(t *testing.T) {
	runDaemonScripts(t, "testdata/watch", scriptCommands{
		"exits": exits, "begin": begin, "seen": seen, "leave": leave, "lines": countLines,
	})
}

// begin starts sonde in the background: begin NAME sonde [ARG]... [< FILE]
func begin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: begin NAME sonde [ARG]... [< FILE]")
	}
	self, err := os.Executable()
	ts.Check(err)
	d := &running{cmd: exec.Command(self), ended: make(chan error, 1)}
	if at := slices.Index(args, "<"); at > 0 {
		d.cmd.Stdin = strings.NewReader(ts.ReadFile(args[at+1]))
		args = args[:at]
	}
	d.cmd.Args, d.cmd.Dir = args[1:], ts.MkAbs(".")
	for _, name := range []string{"HOME", "TMPDIR", "SONDE_EXAMPLE"} {
		d.cmd.Env = append(d.cmd.Env, name+"="+ts.Getenv(name))
	}
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.err
	ts.Check(d.cmd.Start())
	go func() { d.ended <- d.cmd.Wait() }()
	daemonsOf(ts).running[args[0]] = d
	ts.Defer(func() { _ = d.cmd.Process.Kill(); ts.Logf("%s wrote:\n%s%s", args[0], &d.out, &d.err) })
}

// seen waits until standard output matches: seen NAME REGEXP
func seen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: seen NAME REGEXP")
	}
	d, want := daemonsOf(ts).running[args[0]], regexp.MustCompile(args[1])
	wait(ts, func() string { return d.out.String() + d.err.String() }, func() bool {
		return want.MatchString(d.out.String()) || len(d.ended) > 0
	})
	if !want.MatchString(d.out.String()) {
		ts.Fatalf("%s ended without it", args[0])
	}
}

// leave sends a signal and demands the exit code: leave NAME INT|TERM CODE
func leave(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: leave NAME INT|TERM CODE")
	}
	d := daemonsOf(ts).running[args[0]]
	ts.Check(d.cmd.Process.Signal(map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}[args[1]]))
	demand(ts, args[2], <-d.ended)
}

// countLines demands how many lines were written: lines NAME COUNT
func countLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines NAME COUNT")
	}
	out := daemonsOf(ts).running[args[0]].out.String()
	if n := strings.Count(out, "\n"); strconv.Itoa(n) != args[1] {
		ts.Fatalf("%d lines, want %s:\n%s", n, args[1], out)
	}
}
