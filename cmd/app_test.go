package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// process is an App with streams that a test can read.
type process struct {
	App
	out, err safeBuffer
	env      map[string]string
}

// safeBuffer can be read while a command that was left behind still writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newProcess(args ...string) *process {
	p := &process{env: map[string]string{}}
	p.App = App{
		Args: args, Stdin: strings.NewReader(""), Stdout: &p.out, Stderr: &p.err,
		LookupEnv: func(name string) (string, bool) { v, ok := p.env[name]; return v, ok },
		Now:       time.Now, Kinds: []check.Kind{toyKind()}, Build: Build{Version: "1.2.3"},
	}
	return p
}

func (p *process) demand(t *testing.T, code int) {
	t.Helper()
	if got := Main(p.App); got != code {
		t.Errorf("sonde %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(p.Args, " "), got, code, &p.out, &p.err)
	}
}

func TestHelpAndUsage(t *testing.T) {
	help := newProcess("--help")
	help.demand(t, ExitOK)
	if help.err.String() != "" || !strings.Contains(help.out.String(), "Exit codes") {
		t.Errorf("--help: stdout %q, stderr %q", &help.out, &help.err)
	}
	bare := newProcess()
	bare.demand(t, ExitUsage)
	if bare.out.String() != "" || !strings.Contains(bare.err.String(), "Exit codes") {
		t.Errorf("without a command: stdout %q, stderr %q", &bare.out, &bare.err)
	}
}

func TestEveryCommandHasExamples(t *testing.T) {
	for _, c := range Root(newProcess().App).Commands() {
		if c.Name() == "completion" || c.Name() == "help" || c.Name() == "version" {
			continue
		}
		if c.Example == "" && !strings.Contains(c.Long, "sonde "+c.Name()) {
			t.Errorf("sonde %s has no example", c.Name())
		}
	}
}

// TestFirstSignal ends a run with what is known so far.
func TestFirstSignal(t *testing.T) {
	signals := make(chan os.Signal, 1)
	p := newProcess("check", "toy://up", "toy://hang", "--report", "json")
	p.Signals = signals
	p.Kinds[0] = announced(p.Kinds[0], func() { signals <- os.Interrupt })
	p.demand(t, ExitInterrupted)
	var document struct {
		ExitCode int `json:"exit_code"`
		Results  []struct {
			Verdict check.Verdict
			Reason  check.Reason
		}
	}
	if err := json.Unmarshal([]byte(p.out.String()), &document); err != nil {
		t.Fatalf("%v in %s", err, &p.out)
	}
	if document.ExitCode != ExitInterrupted || len(document.Results) != 2 {
		t.Fatalf("got %+v", document)
	}
	if got := document.Results[1]; got.Verdict != check.Unknown || got.Reason.Code != check.LocalShutdown {
		t.Errorf("the check that was interrupted: %+v", got)
	}
	if !strings.Contains(p.err.String(), "interrupted") {
		t.Errorf("stderr says nothing of it: %s", &p.err)
	}
}

// TestSecondSignal leaves at once, though nobody reads the report.
func TestSecondSignal(t *testing.T) {
	signals := make(chan os.Signal, 2)
	p := newProcess("check", "toy://up")
	p.Signals = signals
	p.Stdout = writerFunc(func([]byte) (int, error) {
		signals <- os.Interrupt
		signals <- syscall.SIGTERM
		select {}
	})
	p.demand(t, ExitInterrupted)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestSignalWithoutResults leaves at once when nothing is measured yet.
func TestSignalWithoutResults(t *testing.T) {
	signals := make(chan os.Signal, 1)
	p := newProcess("check", "toy://up", "--data", "@-")
	p.Signals = signals
	p.Stdin = readerFunc(func([]byte) (int, error) {
		signals <- os.Interrupt
		select {}
	})
	p.demand(t, ExitInterrupted)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// announced calls f when a probe that does not end by itself has begun.
func announced(k check.Kind, f func()) check.Kind {
	inner := k.New
	k.New = func() check.Options { return &announcedOptions{toyOptions: inner().(*toyOptions), f: f} }
	return k
}

type announcedOptions struct {
	*toyOptions
	f func()
}

func (o *announcedOptions) Build(s check.Setup) (check.Plan, error) {
	plan, err := o.toyOptions.Build(s)
	if o.Does == "hang" {
		plan.Probe = announcedProbe{plan.Probe, o.f}
	}
	return plan, err
}

type announcedProbe struct {
	check.Probe
	f func()
}

func (p announcedProbe) Observe(ctx context.Context) check.Observation {
	p.f()
	return p.Probe.Observe(ctx)
}

func TestTerminal(t *testing.T) {
	tests := []struct {
		name        string
		width       int
		env         map[string]string
		flags       []string
		color, card bool
	}{
		{name: "pipe"},
		{name: "terminal", width: 80, color: true, card: true},
		{name: "NO_COLOR", width: 80, env: map[string]string{"NO_COLOR": "1"}, card: true},
		{name: "NO_COLOR empty", width: 80, env: map[string]string{"NO_COLOR": ""}, color: true, card: true},
		{name: "dumb", width: 80, env: map[string]string{"TERM": "dumb"}, card: true},
		{name: "CI", width: 80, env: map[string]string{"CI": "true"}, card: true},
		{name: "always in a pipe", flags: []string{"--color", "always"}, color: true},
		{name: "always over NO_COLOR", env: map[string]string{"NO_COLOR": "1"}, flags: []string{"--color=always"}, color: true},
		{name: "never", width: 80, flags: []string{"--color", "never"}, card: true},
		{name: "table on a terminal", width: 80, flags: []string{"--report", "table"}, color: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newProcess(append([]string{"check", "toy://down"}, tt.flags...)...)
			p.StdoutWidth, p.env = tt.width, tt.env
			p.demand(t, ExitDown)
			if got := strings.Contains(p.out.String(), "\x1b["); got != tt.color {
				t.Errorf("colour %v, want %v: %q", got, tt.color, &p.out)
			}
			if got := !strings.Contains(p.out.String(), "VERDICT"); got != tt.card {
				t.Errorf("card %v, want %v: %q", got, tt.card, &p.out)
			}
		})
	}
}

// TestProgress shows progress on a terminal's standard error only, and never
// on standard output.
func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		width int
		env   map[string]string
		want  bool
	}{{0, nil, false}, {80, nil, true}, {80, map[string]string{"CI": "true"}, false}, {80, map[string]string{"TERM": "dumb"}, false}} {
		p := newProcess()
		p.StderrWidth, p.env = tt.width, tt.env
		if got := p.animate(); got != tt.want {
			t.Errorf("width %d, environment %v: %v", tt.width, tt.env, got)
		}
	}
}

// brokenWriter fails as a full disk or a reader that went away does.
type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestBrokenStdout(t *testing.T) {
	full := newProcess("check", "toy://up")
	full.Stdout = brokenWriter{syscall.ENOSPC}
	full.demand(t, ExitUsage)
	if !strings.Contains(full.err.String(), "standard output") || !strings.Contains(full.err.String(), syscall.ENOSPC.Error()) {
		t.Errorf("a full disk: %q", &full.err)
	}
	down := newProcess("check", "toy://down")
	down.Stdout = brokenWriter{syscall.ENOSPC}
	down.demand(t, ExitDown)

	gone := newProcess("check", "toy://up")
	gone.Stdout = brokenWriter{syscall.EPIPE}
	gone.demand(t, ExitOK)
	if gone.err.String() != "" {
		t.Errorf("a reader that went away: %q", &gone.err)
	}
}

func TestAtomicFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.json")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken, err := createAtomic(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = broken.WriteString("half")
	broken.discard()
	demandFile(t, path, "before", err)

	whole, err := createAtomic(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = whole.WriteString("after")
	demandFile(t, path, "before", err)
	demandFile(t, path, "after", whole.commit())
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode %v, %v: what was private is not any more", info.Mode(), err)
	}
}

func demandFile(t *testing.T, path, want string, err error) {
	t.Helper()
	got, readErr := os.ReadFile(path)
	if err := errors.Join(err, readErr); err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

func TestAtomicFileRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "no", "such"), filepath.Join(dir, "x\x00y"), strings.Repeat("n", 5000)} {
		if f, err := createAtomic(path); err == nil {
			f.discard()
			t.Errorf("%.40q was opened", path)
		}
	}
}

// TestAtomicFileBehindALink replaces what the link leads to, with its mode, and
// leaves the link.
func TestAtomicFileBehindALink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("making a link is a privilege here")
		return
	}
	dir := t.TempDir()
	target, link := filepath.Join(t.TempDir(), "real.json"), filepath.Join(dir, "link.json")
	err := os.WriteFile(target, []byte("before"), 0o640)
	if err := errors.Join(err, os.Chmod(target, 0o640), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	f, err := createAtomic(link)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("after")
	demandFile(t, target, "before", err)
	demandFile(t, target, "after", f.commit())
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left beside the link: %v, %v", entries, err)
	}
}
