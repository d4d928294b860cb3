package report

import (
	"io"
	"sync"
	"time"
)

// progressEvery is the shortest time between two drawings of the line, and
// from the start to the first one: a quick run shows none.
const progressEvery = 100 * time.Millisecond

// eraseLine goes to the line's begin and clears it (ECMA-48 CR and EL).
const eraseLine = "\r\x1b[K"

// statusLine is one line of a terminal that is drawn again and again. Its
// lower-case methods are called with mu held.
type statusLine struct {
	mu      sync.Mutex
	w       io.Writer
	say     func() string // what it says now
	last    time.Time     // of the last drawing
	pending *time.Timer   // draws later what came too early; nil when none is due
	shown   bool
	closed  bool
	err     error // of the first write that failed; nothing is drawn after it
}

// begin starts the line on w. What it shows comes from say.
func (l *statusLine) begin(w io.Writer, say func() string) {
	l.w, l.say, l.last = w, say, time.Now()
}

// Clear removes the line until the next change, to make room for other output.
func (l *statusLine) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}

// Close removes the line for good and returns the first error of writing it.
func (l *statusLine) Close() error {
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

// changed draws now when the last drawing is long ago, else as soon as it is.
func (l *statusLine) changed() {
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

func (l *statusLine) draw() {
	l.last = time.Now()
	l.write("\r" + l.say() + "\x1b[K")
	l.shown = true
}

func (l *statusLine) erase() {
	if l.shown {
		l.write(eraseLine)
		l.shown = false
	}
}

func (l *statusLine) write(s string) {
	if l.err == nil {
		_, l.err = io.WriteString(l.w, s)
	}
}
