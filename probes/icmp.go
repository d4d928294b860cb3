package probes

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/echo"
)

// sharedPinger pings for all checks.
var sharedPinger echo.Pinger

// Bounds of the icmp kind's options.
const (
	maxEchoes    = 1000
	minEchoPause = time.Millisecond
)

func init() {
	register(check.Kind{
		Name: "icmp", Doc: "ICMP echo (ping): reachability, loss and round-trip times", Schemes: []string{"icmp"},
		Facts: icmpFacts(),
		New: func() check.Options {
			// The interval is the shortest that ping(8) grants every user, the
			// size is ping's.
			return &icmpOptions{Count: 3, Interval: 200 * time.Millisecond, Size: 56}
		},
	})
}

func icmpFacts() []check.Fact {
	return append([]check.Fact{
		{Name: "sent", Type: check.Int, Doc: "echo requests sent, fewer than count when the timeout left no time for all"},
		{Name: "received", Type: check.Int, Doc: "echo requests that were answered"},
		{Name: "loss", Type: check.Float, Unit: "ratio", Code: check.ICMPLoss, Doc: "share of the echo requests without an answer, 0 to 1"},
		{Name: "out_of_order", Type: check.Int, Doc: "replies that the reply to a later request overtook"},
		{Name: "duplicates", Type: check.Int, Doc: "further replies to a request that was answered already"},
		{Name: "mismatched", Type: check.Int, Doc: "replies to our requests that came from another address; they do not count as received"},
		{Name: "rtt.min", Type: check.Duration, Doc: "shortest round-trip time"},
		{Name: "rtt.avg", Type: check.Duration, Doc: "mean round-trip time"},
		{Name: "rtt.median", Type: check.Duration, Doc: "median round-trip time (nearest rank)"},
		{Name: "rtt.p95", Type: check.Duration, Doc: "95th percentile of the round-trip times (nearest rank)"},
		{Name: "rtt.max", Type: check.Duration, Doc: "longest round-trip time"},
		{Name: "rtt.stddev", Type: check.Duration, Doc: "standard deviation of the round-trip times (ping's mdev)"},
		{Name: "jitter", Type: check.Duration, Doc: "mean difference between the round-trip times of two replies in a row"},
		{Name: "mos", Type: check.Float, Doc: "mean opinion score of a telephone call over the path, 1 (bad) to 4.4, estimated from rtt.avg, jitter and loss by the E-model (ITU-T G.107)"},
		{Name: "ip", Type: check.String, Doc: "address that was pinged"},
		{Name: "family", Type: check.Int, Doc: "address family, 4 or 6"},
		{Name: "resolved_name", Type: check.String, Doc: "name that was resolved, when it is not the host as written"},
		{Name: "ttl", Type: check.Int, Unit: "hops", Doc: "TTL or hop limit left in the first reply"},
		{Name: "tos", Type: check.Int, Doc: "type of service (IPv4) or traffic class (IPv6) of the first reply, 0 to 255: DSCP times 4, plus ECN; absent where the system does not tell"},
		{Name: "socket", Type: check.String, Doc: "kind of ICMP socket, datagram (unprivileged) or raw"},
		{Name: "report", Type: check.String, Doc: "first ICMP error that came instead of a reply, such as 'host unreachable'; '' when none did"},
		{Name: "reporter", Type: check.String, Doc: "address that sent the ICMP error"},
		{Name: "reported_mtu", Type: check.Int, Unit: "bytes", Doc: "MTU of the next hop, when the ICMP error is 'fragmentation needed' and tells it"},
		{Name: pathMTUFact, Type: check.Int, Unit: "bytes", Doc: "largest IP packet that gets to the target and back in one piece; searched for with path_mtu, or when an expectation names the fact"},
		{Name: blackHoleFact, Type: check.Bool, Doc: "larger packets than that vanish and no router reports it; found out with mtu.path"},
	}, spreadFacts()...)
}

// icmpOptions are the options of an icmp check.
type icmpOptions struct {
	Host     string        `yaml:"host" required:"true" address:"true" doc:"host name or IP address to ping"`
	Count    int           `yaml:"count" doc:"echo requests to send, 1 to 1000"`
	Interval time.Duration `yaml:"interval" doc:"time between two echo requests"`
	Size     check.Size    `yaml:"size" doc:"bytes of payload, 24 to 65507"`
	TTL      int           `yaml:"ttl" doc:"TTL (hop limit) of the echo requests, 1 to 255; default is the system's"`
	TOS      int           `yaml:"tos" doc:"type of service (IPv4) or traffic class (IPv6) of the echo requests, 0 to 255: DSCP times 4, such as 184 for EF (Linux only)"`
	Whole    bool          `yaml:"dont_fragment" doc:"let no packet be fragmented, neither here nor on the way (Linux only)"`
	PathMTU  bool          `yaml:"path_mtu" doc:"search for the path's MTU after the pings (Linux only)"`
	Route    `yaml:",inline"`
}

// SetTarget takes icmp://host and a bare host.
func (o *icmpOptions) SetTarget(target string) error {
	host := target
	if scheme, rest, ok := strings.Cut(target, "://"); ok {
		if !strings.EqualFold(scheme, "icmp") {
			return fmt.Errorf("%s:// is not a target of icmp, write icmp://host", scheme)
		}
		host = strings.TrimSuffix(rest, "/")
	}
	if host == "" {
		return errors.New("there is no host in the target, write icmp://host")
	}
	if i := strings.IndexAny(host, "/?#@"); i >= 0 {
		if _, err := netip.ParsePrefix(host); err == nil {
			return fmt.Errorf("an icmp target is a host alone; a file takes the addresses of %s as each: {host: {cidr: %s}}", host, host)
		}
		return fmt.Errorf("an icmp target is a host alone, without %q", host[i:])
	}
	o.Host = host
	return nil
}

// Build validates the options.
func (o *icmpOptions) Build(setup check.Setup) (check.Plan, error) {
	mtu := o.PathMTU || setup.Needs(pathMTUFact) || setup.Needs(blackHoleFact)
	errs := []error{o.checkNumbers(setup), o.checkSystem(mtu)}
	host, err := icmpHost(o.Host)
	if err != nil {
		errs = append(errs, check.OptionErrorf("host", "%w", err))
	}
	route := &o.Route
	router, err := route.buildAll()
	errs = append(errs, err)
	errs = append(errs, router.reaches("host", host))
	if err := errors.Join(errs...); err != nil {
		return check.Plan{}, err
	}
	probe := &icmpProbe{
		host: host, route: router, mtu: mtu, pinger: &sharedPinger,
		plan: echo.Plan{Device: o.Interface, Count: o.Count, Interval: o.Interval, Size: int(o.Size), TTL: o.TTL, TOS: o.TOS, Whole: o.Whole},
	}
	return check.Plan{
		Probe: spreadOver(probe, router, host), Target: "icmp://" + urlHost(host), Defaults: []check.Default{{Expect: "received > 0"}},
	}, nil
}

func (o *icmpOptions) checkNumbers(setup check.Setup) error {
	var errs []error
	if o.Count < 1 || o.Count > maxEchoes {
		errs = append(errs, check.OptionErrorf("count", "%d is not between 1 and %d", o.Count, maxEchoes))
	}
	for _, fact := range []string{"jitter", "mos", "out_of_order"} {
		if o.Count == 1 && setup.Needs(fact) {
			errs = append(errs, check.OptionErrorf("count", "the fact %s needs at least 2 packets", fact))
		}
	}
	if o.Interval < minEchoPause {
		errs = append(errs, check.OptionErrorf("interval", "%s is shorter than %s", o.Interval, minEchoPause))
	}
	if o.Size < echo.MinSize || o.Size > echo.MaxSize {
		errs = append(errs, check.OptionErrorf("size", "%s is not between %dB and %dB", o.Size, echo.MinSize, echo.MaxSize))
	}
	if o.TTL < 0 || o.TTL > 255 {
		errs = append(errs, check.OptionErrorf("ttl", "%d is not between 1 and 255", o.TTL))
	}
	if o.TOS < 0 || o.TOS > 255 {
		errs = append(errs, check.OptionErrorf("tos", "%d is not between 0 and 255", o.TOS))
	}
	return errors.Join(errs...)
}

// checkSystem refuses what only works with the options of IP. Without them the
// search for the path's MTU would find that of packets in fragments.
func (o *icmpOptions) checkSystem(mtu bool) error {
	if echo.MarksPackets {
		return nil
	}
	var errs []error
	for _, option := range []struct {
		name string
		set  bool
	}{{"tos", o.TOS != 0}, {"dont_fragment", o.Whole}, {"path_mtu", mtu}, {"interface", o.Interface != ""}} {
		if option.set {
			errs = append(errs, check.OptionErrorf(option.name, "this system cannot do that, sonde does it on Linux"))
		}
	}
	return errors.Join(errs...)
}

// icmpHost checks a host and takes the brackets off an IPv6 address.
func icmpHost(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		if addr, err := netip.ParseAddr(inner); closed && err == nil && addr.Is6() {
			return inner, nil
		}
		return "", fmt.Errorf("%q is not an IPv6 address", host)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String(), nil
	}
	name, port, ok := strings.Cut(host, ":")
	switch _, err := strconv.Atoi(port); {
	case host == "":
		return "", errors.New("the host is missing")
	case ok && err == nil:
		return "", fmt.Errorf("ICMP has no ports, write %s, or tcp://%s for a port", name, host)
	case len(host) > 253 || host[0] == '-' || strings.ContainsFunc(host, notOfName):
		return "", fmt.Errorf("%q is not a host name or an IP address", host)
	}
	return host, nil
}

// notOfName leaves the letters of every script to the resolver, which turns
// them into ASCII.
func notOfName(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("-._", r)
}

func urlHost(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// icmpProbe pings one host.
type icmpProbe struct {
	host   string
	route  *router
	pinger *echo.Pinger
	plan   echo.Plan // without its ends
	mtu    bool      // search for the path's MTU
}

// Observe resolves the host and makes one round of pings.
func (p *icmpProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	deadline, _ := ctx.Deadline()
	j.from = p.route.from()
	p.explainHow(&j.obs, j.from, netip.Addr{}, time.Until(deadline))
	addrs, why := j.resolve(ctx, p.route, p.host)
	if why == nil {
		addrs, why = permitted(ctx, addrs)
	}
	if why != nil {
		return j.fail(why.Code, why.Message)
	}
	start := time.Now()
	var got echo.Result
	plan := p.plan
	for _, addr := range oneOfEach(addrs) {
		plan.From, plan.To = j.from, addr
		p.explainHow(&j.obs, j.from, addr, deadline.Sub(j.start))
		got, why = p.pinger.Send(ctx, &plan)
		recordEchoes(&j.obs, &plan, &got)
		if why == nil || why.Code != check.LocalRoute {
			break
		}
	}
	j.timed(check.PhaseWait, start)
	if p.mtu && why == nil {
		j.searchMTU(ctx, p.pinger, &plan, &got)
	}
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return j.fail(check.LocalShutdown, fmt.Sprintf("interrupted while pinging: %v", context.Cause(ctx)))
	case why != nil:
		return j.fail(why.Code, why.Message)
	case got.Sent == 0:
		return j.fail(check.ICMPTimeout, "the timeout left no time to ping "+p.host)
	}
	return j.end()
}

// Close closes what is open for the pings of all checks and not in use.
func (p *icmpProbe) Close() error {
	p.pinger.CloseIdle()
	return nil
}

// oneOfEach returns the first address of each family. The second one is only
// for a machine that has no route to the first (case A15): silence is an
// answer, and asking another address would hide it.
func oneOfEach(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		a = a.Unmap()
		if len(out) == 0 || len(out) == 1 && a.Is4() != out[0].Is4() {
			out = append(out, a)
		}
	}
	return out
}

// recordEchoes turns a round into facts, and explains those that nobody wants.
func recordEchoes(obs *check.Observation, plan *echo.Plan, got *echo.Result) {
	obs.Set("ip", plan.To.String())
	obs.Set("family", int(familyOf(plan.To)))
	if got.Socket != "" {
		obs.Set("socket", got.Socket)
	}
	if got.Sent == 0 {
		return
	}
	obs.Set("sent", got.Sent)
	obs.Set("received", got.Received)
	obs.Set("loss", float64(got.Sent-got.Received)/float64(got.Sent))
	obs.Set("out_of_order", got.Reordered)
	obs.Set("duplicates", got.Duplicates)
	obs.Set("mismatched", got.Mismatched)
	obs.Set("report", "")
	if got.Report != nil {
		obs.Set("report", got.Report.String())
		obs.Set("reporter", got.Report.From.String())
		if got.Report.MTU > 0 {
			obs.Set("reported_mtu", int(got.Report.MTU))
		}
	}
	if got.TTL > 0 {
		obs.Set("ttl", got.TTL)
	}
	if got.Received > 0 && got.TOS != echo.UnknownTOS {
		obs.Set("tos", got.TOS)
	}
	recordTimes(obs, got)
	if got.Received == 0 {
		explainSilence(obs, plan, got)
	}
}

func recordTimes(obs *check.Observation, got *echo.Result) {
	s, ok := summarise(got.RTTs)
	if !ok {
		return
	}
	obs.Set("rtt.min", s.min)
	obs.Set("rtt.avg", s.avg)
	obs.Set("rtt.median", s.median)
	obs.Set("rtt.p95", s.p95)
	obs.Set("rtt.max", s.max)
	obs.Set("rtt.stddev", s.stddev)
	if s.pairs > 0 {
		obs.Set("jitter", s.jitter)
		obs.Set("mos", meanOpinion(s.avg, s.jitter, float64(got.Sent-got.Received)/float64(got.Sent)))
	} else {
		obs.Explain("mos", check.ICMPLoss, "one reply alone has no jitter, which counts for the score")
		obs.Explain("jitter", check.ICMPLoss, "one reply alone has no jitter")
	}
}

// explainSilence says why there was no reply, on behalf of each fact that is
// then zero or absent.
func explainSilence(obs *check.Observation, plan *echo.Plan, got *echo.Result) {
	code := check.ICMPTimeout
	message := fmt.Sprintf("no reply from %s to %s", plan.To, packets(got.Sent))
	switch {
	case got.Report != nil:
		code = got.Report.Reason()
		message += fmt.Sprintf(": %s reports %s", got.Report.From, got.Report)
	case got.Mismatched > 0:
		message += fmt.Sprintf(", but %s answered in its place", got.Stranger)
	}
	for _, fact := range []string{"received", "ttl", "tos", "mos", pathMTUFact, blackHoleFact, "jitter", "rtt.min", "rtt.avg", "rtt.median", "rtt.p95", "rtt.max", "rtt.stddev"} {
		obs.Explain(fact, code, message)
	}
}

func packets(n int) string {
	if n == 1 {
		return "1 packet"
	}
	return fmt.Sprintf("%d packets", n)
}

// explainHow lets a person repeat the round with ping(8) of iputils.
func (p *icmpProbe) explainHow(obs *check.Observation, from, to netip.Addr, timeout time.Duration) {
	obs.Reproduce = func() string {
		args := []string{"ping", "-c", strconv.Itoa(p.plan.Count), "-i", decimalSeconds(p.plan.Interval), "-s", strconv.Itoa(p.plan.Size)}
		if p.plan.TTL > 0 {
			args = append(args, "-t", strconv.Itoa(p.plan.TTL))
		}
		if p.plan.TOS > 0 {
			args = append(args, "-Q", strconv.Itoa(p.plan.TOS))
		}
		if p.plan.Whole {
			args = append(args, "-M", "do")
		}
		if p.plan.Device != "" {
			args = append(args, "-I", shellQuote(p.plan.Device))
		}
		if from.IsValid() {
			args = append(args, "-I", from.String())
		}
		if timeout > 0 {
			args = append(args, "-W", strconv.Itoa(int(math.Ceil(timeout.Seconds()))))
		}
		if to.IsValid() {
			args = append(args, "-"+strconv.Itoa(int(familyOf(to))), to.String())
		} else {
			args = append(args, shellQuote(p.host))
		}
		if p.mtu {
			args = append(args, "; tracepath", "-n", args[len(args)-1])
		}
		return strings.Join(args, " ")
	}
}

func decimalSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
