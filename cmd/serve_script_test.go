package cmd

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/bcrypt"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// patience is how long a script waits for what must happen, on a machine that
// may be busy.
const patience = 2 * time.Minute

// TestServeScripts runs the scripts of testdata/serve, which are the contract
// of `sonde serve`.
func TestServeScripts(t *testing.T) {
	runDaemonScripts(t, "testdata/serve", scriptCommands{
		"exits": exits, "serve": serve, "daemon": startDaemon, "until": until, "post": post, "logged": logged,
		"hangup": hangup, "storm": storm, "unbroken": unbroken, "finish": finish, "credentials": credentials, "supervise": supervise, "notified": notified,
	})
}

type scriptCommands = map[string]func(*testscript.TestScript, bool, []string)

// runDaemonScripts runs scripts whose commands start processes of sonde in the
// background.
func runDaemonScripts(t *testing.T, dir string, commands scriptCommands) {
	t.Helper()
	example, err := filepath.Abs("../checks.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[daemonsKey{}] = &daemons{running: make(map[string]*running)}
			env.Vars = append(env.Vars, "NO_COLOR=", "CI=true", "SONDE_EXAMPLE="+example)
			return nil
		},
		Cmds: commands,
	})
}

type daemonsKey struct{}

// daemons are the processes of one script.
type daemons struct {
	running map[string]*running
	notes   *safeBuffer // what systemd would be told
}

type running struct {
	cmd      *exec.Cmd
	out, err safeBuffer
	ended    chan error
}

func daemonsOf(ts *testscript.TestScript) *daemons { return ts.Value(daemonsKey{}).(*daemons) }

// wait polls until f is true.
func wait(ts *testscript.TestScript, what func() string, f func() bool) {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			ts.Fatalf("waited for nothing: %s", what())
		}
		<-tick.C
	}
}

// startDaemon starts sonde in the background and sets the variable to the
// address that it serves: daemon NAME sonde serve FILE [FLAG]...
func startDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: daemon NAME sonde serve FILE [FLAG]...")
	}
	self, err := os.Executable()
	ts.Check(err)
	d := &running{cmd: exec.Command(self), ended: make(chan error, 1)}
	d.cmd.Args, d.cmd.Dir = args[1:], ts.MkAbs(".")
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.err
	switch ts.Getenv("STDOUT") {
	case "gone":
		r, w, err := os.Pipe()
		ts.Check(err)
		ts.Check(r.Close())
		defer w.Close()
		d.cmd.Stdout = w
	case "full":
		w, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		ts.Check(err)
		defer w.Close()
		d.cmd.Stdout = w
	}
	for _, name := range []string{"HOME", "TMPDIR", "PATH", "TARGET", "SONDE_EXAMPLE", "NOTIFY_SOCKET", "WATCHDOG_USEC"} {
		d.cmd.Env = append(d.cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(d.cmd.Start())
	go func() { d.ended <- d.cmd.Wait() }()
	daemonsOf(ts).running[args[0]] = d
	ts.Defer(func() { _ = d.cmd.Process.Kill(); ts.Logf("log of %s:\n%s", args[0], &d.err) })
	address := regexp.MustCompile(`msg"?[=:]"?serving"?[ ,]"?address"?[=:]"?([][0-9.:]+)`)
	var found []string
	wait(ts, func() string { return d.err.String() }, func() bool {
		found = address.FindStringSubmatch(d.err.String())
		return found != nil || len(d.ended) > 0
	})
	if found == nil {
		ts.Fatalf("%s ended: %s", args[0], &d.err)
	}
	ts.Setenv(args[0], found[1])
}

// until gets a URL until the answer has the code and matches: until [-user
// NAME:PASSWORD] [-cacert FILE] [-type ACCEPT] CODE URL REGEXP
func until(ts *testscript.TestScript, neg bool, args []string) {
	client, header, rest := clientOf(ts, args)
	if neg || len(rest) != 3 {
		ts.Fatalf("usage: until [-user U:P] [-cacert FILE] [-type ACCEPT] CODE URL REGEXP")
	}
	want := regexp.MustCompile("(?s)" + rest[2])
	var last string
	wait(ts, func() string { return last }, func() bool {
		last = answer(client, http.MethodGet, rest[1], header, want)
		code, body, _ := strings.Cut(last, " ")
		return code == rest[0] && want.MatchString(body)
	})
}

// post posts nothing to a URL and demands the code and the body: post CODE URL
// REGEXP
func post(ts *testscript.TestScript, neg bool, args []string) {
	client, header, rest := clientOf(ts, args)
	if neg || len(rest) != 3 {
		ts.Fatalf("usage: post CODE URL REGEXP")
	}
	got := answer(client, http.MethodPost, rest[1], header, nil)
	code, body, _ := strings.Cut(got, " ")
	if code != rest[0] || !regexp.MustCompile("(?s)"+rest[2]).MatchString(body) {
		ts.Fatalf("got %s", got)
	}
}

func clientOf(ts *testscript.TestScript, args []string) (*http.Client, http.Header, []string) {
	header, config := http.Header{}, &tls.Config{}
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-user":
			name, password, _ := strings.Cut(args[1], ":")
			r := http.Request{Header: header}
			r.SetBasicAuth(name, password)
		case "-cacert":
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AppendCertsFromPEM([]byte(ts.ReadFile(args[1])))
		case "-type":
			header.Set("Accept", args[1])
		default:
			header.Set(strings.TrimPrefix(args[0], "-"), args[1])
		}
		args = args[2:]
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	return &http.Client{Transport: transport, Timeout: patience}, header, args
}

// answer returns the code and the body of an answer. Of one that does not end
// it reads until it matches.
func answer(client *http.Client, method, url string, header http.Header, want *regexp.Regexp) string {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err.Error()
	}
	request.Header, request.Host = header, header.Get("Host")
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	var body bytes.Buffer
	chunk := make([]byte, 4096)
	for err == nil && (want == nil || response.Header.Get("Content-Type") != "text/event-stream" || !want.Match(body.Bytes())) {
		var n int
		n, err = response.Body.Read(chunk)
		body.Write(chunk[:n])
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", response.StatusCode, &body)
}

// logged waits for a line of a daemon's log: logged NAME REGEXP. With !, there
// is none so far.
func logged(ts *testscript.TestScript, neg bool, args []string) {
	d, want := daemonsOf(ts).running[args[0]], regexp.MustCompile(args[1])
	if neg {
		if want.MatchString(d.err.String()) {
			ts.Fatalf("found in %s", &d.err)
		}
		return
	}
	wait(ts, func() string { return d.err.String() }, func() bool { return want.MatchString(d.err.String()) })
}

// hangup sends a daemon SIGHUP: hangup NAME
func hangup(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(daemonsOf(ts).running[args[0]].cmd.Process.Signal(syscall.SIGHUP))
}

// finish sends a daemon SIGTERM, demands its exit code and writes its output
// to NAME.out: finish NAME CODE [-twice]
func finish(ts *testscript.TestScript, _ bool, args []string) {
	d := daemonsOf(ts).running[args[0]]
	ts.Check(d.cmd.Process.Signal(syscall.SIGTERM))
	if len(args) > 2 {
		wait(ts, func() string { return d.err.String() }, func() bool { return strings.Contains(d.err.String(), "stopping") })
		ts.Check(d.cmd.Process.Signal(os.Interrupt))
	}
	select {
	case err := <-d.ended:
		demand(ts, args[1], err)
	case <-time.After(patience):
		ts.Fatalf("%s does not end: %s", args[0], &d.err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), []byte(d.out.String()), 0o600))
}

// credentials writes web.yaml with a certificate for 127.0.0.1 and the user
// prom with the password secret, and ca.pem to verify it: credentials
func credentials(ts *testscript.TestScript, _ bool, _ []string) {
	ca, err := testnet.NewCA()
	ts.Check(err)
	cert, err := ca.Issue(testnet.CertOptions{Names: []string{"127.0.0.1"}})
	ts.Check(err)
	certPEM, keyPEM, err := pemOf(cert)
	ts.Check(err)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	ts.Check(err)
	web := "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {prom: '" + string(hash) + "'}\n"
	for name, text := range map[string][]byte{"web.yaml": []byte(web), "cert.pem": certPEM, "key.pem": keyPEM, "ca.pem": ca.PEM()} {
		ts.Check(os.WriteFile(ts.MkAbs(name), text, 0o600))
	}
}

// supervise listens where systemd would, for the daemons that begin after it:
// supervise
func supervise(ts *testscript.TestScript, _ bool, _ []string) {
	dir, err := os.MkdirTemp("", "notify") // a socket's path has to be short
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	ts.Check(err)
	notes := &safeBuffer{}
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			fmt.Fprintf(notes, "[%s]", b[:n])
		}
	})
	ts.Defer(func() { conn.Close(); reading.Wait() })
	daemonsOf(ts).notes = notes
	ts.Setenv("NOTIFY_SOCKET", path)
	ts.Setenv("WATCHDOG_USEC", "600000")
}

// notified waits until systemd was told something: notified REGEXP
func notified(ts *testscript.TestScript, _ bool, args []string) {
	notes, want := daemonsOf(ts).notes, regexp.MustCompile("(?s)"+args[0])
	wait(ts, func() string { return notes.String() }, func() bool { return want.MatchString(notes.String()) })
}
