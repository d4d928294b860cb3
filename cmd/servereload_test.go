package cmd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/config"
)

// newDaemon returns a daemon that is built and does not run, and its log.
func newDaemon(t *testing.T, text string) (*server, *safeBuffer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "checks.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log safeBuffer
	d := &server{app: &newProcess().App, flags: &serveFlags{detail: 10}, files: []string{file}, log: slog.New(textLog(&log)), life: context.Background()}
	d.build(d.load(t))
	return d, &log
}

func (d *server) load(t *testing.T) *config.Set {
	t.Helper()
	set, err := d.app.loadLoop(context.Background(), &d.flags.loopFlags, d.files, false)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const oneCheck = "version: 1\nchecks: [{name: a, toy: {does: up}}]\n"

// TestReloadEndsWithTheDaemon says nothing of a reload that the end cut short.
func TestReloadEndsWithTheDaemon(t *testing.T) {
	d, log := newDaemon(t, oneCheck)
	before := log.String()
	var end context.CancelFunc
	d.life, end = context.WithCancel(context.Background())
	end()
	if err := d.again("test"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got := log.String(); got != before {
		t.Errorf("log: %s", got)
	}
}

// TestReloadKeepsLimits keeps a limit that the file does not have any more until
// a restart, as the log says.
func TestReloadKeepsLimits(t *testing.T) {
	d, log := newDaemon(t, "limits: {per_host: 1}\n"+oneCheck)
	if err := os.WriteFile(d.files[0], []byte(oneCheck), 0o600); err != nil {
		t.Fatal(err)
	}
	set := d.load(t)
	d.apply(set)
	if set.Checks[0].Host != "up" || !strings.Contains(log.String(), "they take effect after a restart") {
		t.Errorf("host %q, log: %s", set.Checks[0].Host, log.String())
	}
}
