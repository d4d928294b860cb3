package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// ProgressLine is one line of a terminal that tells how far a run is. It is
// safe for concurrent use, so that workers can call Start while a sink puts.
type ProgressLine struct {
	statusLine
	o       Options
	p       palette
	sum     check.Summary
	running map[string]uint64 // when each began, as a count
	started uint64
}

// Progress returns a progress line on w, which must be a terminal. It draws at
// most ten times a second and nothing in the first tenth.
func Progress(w io.Writer, o Options) *ProgressLine {
	if o.Width == 0 {
		o.Width = cardWidth
	}
	l := &ProgressLine{o: o.withDefaults(), p: newPalette(o.Color), running: make(map[string]uint64)}
	l.begin(w, l.text)
	return l
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
