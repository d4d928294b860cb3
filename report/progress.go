package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// progressEvery is the shortest time between two drawings of the line, and
// from the start to the first one: a quick run shows none.
const progressEvery = 100 * time.Millisecond

// eraseLine goes to the line's begin and clears it (ECMA-48 CR and EL).
const eraseLine = "\r\x1b[K"

// ProgressLine is one line of a terminal that tells how far a run is. It is
// safe for concurrent use, so that workers can call Start while a sink puts.
type ProgressLine struct {
	mu      sync.Mutex
	w       io.Writer
	o       Options
	p       palette
	sum     check.Summary
	running map[string]uint64 // when each began, as a count
	started uint64
	last    time.Time   // of the last drawing
	pending *time.Timer // draws later what came too early; nil when none is due
	shown   bool
	closed  bool
	err     error // of the first write that failed; nothing is drawn after it
}

// Progress returns a progress line on w, which must be a terminal. It draws at
// most ten times a second and nothing in the first tenth.
func Progress(w io.Writer, o Options) *ProgressLine {
	if o.Width == 0 {
		o.Width = cardWidth
	}
	return &ProgressLine{
		w: w, o: o.withDefaults(), p: newPalette(o.Color),
		running: make(map[string]uint64), last: time.Now(),
	}
}

// Start tells that a check is being measured now. It fits scheduler's OnStart.
func (l *ProgressLine) Start(c *check.Check) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := c.Mask.String(c.ID)
	if _, again := l.running[id]; !again {
		l.started++
		l.running[id] = l.started
	}
	l.changed()
}

// Put counts a result. It never fails: measuring does not end because nobody
// sees the progress.
func (l *ProgressLine) Put(r check.Result) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, r.ID)
	l.sum.Add(r)
	l.changed()
	return nil
}

// Clear removes the line until the next change, to make room for other output.
func (l *ProgressLine) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}

// Close removes the line for good and returns the first error of writing it.
func (l *ProgressLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending != nil {
		l.pending.Stop()
		l.pending = nil
	}
	l.erase()
	l.closed = true
	return wrap("progress", l.err)
}

// Over returns a sink that clears the line before it passes results on to s,
// for reports that write to the same terminal while the run goes on. Closing
// it closes s, not the line.
func (l *ProgressLine) Over(s check.Sink) check.Sink { return over{l, s} }

type over struct {
	line *ProgressLine
	sink check.Sink
}

func (o over) Put(r check.Result) error {
	o.line.Clear()
	return o.sink.Put(r)
}

func (o over) Close() error {
	o.line.Clear()
	return o.sink.Close()
}

// changed draws now when the last drawing is long ago, else as soon as it is.
func (l *ProgressLine) changed() {
	if l.closed || l.pending != nil {
		return
	}
	wait := progressEvery - time.Since(l.last)
	if wait <= 0 {
		l.draw()
		return
	}
	l.pending = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.pending == nil { // closed meanwhile
			return
		}
		l.pending = nil
		l.draw()
	})
}

func (l *ProgressLine) draw() {
	l.last = time.Now()
	l.write("\r" + l.text() + "\x1b[K")
	l.shown = true
}

func (l *ProgressLine) erase() {
	if l.shown {
		l.write(eraseLine)
		l.shown = false
	}
}

func (l *ProgressLine) write(s string) {
	if l.err == nil {
		_, l.err = io.WriteString(l.w, s)
	}
}

// text is "12/40  9 up, 1 down  running orders and 3 more", one column shorter
// than the terminal, which would else begin a new line.
func (l *ProgressLine) text() string {
	text := fmt.Sprintf("%d/%d", l.sum.Total, max(l.sum.Total, len(l.o.Checks)))
	used := len(text)
	if parts := counts(l.sum, palette{}); len(parts) > 0 {
		if plain := strings.Join(parts, ", "); used+2+width(plain) < l.o.Width {
			used += 2 + width(plain)
			text += "  " + strings.Join(counts(l.sum, l.p), ", ")
		}
	}
	if room := l.o.Width - 1 - used - 2; len(l.running) > 0 && room >= minText {
		text += "  " + l.p.dim(cut(l.busy(), room))
	}
	return text
}

// busy names the check that runs longest and how many run.
func (l *ProgressLine) busy() string {
	var id string
	first := l.started + 1
	for other, at := range l.running {
		if at < first {
			id, first = other, at
		}
	}
	if n := len(l.running); n > 1 {
		return fmt.Sprintf("running %d, longest %s", n, clean(id))
	}
	return "running " + clean(id)
}
