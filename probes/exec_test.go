//go:build !windows

package probes

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// buildExec builds a check that runs sh, whose script is the only argument.
func buildExec(t *testing.T, script string, change func(*execOptions), asked ...string) check.Plan {
	t.Helper()
	o := &execOptions{Command: []string{"sh", "-c", script}, MaxOutput: defaultMaxOutput}
	if change != nil {
		change(o)
	}
	setup := needs(asked...)
	setup.Getenv = os.Getenv
	plan, err := o.Build(setup)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func observeExec(t *testing.T, script string, change func(*execOptions), asked ...string) check.Observation {
	t.Helper()
	o := buildExec(t, script, change, asked...).Probe.Observe(timeout(t, patience))
	for _, k := range Kinds() {
		if k.Name == "exec" {
			checkObservation(t, k, o)
		}
	}
	return o
}

func TestExecFacts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		change func(*execOptions)
		want   map[string]any
	}{
		"success": {`echo hello; echo oops >&2`, nil, map[string]any{"exit_code": 0, "signal": "", "stdout": "hello\n", "stderr": "oops\n", "output": "hello", "truncated": false}},
		"failure": {`exit 7`, nil, map[string]any{"exit_code": 7, "signal": "", "output": ""}},
		"signal":  {`kill -SEGV $$`, nil, map[string]any{"exit_code": 128 + int(syscall.SIGSEGV), "signal": "SIGSEGV"}},
		"stdin":   {`cat`, func(o *execOptions) { o.Stdin = "in" }, map[string]any{"stdout": "in"}},
		"unread":  {`exec true`, func(o *execOptions) { o.Stdin = strings.Repeat("x", 1<<20) }, map[string]any{"exit_code": 0}},
		"env":     {`echo $WORD`, func(o *execOptions) { o.Env = map[string]string{"WORD": "given"} }, map[string]any{"output": "given"}},
		"dir":     {`pwd`, func(o *execOptions) { o.Dir = "/" }, map[string]any{"output": "/"}},
		"json":    {`echo '{"a": [1]}'`, nil, map[string]any{"json": map[string]any{"a": []any{1.0}}}},
		"escapes": {`printf '\033[31mred\033[0m\a\nsecond'`, nil, map[string]any{"output": "[31mred[0m"}},
		"words":   {"", func(o *execOptions) { o.Command = []string{"printf", "%s", "$HOME; `id`"} }, map[string]any{"stdout": "$HOME; `id`"}},
		"cut":     {`echo 0123456789`, func(o *execOptions) { o.MaxOutput = 4 }, map[string]any{"stdout": "0123", "truncated": true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantFacts(t, observeExec(t, c.script, c.change, "json"), check.FactsOf(c.want))
		})
	}
}

// TestExecEnvironment shows that a program sees no variable which the check does
// not give it.
func TestExecEnvironment(t *testing.T) {
	t.Setenv("SONDE_TEST_SECRET", "canary")
	if o := observeExec(t, `env`, nil); strings.Contains(o.Facts.Get("stdout").(string), "canary") {
		t.Errorf("the program sees %v", o.Facts.Get("stdout"))
	}
}

// TestExecCannotRun is of what says nothing about the target.
func TestExecCannotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		command []string
		dir     string
		want    check.Code
	}{
		"no such name":     {[]string{"no-such-program-here"}, "", check.LocalProgram},
		"no such path":     {[]string{filepath.Join(dir, "none")}, "", check.LocalProgram},
		"no such dir":      {[]string{"true"}, filepath.Join(dir, "none"), check.LocalProgram},
		"not executable":   {[]string{write("plain", "x", 0o600)}, "", check.LocalPermission},
		"a directory":      {[]string{dir}, "", check.LocalPermission},
		"no program":       {[]string{write("garbage", "\x00\x01", 0o700)}, "", check.LocalProgram},
		"no interpreter":   {[]string{write("script", "#!/no/such/shell\n", 0o700)}, "", check.LocalProgram},
		"too many letters": {[]string{"true", strings.Repeat("x", 4<<20)}, "", check.LocalProgram},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := observeExec(t, "", func(o *execOptions) { o.Command, o.Dir = c.command, c.dir })
			wantFailure(t, o, c.want)
		})
	}
}

// TestExecWhereOthersChoose shows that no program runs for /probe.
func TestExecWhereOthersChoose(t *testing.T) {
	t.Parallel()
	ran := filepath.Join(t.TempDir(), "ran")
	ctx := Restrict(timeout(t, patience), func(netip.Addr) error { return nil })
	o := buildExec(t, `touch `+ran, nil).Probe.Observe(ctx)
	wantFailure(t, o, check.LocalPermission)
	if _, err := os.Stat(ran); err == nil {
		t.Error("the program ran")
	}
}

// TestExecHostilePrograms has programs that want to be waited for, and looks for
// what they leave behind.
func TestExecHostilePrograms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		ends   bool // of itself
	}{
		"sleeps":               {`sleep 600 & echo $! >>$PIDS; wait`, false},
		"ignores SIGTERM":      {`trap '' TERM INT HUP; while :; do sleep 600; done`, false},
		"endless output":       {`exec yes`, false},
		"endless errors":       {`exec yes >&2`, false},
		"closes its streams":   {`exec >&- 2>&- <&-; exec sleep 600`, false},
		"stops itself":         {`kill -STOP $$; sleep 600`, false},
		"children":             {`for i in 1 2 3 4 5 6 7 8; do (sleep 600 & echo $! >>$PIDS; wait) & done; wait`, false},
		"child holds stdout":   {`sleep 600 & echo $! >>$PIDS; echo done`, true},
		"child floods stdout":  {`yes & echo $! >>$PIDS; exit 0`, true},
		"other session stays":  {`setsid sh -c 'echo $$ >>$PIDS; exec sleep 2' & while [ ! -s $PIDS ]; do sleep 0.01; done; exit 0`, true},
		"other session, hangs": {`setsid sh -c 'echo $$ >>$PIDS; exec sleep 2' & sleep 600`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(t.TempDir(), "pids")
			plan := buildExec(t, `echo $$ >>$PIDS; `+c.script, func(o *execOptions) { o.Env = map[string]string{"PIDS": pids} })
			limit := brief
			if c.ends {
				limit = patience
			}
			o := promptly(t, plan.Probe, limit)
			want := check.ExecTimeout
			if c.ends {
				want = ""
				if o.Latency > patience/2 {
					t.Errorf("waited %v", o.Latency)
				}
			}
			wantFailure(t, o, want)
			if !strings.HasPrefix(name, "other session") { // which left the group on purpose
				wantGone(t, pids)
			}
		})
	}
}

// wantGone waits until none of the processes runs: a killed one takes a moment,
// and until init has looked at it, it is a zombie.
func wantGone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return // it was killed before it could write
	}
	deadline := time.Now().Add(patience)
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		for running(pid) {
			if time.Now().After(deadline) {
				t.Errorf("the process %d outlived the run", pid)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// running reports whether the process runs; a zombie does not.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestExecOptions(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*execOptions){
		"command: names no program":               func(o *execOptions) { o.Command = nil },
		"command: an argument cannot contain":     func(o *execOptions) { o.Command = []string{"a", "\x00"} },
		"env: \"A=B\" cannot be":                  func(o *execOptions) { o.Env = map[string]string{"A=B": ""} },
		"max_output: 1MiB is not from 1B to 512K": func(o *execOptions) { o.MaxOutput = 1 << 20 },
	} {
		o := &execOptions{Command: []string{"true"}, MaxOutput: defaultMaxOutput}
		change(o)
		if _, err := o.Build(needs()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestExecReproduce(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]*execOptions{
		`cd / && env 'A=b c' sh -c 'exit 1'`: {Command: []string{"sh", "-c", "exit 1"}, Dir: "/", Env: map[string]string{"A": "b c"}},
		`printf %s 'a b' | grep c`:           {Command: []string{"grep", "c"}, Stdin: "a b"},
		`'A=b' c`:                            {Command: []string{"A=b", "c"}},
		`'if' c`:                             {Command: []string{"if", "c"}},
	} {
		o.MaxOutput = largestMaxOutput
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, plan.Probe.Observe(within(t, patience)).Reproduce()); diff != "" {
			t.Error(diff)
		}
	}
}
