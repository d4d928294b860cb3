package cmd

import (
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

func TestFit(t *testing.T) {
	const s = time.Second
	for name, tt := range map[string]struct {
		timeout      time.Duration
		retry        check.Retry
		left         time.Duration
		wantTimeout  time.Duration
		wantAttempts int
	}{
		"once":            {5 * s, check.Retry{Attempts: 1}, 10 * s, 5 * s, 1},
		"once, short":     {5 * s, check.Retry{}, 3 * s, 3 * s, 1},
		"room":            {s, check.Retry{Attempts: 3, Wait: 3 * s, Factor: 1}, 9 * s, s, 3},
		"no room":         {5 * s, check.Retry{Attempts: 3, Wait: s, Factor: 1}, 8 * s, 2 * s, 3},
		"waits too long":  {5 * s, check.Retry{Attempts: 4, Wait: 2 * s, Factor: 2}, 10 * s, 4 * s, 2},
		"waits for ever":  {s, check.Retry{Attempts: 1 << 30, Wait: time.Hour, Factor: 2}, 10 * s, s, 1},
		"many, unwaiting": {s, check.Retry{Attempts: 10}, 5 * s, s / 2, 10},
	} {
		c := &check.Check{Timeout: tt.timeout, Retry: tt.retry}
		fit(c, tt.left)
		if c.Timeout != tt.wantTimeout || c.Retry.Attempts != tt.wantAttempts {
			t.Errorf("%s: timeout %v, %d attempts", name, c.Timeout, c.Retry.Attempts)
		}
	}
}
