package check

import (
	"math"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "300ms": 300 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "1h30m": 90 * time.Minute,
		"14d": 14 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "-5s": -5 * time.Second, "10us": 10 * time.Microsecond,
		"10µs": 10 * time.Microsecond, "7ns": 7, "0s": 0, ".5s": 500 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-", "5", "5 s", "s", "1h30", "5x", "1.2.3s", ".s", "1e9s", "999999999w", "--5s", "5s ", "NaNs"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "7ns": 7, "1.5µs": 1500, "812ms": 812 * time.Millisecond, "31.2ms": 31200 * time.Microsecond,
		"1.23s": 1234 * time.Millisecond, "90s": 90 * time.Second, "2m": 2 * time.Minute, "90m": 90 * time.Minute,
		"20d": 20 * 24 * time.Hour, "-5s": -5 * time.Second, "2h": 2 * time.Hour,
		"106752d": math.MaxInt64, "-106752d": math.MinInt64,
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "512": 512, "512B": 512, "64KiB": 64 << 10, "10MB": 10e6, "1.5GiB": 3 << 29, "2GB": 2e9, "1KB": 1000,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "B", "-5B", "5kb", "5 MB", "1e3MB", "99999999999GiB", "5TBB", "."} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, text := range []string{"300ms", "1h30m", "14d", "0", "-1.5s", "1µs"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			return
		}
		again, err := ParseDuration(FormatDuration(d))
		if err != nil {
			t.Fatalf("%q is %d, shown as %q: %v", text, d, FormatDuration(d), err)
		}
		if diff := math.Abs(float64(again - d)); diff > math.Abs(float64(d))*0.01 {
			t.Errorf("%q is %d, shown as %q, read as %d", text, d, FormatDuration(d), again)
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, text := range []string{"512", "64KiB", "10MB", "1.5GiB"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			return
		}
		if again, err := ParseSize(size.String()); err != nil || again != size {
			t.Errorf("%q is %d, written as %q, read as %d, %v", text, size, size.String(), again, err)
		}
	})
}
