package cmd

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a logWriter.
const (
	logBacklog = 4096        // lines that may wait for a slow reader
	logEnd     = time.Second // for what is left, at the end
)

// logWriter writes the lines of a log from a goroutine of its own, so that a
// reader who is slow or stuck holds up neither the measuring nor the end. Lines
// that find no room are counted and lost.
type logWriter struct {
	w      io.Writer
	tell   *slog.Logger // writes to w itself how many lines were lost
	lines  chan []byte
	lost   atomic.Int64
	ending chan struct{}
	once   sync.Once
	done   chan struct{}
}

// newLogWriter returns a writer for the handlers that make returns.
func newLogWriter(w io.Writer, handler func(io.Writer) slog.Handler) *logWriter {
	l := &logWriter{w: w, tell: slog.New(handler(w)), lines: make(chan []byte, logBacklog), ending: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// Write takes a line; it never fails and never waits.
func (l *logWriter) Write(line []byte) (int, error) {
	select {
	case l.lines <- bytes.Clone(line):
	default:
		l.lost.Add(1)
	}
	return len(line), nil
}

// Close writes what is left, for a short while. Lines that come later are lost.
func (l *logWriter) Close() {
	l.once.Do(func() { close(l.ending) })
	timer := time.NewTimer(logEnd)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	}
}

// run writes until Close, and then what is there.
func (l *logWriter) run() {
	defer close(l.done)
	for {
		select {
		case line := <-l.lines:
			l.write(line)
			continue
		case <-l.ending:
		}
		for {
			select {
			case line := <-l.lines:
				l.write(line)
			default:
				return
			}
		}
	}
}

// write writes a line, and what was lost while the one before took its time.
func (l *logWriter) write(line []byte) {
	_, _ = l.w.Write(line) // there is nowhere else to tell
	if n := l.lost.Swap(0); n > 0 {
		l.tell.Warn("the reader of standard error is too slow, lines of the log were lost", "lines", n)
	}
}
