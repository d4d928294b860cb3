package check

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes.
type Size int64

var sizeUnits = map[string]float64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

// ParseSize reads a size such as 512, 64KiB, 10MB or 1.5GiB. KB, MB and GB are
// powers of 1000; KiB, MiB and GiB of 1024 (IEC 80000-13).
func ParseSize(s string) (Size, error) {
	number, unit := splitNumber(s)
	factor, known := sizeUnits[unit]
	n, err := strconv.ParseFloat(number, 64)
	if !known || err != nil || n < 0 || n*factor > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is not a size, write it like 512B, 64KiB or 10MB", s)
	}
	return Size(n * factor), nil
}

// String returns the size with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range []struct {
		name string
		size Size
	}{{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}} {
		if s >= u.size && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

var durationUnits = map[string]time.Duration{
	"ns": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "ms": time.Millisecond,
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// ParseDuration reads a duration such as 300ms, 1.5s, 1h30m or 14d. A day is
// 24 hours, a week 7 days. A bare number is refused, except for 0.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration, write it like 300ms, 5s or 14d", s)
	rest, negative := strings.CutPrefix(s, "-")
	if rest == "0" {
		return 0, nil
	}
	if rest == "" {
		return 0, bad
	}
	var total float64
	for rest != "" {
		number, tail := splitNumber(rest)
		end := strings.IndexAny(tail, "0123456789.")
		if end < 0 {
			end = len(tail)
		}
		n, err := strconv.ParseFloat(number, 64)
		unit, known := durationUnits[tail[:end]]
		if err != nil || !known {
			return 0, bad
		}
		total += n * float64(unit)
		rest = tail[end:]
	}
	if total > math.MaxInt64/2 {
		return 0, bad
	}
	if negative {
		total = -total
	}
	return time.Duration(math.Round(total)), nil
}

// FormatDuration writes a duration for people: three significant digits in
// the unit that fits, days from two days on.
func FormatDuration(d time.Duration) string {
	if d < 0 {
		return "-" + FormatDuration(-max(d, -math.MaxInt64)) // the lowest has no opposite
	}
	switch {
	case d == 0:
		return "0s"
	case d < time.Microsecond:
		return strconv.Itoa(int(d)) + "ns"
	case d < time.Millisecond:
		return digits(float64(d)/float64(time.Microsecond)) + "µs"
	case d < time.Second:
		return digits(float64(d)/float64(time.Millisecond)) + "ms"
	case d < 2*time.Minute:
		return digits(d.Seconds()) + "s"
	case d < 2*time.Hour:
		return digits(d.Minutes()) + "m"
	case d < 48*time.Hour:
		return digits(d.Hours()) + "h"
	default:
		return digits(d.Hours()/24) + "d"
	}
}

func digits(f float64) string {
	precision := 0
	switch {
	case f < 9.995:
		precision = 2
	case f < 99.95:
		precision = 1
	}
	s := strconv.FormatFloat(f, 'f', precision, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func splitNumber(s string) (number, unit string) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.') {
		i++
	}
	return s[:i], s[i:]
}
