package cmd

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

func TestLineWriter(t *testing.T) {
	var out safeBuffer
	l := newLineWriter(&out, slog.New(slog.DiscardHandler), func(int) { t.Error("a result was lost") })
	for range 1000 {
		l.Put(check.Result{ID: "a"})
	}
	l.Close()
	if n := strings.Count(out.String(), `{"schema":1,"id":"a"`); n != 1000 || !strings.HasSuffix(out.String(), "}\n") {
		t.Errorf("%d lines", n)
	}
}

// TestLineWriterSlowReader loses nothing at the end while it becomes less, however
// long that takes.
func TestLineWriterSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		begin := time.Now()
		slow := writerFunc(func(p []byte) (int, error) {
			<-time.After(lineEnd - lineEnd/10)
			return out.Write(p)
		})
		l := newLineWriter(slow, slog.New(slog.DiscardHandler), func(int) { t.Error("a result was lost") })
		const results = 200
		for range results {
			l.Put(check.Result{ID: "a", Target: strings.Repeat("t", 100)})
		}
		l.Close()
		if n, took := strings.Count(out.String(), "\n"), time.Since(begin); n != results || took < 2*lineEnd {
			t.Errorf("%d lines after %v", n, took)
		}
	})
}

// TestLineWriterLoss tells how many results a reader that takes nothing has lost,
// those of the write that does not end included.
func TestLineWriterLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never, begin := make(chan struct{}), time.Now()
		var log safeBuffer
		l := newLineWriter(writerFunc(func([]byte) (int, error) {
			<-never
			return 0, syscall.EPIPE
		}), slog.New(slog.NewTextHandler(&log, nil)), func(int) {})
		for range 30 {
			l.Put(check.Result{ID: "a"})
		}
		l.Close()
		if !strings.Contains(log.String(), "results=30") || time.Since(begin) != lineEnd {
			t.Errorf("after %v: %s", time.Since(begin), log.String())
		}
		close(never)
		<-l.done
	})
}

// flaky fails the first write in the middle.
type flakyWriter struct {
	bytes.Buffer
	errs []error
}

func (w *flakyWriter) Write(p []byte) (int, error) {
	if len(w.errs) > 0 {
		err := w.errs[0]
		w.errs = w.errs[1:]
		n, _ := w.Buffer.Write(p[:len(p)/2])
		return n, err
	}
	return w.Buffer.Write(p)
}

// TestLineWriterFullDisk loses what does not fit, goes on when there is room
// again, and begins on a line of its own.
func TestLineWriterFullDisk(t *testing.T) {
	var log bytes.Buffer
	lost := 0
	w := &flakyWriter{errs: []error{syscall.ENOSPC, syscall.ENOSPC}}
	l := &lineWriter{w: w, log: slog.New(slog.NewTextHandler(&log, nil)), dropped: func(n int) { lost += n }}
	for range 3 {
		l.write(l.add(nil, &check.Result{ID: "a"}), 1)
	}
	lines := strings.Split(w.String(), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[2], `{"schema":1,"id":"a"`) || !strings.HasSuffix(lines[2], "}") {
		t.Errorf("%q", w.String())
	}
	if lost != 2 || strings.Count(log.String(), "results cannot be written, the checks go on") != 1 {
		t.Errorf("lost %d, log: %s", lost, &log)
	}
}

// TestLineWriterReaderGone says once that nobody reads.
func TestLineWriterReaderGone(t *testing.T) {
	var log safeBuffer
	var lost atomic.Int32
	l := newLineWriter(brokenWriter{syscall.EPIPE}, slog.New(slog.NewTextHandler(&log, nil)), func(n int) { lost.Add(int32(n)) })
	for range 10 {
		l.Put(check.Result{ID: "a"})
	}
	l.Close()
	if lost.Load() != 10 || strings.Count(log.String(), "went away") != 1 {
		t.Errorf("lost %d, log: %s", lost.Load(), &log)
	}
}

// TestLineWriterStuckReader loses results rather than wait for whoever does
// not read.
func TestLineWriterStuckReader(t *testing.T) {
	r, w := io.Pipe()
	var log safeBuffer
	var lost atomic.Int32
	l := newLineWriter(w, slog.New(slog.NewTextHandler(&log, nil)), func(n int) { lost.Add(int32(n)) })
	for range 3 * lineBacklog {
		l.Put(check.Result{ID: "a"})
	}
	if lost.Load() == 0 || strings.Count(log.String(), "too slow") != 1 {
		t.Errorf("lost %d, log: %s", lost.Load(), log.String())
	}
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(io.Discard, r) })
	l.Close()
	<-l.done
	w.Close()
	reading.Wait()
}

func TestTargetHost(t *testing.T) {
	for target, want := range map[string]string{
		"https://Www.Example.com./x": "www.example.com", "www.example.com": "www.example.com", "www.example.com:80": "www.example.com",
		"192.0.2.1": "192.0.2.1", "192.0.2.1:53": "192.0.2.1", "2001:db8::1": "2001:db8::1", "[2001:db8::1]:53": "2001:db8::1", "icmp://[::1]": "::1",
		"http://user:password@b.example/": "b.example", "a.example/../@b.example": "a.example", "https://a.example\\@b.example/": "",
		"a.example@b.example": "b.example", "https://": "", "": "", "http:///x": "", "dns:example.com": "", "http://a b/": "",
	} {
		if got, ok := targetHost(target); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", target, got, ok, want)
		}
	}
}
