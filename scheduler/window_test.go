package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-cli/sonde/check"
)

func windows(t *testing.T, texts ...string) *check.Schedule {
	t.Helper()
	s := &check.Schedule{}
	for _, text := range texts {
		w, err := check.ParseWindow(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Windows = append(s.Windows, w)
	}
	return s
}

// untilMonday waits in a bubble, whose time begins on Saturday, 2000-01-01.
func untilMonday(month time.Month, day int) {
	wait(time.Until(time.Date(2000, month, day, 0, 0, 0, 0, time.UTC)))
}

func TestRunsOnlyInsideTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		untilMonday(time.March, 20) // Berlin's clocks are set forward on the 26th
		office := windows(t, "mon-fri 08:00-18:00 Europe/Berlin")
		night := windows(t, "sat 22:00-06:00 Europe/Berlin")
		l := startLoop(t, LoopOptions{},
			&check.Check{ID: "office", Interval: time.Minute, Schedule: office, Probe: takes(time.Second)},
			&check.Check{ID: "night", Interval: time.Minute, Schedule: night, Probe: takes(time.Second)},
			&check.Check{ID: "slow", Interval: time.Minute, Schedule: office, Timeout: time.Hour, Probe: takes(150 * time.Second)})
		wait(14 * 24 * time.Hour)
		runs := byID(l.end(t))
		for id, want := range map[string]int{"office": 10 * 600, "night": 7*60 + 8*60, "slow": 10 * 200} {
			if n := len(runs[id]); n < want-20 || n > want+20 {
				t.Errorf("%s ran %d times, want %d", id, n, want)
			}
			missed := 0
			for i, r := range runs[id] {
				if s := map[string]*check.Schedule{"office": office, "night": night, "slow": office}[id]; !s.Open(r.Scheduled.Add(-time.Millisecond)) || !s.Open(r.Started.Add(-time.Millisecond)) {
					t.Errorf("%s was due at %v and ran at %v", id, r.Scheduled.UTC(), r.Started.UTC())
				}
				if r.Seq != uint64(i+1) {
					t.Errorf("%s: seq %d of run %d", id, r.Seq, i+1)
				}
				missed += r.Missed
			}
			if id != "slow" && missed != 0 || missed > 10*400+20 {
				t.Errorf("%s missed %d", id, missed)
			}
		}
	})
}

func TestSlotsOutsideTheScheduleAreNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		untilMonday(time.March, 20)
		l := startLoop(t, LoopOptions{},
			&check.Check{ID: "a", Interval: time.Minute, Schedule: windows(t, "mon-fri 08:00-18:00 UTC"), Probe: takes(time.Second)})
		wait(17 * time.Hour)
		l.fake.sleep(64 * time.Hour) // until Thursday, 09:00
		wait(time.Hour)
		missed := 0
		for _, r := range l.end(t) {
			missed += r.Missed
		}
		if want := 60 + 600 + 600 + 60; missed < want-5 || missed > want+35 {
			t.Errorf("%d missed, want about %d", missed, want)
		}
	})
}

func TestAClockThatIsSetMovesTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		untilMonday(time.March, 20)
		l := startLoop(t, LoopOptions{},
			&check.Check{ID: "a", Interval: time.Minute, Schedule: windows(t, "08:00-10:00 UTC"), Probe: takes(time.Second)})
		wait(time.Hour)
		l.fake.set(8 * time.Hour) // it is 09:00
		wait(31 * time.Minute)
		if n := l.Stats().Started; n < 29 {
			t.Errorf("%d runs in half an hour that the schedule allows", n)
		}
		l.fake.set(-4 * time.Hour) // it is 05:31
		before := l.Stats().Started
		wait(2 * time.Hour)
		if n := l.Stats().Started - before; n > 1 {
			t.Errorf("%d runs outside of the schedule", n)
		}
		l.end(t)
	})
}

func TestReplaceChangesTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		untilMonday(time.March, 20)
		at := func(s *check.Schedule) []*check.Check {
			return []*check.Check{{ID: "a", Interval: time.Minute, Schedule: s, Probe: takes(time.Second)}}
		}
		l := startLoop(t, LoopOptions{}, at(windows(t, "08:00-10:00 UTC"))...)
		wait(time.Hour)
		l.Replace(at(nil))
		wait(time.Hour)
		open := l.Stats().Started
		l.Replace(at(windows(t, "08:00-10:00 UTC")))
		wait(time.Hour)
		if l.Stats().Started != open || open < 59 || open > 61 {
			t.Errorf("%d runs while there is no schedule, %d after it came back", open, l.Stats().Started-open)
		}
		l.end(t)
	})
}

// A run that waits for a place until its window is over does not begin.
func TestARunDoesNotOutwaitItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		untilMonday(time.March, 20)
		s := windows(t, "08:00-10:00 UTC")
		checks := many(20, check.Check{ID: "a", Interval: time.Minute, Timeout: time.Hour, Schedule: s, Probe: takes(30 * time.Second)})
		l := startLoop(t, LoopOptions{Limits: Limits{InFlight: 1}}, checks...)
		wait(12 * time.Hour)
		results := l.end(t)
		for _, r := range results {
			if !s.Open(r.Started) {
				t.Errorf("%s began at %v", r.ID, r.Started.UTC())
			}
		}
		if len(results) < 230 || len(results) > 241 {
			t.Errorf("%d runs, want 240", len(results))
		}
	})
}

func TestFasterWhileNotUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		degraded := check.Expectation{Text: "false", Level: check.Prefer, Test: never{}}
		own := failure(check.LocalFD, "no descriptor is left")
		for _, tt := range []struct {
			name  string
			check check.Check
			want  int
		}{
			{"up", check.Check{Probe: takes(0)}, 10},
			{"down", check.Check{Probe: inTurn(failure(check.ConnectRefused, "refused"))}, 60},
			{"degraded", check.Check{Probe: takes(0), Expectations: []check.Expectation{degraded}}, 60},
			{"unknown", check.Check{Probe: inTurn(own)}, 10},
			{"down, then unknown", check.Check{Probe: inTurn(failure(check.ConnectRefused, "refused"), own)}, 60},
		} {
			c := tt.check
			c.ID, c.Interval, c.IntervalFailing = tt.name, time.Minute, 10*time.Second
			l := startLoop(t, LoopOptions{}, &c)
			wait(10 * time.Minute)
			if n := len(l.end(t)); n < tt.want-6 || n > tt.want+1 {
				t.Errorf("%s: %d runs in 10 minutes, want about %d", tt.name, n, tt.want)
			}
		}
	})
}
