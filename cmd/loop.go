package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/scheduler"
)

// longestGrace is how long runs in flight get at the end unless --grace says
// otherwise; a shorter longest timeout shortens it.
const longestGrace = 5 * time.Second

// loopFlags are the flags of commands that run checks at their intervals.
type loopFlags struct {
	selection
	inFlight, perHost bound
	perHostRate       rate
	grace             durationFlag
}

func (f *loopFlags) register(a *App, c *cobra.Command) {
	flags := c.Flags()
	f.registerSelection(a, c)
	flags.Var(&f.inFlight, "in-flight", "how many probes may be under way at once; the file's limits.in_flight by default, else 1024")
	flags.Var(&f.perHost, "per-host", "how many of them to one host; the file's limits.per_host by default, else any number")
	flags.Var(&f.perHostRate, "per-host-rate", "how many probes a second may begin to one host; the file's limits.per_host_rate by default, else any number")
}

// loop makes a loop. It has as many places as wanted, if the process may have as many descriptors as that
// takes; else warn hears of it, if it is the user who wanted them.
func (f *loopFlags) loop(limits scheduler.Limits, grace time.Duration, sink check.Sink, warn func(message, hint string)) *scheduler.Loop {
	asked := fmt.Sprintf("limits.in_flight of %d", limits.InFlight)
	switch {
	case f.inFlight > 0:
		asked = "--in-flight " + f.inFlight.String()
	case limits.InFlight == 0:
		asked, limits.InFlight = "", scheduler.DefaultInFlight
	}
	most, limit := places(nil, limits.InFlight, spareServing) // they count probes, whatever the checks are
	if limit > 0 && asked != "" {
		warn(fewer(asked, most, limit))
	}
	limits.InFlight = most
	return scheduler.NewLoop(scheduler.LoopOptions{Sink: sink, Limits: limits, Grace: grace})
}

// limits returns those of the flags, and the files' where the flags say
// nothing.
func (f *loopFlags) limits(files config.Limits) scheduler.Limits {
	l := scheduler.Limits{InFlight: files.InFlight, PerHost: files.PerHost, PerHostRate: files.PerHostRate, Kinds: files.Kinds}
	if f.inFlight > 0 {
		l.InFlight = int(f.inFlight)
	}
	if f.perHost > 0 {
		l.PerHost = int(f.perHost)
	}
	if f.perHostRate > 0 {
		l.PerHostRate = float64(f.perHostRate)
	}
	return l
}

// graceOf returns how long runs in flight may take at the end.
func (f *loopFlags) graceOf(checks []*check.Check) time.Duration {
	if f.grace > 0 {
		return time.Duration(f.grace)
	}
	var longest time.Duration
	for _, c := range checks {
		longest = max(longest, c.Timeout)
	}
	if longest <= 0 {
		return longestGrace
	}
	return min(longest, longestGrace)
}

// loadLoop reads the files for a loop, which reads them again later: standard
// input is no file then. Modules tells to keep templates.
func (a *App) loadLoop(ctx context.Context, f *loopFlags, files []string, modules bool) (*config.Set, error) {
	loader := a.loader()
	loader.Filter, loader.Modules = f.filter(), modules
	set, err := loader.Load(ctx, files...)
	if err != nil {
		return nil, err
	}
	if err := f.verify(set); err != nil {
		return nil, err
	}
	nameHosts(set.Checks, f.limits(set.Limits))
	return set, nil
}

// nameHosts gives checks the hosts by which limits are kept, where there are
// such limits.
func nameHosts(checks []*check.Check, l scheduler.Limits) {
	if l.PerHost <= 0 && l.PerHostRate <= 0 {
		return
	}
	for _, c := range checks {
		if c.Host == "" {
			c.Host = hostOf(c.Target)
		}
	}
}

// loopFiles returns the files of a loop.
func loopFiles(command string, files []string) ([]string, error) {
	files, err := filesOrDefault(files)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if file == "-" {
			return nil, usagef("give it a file: sonde "+command+" FILE", "sonde %s reads its files again when they change, which standard input cannot be", command)
		}
	}
	return files, nil
}

// hostOf returns the host of a target as people read it: of a URL, a host:port
// or a bare host. It is the target itself when nothing else can be told.
func hostOf(target string) string {
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		return strings.ToLower(u.Hostname())
	}
	if host, _, err := net.SplitHostPort(target); err == nil {
		return strings.ToLower(host)
	}
	return strings.ToLower(strings.Trim(target, "[]"))
}

// fan hands each result to all sinks.
type fan []check.Sink

// Put returns the first error and passes the result to the other sinks all the
// same.
func (f fan) Put(r check.Result) error {
	var errs []error
	for _, sink := range f {
		if err := sink.Put(r); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close closes all sinks.
func (f fan) Close() error {
	var errs []error
	for _, sink := range f {
		errs = append(errs, sink.Close())
	}
	return errors.Join(errs...)
}

// bound is a flag for a number of at least 1; 0 when it is not given.
type bound int

// Set reads the number.
func (b *bound) Set(text string) error {
	v, err := strconv.ParseUint(text, 10, 31)
	if err != nil || v < 1 {
		return errors.New("want a number of at least 1")
	}
	*b = bound(v)
	return nil
}

// String returns the number; nothing when it is not given.
func (b *bound) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.Itoa(int(*b))
}

// Type names the value in help.
func (b *bound) Type() string { return "N" }

// rate is a flag for a number per second; 0 when it is not given.
type rate float64

// Set reads a number above 0.
func (r *rate) Set(text string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "/s"), 64)
	if err != nil || !(v > 0 && v <= 1e6) {
		return errors.New("want a number a second, above 0")
	}
	*r = rate(v)
	return nil
}

// String returns the number; nothing when it is not given.
func (r *rate) String() string {
	if *r == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*r), 'g', -1, 64)
}

// Type names the value in help.
func (r *rate) Type() string { return "N" }
