package report

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

func checksOf(results []check.Result) []*check.Check { return options(results).Checks }

func TestProgressLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		results := sample()
		checks := checksOf(results)
		l := Progress(&b, Options{Width: 70, Checks: checks})
		l.Start(checks[0])
		l.Start(checks[1])
		if b.Len() > 0 {
			t.Errorf("drawn at once: %q", b.String())
		}
		time.Sleep(progressEvery) // synctest's clock
		synctest.Wait()
		want := "\r0/6  running 2, longest orders[eu.example.com]\x1b[K"
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("after a tenth of a second (-want +got):\n%s", diff)
		}
		b.Reset()
		if err := l.Put(results[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(progressEvery)
		synctest.Wait()
		if diff := cmp.Diff("\r1/6  1 down  running web\x1b[K", b.String()); diff != "" {
			t.Errorf("after a result (-want +got):\n%s", diff)
		}
		b.Reset()
		if err := l.Put(results[1]); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		l.Start(checks[2])
		synctest.Wait()
		if diff := cmp.Diff(eraseLine, b.String()); diff != "" {
			t.Errorf("after Close (-want +got):\n%s", diff)
		}
	})
}

func TestProgressThrottles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		l := Progress(&b, Options{Width: 80})
		const seconds, step = 3, time.Millisecond
		for range seconds * int(time.Second/step) {
			if err := l.Put(sample()[1]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(step)
		}
		time.Sleep(progressEvery)
		synctest.Wait()
		if n := strings.Count(b.String(), "\r"); n < 10*seconds-3 || n > 10*seconds+1 {
			t.Errorf("drawn %d times in %d seconds, want about ten a second", n, seconds)
		}
		if !strings.Contains(b.String(), "\r3000/3000  3000 up\x1b[K") {
			t.Errorf("the last line is not there: %q", b.String()[b.Len()-40:])
		}
	})
}

// TestProgressOver holds that other output begins on a clear line.
func TestProgressOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		results := sample()
		l := Progress(&screen, Options{Width: 80})
		sink := l.Over(newQuiet(&screen, Options{}))
		l.Start(checksOf(results)[0])
		time.Sleep(progressEvery)
		synctest.Wait()
		for _, s := range []check.Sink{l, sink} {
			if err := s.Put(results[0]); err != nil {
				t.Fatal(err)
			}
		}
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
		want := "\r0/0  running orders[eu.example.com]\x1b[K" + eraseLine +
			"down orders[eu.example.com] http.status: status 503, want 200\n"
		if diff := cmp.Diff(want, screen.String()); diff != "" {
			t.Errorf("screen (-want +got):\n%s", diff)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestProgressFits holds that a hostile name neither breaks the line nor makes
// it wider than the terminal.
func TestProgressFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for w := 1; w < 120; w++ {
			var b bytes.Buffer
			l := Progress(&b, Options{Width: w})
			for _, r := range hostile() {
				l.Start(&check.Check{ID: r.ID})
				if err := l.Put(sample()[0]); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(progressEvery)
			synctest.Wait()
			text := strings.TrimSuffix(strings.TrimPrefix(b.String(), "\r"), "\x1b[K")
			if strings.ContainsFunc(text, unsafe) || width(text) >= max(w, minWidth) {
				t.Errorf("width %d: %d columns: %q", w, width(text), text)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestProgressBrokenPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Progress(brokenPipe{}, Options{})
		for range 3 {
			if err := l.Put(sample()[0]); err != nil {
				t.Errorf("Put: %v, want none", err)
			}
			time.Sleep(progressEvery)
		}
		if err := l.Close(); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Close: %v, want EPIPE", err)
		}
	})
}

func TestProgressConcurrently(t *testing.T) {
	var b bytes.Buffer
	results := sample()
	checks := checksOf(results)
	l := Progress(&b, Options{Checks: checks})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 100 {
				l.Start(checks[(i+n)%len(checks)])
				if err := l.Put(results[(i+n)%len(results)]); err != nil {
					t.Error(err)
				}
				l.Clear()
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
