//go:build oracle && !windows

package cmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// terminal is a tmux with a shell command in it: a real terminal's idea of what
// sonde draws.
type terminal struct {
	t      *testing.T
	socket string
	pid    string // file with that of sonde
}

// newTerminal starts sonde in a terminal of a size, and says "left CODE" after
// it.
func newTerminal(t *testing.T, width, height int, args ...string) *terminal {
	t.Helper()
	dir, err := os.MkdirTemp("", "tmux") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "sonde")); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, socket: filepath.Join(dir, "s"), pid: filepath.Join(dir, "pid")}
	t.Cleanup(func() {
		_ = term.command("kill-server").Run()
		_ = os.RemoveAll(dir)
	})
	line := fmt.Sprintf("sh -c 'echo $$ > %s; exec env -u CI -u NO_COLOR %s %s'; echo left $?; exec sleep 600",
		term.pid, filepath.Join(dir, "sonde"), strings.Join(args, " "))
	term.run("new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), line)
	return term
}

func (term *terminal) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(context.Background(), "tmux", append([]string{"-u", "-S", term.socket, "-f", os.DevNull}, args...)...)
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SHELL=/bin/sh", "SONDE_EXAMPLE="+os.DevNull)
	return c
}

func (term *terminal) run(args ...string) string {
	term.t.Helper()
	out, err := term.command(args...).CombinedOutput()
	if err != nil {
		term.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (term *terminal) keys(keys ...string) {
	term.t.Helper()
	term.run(append([]string{"send-keys"}, keys...)...)
}

func (term *terminal) resize(width, height int) {
	term.t.Helper()
	term.run("resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
}

// shows waits until the screen matches.
func (term *terminal) shows(want string) {
	term.t.Helper()
	re := regexp.MustCompile(want)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var screen string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if screen = term.run("capture-pane", "-p"); re.MatchString(screen) {
			return
		}
	}
	term.t.Fatalf("the screen does not come to show %s:\n%s", want, screen)
}

// restored demands that the main screen is back, with its cursor.
func (term *terminal) restored() {
	term.t.Helper()
	term.shows(`(?m)^left 0$`)
	if got := strings.TrimSpace(term.run("display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}")); got != "0 1 0" {
		term.t.Errorf("alternate screen, cursor, mouse: %s, want 0 1 0", got)
	}
}

func checksFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "checks.yaml")
	if err := os.WriteFile(file, []byte("version: 1\ndefaults: {interval: 5s, timeout: 5s}\nchecks:\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestOracleWatchOneCheck(t *testing.T) {
	for _, width := range []int{80, 200} {
		t.Run(strconv.Itoa(width), func(t *testing.T) {
			other := 280 - width
			term := newTerminal(t, width, 24, "watch", checksFile(t, "  - {name: one, toy: {does: down, note: \"\\e[2Jhello\"}}\n"), "--interval", "1s")
			term.shows(`(?s)^sonde watch  1 check: 1 down.*▸ ✗ down      one +toy://down .*q leave`)
			term.keys("Enter")
			term.shows(`(?s)─{` + strconv.Itoa(width) + `}\n✗ down  one  toy://down.*connect.refused: nobody is at home.*note +\\x1b\[2Jhello.*esc close`)
			term.resize(other, 40)
			term.shows(`(?s)─{` + strconv.Itoa(other) + `}\n✗ down  one.*esc close`)
			term.resize(width, 10)
			term.shows(`(?s)─{` + strconv.Itoa(width) + `}\n✗ down  one.*esc close`)
			term.keys("Escape")
			term.shows(`enter detail`)
			term.keys("q")
			term.restored()
		})
	}
}

func TestOracleWatchManyChecks(t *testing.T) {
	for _, width := range []int{80, 200} {
		t.Run(strconv.Itoa(width), func(t *testing.T) {
			dir := t.TempDir()
			var names strings.Builder
			for i := range 5000 {
				fmt.Fprintf(&names, "%04d\n", i)
			}
			if err := os.WriteFile(filepath.Join(dir, "names.txt"), []byte(names.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			file := checksFile(t, "  - {name: n, each: {n: {file: "+filepath.Join(dir, "names.txt")+"}}, toy: {does: up}}\n  - {name: broken, toy: {does: down}}\n")
			term := newTerminal(t, width, 24, "watch", file)
			term.shows(`sonde watch  5001 checks: 1 down, 5000 up`)
			term.keys("G")
			term.shows(`▸ ✗ down      broken`)
			term.keys("g", "s")
			term.shows(`(?s)SINCE\n. ✗ down      broken.*sort: verdict`)
			term.resize(280-width, 50)
			term.shows(`(?s)SINCE\n. ✗ down      broken(.*up        n\[){20}`)
			term.keys("/")
			term.keys("-l", "n[4321]")
			term.shows(`(?s)SINCE\n▸ ✓ up        n\[4321\][^\n]*\n\n.*/n\[4321\]`)
			term.resize(width, 12)
			term.keys("Enter")
			term.shows(`(?s)n\[4321\].*/ filter`)
			term.keys("C-c")
			term.restored()
		})
	}
}

// kill sends the program a signal.
func (term *terminal) kill(s syscall.Signal) {
	term.t.Helper()
	text, err := os.ReadFile(term.pid)
	if err != nil {
		term.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		term.t.Fatal(err)
	}
	if err := syscall.Kill(pid, s); err != nil {
		term.t.Fatal(err)
	}
}

// A signal restores the terminal, too.
func TestOracleWatchIsEndedBySignal(t *testing.T) {
	term := newTerminal(t, 80, 24, "watch", checksFile(t, "  - {name: one, toy: {does: up}}\n"))
	term.shows(`1 up`)
	term.kill(syscall.SIGTERM)
	term.restored()
}
