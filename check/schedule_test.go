package check

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func mustWindows(t *testing.T, texts ...string) *Schedule {
	t.Helper()
	s := &Schedule{}
	for _, text := range texts {
		w, err := ParseWindow(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		s.Windows = append(s.Windows, w)
	}
	return s
}

func TestScheduleOpens(t *testing.T) {
	for _, tt := range []struct{ name, windows, at, opens, closes string }{
		{"inside", "mon-fri 08:00-18:00 UTC", "2026-01-02T09:00:00Z", "2026-01-02T09:00:00Z", "2026-01-02T18:00:00Z"},
		{"over the weekend", "mon-fri 08:00-18:00 UTC", "2026-01-02T18:00:00Z", "2026-01-05T08:00:00Z", "2026-01-02T18:00:00Z"},
		{"in a zone", "fri 08:00-18:00 Europe/Berlin", "2026-01-02T06:59:59Z", "2026-01-02T07:00:00Z", "2026-01-02T06:59:59Z"},
		{"through midnight", "fri 22:00-06:00 UTC", "2026-01-03T05:59:00Z", "2026-01-03T05:59:00Z", "2026-01-03T06:00:00Z"},
		{"until midnight", "sat,sun 12:00-24:00 UTC", "2026-01-03T11:00:00Z", "2026-01-03T12:00:00Z", "2026-01-03T11:00:00Z"},
		{"a range over the week's end", "sat-mon 12:00-13:00 UTC", "2026-01-05T13:00:00Z", "2026-01-10T12:00:00Z", "2026-01-05T13:00:00Z"},
		{"any of two", "08:00-09:00 UTC; 08:30-10:00 UTC", "2026-01-02T08:45:00Z", "2026-01-02T08:45:00Z", "2026-01-02T10:00:00Z"},
		{"always", "00:00-24:00 UTC", "2026-01-02T08:45:00Z", "2026-01-02T08:45:00Z", "2026-01-17T08:45:00Z"},
		// Berlin's clocks go from 02:00 to 03:00 on 2026-03-29, at 01:00 UTC.
		{"an hour that is skipped", "sun 02:00-03:00 Europe/Berlin", "2026-03-28T12:00:00Z", "2026-04-05T00:00:00Z", "2026-03-28T12:00:00Z"},
		{"a begin that is skipped", "02:30-04:00 Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-28T12:00:00Z"},
		{"an end that is skipped", "01:00-02:30 Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"},
		{"as long as the clocks say", "00:00-06:00 Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T00:30:00Z", "2026-03-29T04:00:00Z"},
		// and from 03:00 back to 02:00 on 2026-10-25, at 01:00 UTC.
		{"an hour that comes twice, once", "02:15-02:45 Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T00:15:00Z", "2026-10-25T00:00:00Z"},
		{"an hour that comes twice, again", "02:15-02:45 Europe/Berlin", "2026-10-25T00:50:00Z", "2026-10-25T01:15:00Z", "2026-10-25T00:50:00Z"},
		{"half an hour off", "09:00-10:00 Australia/Lord_Howe", "2026-01-01T00:00:00Z", "2026-01-01T22:00:00Z", "2026-01-01T00:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustWindows(t, strings.Split(tt.windows, "; ")...)
			at, err := time.Parse(time.RFC3339, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Next(at).UTC().Format(time.RFC3339); got != tt.opens {
				t.Errorf("opens at %s, want %s", got, tt.opens)
			}
			if got := s.End(at).UTC().Format(time.RFC3339); got != tt.closes {
				t.Errorf("closes at %s, want %s", got, tt.closes)
			}
		})
	}
}

// TestScheduleTurnsAreFirst compares with a walk in steps of a minute.
func TestScheduleTurnsAreFirst(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca"}
	r := rand.New(rand.NewPCG(1, 2))
	clock := func() string {
		return time.Unix(int64(r.IntN(24*60))*60, 0).UTC().Format("15:04")
	}
	for range 300 {
		from, to := clock(), clock()
		if from == to {
			continue
		}
		text := weekdays[r.IntN(7)] + "-" + weekdays[r.IntN(7)] + " " + from + "-" + to + " " + zones[r.IntN(len(zones))]
		s := mustWindows(t, text)
		at := time.Date(2026, 3, 20+r.IntN(20), r.IntN(24), r.IntN(60), 0, 0, time.UTC)
		if r.IntN(2) == 0 {
			at = at.AddDate(0, 7, 0)
		}
		walk := at
		for s.Open(walk) == s.Open(at) && walk.Sub(at) < 14*24*time.Hour {
			walk = walk.Add(time.Minute)
		}
		got := s.End(at)
		if !s.Open(at) {
			got = s.Next(at)
		}
		if s.Open(walk) != s.Open(at) && !got.Equal(walk) {
			t.Errorf("%s turns after %v at %v, want %v", text, at, got.UTC(), walk)
		}
	}
}

func TestParseWindowRefuses(t *testing.T) {
	for _, tt := range []struct {
		text   string
		offset int
		want   string
	}{
		{"", 0, `"" is not a window`},
		{"mon-fri", 0, `"mon-fri" is not a window`},
		{"08:00-18:00", 11, "no time zone"},
		{"mon 08:00-18:00", 15, "no time zone"},
		{"mon-fry 08:00-18:00 UTC", 4, `"fry" is not a day`},
		{"mon,,tue 08:00-18:00 UTC", 4, `"" is not a day`},
		{"8:00-18:00 UTC", 0, `"8:00" is not a time of day`},
		{"08:00-24:01 UTC", 6, `"24:01" is not a time of day`},
		{"24:00-08:00 UTC", 0, `"24:00" is not a time of day`},
		{"08:60-09:00 UTC", 0, `"08:60" is not a time of day`},
		{"08:00-08:00 UTC", 0, "ends when it begins"},
		{"mon 0800 UTC", 4, `"0800" is not a stretch of the day`},
		{"08:00-18:00 Europe/Berln", 12, `"Europe/Berln" is not a time zone`},
		{"08:00-18:00 Local", 12, "not a time zone"},
		{"08:00-18:00 ../etc/passwd", 12, "not a time zone"},
		{"mon 08:00-18:00 UTC UTC", 0, "is not a window"},
	} {
		_, err := ParseWindow(tt.text)
		var we *WindowError
		if !errors.As(err, &we) || we.Offset != tt.offset || !strings.Contains(we.Message, tt.want) {
			t.Errorf("%q: got %+v, want %s at %d", tt.text, err, tt.want, tt.offset)
		}
	}
}

func TestNoScheduleIsAlwaysOpen(t *testing.T) {
	var s *Schedule
	if now := time.Now(); !s.Open(now) || !s.End(now).After(now) {
		t.Error("nil is closed")
	}
}

func FuzzParseWindow(f *testing.F) {
	f.Add("mon-fri 08:00-18:00 Europe/Berlin")
	f.Add("sat,sun 22:00-06:00 UTC")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ParseWindow(text)
		var we *WindowError
		if err != nil {
			if !errors.As(err, &we) || we.Offset < 0 || we.Offset > len(text) {
				t.Fatalf("%q: %+v", text, err)
			}
			return
		}
		s := &Schedule{Windows: []Window{w}}
		at := time.Unix(1774700000, 0)
		if next := s.Next(at); next.Before(at) || next.Sub(at) < 14*24*time.Hour && !s.Open(next) {
			t.Errorf("%q: next %v", text, next)
		}
	})
}
