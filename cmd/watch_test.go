package cmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// TestWatchStuckReader leaves although nobody reads what was written.
func TestWatchStuckReader(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checks.yaml")
	if err := os.WriteFile(file, []byte("version: 1\ndefaults: {interval: 1s, timeout: 1s}\nchecks: [{name: a, toy: {does: up}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGate()
	defer close(g.open)
	p := newProcess()
	p.Stdout, p.measuring = g, new(atomic.Bool)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		<-g.entered
		cancel(errInterrupted)
	}()
	if err := p.watch(ctx, &watchFlags{color: choice{value: "never"}}, []string{file}); err != nil {
		t.Error(err)
	}
	if !errors.Is(context.Cause(ctx), errInterrupted) {
		t.Error("it ended by itself")
	}
}
