package cmd

import (
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// Bounds of a lineWriter.
const (
	lineBacklog = 16384           // results that may wait for a slow reader
	lineBatch   = 8 << 10         // bytes of one write, each of which is seen to go on at the end
	lineEnd     = 2 * time.Second // at the end: what takes nothing for so long is stuck ...
	lineEnds    = 10              // ... and what takes some may have as many such spans
	complain    = time.Minute     // between two lines of the log about the same
)

// lineWriter writes results as lines of JSON from a goroutine of its own, so
// that neither a reader that is slow or gone nor a full disk holds up the
// measuring. What cannot be written is counted and lost.
type lineWriter struct {
	w       io.Writer
	log     *slog.Logger
	dropped func(n int)
	results chan *check.Result
	done    chan struct{}
	left    atomic.Int64 // results that are neither written nor lost

	full time.Time // when it was last said that the backlog is full; of Put

	gone bool      // the reader went away
	torn bool      // the last write ended inside a line
	said time.Time // when a failed write was last logged
}

func newLineWriter(w io.Writer, log *slog.Logger, dropped func(n int)) *lineWriter {
	l := &lineWriter{w: w, log: log, dropped: dropped, results: make(chan *check.Result, lineBacklog), done: make(chan struct{})}
	go l.run()
	return l
}

// Put takes a result; it never fails and never waits.
func (l *lineWriter) Put(r check.Result) error {
	l.left.Add(1)
	select {
	case l.results <- &r:
	default:
		l.left.Add(-1)
		l.dropped(1)
		if now := time.Now(); now.Sub(l.full) > complain {
			l.full = now
			l.log.Error("the reader of standard output is too slow, results are lost", "backlog", lineBacklog)
		}
	}
	return nil
}

// Close writes what is left for as long as it becomes less, so that neither a
// reader that is slow for a moment nor a busy machine loses results.
func (l *lineWriter) Close() error {
	close(l.results)
	tick := time.NewTicker(lineEnd)
	defer tick.Stop()
	left := l.left.Load()
	for range lineEnds {
		select {
		case <-l.done:
			return nil
		case <-tick.C:
		}
		before := left
		if left = l.left.Load(); left == before {
			break
		}
	}
	l.log.Error("standard output does not take what is left", "results", left)
	return nil
}

// run writes batches until Close.
func (l *lineWriter) run() {
	defer close(l.done)
	var batch []byte
	for r := range l.results {
		batch = l.add(batch[:0], r)
		lines := 1
		for more := true; more && len(batch) < lineBatch; {
			select {
			case r, open := <-l.results:
				if more = open; open {
					batch = l.add(batch, r)
					lines++
				}
			default:
				more = false
			}
		}
		l.write(batch, lines)
		l.left.Add(int64(-lines))
	}
}

func (l *lineWriter) add(batch []byte, r *check.Result) []byte {
	line, err := report.Line(*r)
	if err != nil { // cannot happen: a result is plain data
		return batch
	}
	return append(batch, line...)
}

func (l *lineWriter) write(batch []byte, lines int) {
	if l.gone {
		l.dropped(lines)
		return
	}
	if l.torn { // what follows half a line begins on one of its own
		batch = append([]byte("\n"), batch...)
	}
	n, err := l.w.Write(batch)
	if err == nil {
		l.torn = false
		return
	}
	if n > 0 {
		l.torn = batch[n-1] != '\n'
	}
	l.dropped(lines)
	if errors.Is(err, syscall.EPIPE) {
		l.gone = true
		l.log.Error("the reader of standard output went away, the checks go on without it")
		return
	}
	if now := time.Now(); now.Sub(l.said) > complain {
		l.said = now
		l.log.Error("results cannot be written, the checks go on", "to", "standard output", "error", err.Error(), "lost", lines)
	}
}
