package cmd

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

// gate is a writer that writes nothing until it is opened.
type gate struct {
	safeBuffer
	entered, open chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 1), open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	select {
	case g.entered <- struct{}{}:
	default:
	}
	<-g.open
	return g.safeBuffer.Write(p)
}

func textLog(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) }

// TestLogWriterStuckReader neither waits for a reader that is stuck, not even at
// the end, nor hides what was lost meanwhile.
func TestLogWriterStuckReader(t *testing.T) {
	g := newGate()
	l := newLogWriter(g, textLog)
	fmt.Fprintln(l, "first")
	<-g.entered
	for range logBacklog + 3 {
		fmt.Fprintln(l, "line")
	}
	l.Close()
	close(g.open)
	<-l.done
	l.Close()
	if got := g.String(); strings.Count(got, "line\n") != logBacklog || !strings.Contains(got, `first
time=`) || !strings.Contains(got, "lines of the log were lost\" lines=3\n") {
		t.Errorf("%d bytes: %.300s", len(got), got)
	}
}

// TestLogWriterEnd writes all that was logged before the end.
func TestLogWriterEnd(t *testing.T) {
	var out safeBuffer
	l := newLogWriter(&out, textLog)
	log := slog.New(textLog(l))
	for range 100 {
		log.Info("said")
	}
	l.Close()
	if n := strings.Count(out.String(), "msg=said\n"); n != 100 {
		t.Errorf("%d lines", n)
	}
}
