package config

import (
	"errors"
	"fmt"
	"slices"
	"time"
	_ "time/tzdata" // zones are the same on a machine that has no database of them

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// parsedWindow is a window of time, or what is wrong with it.
type parsedWindow struct {
	window check.Window
	err    *check.WindowError
}

// window parses a window, once for all checks that share it.
func (in *load) window(text string) parsedWindow {
	if p, ok := in.windows[text]; ok {
		return p
	}
	var p parsedWindow
	var err error
	if p.window, err = check.ParseWindow(text); err != nil && !errors.As(err, &p.err) {
		p.err = &check.WindowError{Message: err.Error()}
	}
	in.windows[text] = p
	return p
}

// window returns a window of the check's schedule and reports one that is none.
func (m *maker) window(d *decoder, n *yaml.Node, text string) (check.Window, bool) {
	p := m.file.in.window(text)
	if p.err == nil {
		return p.window, true
	}
	offset := p.err.Offset
	if text != n.Value { // the offset counts in the expanded text
		offset = whole
	}
	d.fail(n, offset, "schedule: "+p.err.Message, p.err.Hint)
	return check.Window{}, false
}

// lintSchedule parses the windows that need no values, for checks that are
// disabled or not selected.
func (m *maker) lintSchedule() {
	d := m.file.decoder(nil)
	d.lint = true
	for _, n := range items(m.merged, "schedule") {
		if n.Kind != yaml.ScalarNode || isNull(n) {
			continue
		}
		if e, _, ok := d.text(n); ok {
			m.window(d, n, e.text)
		}
	}
}

// schedule makes the check's schedule; none for no windows.
func (m *maker) schedule(d *decoder, b *body) *check.Schedule {
	if len(b.Schedule) == 0 {
		return nil
	}
	if b.Interval == m.shared.interval && slices.Equal(b.Schedule, m.shared.windows) {
		return m.shared.schedule
	}
	s := &check.Schedule{}
	for i, n := range items(m.merged, "schedule") {
		if i >= len(b.Schedule) || b.Schedule[i] == "" && d.failed {
			continue // it was reported
		}
		w, ok := m.window(d, n, b.Schedule[i])
		if !ok {
			continue
		}
		if length := w.Length(); length < b.Interval {
			d.errorf(n, "make the window longer or the interval shorter",
				"schedule: the window of %s is shorter than the interval of %s, so the check might never run in it",
				check.FormatDuration(length), check.FormatDuration(b.Interval))
			continue
		}
		s.Windows = append(s.Windows, w)
	}
	if !d.failed {
		m.shared.interval, m.shared.windows, m.shared.schedule = b.Interval, b.Schedule, s
	}
	return s
}

// failingInterval checks interval_failing against the other times of a check.
func (m *maker) failingInterval(d *decoder, b *body) {
	n := lookup(m.merged, "interval_failing")
	if n == nil || d.failed {
		return
	}
	doubtful := ""
	switch shown := check.FormatDuration(b.IntervalFailing); {
	case b.IntervalFailing < minInterval:
		d.errorf(n, "", "interval_failing must be at least %s", check.FormatDuration(minInterval.Round(time.Second)))
	case b.IntervalFailing > b.Interval:
		doubtful = fmt.Sprintf("interval_failing of %s is longer than the interval of %s", shown, check.FormatDuration(b.Interval))
	case b.IntervalFailing < b.Timeout && b.Timeout <= b.Interval: // a longer one is told of already
		doubtful = fmt.Sprintf("the timeout of %s is longer than interval_failing of %s", check.FormatDuration(b.Timeout), shown)
	}
	if doubtful != "" {
		m.file.in.warnings.add(m.file.src.problem(n.Line, n.Column, doubtful, "a check runs at interval_failing while it is not up"))
	}
}
