package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
)

// durationFlag is a flag such as 300ms, 5s or 14d.
type durationFlag time.Duration

// Set reads a duration above zero.
func (d *durationFlag) Set(text string) error {
	v, err := check.ParseDuration(text)
	if err != nil {
		return err
	}
	if v <= 0 {
		return errors.New("it must be above 0")
	}
	*d = durationFlag(v)
	return nil
}

// String returns the duration; nothing when it is not set.
func (d *durationFlag) String() string {
	if *d == 0 {
		return ""
	}
	return check.FormatDuration(time.Duration(*d))
}

// Type names the value in help.
func (d *durationFlag) Type() string { return "DURATION" }

// count is a flag for a whole number of at least 0.
type count int

// Set reads the number.
func (n *count) Set(text string) error {
	v, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return errors.New("want a number from 0 to 65535")
	}
	*n = count(v)
	return nil
}

// String returns the number.
func (n *count) String() string { return strconv.Itoa(int(*n)) }

// Type names the value in help.
func (n *count) Type() string { return "N" }

// samplesFlag is a flag for how often a run observes; 0 when it is not given.
type samplesFlag int

// Set reads a number within the bounds of the file's samples.count.
func (n *samplesFlag) Set(text string) error {
	v, err := strconv.ParseUint(text, 10, 16)
	if err != nil || v < 1 || v > config.MaxSamples {
		return fmt.Errorf("want a number from 1 to %d", config.MaxSamples)
	}
	*n = samplesFlag(v)
	return nil
}

// String returns the number; nothing when it is not set.
func (n *samplesFlag) String() string {
	if *n == 0 {
		return ""
	}
	return strconv.Itoa(int(*n))
}

// Type names the value in help.
func (n *samplesFlag) Type() string { return "N" }

// share is a flag such as 10% or 0.1, from 0 to 1.
type share float64

// Set reads the share.
func (s *share) Set(text string) error {
	number, hundredth := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if hundredth {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return errors.New("want a share such as 10%, at most 100%")
	}
	*s = share(v)
	return nil
}

// String returns the share in percent.
func (s *share) String() string { return strconv.FormatFloat(100*float64(*s), 'g', 6, 64) + "%" }

// Type names the value in help.
func (s *share) Type() string { return "SHARE" }

// choice is a flag with a closed list of values.
type choice struct {
	value string
	of    []string
}

// Set accepts one of the values.
func (c *choice) Set(text string) error {
	if !slices.Contains(c.of, text) {
		return fmt.Errorf("want one of %s", strings.Join(c.of, ", "))
	}
	c.value = text
	return nil
}

// String returns the value.
func (c *choice) String() string { return c.value }

// Type names the value in help.
func (c *choice) Type() string { return strings.Join(c.of, "|") }

// list is a flag that can be repeated.
type list struct {
	values []string
	arg    string // what a value is called in help
}

// Set adds a value.
func (l *list) Set(text string) error {
	if text == "" {
		return errors.New("it is empty")
	}
	l.values = append(l.values, text)
	return nil
}

// String returns the values.
func (l *list) String() string { return strings.Join(l.values, ", ") }

// Type names the value in help.
func (l *list) Type() string { return l.arg }
