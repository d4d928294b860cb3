package cmd

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sonde-cli/sonde/internal/testnet"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sonde": func() {
		var example []byte // which only the scripts of the demo need
		if path := os.Getenv("SONDE_EXAMPLE"); path != "" {
			var err error
			if example, err = os.ReadFile(path); err != nil {
				panic(err) // the test's own set-up
			}
		}
		app := Process(Build{Version: "1.2.3", Commit: "c0ffee", Date: "2026-01-02T03:04:05Z"}, example)
		app.Kinds = append(app.Kinds, toyKind())
		os.Exit(Main(app))
	}, "parrot": parrot})
}

// TestScripts runs the scripts of testdata, which are the contract of the
// command line, one process for each command.
func TestScripts(t *testing.T) {
	example, err := filepath.Abs("../checks.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, "NO_COLOR=", "CI=true", "SONDE_EXAMPLE="+example)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":       exits,
			"serve":       serve,
			"serveLate":   serveLate,
			"serveNet":    serveNet,
			"interrupt":   interrupt,
			"interruptAt": interruptAt,
			"unread":      unreadPipe,
			"repeat":      repeat,
			"binary":      binary,
			"files":       onlyFiles,
		},
	})
}

// exits runs a command and demands its exit code: exits 2 sonde run
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG]...")
	}
	demand(ts, args[0], ts.Exec(args[1], args[2:]...))
}

func demand(ts *testscript.TestScript, want string, err error) {
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

// serve starts a loopback server and sets the variable to its host:port:
// serve ADDR refuse | silence | echo | late | flap | shop | say TEXT | names RECORD...
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: serve VARIABLE MODE [ARG]")
	}
	var addr string
	var closer func() error
	switch args[1] {
	case "refuse":
		server, err := testnet.Refuse()
		ts.Check(err)
		addr, closer = server.Addr(), server.Close
	case "silence":
		server, err := testnet.ListenTCP(testnet.Silence)
		ts.Check(err)
		addr, closer = server.Addr(), server.Close
	case "echo": // over HTTP: the request is the body of the response
		server, err := testnet.ListenTCP(func(conn net.Conn) {
			request := make([]byte, 4096)
			if n, err := conn.Read(request); err == nil {
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX: %q\r\nContent-Length: %d\r\n\r\n%s", request[:n], n, request[:n])
			}
		})
		ts.Check(err)
		addr, closer = server.Addr(), server.Close
		_, port, err := net.SplitHostPort(addr)
		ts.Check(err)
		ts.Setenv("PORT", port)
	case "late": // over HTTP: connections are held for a while
		server, err := testnet.ListenTCP(func(conn net.Conn) {
			if _, err := conn.Read(make([]byte, 4096)); err == nil {
				<-time.After(50 * time.Millisecond)
				_, _ = fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		ts.Check(err)
		addr, closer = server.Addr(), server.Close
	case "flap": // over HTTP: every fourth answer is a failure, the third is the first
		var seen atomic.Int32
		server, err := testnet.ListenTCP(func(conn net.Conn) {
			if _, err := conn.Read(make([]byte, 4096)); err == nil {
				status := "200 OK"
				if seen.Add(1)%4 == 3 {
					status = "503 Service Unavailable"
				}
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status)
			}
		})
		ts.Check(err)
		addr, closer = server.Addr(), server.Close
	case "shop":
		server := httptest.NewServer(http.HandlerFunc(shop))
		addr, closer = server.Listener.Addr().String(), func() error { server.Close(); return nil }
	case "say", "greet": // greet speaks first
		text, err := strconv.Unquote(`"` + args[2] + `"`)
		ts.Check(err)
		server, err := testnet.ListenTCP(func(conn net.Conn) {
			if args[1] == "greet" {
				_, _ = conn.Write([]byte(text))
			}
			// Everything a client of these scripts says fits one segment.
			if _, err := conn.Read(make([]byte, 4096)); err == nil && args[1] == "say" {
				_, _ = conn.Write([]byte(text))
			}
		})
		ts.Check(err)
		addr, closer = server.Addr(), server.Close
	case "names": // over DNS: the records of a zone
		zone, err := testnet.NewZone(args[2:]...)
		ts.Check(err)
		server, err := testnet.ListenDNS(zone.Serve)
		ts.Check(err)
		addr, closer = server.Addr(), server.Close
	default:
		ts.Fatalf("serve: no mode %q", args[1])
	}
	ts.Defer(func() { _ = closer() })
	ts.Setenv(args[0], addr)
}

// interrupt runs a command whose check knocks at $KNOCK, sends it an interrupt
// then, and demands its exit code: interrupt 130 sonde run
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt CODE PROGRAM [ARG]...")
	}
	knocked := make(chan struct{}, 64)
	server, err := testnet.ListenTCP(func(conn net.Conn) {
		knocked <- struct{}{}
		testnet.Silence(conn)
	})
	ts.Check(err)
	defer func() { _ = server.Close() }()

	cmd := self(ts, args[1:], "KNOCK="+server.Addr())
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-knocked:
		ts.Check(cmd.Process.Signal(os.Interrupt))
		err = <-ended
	case err = <-ended:
	}
	demand(ts, args[0], err)
}

// self returns a command of this program. The test binary is its own sonde: it
// goes by the name that it is called.
func self(ts *testscript.TestScript, args []string, env ...string) *exec.Cmd {
	path, err := os.Executable()
	ts.Check(err)
	cmd := exec.Command(path)
	cmd.Args = args
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(env, "HOME="+ts.Getenv("HOME"), "TMPDIR="+ts.Getenv("TMPDIR"), "SONDE_EXAMPLE="+ts.Getenv("SONDE_EXAMPLE"))
	return cmd
}

// interruptAt runs a command, sends it an interrupt when its output holds the
// text, and demands its exit code: interruptAt TEXT 0 sonde playground
func interruptAt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: interruptAt TEXT CODE PROGRAM [ARG]...")
	}
	cmd := self(ts, args[2:])
	cmd.Stderr = ts.Stderr()
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		_, _ = fmt.Fprintln(ts.Stdout(), lines.Text())
		if strings.Contains(lines.Text(), args[0]) {
			ts.Check(cmd.Process.Signal(os.Interrupt))
		}
	}
	demand(ts, args[1], cmd.Wait())
}

// unreadPipe runs a command whose standard output is a pipe that nobody reads,
// and demands its exit code: unread 0 sonde kinds
func unreadPipe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: unread CODE PROGRAM [ARG]...")
	}
	r, w, err := os.Pipe()
	ts.Check(err)
	ts.Check(r.Close())
	defer w.Close()
	cmd := self(ts, args[1:])
	cmd.Stdout, cmd.Stderr = w, ts.Stderr()
	demand(ts, args[0], cmd.Run())
}

// repeat writes a line many times: repeat FILE COUNT LINE
func repeat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: repeat FILE COUNT LINE")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Repeat(args[2]+"\n", n)), 0o644))
}

// onlyFiles demands that a folder holds these files and no more, hidden ones
// counted and folders not: files FOLDER FILE...
func onlyFiles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: files FOLDER [FILE]...")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var have []string
	for _, e := range entries {
		if !e.IsDir() || args[0] != "." {
			have = append(have, e.Name())
		}
	}
	want := slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(have, want) {
		ts.Fatalf("%s holds %q, want %q", args[0], have, want)
	}
}

// binary writes bytes that are no text: binary FILE
func binary(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: binary FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("\x7fELF\x02\x01\x01\x00\xff\xfe\x00\x00version: 1"), 0o644))
}
