package probes

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// spreading is to how many addresses of a name a run goes.
type spreading uint8

const (
	oneAddress   spreading = iota // the first that answers
	everyAddress                  // address: all
	bothFamilies                  // family: both
)

// maxSpread is how many addresses of a name one run probes.
const maxSpread = 64

// bothProbes is how many family: both makes: one for each family, and the one
// that takes whichever is faster.
const bothProbes = 3

// The facts of a run that goes to several addresses.
const (
	foundFact  = "addresses.found"
	probedFact = "addresses.probed"
)

// The parts of family: both, and so the beginnings of their facts.
const part4, part6 = "v4", "v6"

// spreadFacts declares what resolving and a run to several addresses observe.
func spreadFacts() []check.Fact {
	return append(resolveFacts(), []check.Fact{
		{Name: foundFact, Type: check.Int, Doc: "how many addresses the name has; only with address: all", Option: "address: all"},
		{Name: probedFact, Type: check.Int, Doc: fmt.Sprintf("how many of them were probed, %d at most; only with address: all", maxSpread), Option: "address: all"},
		{Name: part4 + ".up", Type: check.Bool, Doc: "whether IPv4 alone works; only with family: both, as the next three", Option: "family: both"},
		{Name: part4 + ".latency", Type: check.Duration, Doc: "latency over IPv4 alone, when it works", Option: "family: both"},
		{Name: part6 + ".up", Type: check.Bool, Doc: "whether IPv6 alone works", Option: "family: both"},
		{Name: part6 + ".latency", Type: check.Duration, Doc: "latency over IPv6 alone, when it works", Option: "family: both"},
	}...)
}

// pin returns the address that the option names, empty when it names none.
func (r *Route) pin() string {
	if r.Address == "any" || r.Address == "all" {
		return ""
	}
	return r.Address
}

// takeSpread reads how many addresses to go to.
func (r *router) takeSpread(errs *[]error, o *Route) {
	refuse := func(option, format string, args ...any) {
		*errs = append(*errs, check.OptionErrorf(option, format, args...))
	}
	if r.spread == bothFamilies {
		switch {
		case o.Address != "" && o.Address != "any":
			refuse("address", "%s and family: both exclude each other", o.Address)
		case len(r.sources) > 0:
			refuse("source", "is of one family, and family is both")
		}
	}
	if o.Address == "all" {
		r.spread = everyAddress
	}
	switch o.Require {
	case "":
		return
	case "all":
	case "any":
		r.need = 1
	default:
		n, err := strconv.Atoi(o.Require)
		if err != nil || n < 1 || n > maxSpread {
			refuse("require", "%q is not all, any or a number from 1 to %d", o.Require, maxSpread)
		}
		r.need = n
	}
	if o.Address != "all" {
		refuse("require", "needs address: all")
	}
}

// routable is a probe that can take another route to its host.
type routable interface {
	check.Probe
	// over returns the same probe over the route, which is the probe's own but for
	// its family or its address.
	over(route *router) check.Probe
}

// spreadOver returns the probe itself, or one that goes to several addresses
// where its route says so.
func spreadOver(p routable, route *router, host string) check.Probe {
	if route == nil || route.spread == oneAddress {
		return p
	}
	return &spreadProbe{routable: p, route: route, host: host}
}

// spreadProbe goes to several addresses of its host in one run.
type spreadProbe struct {
	routable
	route *router
	host  string
}

// Footprint is that of all its connections. Those to each address of a name leave
// one port each for that address, of which there are as many for each.
func (p *spreadProbe) Footprint() check.Footprint {
	var made check.Footprint
	if f, ok := p.routable.(check.Footprinter); ok {
		made = f.Footprint()
	}
	_, err := netip.ParseAddr(p.host)
	switch {
	case p.route.spread == bothFamilies:
		made.Ports *= bothProbes
		made.Probes, made.AtOnce = bothProbes, bothProbes
	case err != nil: // a name, whose addresses are not known yet
		made.Probes, made.AtOnce = maxSpread, maxSpread
	}
	return made
}

// Close closes what the probe keeps.
func (p *spreadProbe) Close() error {
	if c, ok := p.routable.(check.Closer); ok {
		return c.Close()
	}
	return nil
}

// Spread returns the run's parts.
func (p *spreadProbe) Spread(ctx context.Context) check.Spread {
	if p.route.spread == bothFamilies {
		four, six := *p.route, *p.route
		four.family, six.family = 4, 6
		return check.Spread{
			Parts:  []check.SpreadPart{{Name: part4, Probe: p.over(&four)}, {Name: part6, Probe: p.over(&six)}},
			Whole:  p.routable,
			Absent: check.DNSNoData,
		}
	}
	return p.addresses(ctx)
}

// addresses returns a part for each address of the name, and one for a family
// whose addresses could not be learnt. Their order is that of the addresses, for
// servers rotate their answers.
func (p *spreadProbe) addresses(ctx context.Context) check.Spread {
	j := begin()
	addrs, missing, reason := j.everyAddress(ctx, p.route, p.host)
	if reason != nil {
		j.stop(reason)
		return check.Spread{Found: j.obs}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	j.obs.Set(foundFact, len(addrs))
	addrs = addrs[:min(len(addrs), maxSpread)]
	j.obs.Set(probedFact, len(addrs))
	s := check.Spread{Need: cmp.Or(p.route.need, len(addrs)+len(missing)), Parts: make([]check.SpreadPart, 0, len(addrs)+len(missing))}
	for _, addr := range addrs {
		pinned := *p.route
		pinned.address = addr
		s.Parts = append(s.Parts, check.SpreadPart{Name: addr.String(), Probe: p.over(&pinned)})
	}
	s.Parts = append(s.Parts, missing...)
	s.Found = j.end()
	return s
}

// everyAddress resolves the host for each family, and waits for both answers.
// A family that is not there is no fault; one whose answer failed is a part that
// has failed.
func (j *journey) everyAddress(ctx context.Context, route *router, host string) ([]netip.Addr, []check.SpreadPart, *check.Reason) {
	if _, err := netip.ParseAddr(host); err == nil || route.family != 0 {
		addrs, reason := j.addresses(ctx, route, host)
		return addrs, nil, reason
	}
	start := time.Now()
	var legs [2]*journey
	var addrs [2][]netip.Addr
	var reasons [2]*check.Reason
	var both sync.WaitGroup
	for i, family := range []uint8{4, 6} {
		one := *route
		one.family, legs[i] = family, begin()
		both.Go(func() { addrs[i], reasons[i] = legs[i].addresses(ctx, &one, host) })
	}
	both.Wait()
	var missing []check.SpreadPart
	asked := false // or everything was cached
	for i, name := range []string{"A records", "AAAA records"} {
		for _, f := range legs[i].obs.Facts {
			j.obs.Set(f.Name, f.Value)
		}
		if _, resolved := legs[i].obs.Phases.Get(check.PhaseResolve); resolved {
			asked = true
		}
		if r := reasons[i]; r != nil && r.Code != check.DNSNoData && reasons[1-i] == nil {
			missing = append(missing, check.SpreadPart{Name: name, Probe: failed{*r}})
		}
	}
	if asked {
		j.timed(check.PhaseResolve, start)
	}
	switch {
	case reasons[0] == nil || reasons[1] == nil:
		return slices.Concat(addrs[0], addrs[1]), missing, nil
	case reasons[0].Code != check.DNSNoData:
		return nil, nil, reasons[0]
	case reasons[1].Code != check.DNSNoData:
		return nil, nil, reasons[1]
	}
	return nil, nil, &check.Reason{Code: check.DNSNoData, Message: host + " exists but has no A or AAAA record"}
}

// failed is the probe of a part that has failed already.
type failed struct{ check.Reason }

// Observe tells why.
func (f failed) Observe(context.Context) check.Observation {
	return check.Observation{Failure: f.Reason}
}

// over returns the probe over another route.
func (p *tcpProbe) over(route *router) check.Probe {
	other := *p
	other.route = route
	return &other
}

// over returns the probe over another route.
func (p *tlsProbe) over(route *router) check.Probe {
	other := *p
	other.route = route
	return &other
}

// over returns the probe over another route.
func (p *icmpProbe) over(route *router) check.Probe {
	other := *p
	other.route = route
	return &other
}

// over returns the probe over another route, which redirects to other hosts share
// but for its address.
func (p *httpProbe) over(route *router) check.Probe { return p.routed(route) }

func (p *httpProbe) routed(route *router) *httpProbe {
	plan := *p.httpPlan
	away := *plan.away.route
	away.family = route.family
	plan.home.route, plan.away.route = route, &away
	plan.options.Address, plan.options.Family = "", ""
	if route.address.IsValid() {
		plan.options.Address = route.address.String()
	}
	if route.family != 0 {
		plan.options.Family = strconv.Itoa(int(route.family))
	}
	return &httpProbe{httpPlan: &plan, start: p.start, target: p.target}
}

// spreads checks that the options let the probe go to several addresses in a run.
func (p *httpProbe) spreads(o *httpOptions) error {
	if p.keeper == nil {
		return nil
	}
	return check.OptionErrorf("connection", "reuse keeps one connection, and %s", o.spreadWords())
}

func (r *Route) spreadWords() string {
	if r.Family == "both" {
		return "family: both makes several"
	}
	return "address: all makes several"
}

// over returns the probe over another route.
func (p *wsProbe) over(route *router) check.Probe {
	other := *p
	other.upgrade = p.upgrade.routed(route)
	other.shown = other.withFields(sampleKey)
	return &other
}

// over returns the probe over another route.
func (p *grpcProbe) over(route *router) check.Probe {
	other, options := *p, *p.options
	other.call = p.call.routed(route)
	options.Route = other.call.options.Route
	other.options = &options
	return &other
}
