package cmd

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/plan"
	"github.com/sonde-cli/sonde/scheduler"
)

const planLong = `Tell what checks would ask of this machine and of their targets: the checks that
the files expand to, how many probes a second, on average and at the peak, where
they go, how many are under way at once, what that takes, and how long one run
may last. Nothing is measured and no packet is sent.

The exit code is 2 when the files are wrong, and when the plan exceeds a cap that
you give.`

const planExamples = `  sonde plan checks.yaml
  sonde plan checks/ --tag smoke --max-duration 2m
  sonde plan checks.yaml --max-rate 500/s --max-host-rate 10/s
  sonde plan checks.yaml --all --format json`

// planFlags are the flags of `sonde plan`.
type planFlags struct {
	loopFlags
	concurrency      count
	maxRate, maxHost rate
	maxDuration      durationFlag
	maxDescriptors   bound
	all              bool
	format           choice
}

func newPlan(a *App) *cobra.Command {
	f := planFlags{format: choice{value: "text", of: []string{"text", "json"}}, concurrency: scheduler.DefaultConcurrency}
	c := &cobra.Command{
		Use:               "plan [FILE|DIR|-]...",
		Short:             "Tell what checks would ask of this machine and of others",
		Long:              planLong,
		Example:           planExamples,
		ValidArgsFunction: yamlFiles,
		RunE:              func(c *cobra.Command, files []string) error { return a.plan(c.Context(), &f, files) },
	}
	flags := c.Flags()
	flags.SortFlags = false
	f.loopFlags.register(a, c)
	flags.Var(&f.concurrency, "concurrency", "how many checks 'sonde run' measures at once")
	flags.Var(&f.maxRate, "max-rate", "most probes that may begin in any one second")
	flags.Var(&f.maxHost, "max-host-rate", "the same, to one host")
	flags.Var(&f.maxDuration, "max-duration", "longest time that one run may take")
	flags.Var(&f.maxDescriptors, "max-descriptors", "most files that may be open at once")
	flags.BoolVar(&f.all, "all", false, "list all checks and destinations; JSON always does")
	flags.Var(&f.format, "format", "text or json")
	complete(c, "format", fixed(f.format.of...))
	return c
}

func (a *App) plan(ctx context.Context, f *planFlags, files []string) error {
	if f.concurrency < 1 {
		return usagef("", "--concurrency %d: it takes at least 1", f.concurrency)
	}
	set, err := a.load(ctx, &f.selection, files)
	if err != nil {
		return err
	}
	o := plan.Options{
		Checks: set.Checks, Limits: f.limits(set.Limits), Machine: thisMachine(), Endpoint: endpointOf,
		Caps: plan.Caps{
			Rate: float64(f.maxRate), HostRate: float64(f.maxHost), Duration: time.Duration(f.maxDuration), Descriptors: int(f.maxDescriptors),
		},
	}
	if o.Limits.InFlight == 0 {
		o.Limits.InFlight = scheduler.DefaultInFlight
	}
	o.Concurrency = min(int(f.concurrency), len(set.Checks))
	p := plan.New(o)
	if f.format.value == "json" {
		if err := writePlanJSON(a.Stdout, p, set.Disabled); err != nil {
			return err
		}
	} else {
		if err := writePlan(a.Stdout, p, set.Disabled, f.all); err != nil {
			return err
		}
		a.refusePlan(p)
	}
	if len(p.Exceeded) > 0 {
		return status(ExitUsage)
	}
	return nil
}

// refusePlan tells what does not fit and what exceeds a cap.
func (a *App) refusePlan(p *plan.Plan) {
	for _, w := range p.Warnings {
		a.warn(w.Message, w.Hint)
	}
	for _, e := range p.Exceeded {
		for _, l := range e.Lines {
			a.stderr("%s\n", faultLine(l))
		}
		if e.More > 0 {
			a.stderr("and %s\n", plural(e.More, "more line"))
		}
		a.stderr("sonde: --%s: %s\n", e.Cap, e.Message)
		a.stderr("hint: %s\n", e.Hint)
	}
}

// thisMachine returns what this process has.
func thisMachine() plan.Machine {
	open := int(openDescriptors())
	m := plan.Machine{Ports: localPorts(), PerProbe: perProbe, Spare: open + spare, SpareLoop: open + spareServing}
	if limit, ok := descriptorLimit(); ok {
		m.Descriptors = int(min(limit, 1<<31-1))
	}
	return m
}

// localPorts returns how many ports the system has for connections: on Linux
// as it is set, elsewhere those of RFC 6335 section 6.
func localPorts() int {
	const dynamic = 65535 - 49152 + 1
	if runtime.GOOS != "linux" {
		return dynamic
	}
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return dynamic
	}
	fields := bytes.Fields(text)
	if len(fields) != 2 {
		return dynamic
	}
	first, err1 := strconv.Atoi(string(fields[0]))
	last, err2 := strconv.Atoi(string(fields[1]))
	if err1 != nil || err2 != nil || last < first {
		return dynamic
	}
	return last - first + 1
}

// endpointOf returns where a check goes: the host by which limits are kept, and
// its port, or what stands for it.
func endpointOf(c *check.Check) (host, port string) {
	if host = c.Host; host == "" {
		host = hostOf(c.Target)
	}
	if u, err := url.Parse(c.Target); err == nil && u.Host != "" {
		if port := u.Port(); port != "" {
			return host, port
		}
		return host, map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if _, port, err := net.SplitHostPort(c.Target); err == nil {
		return host, port
	}
	return host, ""
}
