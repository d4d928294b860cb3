package report

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// record is a sink that keeps the ids it was given.
type record struct {
	ids  []string
	fail error
}

func (s *record) Put(r check.Result) error { s.ids = append(s.ids, r.ID); return s.fail }
func (s *record) Close() error             { s.ids = append(s.ids, "close"); return s.fail }

func TestInOrder(t *testing.T) {
	tests := []struct{ checks, put, atOnce, atEnd string }{
		{"a b c", "a b c", "a b c", "a b c"},
		{"a b c", "c b a", "a b c", "a b c"},
		{"a b c", "b c", "", "b c"},
		{"a b c d", "a d b", "a b", "a b d"},
		{"a b", "x b y a", "a b", "a b x y"},
		{"a a b", "b a a", "a a b", "a a b"},
		{"", "z y", "", "z y"},
	}
	for _, tt := range tests {
		var o Options
		for _, id := range strings.Fields(tt.checks) {
			o.Checks = append(o.Checks, &check.Check{ID: id})
		}
		rec := &record{}
		s := InOrder(o.Checks, rec)
		for _, id := range strings.Fields(tt.put) {
			if err := s.Put(check.Result{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(rec.ids, " "); got != tt.atOnce {
			t.Errorf("checks %q, put %q: passed on %q, want %q", tt.checks, tt.put, got, tt.atOnce)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Fields(tt.atEnd+" close"), rec.ids); diff != "" {
			t.Errorf("checks %q, put %q (-want +got):\n%s", tt.checks, tt.put, diff)
		}
	}
}

// TestInOrderMasked holds that a check whose id is a secret keeps its place.
func TestInOrderMasked(t *testing.T) {
	checks := []*check.Check{{ID: "x[hunter22]", Mask: check.NewMask("hunter22")}, {ID: "b"}}
	rec := &record{}
	s := InOrder(checks, rec)
	for _, id := range []string{"b", "x[***]"} {
		if err := s.Put(check.Result{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"x[***]", "b"}, rec.ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInOrderClosesAfterErrors(t *testing.T) {
	broken := errors.New("broken")
	rec := &record{fail: broken}
	s := InOrder([]*check.Check{{ID: "a"}, {ID: "b"}}, rec)
	if err := s.Put(check.Result{ID: "b"}); err != nil {
		t.Errorf("Put of what is held back: %v", err)
	}
	if err := s.Close(); !errors.Is(err, broken) {
		t.Errorf("Close: %v, want %v", err, broken)
	}
	if got := strings.Join(rec.ids, " "); got != "b close" {
		t.Errorf("the sink saw %q, want it closed", got)
	}
}
