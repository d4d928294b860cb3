package report

import (
	"fmt"
	"io"

	"github.com/sonde-cli/sonde/check"
)

// WaitLine is one line of a terminal that tells how a wait goes.
type WaitLine struct {
	statusLine
	o       Options
	want    string
	reached int
	of      *check.Check // whose latest is
	latest  string       // what was last heard of a check that is waited for
}

// NewWaitLine returns a line on w, which must be a terminal, for a wait until
// o.Checks are what want says ("up"). It is drawn as a [ProgressLine] is.
func NewWaitLine(w io.Writer, want string, o Options) *WaitLine {
	if o.Width == 0 {
		o.Width = cardWidth
	}
	l := &WaitLine{o: o.withDefaults(), want: want}
	l.begin(w, l.text)
	return l
}

// Held tells that the check waits for another.
func (l *WaitLine) Held(c *check.Check, by string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.latest == "" {
		l.of, l.latest = c, held(c, by)
	}
	l.changed()
}

// Attempted tells of an attempt, and whether the wait for its check is over.
func (l *WaitLine) Attempted(c *check.Check, r check.Result, reached bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !reached:
		l.of, l.latest = c, state(r)+tries(r)
	case l.of == c:
		l.of, l.latest = nil, ""
	}
	if reached {
		l.reached++
	}
	l.changed()
}

// text is "1/3 up  db: down connect.refused: nothing listens there (4 attempts)".
func (l *WaitLine) text() string {
	text := fmt.Sprintf("%d/%d %s", l.reached, len(l.o.Checks), l.want)
	if l.latest != "" {
		text += "  " + l.latest
	}
	return cut(text, l.o.Width-1)
}

// WaitLog writes a line for each change while a wait goes on.
type WaitLog struct {
	w    io.Writer
	o    Options
	said map[*check.Check]string // what it last was, as far as that counts
	err  error                   // of the first write that failed; nothing is written after it
}

// NewWaitLog returns a log on w of a wait that began at o.Started.
func NewWaitLog(w io.Writer, o Options) *WaitLog {
	return &WaitLog{w: w, o: o.withDefaults(), said: make(map[*check.Check]string)}
}

// Held tells that the check waits for another.
func (l *WaitLog) Held(c *check.Check, by string) { l.write(held(c, by)) }

// Attempted tells of an attempt, and whether the wait for its check is over.
// What only repeats the attempt before is not written.
func (l *WaitLog) Attempted(c *check.Check, r check.Result, reached bool) {
	if reached {
		text := fmt.Sprintf("%s: %s after %s, %s", clean(r.ID), r.Verdict, check.FormatDuration(l.o.elapsed()), plural(r.Attempts, "attempt"))
		if !r.Reason.IsZero() {
			text += ", " + clean(reason(r.Reason))
		}
		l.write(text)
		return
	}
	now := r.Verdict.String() + " " + string(r.Reason.Code)
	if l.said[c] != now {
		l.said[c] = now
		l.write(state(r))
	}
}

// Close returns the first error of writing.
func (l *WaitLog) Close() error { return wrap("wait", l.err) }

func (l *WaitLog) write(line string) {
	if l.err == nil {
		_, l.err = io.WriteString(l.w, line+"\n")
	}
}

// Missed returns the lines that tell why a wait for a check came to no end:
// "db: down connect.refused: nothing listens there (14 attempts)", and below it
// what to do about it when that is known.
func Missed(r check.Result) []string {
	if r.Attempts == 0 {
		return []string{clean(r.ID) + ": " + clean(r.Reason.Message)}
	}
	lines := []string{state(r) + tries(r)}
	_, advice := sentences(r.Reason)
	for _, line := range advice {
		lines = append(lines, clean(line))
	}
	return lines
}

// state is "db: down connect.refused: nothing listens there".
func state(r check.Result) string {
	text := clean(r.ID) + ": " + r.Verdict.String()
	if !r.Reason.IsZero() {
		text += " " + clean(reason(r.Reason))
	}
	return text
}

func tries(r check.Result) string { return " (" + plural(r.Attempts, "attempt") + ")" }

func held(c *check.Check, by string) string {
	return clean(c.Mask.String(c.ID)) + ": waits for " + clean(c.Mask.String(by))
}
