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

// screen is a terminal that is written from a timer's goroutine.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// shown returns what was written since the last call.
func (s *screen) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.b.String()
	s.b.Reset()
	return text
}

// pass lets d pass on the bubble's clock, and what is due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestProgressLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b screen
		results := sample()
		checks := checksOf(results)
		l := Progress(&b, Options{Width: 70, Checks: checks})
		l.Start(checks[0])
		l.Start(checks[1])
		if text := b.shown(); text != "" {
			t.Errorf("drawn at once: %q", text)
		}
		pass(progressEvery)
		want := "\r0/10  running 2, longest orders[eu.example.com]\x1b[K"
		if diff := cmp.Diff(want, b.shown()); diff != "" {
			t.Errorf("after a tenth of a second (-want +got):\n%s", diff)
		}
		if err := l.Put(results[0]); err != nil {
			t.Fatal(err)
		}
		pass(progressEvery)
		if diff := cmp.Diff("\r1/10  1 down  running web\x1b[K", b.shown()); diff != "" {
			t.Errorf("after a result (-want +got):\n%s", diff)
		}
		if err := l.Put(results[1]); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		l.Start(checks[2])
		synctest.Wait()
		if diff := cmp.Diff(eraseLine, b.shown()); diff != "" {
			t.Errorf("after Close (-want +got):\n%s", diff)
		}
	})
}

func TestProgressThrottles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b screen
		l := Progress(&b, Options{Width: 80})
		const seconds, step = 3, time.Millisecond
		for range seconds * int(time.Second/step) {
			if err := l.Put(sample()[1]); err != nil {
				t.Fatal(err)
			}
			pass(step)
		}
		pass(progressEvery)
		text := b.shown()
		if n := strings.Count(text, "\r"); n < 10*seconds-3 || n > 10*seconds+1 {
			t.Errorf("drawn %d times in %d seconds, want about ten a second", n, seconds)
		}
		if !strings.Contains(text, "\r3000/3000  3000 up\x1b[K") {
			t.Errorf("the last line is not there: %q", text[max(0, len(text)-40):])
		}
	})
}

// TestProgressOver holds that other output begins on a clear line.
func TestProgressOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var terminal screen
		results := sample()
		l := Progress(&terminal, Options{Width: 80})
		sink := l.Over(newQuiet(&terminal, Options{}))
		l.Start(checksOf(results)[0])
		pass(progressEvery)
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
		if diff := cmp.Diff(want, terminal.shown()); diff != "" {
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
			var b screen
			l := Progress(&b, Options{Width: w})
			for _, r := range hostile() {
				l.Start(&check.Check{ID: r.ID})
				if err := l.Put(sample()[0]); err != nil {
					t.Fatal(err)
				}
			}
			pass(progressEvery)
			text := strings.TrimSuffix(strings.TrimPrefix(b.shown(), "\r"), "\x1b[K")
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
			pass(progressEvery)
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
