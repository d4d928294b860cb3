package report

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// after returns a result of attempt n.
func after(n int, c *check.Check, v check.Verdict, code check.Code, message string) check.Result {
	return check.Result{ID: c.ID, Verdict: v, Attempts: n, Reason: check.Reason{Code: code, Message: message}}
}

func TestWaitLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, app := &check.Check{ID: "db"}, &check.Check{ID: "a\x1bpp", Mask: check.NewMask("hunter22")}
		var b bytes.Buffer
		l := NewWaitLog(&b, Options{Checks: []*check.Check{db, app}})
		l.Held(app, "db[hunter22]")
		l.Attempted(db, after(1, db, check.Down, check.ConnectRefused, "127.0.0.1:1 refused\x1b[2J the connection"), false)
		l.Attempted(db, after(2, db, check.Down, check.ConnectRefused, "127.0.0.2:1 refused the connection"), false)
		l.Attempted(db, after(3, db, check.Unknown, check.LocalResolver, "no resolver answers\nhint: mend it"), false)
		l.Attempted(db, after(4, db, check.Down, check.ConnectRefused, "again"), false)
		pass(3200 * time.Millisecond)
		l.Attempted(db, after(5, db, check.Up, "", ""), true)
		l.Attempted(app, after(1, app, check.Degraded, check.ExpectCode("latency"), "latency 2s"), true)
		want := strings.Join([]string{
			`a\x1bpp: waits for db[***]`,
			`db: down connect.refused: 127.0.0.1:1 refused\x1b[2J the connection`,
			`db: unknown local.resolver: no resolver answers`,
			`db: down connect.refused: again`,
			`db: up after 3.2s, 5 attempts`,
			`a\x1bpp: degraded after 3.2s, 1 attempt, expect.latency: latency 2s`,
			"",
		}, "\n")
		if diff := cmp.Diff(want, b.String()); diff != "" || l.Close() != nil {
			t.Error(diff)
		}
	})
}

func TestWaitLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, app := &check.Check{ID: "db"}, &check.Check{ID: "app"}
		var b screen
		l := NewWaitLine(&b, "up", Options{Width: 60, Checks: []*check.Check{db, app}})
		show := func(want string) {
			t.Helper()
			pass(progressEvery)
			if diff := cmp.Diff(want, b.shown()); diff != "" {
				t.Error(diff)
			}
		}
		l.Held(app, "db")
		show("\r0/2 up  app: waits for db\x1b[K")
		l.Attempted(db, after(1, db, check.Down, check.ConnectRefused, "127.0.0.1:5432 refused the connection"), false)
		show("\r0/2 up  db: down connect.refused: 127.0.0.1:5432 refused t…\x1b[K")
		l.Held(app, "db")
		show("\r0/2 up  db: down connect.refused: 127.0.0.1:5432 refused t…\x1b[K")
		l.Attempted(db, after(2, db, check.Up, "", ""), true)
		show("\r1/2 up\x1b[K")
		l.Attempted(app, after(1, app, check.Up, "", ""), true)
		show("\r2/2 up\x1b[K")
		if err := l.Close(); err != nil || b.shown() != eraseLine {
			t.Error(err)
		}
	})
}

func TestMissed(t *testing.T) {
	c := &check.Check{ID: "a\nb"}
	for _, tt := range []struct {
		r    check.Result
		want []string
	}{
		{after(3, c, check.Down, check.ConnectRefused, "no\x1b"), []string{`a\nb: down connect.refused: no\x1b (3 attempts)`}},
		{after(1, c, check.Up, "", ""), []string{`a\nb: up (1 attempt)`}},
		{after(0, c, check.Unknown, check.LocalShutdown, "not begun: it waits for db"), []string{`a\nb: not begun: it waits for db`}},
		{after(1, c, check.Unknown, check.LocalPermission, "may not\nsudo \x1bx"), []string{`a\nb: unknown local.permission: may not (1 attempt)`, `sudo \x1bx`}},
	} {
		if diff := cmp.Diff(tt.want, Missed(tt.r)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWaitIsNotWritten(t *testing.T) {
	c := &check.Check{ID: "a"}
	l := NewWaitLog(brokenPipe{}, Options{})
	l.Held(c, "b")
	if err := l.Close(); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the error is %v", err)
	}
}
