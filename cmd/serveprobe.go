package cmd

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/probes"
	"github.com/sonde-cli/sonde/scheduler"
	"github.com/sonde-cli/sonde/web"
)

// beforeEnd is by how much a probe on demand ends before its request, so that
// its timeout is told as the target's and not as ours.
const beforeEnd = 100 * time.Millisecond

// prober makes probes on demand.
type prober struct {
	allow   []string // globs of hosts
	modules atomic.Pointer[map[string]*config.Module]
}

// set replaces the modules. Of those with the same name in several files the
// last counts.
func (p *prober) set(modules []*config.Module) {
	byName := make(map[string]*config.Module, len(modules))
	for _, m := range modules {
		byName[m.Name] = m
	}
	p.modules.Store(&byName)
}

// probe measures the target with the module once, retries of the module
// included.
func (p *prober) probe(ctx context.Context, module, target string) (check.Result, error) {
	m := (*p.modules.Load())[module]
	if m == nil {
		return check.Result{}, fmt.Errorf("%w: unknown module %q; modules are templates of a kind that takes targets", web.ErrBadProbe, module)
	}
	if host, ok := targetHost(target); !ok || !p.allowed(host) {
		return check.Result{}, fmt.Errorf("%w by --probe-allow", web.ErrDenied)
	}
	c, err := m.Check(target)
	if err != nil {
		return check.Result{}, fmt.Errorf("%w: %w", web.ErrBadProbe, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		fit(c, max(time.Until(deadline)-beforeEnd, beforeEnd))
	}
	var got latest
	once := scheduler.Once{Concurrency: 1}
	err = once.Run(probes.Restrict(ctx, probes.DenyMetadata), []*check.Check{c}, &got)
	return got.Result, err
}

// fit makes the attempts of a check end within the time that is left, so that
// the last one is not cut short: fewer attempts where waiting alone would take
// more than half of it, and a shorter timeout of each.
func fit(c *check.Check, left time.Duration) {
	attempts := max(min(c.Retry.Attempts, int(left/beforeEnd)), 1)
	waits := make([]time.Duration, attempts+1) // by the number of attempts
	for n := 1; n < attempts; n++ {
		waits[n+1] = min(waits[n]+min(c.Retry.Delay(n), left), left) // no sum overflows
	}
	if c.Timeout > (left-waits[attempts])/time.Duration(attempts) {
		for waits[attempts] > left/2 {
			attempts--
		}
	}
	c.Retry.Attempts = attempts
	c.Timeout = min(c.Timeout, (left-waits[attempts])/time.Duration(attempts))
}

func (p *prober) allowed(host string) bool {
	for _, pattern := range p.allow {
		if glob(strings.ToLower(pattern), host) {
			return true
		}
	}
	return false
}

// targetHost returns the host that a target names, in lower case and without
// the dot of an absolute name. What is no URL, host or host:port has none.
func targetHost(target string) (string, bool) {
	if addr, err := netip.ParseAddr(strings.Trim(target, "[]")); err == nil {
		return addr.String(), true
	}
	if !strings.Contains(target, "://") {
		target = "any://" + target
	}
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" {
		return "", false
	}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), true
}

// latest is a sink that keeps the last result.
type latest struct{ check.Result }

// Put keeps the result.
func (l *latest) Put(r check.Result) error {
	l.Result = r
	return nil
}

// Close does nothing.
func (l *latest) Close() error { return nil }
