package watch

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

var update = flag.Bool("update", false, "write the golden files")

// epoch is when the tests begin.
var epoch = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// at returns a result of a run so many seconds after the begin.
func at(seconds int, id string, v check.Verdict, latency time.Duration) check.Result {
	r := check.Result{
		ID: id, Name: id, Kind: "http", Target: "https://" + id + ".example.com/", Verdict: v, Attempts: 1,
		Started: epoch.Add(time.Duration(seconds) * time.Second), Latency: latency,
		Phases: check.Phases{{Name: check.PhaseConnect, Duration: latency / 4}, {Name: check.PhaseWait, Duration: latency * 3 / 4}},
		Facts:  check.FactsOf(map[string]any{"status": 200, "ip": "192.0.2.7"}),
	}
	switch v {
	case check.Down:
		r.Reason = check.Reason{Code: check.HTTPStatus, Message: "status 503, want 200"}
		r.Reproduce = "curl -v 'https://" + id + ".example.com/' --resolve '" + id + ".example.com:443:192.0.2.7' --max-time 5"
	case check.Degraded:
		r.Reason = check.Reason{Code: "expect.latency", Message: "latency is " + check.FormatDuration(latency)}
	case check.Unknown:
		r.Reason = check.Reason{Code: check.LocalFD, Message: "no descriptor is left"}
	}
	return r
}

// scene is a screen in which some time has passed.
func scene(t *testing.T, checks ...string) (*Screen, *model) {
	t.Helper()
	o := Options{
		Now:    func() time.Time { return epoch.Add(150 * time.Second) },
		Engine: func() (int, uint64) { return 3, 7 },
	}
	for _, id := range checks {
		o.Checks = append(o.Checks, &check.Check{ID: id, Kind: "http", Target: "https://" + id + ".example.com/", Tags: []string{"tag-" + id[:1]}})
	}
	s := NewScreen(o)
	return s, newModel(s.board, o)
}

func busy(t *testing.T) *model {
	t.Helper()
	s, m := scene(t, "orders[eu.example.com]", "billing", "search", "mail", "later")
	for i := range 60 {
		v := check.Up
		if i >= 50 {
			v = check.Down
		}
		put(t, s,
			at(2*i, "orders[eu.example.com]", check.Up, time.Duration(20+i%7*5)*time.Millisecond),
			at(2*i, "billing", v, time.Duration(30+i)*time.Millisecond))
	}
	put(t, s, at(10, "search", check.Degraded, 900*time.Millisecond), at(100, "mail", check.Unknown, 0))
	m.Update(tick{})
	return m
}

func put(t *testing.T, s check.Sink, results ...check.Result) {
	t.Helper()
	for _, r := range results {
		if err := s.Put(r); err != nil {
			t.Fatal(err)
		}
	}
}

// press types keys: names such as enter, or a text of one character each.
func press(m *model, keys ...string) (cmd tea.Cmd) {
	special := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "backspace": tea.KeyBackspace, "up": tea.KeyUp, "down": tea.KeyDown,
		"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd,
	}
	for _, key := range keys {
		if code, ok := special[key]; ok {
			_, cmd = m.Update(tea.KeyPressMsg{Code: code})
			continue
		}
		if key == "ctrl+c" {
			_, cmd = m.Update(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl})
			continue
		}
		for _, r := range key {
			_, cmd = m.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	}
	return cmd
}

// golden compares a picture with testdata/NAME.txt and checks its size.
func golden(t *testing.T, name string, m *model) {
	t.Helper()
	picture := m.View().Content
	lines := strings.Split(picture, "\n")
	if len(lines) != m.height {
		t.Errorf("%d lines on a screen of %d", len(lines), m.height)
	}
	for i, l := range lines {
		if w := report.Width(l); w > m.width {
			t.Errorf("line %d has %d columns of %d: %q", i+1, w, m.width, l)
		}
		lines[i] = strings.TrimRight(l, " ")
	}
	got := strings.Join(lines, "\n") + "\n"
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestPictures(t *testing.T) {
	for _, size := range []struct{ width, height int }{{80, 24}, {200, 30}} {
		for name, keys := range map[string][]string{
			"list":    nil,
			"verdict": {"s"},
			"detail":  {"down", "enter"},
			"filter":  {"/", "example.com d"},
			"nothing": {"/", "none such", "enter"},
		} {
			t.Run(fmt.Sprintf("%s-%d", name, size.width), func(t *testing.T) {
				m := busy(t)
				m.Update(tea.WindowSizeMsg{Width: size.width, Height: size.height})
				press(m, keys...)
				golden(t, fmt.Sprintf("%s-%d", name, size.width), m)
			})
		}
	}
}

// ids returns the order of the rows.
func ids(m *model) string {
	var list []string
	for _, w := range m.shown {
		list = append(list, w.id)
	}
	return strings.Join(list, " ")
}

func TestSortAndFilter(t *testing.T) {
	for _, tt := range []struct {
		keys []string
		want string
	}{
		{nil, "orders[eu.example.com] billing search mail later"},
		{[]string{"s"}, "billing mail search orders[eu.example.com] later"},
		{[]string{"ss"}, "search billing orders[eu.example.com] mail later"},
		{[]string{"sss"}, "billing later mail orders[eu.example.com] search"},
		{[]string{"ssss"}, "orders[eu.example.com] billing search mail later"},
		{[]string{"r"}, "later mail search billing orders[eu.example.com]"},
		{[]string{"/BILL"}, "billing"},
		{[]string{"/down"}, "billing"},
		{[]string{"/waiting"}, "later"},
		{[]string{"/http.status"}, "billing"},
		{[]string{"/tag-s"}, "search"},
		{[]string{"/tag-s", "esc"}, "orders[eu.example.com] billing search mail later"},
		{[]string{"/tag-s", "enter", "esc"}, "orders[eu.example.com] billing search mail later"},
		{[]string{"/mailx", "backspace", "enter", "s"}, "mail"},
		{[]string{"/q", "enter"}, ""},
	} {
		m := busy(t)
		if press(m, tt.keys...) != nil {
			t.Errorf("%v: a command", tt.keys)
		}
		if got := ids(m); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.keys, got, tt.want)
		}
	}
}

func TestKeysThatLeave(t *testing.T) {
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"/abc", "ctrl+c"}, {"enter", "q"}} {
		cmd := press(busy(t), keys...)
		if cmd == nil {
			t.Fatalf("%v: no command", keys)
		}
		if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%v: does not leave", keys)
		}
	}
}

func TestTheChosenRowStaysInView(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("c%04d", i))
	}
	s, m := scene(t, names...)
	chosen := func(want string) {
		t.Helper()
		if m.chosen.id != want || !strings.Contains(m.View().Content, "▸   waiting   "+want) && !strings.Contains(m.View().Content, "▸ ✗ down      "+want) {
			t.Errorf("chosen is %s, want %s:\n%s", m.chosen.id, want, m.View().Content)
		}
		if n := strings.Count(m.View().Content, "\n") + 1; n != m.height {
			t.Errorf("%d lines on a screen of %d", n, m.height)
		}
	}
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	chosen("c0000")
	press(m, "end")
	chosen("c4999")
	press(m, "pgup", "up")
	chosen("c4978")
	m.Update(tea.WindowSizeMsg{Width: 200, Height: 10})
	chosen("c4978")
	press(m, "enter")
	chosen("c4978")
	m.Update(tea.WindowSizeMsg{Width: 40, Height: 60})
	chosen("c4978")
	press(m, "s")
	chosen("c0000") // another order begins at its top
	press(m, "down", "down", "down")
	put(t, s, at(1, "c0003", check.Down, time.Millisecond))
	m.rest = 0
	m.Update(tick{})
	chosen("c0003") // which is the first now, and follows
	press(m, "esc", "home")
	put(t, s, at(2, "c0003", check.Up, time.Millisecond), at(2, "c0004", check.Down, time.Millisecond))
	m.rest = 0
	m.Update(tick{})
	chosen("c0004") // who is at the top stays at the top
	press(m, "home", "/c12", "down", "down")
	chosen("c1202")
	press(m, "backspace", "backspace", "backspace")
	chosen("c1202")
}

func TestTinyScreens(t *testing.T) {
	for width := range 90 {
		for height := range 12 {
			m := busy(t)
			m.Update(tea.WindowSizeMsg{Width: width, Height: height})
			press(m, "enter", "end", "/x")
			picture := m.View().Content
			if n := strings.Count(picture, "\n") + 1; n > max(height, 1) {
				t.Fatalf("%d lines on %dx%d", n, width, height)
			}
		}
	}
}

// What targets and files say cannot steer the terminal.
func TestHostileText(t *testing.T) {
	evil := "\x1b]0;owned\a\x1b[2J\r\n\u202e\x9b31m"
	o := Options{Checks: []*check.Check{{ID: "a" + evil, Target: "t" + evil, Tags: []string{evil}}}, Now: time.Now, Color: true}
	s := NewScreen(o)
	r := at(0, "a"+evil, check.Down, time.Millisecond)
	r.Target, r.Reason.Message, r.Reproduce = evil, evil, evil
	r.Facts.Set("body", evil)
	put(t, s, r)
	m := newModel(s.board, o)
	m.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
	press(m, "enter", "/")
	m.Update(tea.PasteMsg{Content: evil})
	typed := m.View().Content
	press(m, "esc")
	var out bytes.Buffer
	put(t, Lines(&out, o), r)
	for name, text := range map[string]string{"screen": m.View().Content, "filter": typed, "lines": out.String()} {
		for _, bad := range []string{"\x1b]", "\x1b[2J", "\r", "\u202e", "\u009b", "\x9b31", "\a"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %q is in\n%q", name, bad, text)
			}
		}
		if !strings.Contains(text, `\x1b]0;owned`) {
			t.Errorf("%s: the text is not shown:\n%s", name, text)
		}
	}
}

func TestSecretsStayHidden(t *testing.T) {
	c := &check.Check{ID: "a[hunter2]", Target: "https://hunter2.test/", Mask: check.NewMask("hunter2")}
	s := NewScreen(Options{Checks: []*check.Check{c}, Now: time.Now})
	if picture := newModel(s.board, s.options).View().Content; strings.Contains(picture, "hunter2") || !strings.Contains(picture, "a[***]") {
		t.Errorf("got\n%s", picture)
	}
}

func TestLossAndSpans(t *testing.T) {
	for share, want := range map[float64]string{0: "0%", 0.001: "1%", 0.25: "25%", 0.999: "99%", 1: "100%"} {
		if got := percent(share); got != want {
			t.Errorf("%v is %s, want %s", share, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "now", 119 * time.Second: "119s", 2 * time.Minute: "2m", 47 * time.Hour: "47h", 72 * time.Hour: "3d", -time.Hour: "now",
	} {
		if got := span(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
	s, m := scene(t, "ping")
	r := at(0, "ping", check.Up, time.Millisecond)
	r.Facts.Set("loss", 0.5)
	put(t, s, r, at(1, "ping", check.Unknown, 0), at(2, "ping", check.Down, 0), at(3, "ping", check.Up, time.Millisecond))
	if share, ok := m.board.rows[0].lost(); !ok || share != 0.5 {
		t.Errorf("lost %v, %t", share, ok)
	}
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	flaky := at(40, "a", check.Up, 5*time.Millisecond)
	flaky.Flaky, flaky.Attempts, flaky.Failed = true, 2, []check.Attempt{{Reason: check.Reason{Code: check.ConnectReset, Message: "reset"}}}
	left := at(50, "a", check.Unknown, 0)
	left.Reason.Code = check.LocalShutdown
	put(t, Lines(&out, Options{}),
		at(0, "a", check.Up, 12*time.Millisecond), at(0, "b", check.Unknown, 0), at(10, "a", check.Up, 13*time.Millisecond),
		at(20, "a", check.Down, 31200*time.Microsecond), at(30, "a", check.Down, time.Millisecond), flaky, left)
	want := `2026-01-02T15:04:05Z ✓ up       a https://a.example.com/ 12ms
2026-01-02T15:04:05Z ? unknown  b https://b.example.com/ -, local.fd: no descriptor is left
2026-01-02T15:04:25Z ✗ down     a https://a.example.com/ 31.2ms, was up for 20s, http.status: status 503, want 200
2026-01-02T15:04:45Z ~ up       a https://a.example.com/ 5ms, was down for 20s, flaky (2 attempts), before: connect.reset: reset
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestLinesTellWhenTheyCannotBeWritten(t *testing.T) {
	if err := Lines(full{}, Options{}).Put(at(0, "a", check.Up, 0)); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
}

// Between them, entering and leaving the alternate screen.
const enters, leaves = "\x1b[?1049h", "\x1b[?1049l"

func TestRunRestoresTheTerminal(t *testing.T) {
	keys, typist := io.Pipe()
	t.Cleanup(func() { _ = typist.Close() })
	for name, tt := range map[string]struct {
		in     io.Reader
		now    func() time.Time
		cancel bool
		want   string
	}{
		"the user leaves": {in: strings.NewReader("q"), now: time.Now},
		"a signal":        {in: keys, now: time.Now, cancel: true},
		"a panic":         {in: keys, now: func() time.Time { panic("a defect") }, want: "the screen has a defect"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			calls := 0
			now := func() time.Time {
				if calls++; calls == 1 { // the first one is before the screen runs
					return time.Now()
				}
				if tt.cancel {
					cancel()
				}
				return tt.now()
			}
			var out bytes.Buffer
			s := NewScreen(Options{Checks: []*check.Check{{ID: "a"}}, Now: now})
			err := s.Run(ctx, tt.in, &out)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if e, l := strings.LastIndex(out.String(), enters), strings.LastIndex(out.String(), leaves); e >= 0 && l < e {
				t.Errorf("the alternate screen is not left: %q", out.String())
			}
		})
	}
}

func BenchmarkView(b *testing.B) {
	for _, n := range []int{1, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var checks []*check.Check
			for i := range n {
				checks = append(checks, &check.Check{ID: fmt.Sprintf("check-%d", i), Target: "https://example.com/"})
			}
			s := NewScreen(Options{Checks: checks, Now: time.Now, Color: true})
			for i := range n {
				for j := range 20 {
					_ = s.Put(at(j, fmt.Sprintf("check-%d", i), check.Verdict(i%4*(j%5/4)+(1-j%5/4)), time.Duration(i+j)*time.Millisecond))
				}
			}
			m := newModel(s.board, s.options)
			m.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
			press(m, "s")
			for b.Loop() {
				m.Update(tick{})
				_ = m.View()
			}
		})
	}
}
