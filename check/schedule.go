package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schedule is when a check may run in a loop: inside any of its windows. A nil
// Schedule is always open.
type Schedule struct{ Windows []Window }

// Window is a stretch of the day, on certain days of the week, by the clocks
// of a time zone. When those change, the window follows what they show: an
// hour that they skip does not take place, one that they repeat counts twice.
type Window struct {
	Days     [7]bool // by time.Weekday, on which it begins
	From, To int     // minutes after midnight; To is on the next day unless it is after From
	Zone     *time.Location
}

// WindowError is a mistake in the text of a window.
type WindowError struct {
	Offset        int // in bytes into the text
	Message, Hint string
}

// Error returns the message without its place.
func (e *WindowError) Error() string { return e.Message }

const (
	day         = 24 * 60 // minutes
	windowHint  = `write it like "mon-fri 08:00-18:00 Europe/Berlin" or "00:00-06:00 UTC"`
	horizonDays = 15 // a window of one weekday can fall into a skipped hour, once
)

var weekdays = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseWindow reads a window, `[DAYS] HH:MM-HH:MM ZONE`: the days are names
// and ranges with commas (mon-fri, sat,sun), all when left out; a window that
// ends before it begins ends on the next day; the zone is UTC or a name of the
// IANA time zone database. The error is a *[WindowError].
func ParseWindow(text string) (Window, error) {
	words := splitWords(text)
	w := Window{Days: [7]bool{true, true, true, true, true, true, true}}
	var err *WindowError
	if len(words) == 3 {
		w.Days, err = parseDays(words[0])
		words = words[1:]
	}
	switch {
	case err != nil:
		return Window{}, err
	case len(words) > 0 && len(words) < 3 && strings.Contains(words[len(words)-1].text, ":"):
		return Window{}, &WindowError{len(text), "the window has no time zone", `name one, such as UTC or Europe/Berlin: "` + text + ` UTC"`}
	case len(words) != 2:
		return Window{}, &WindowError{0, fmt.Sprintf("%q is not a window of time", text), windowHint}
	}
	if w.From, w.To, err = parseHours(words[0]); err != nil {
		return Window{}, err
	}
	if w.Zone, err = parseZone(words[1]); err != nil {
		return Window{}, err
	}
	return w, nil
}

// word is a part of a text, with its offset in bytes.
type word struct {
	text string
	at   int
}

func splitWords(text string) []word {
	var words []word
	at := 0
	for _, f := range strings.Fields(text) {
		at += strings.Index(text[at:], f)
		words = append(words, word{f, at})
		at += len(f)
	}
	return words
}

func parseDays(w word) (days [7]bool, err *WindowError) {
	at := w.at
	for part := range strings.SplitSeq(w.text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from := weekday(first)
		to := from
		if from < 0 {
			return days, badDay(at, first)
		}
		if isRange {
			if to = weekday(last); to < 0 {
				return days, badDay(at+len(first)+1, last)
			}
		}
		for d := from; ; d = (d + 1) % len(weekdays) {
			days[d] = true
			if d == to {
				break
			}
		}
		at += len(part) + 1
	}
	return days, nil
}

func weekday(name string) int { return slices.Index(weekdays[:], strings.ToLower(name)) }

func badDay(at int, name string) *WindowError {
	return &WindowError{at, fmt.Sprintf("%q is not a day of the week", name), "the days are mon, tue, wed, thu, fri, sat, sun"}
}

func parseHours(w word) (from, to int, err *WindowError) {
	first, last, isRange := strings.Cut(w.text, "-")
	if !isRange {
		return 0, 0, &WindowError{w.at, fmt.Sprintf("%q is not a stretch of the day", w.text), windowHint}
	}
	from, ok := parseClock(first)
	if !ok || from == day {
		return 0, 0, &WindowError{w.at, fmt.Sprintf("%q is not a time of day", first), "times are from 00:00 to 23:59, with two digits each"}
	}
	at := w.at + len(first) + 1
	to, ok = parseClock(last)
	if !ok {
		return 0, 0, &WindowError{at, fmt.Sprintf("%q is not a time of day", last), "times are from 00:00 to 24:00, with two digits each"}
	}
	if from == to {
		return 0, 0, &WindowError{w.at, "the window ends when it begins", "00:00-24:00 is the whole day"}
	}
	return from, to, nil
}

// parseClock reads HH:MM up to 24:00.
func parseClock(s string) (minutes int, ok bool) {
	if len(s) != len("00:00") || s[2] != ':' {
		return 0, false
	}
	h, errH := strconv.ParseUint(s[:2], 10, 8)
	m, errM := strconv.ParseUint(s[3:], 10, 8)
	minutes = int(h)*60 + int(m)
	return minutes, errH == nil && errM == nil && m < 60 && minutes <= day
}

func parseZone(w word) (*time.Location, *WindowError) {
	zone, err := time.LoadLocation(w.text)
	if err != nil || w.text == "Local" { // which is another one on each machine
		return nil, &WindowError{w.at, fmt.Sprintf("%q is not a time zone", w.text), "name UTC or one of the IANA database, such as Europe/Berlin"}
	}
	return zone, nil
}

// Length returns how long the window is by its clocks.
func (w *Window) Length() time.Duration {
	minutes := w.To - w.From
	if minutes <= 0 {
		minutes += day
	}
	return time.Duration(minutes) * time.Minute
}

// open reports whether the window's clocks show a time inside of it.
func (w *Window) open(t time.Time) bool {
	local := t.In(w.Zone)
	hour, minute, _ := local.Clock()
	now, today := hour*60+minute, local.Weekday()
	if w.From < w.To {
		return w.Days[today] && w.From <= now && now < w.To
	}
	yesterday := (today + 6) % 7
	return w.Days[today] && w.From <= now || w.Days[yesterday] && now < w.To
}

// Open reports whether a check may run at t.
func (s *Schedule) Open(t time.Time) bool {
	if s == nil {
		return true
	}
	for i := range s.Windows {
		if s.Windows[i].open(t) {
			return true
		}
	}
	return false
}

// Next returns the first time from t on at which the schedule is open. When
// that is more than two weeks away it returns a time in between, to ask again.
func (s *Schedule) Next(t time.Time) time.Time { return s.turn(t, true) }

// End returns the first time from t on at which the schedule is closed. When
// that is more than two weeks away it returns a time in between, to ask again.
func (s *Schedule) End(t time.Time) time.Time { return s.turn(t, false) }

// turn returns the first time from t on at which the schedule is open or not.
// It can only change where a window's clocks show one of its bounds, and where
// they are set.
func (s *Schedule) turn(t time.Time, open bool) time.Time {
	best := t.AddDate(0, 0, horizonDays)
	if s == nil {
		return best
	}
	consider := func(at time.Time) {
		if !at.Before(t) && at.Before(best) && s.Open(at) == open {
			best = at
		}
	}
	consider(t)
	if best.Equal(t) {
		return t
	}
	for i := range s.Windows {
		s.Windows[i].bounds(t, best, consider)
	}
	return best
}

// bounds passes on when the window may open or close between two times, and
// maybe more.
func (w *Window) bounds(from, to time.Time, found func(time.Time)) {
	for at := from; ; {
		_, end := at.In(w.Zone).ZoneBounds()
		if end.IsZero() || end.After(to) {
			break
		}
		found(end)
		at = end
	}
	year, month, first := from.In(w.Zone).Date()
	for i := range horizonDays + 1 {
		for _, minutes := range []int{w.From, w.To} {
			// What the clocks show is no unique time when they are set back, so
			// both of their offsets around that day are tried.
			shown := time.Date(year, month, first+i, 0, minutes, 0, 0, time.UTC)
			for _, near := range []int{-day, day} {
				_, offset := shown.Add(time.Duration(near) * time.Minute).In(w.Zone).Zone()
				found(shown.Add(-time.Duration(offset) * time.Second))
			}
		}
	}
}

// Equal reports whether both schedules are made of the same windows.
func (s *Schedule) Equal(o *Schedule) bool {
	if s == nil || o == nil {
		return s == o
	}
	return slices.EqualFunc(s.Windows, o.Windows, func(a, b Window) bool {
		return a.Days == b.Days && a.From == b.From && a.To == b.To && a.Zone.String() == b.Zone.String()
	})
}
