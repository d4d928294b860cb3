package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLimits(t *testing.T) {
	set := mustLoad(t, testLoader(nil), "version: 1\nlimits: {in_flight: 10, per_host: 2, per_host_rate: 30/m, kinds: {ping: 3}}\nchecks: [{name: a, ping: {host: x}}]")
	if diff := cmp.Diff(Limits{InFlight: 10, PerHost: 2, PerHostRate: 0.5, Kinds: map[string]int{"ping": 3}}, set.Limits); diff != "" {
		t.Error(diff)
	}
	if set := mustLoad(t, testLoader(nil), good); !set.Limits.Equal(Limits{}) {
		t.Errorf("%+v without limits", set.Limits)
	}
}

func TestLimitsRefuse(t *testing.T) {
	for limits, want := range map[string]string{
		"{in_flight: 0}":              "limits.in_flight must be at least 1",
		"{per_host: -1}":              "limits.per_host must be at least 1",
		"{per_host_rate: 0/s}":        "limits.per_host_rate must be more than 0",
		"{per_host_rate: 10}":         "a rate needs its unit: 10/s or 10/m",
		"{per_host_rate: 1/d}":        `"1/d" is not a rate such as 10/s or 30/m`,
		"{per_host_rate: 1e3/s}":      "is not a rate",
		"{per_host_rate: -1/s}":       "is not a rate",
		"{kinds: {pong: 3}}":          `2:18: unknown kind "pong" in limits.kinds`,
		"{kinds: {ping: 0}}":          "2:24: limits.kinds.ping must be at least 1",
		"{kinds: {ping: many}}":       `2:24: kinds.ping: "many" is not a whole number`,
		"{kinds: [ping]}":             "kinds must be a map of keys and values, not a list",
		"{kinds: {ping: 1, ping: 2}}": "ping",
		"[a]":                         "limits must be a map of keys and values, not a list",
		"{in_flight: '${NO}'}":        "NO",
	} {
		all := loadErrors(t, testLoader(nil), "version: 1\nlimits: "+limits+"\nchecks: [{name: a, ping: {host: x}}]")
		if len(all) != 1 || !strings.Contains(all.Error(), want) || all[0].Line != 2 {
			t.Errorf("%s: got %v, want %s", limits, all, want)
		}
	}
}

func TestLimitsOfSeveralFiles(t *testing.T) {
	file := func(name, limits string) string {
		return "version: 1\nlimits: " + limits + "\nchecks: [{name: " + name + ", ping: {host: x}}]\n"
	}
	dir := write(t, map[string]string{
		"a.yaml": file("a", "{in_flight: 5}"), "b.yaml": file("b", "{in_flight: 5}"), "c.yaml": file("c", "{in_flight: 5, kinds: {ping: 1}}"),
		"d.yaml": strings.Replace(good, "name: a", "name: d", 1),
	})
	path := func(name string) string { return filepath.Join(dir, name) }
	set, err := testLoader(nil).Load(t.Context(), path("a.yaml"), path("b.yaml"), path("d.yaml"))
	if err != nil || set.Limits.InFlight != 5 {
		t.Errorf("%+v, %v", set, err)
	}
	_, err = testLoader(nil).Load(t.Context(), path("a.yaml"), path("c.yaml"))
	if err == nil || !strings.Contains(err.Error(), "c.yaml:2:9: limits stand here again, with other values than at "+path("a.yaml")+":2") {
		t.Errorf("got %v", err)
	}
}

func TestScheduleAndIntervalFailing(t *testing.T) {
	set := mustLoad(t, testLoader(nil), `version: 1
defaults: {schedule: "mon-fri 08:00-18:00 Europe/Berlin", interval: 1m, interval_failing: 5s}
checks:
  - {name: a, each: [x, y], ping: {host: "${each}"}}
  - {name: b, ping: {host: x}, schedule: [], interval_failing: 20s}
  - {name: c, ping: {host: x}, schedule: ["sat 00:00-24:00 UTC", "22:00-06:00 ${ZONE:-UTC}"]}`)
	a, b, c := set.Checks[0], set.Checks[2], set.Checks[3]
	if set.Checks[1].Schedule != a.Schedule {
		t.Error("two checks of one block do not share their schedule")
	}
	monday := time.Date(2026, 1, 5, 7, 0, 0, 0, time.UTC)
	if !a.Schedule.Open(monday) || a.Schedule.Open(monday.Add(-time.Second)) || a.IntervalFailing != 5*time.Second {
		t.Errorf("a: %+v", a)
	}
	if b.Schedule != nil || b.IntervalFailing != 20*time.Second {
		t.Errorf("b: %+v", b)
	}
	if len(c.Schedule.Windows) != 2 || c.Schedule.Open(monday) {
		t.Errorf("c: %+v", c.Schedule)
	}
	if len(set.Warnings) != 0 {
		t.Errorf("warnings: %v", set.Warnings)
	}
}

func TestDoubtfulIntervalFailing(t *testing.T) {
	for keys, want := range map[string]string{
		"interval: 10s, interval_failing: 20s":             "interval_failing of 20s is longer than the interval of 10s",
		"interval: 10s, interval_failing: 2s, timeout: 5s": "the timeout of 5s is longer than interval_failing of 2s",
	} {
		set := mustLoad(t, testLoader(nil), "version: 1\nchecks: [{name: a, ping: {host: x}, "+keys+"}]")
		if len(set.Warnings) != 1 || set.Warnings[0].Message != want || set.Warnings[0].Line != 2 {
			t.Errorf("%s: %v", keys, set.Warnings)
		}
	}
}
