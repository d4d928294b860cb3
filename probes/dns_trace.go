package probes

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// rootServers are the addresses of the root's name servers, from
// https://www.internic.net/domain/named.root.
var rootServers = [...]string{
	"198.41.0.4", "170.247.170.2", "192.33.4.12", "199.7.91.13", "192.203.230.10", "192.5.5.241", "192.112.36.4",
	"198.97.190.53", "192.36.148.17", "192.58.128.30", "193.0.14.129", "199.7.83.42", "202.12.27.33",
}

// Bounds of one walk.
const (
	maxReferrals    = 16
	maxTraceQueries = 64
	maxNSRecords    = 512 // that are kept of one delegation
	maxZoneServers  = 13  // asked of one zone
	maxNSResolved   = 4   // names of servers without an address, resolved for one zone
)

// nsHost is one name server of a zone, at one address.
type nsHost struct {
	name string // empty: a server that the walk began with
	addr netip.Addr
}

func (h nsHost) String() string {
	if h.name == "" {
		return h.addr.String()
	}
	return dnsmsg.Shown(h.name) + " (" + h.addr.String() + ")"
}

// walk follows the delegations from the top to the zone of the question, as
// resolvers do and as dig +trace shows.
type walk struct {
	*dnsRun
	port    uint16
	queries int

	path     []string       // zones, from the top
	servers  []string       // who answered for each
	latency  map[string]any // seconds, by zone
	lame     []string
	parentNS []string // of the last zone, as its parent delegates it
	childNS  []string // and as it says itself
}

// traceFacts declares what a walk finds.
func traceFacts() []check.Fact {
	return []check.Fact{
		{Name: "delegation.path", Type: check.Strings, Doc: "zones from the top down to that of the answer, with trace"},
		{Name: "delegation.servers", Type: check.Strings, Doc: "name server that answered for each zone of the path"},
		{Name: "delegation.latency", Type: check.Any, Doc: "seconds that the answer of each zone took, by its name: delegation.latency['com'] < 0.1"},
		{Name: "delegation.lame", Type: check.Strings, Doc: "name servers that do not answer for a zone which is delegated to them, and how"},
		{Name: "delegation.parent_ns", Type: check.Strings, Doc: "name servers of the last zone as its parent tells, sorted"},
		{Name: "delegation.child_ns", Type: check.Strings, Doc: "name servers of the last zone as it tells itself, sorted"},
		{Name: "delegation.consistent", Type: check.Bool, Doc: "parent and zone name the same servers"},
		{Name: "delegation.queries", Type: check.Int, Doc: "questions that the walk asked"},
	}
}

// trace walks and leaves the last answer in the run.
func (r *dnsRun) trace(ctx context.Context) *check.Reason {
	w := &walk{dnsRun: r, port: r.probe.port, latency: make(map[string]any)}
	hosts, reason := w.top(ctx)
	if reason == nil {
		reason = w.down(ctx, hosts)
	}
	r.obs.Set("delegation.path", slices.Clone(w.path))
	setList(&r.obs, "delegation.servers", w.servers)
	r.obs.Set("delegation.latency", w.latency)
	slices.Sort(w.lame)
	setList(&r.obs, "delegation.lame", w.lame)
	r.obs.Set("delegation.queries", w.queries)
	if len(w.lame) > 0 {
		r.obs.Explain("delegation.lame", check.ExpectCode("delegation.lame"), "lame: "+strings.Join(w.lame, "; "))
	}
	if w.parentNS != nil && w.childNS != nil {
		same := slices.Equal(w.parentNS, w.childNS)
		setList(&r.obs, "delegation.parent_ns", w.parentNS)
		setList(&r.obs, "delegation.child_ns", w.childNS)
		r.obs.Set("delegation.consistent", same)
		if !same {
			r.obs.Explain("delegation.consistent", check.ExpectCode("delegation.consistent"),
				fmt.Sprintf("the parent names %s, the zone %s", strings.Join(w.parentNS, " "), strings.Join(w.childNS, " ")))
		}
	}
	return reason
}

// top returns the servers that the walk begins with.
func (w *walk) top(ctx context.Context) ([]nsHost, *check.Reason) {
	var hosts []nsHost
	if w.probe.host != "" {
		addrs, reason := w.resolve(ctx, w.probe.router, w.probe.host)
		for _, addr := range addrs {
			hosts = append(hosts, nsHost{addr: addr})
		}
		return hosts, reason
	}
	for _, text := range rootServers {
		hosts = append(hosts, nsHost{addr: netip.MustParseAddr(text)})
	}
	return hosts, nil
}

// zoneServers are the servers of a zone.
type zoneServers struct {
	hosts []nsHost
	names []string // of others, whose addresses are not known yet
}

// down goes from zone to zone until one answers.
func (w *walk) down(ctx context.Context, hosts []nsHost) *check.Reason {
	zone := "." // or whatever the first server is for
	at := &zoneServers{hosts: hosts}
	for range maxReferrals + 1 {
		w.path = append(w.path, zone)
		reply, reason := w.askZone(ctx, zone, at)
		if reason != nil {
			return reason
		}
		if reply.next == "" {
			w.exchange, w.dnsReply = reply.run.exchange, reply.run.dnsReply
			w.compareNS(ctx, zone, at)
			return nil
		}
		w.parentNS, at, zone = reply.names, w.serversOf(reply, zone), reply.next
	}
	return &check.Reason{Code: check.DNSMalformed, Message: fmt.Sprintf("more than %d delegations", maxReferrals)}
}

// zoneReply is what a server said of the question.
type zoneReply struct {
	run   *dnsRun
	next  string // the zone that it delegates the name to; empty: it has the answer
	names []string
	glue  []nsHost
}

// askZone asks the zone's servers in turn until one answers or delegates: those
// with an address first, then the others.
func (w *walk) askZone(ctx context.Context, zone string, at *zoneServers) (*zoneReply, *check.Reason) {
	var reason *check.Reason
	asked := len(at.hosts)
	if asked > 0 {
		var reply *zoneReply
		if reply, reason = w.askHosts(ctx, zone, at.hosts); reason == nil {
			return reply, nil
		}
	}
	if len(at.names) == 0 || ctx.Err() != nil || w.queries == maxTraceQueries {
		return nil, reason
	}
	nameless := w.locate(ctx, w.journey, zone, at)
	if len(at.hosts) == asked {
		return nil, worse(reason, nameless)
	}
	return w.askHosts(ctx, zone, at.hosts[asked:])
}

// askHosts asks servers of a zone in turn until one answers or delegates.
func (w *walk) askHosts(ctx context.Context, zone string, hosts []nsHost) (*zoneReply, *check.Reason) {
	var worst *check.Reason
	for i, host := range hosts {
		if ctx.Err() != nil {
			break
		}
		if w.queries == maxTraceQueries { // the host has done nothing wrong
			return nil, &check.Reason{Code: check.DNSMalformed, Message: fmt.Sprintf("the delegations need more than %d questions", maxTraceQueries)}
		}
		w.queries++
		run, reason := w.askHost(ctx, host, w.question, min(len(hosts)-i, 3)+1)
		if reason == nil {
			var reply *zoneReply
			if reply, reason = w.read(run, zone); reason == nil {
				w.servers = append(w.servers, host.String())
				w.latency[dnsmsg.Shown(zone)] = run.obs.Latency.Seconds()
				return reply, nil
			}
		}
		if reason.Code == check.LocalShutdown {
			return nil, reason
		}
		if !reason.Code.Local() {
			w.isLame(host.String(), zone, reason.Message)
		}
		worst = worse(worst, reason)
	}
	if worst == nil {
		worst = &check.Reason{Code: check.DNSTimeout, Message: "no time left to ask the servers of " + dnsmsg.Shown(zone)}
	}
	return nil, &check.Reason{Code: worst.Code, Message: fmt.Sprintf("no server of %s answers: %s", dnsmsg.Shown(zone), worst.Message)}
}

// isLame notes that a server does not answer for a zone: what was wrong first.
func (w *walk) isLame(server, zone, why string) {
	about := server + " for " + dnsmsg.Shown(zone) + ": "
	if !slices.ContainsFunc(w.lame, func(l string) bool { return strings.HasPrefix(l, about) }) {
		w.lame = append(w.lame, about+why)
	}
}

// askHost asks one server, without recursion, over a socket of its own.
func (w *walk) askHost(ctx context.Context, host nsHost, q *question, left int) (*dnsRun, *check.Reason) {
	probe, direct := *w.probe, *w.probe.router
	direct.address = netip.Addr{}
	probe.router = &direct
	if q != w.question {
		probe.plain = nil
	}
	run := &dnsRun{journey: begin(), probe: &probe, dnsReply: dnsReply{question: q}}
	run.from = w.from
	reason := run.ask(ctx, host.addr.String(), w.port, share(ctx, traceTimeout, left))
	run.end()
	return run, reason
}

// traceTimeout is how long one of several servers is waited for.
const traceTimeout = 2 * time.Second

// read tells what a server's answer means for the walk: the answer, or a
// delegation further down. Anything else is lame.
func (w *walk) read(run *dnsRun, zone string) (*zoneReply, *check.Reason) {
	got := run.got
	if got.rcode != dns.RcodeSuccess && got.rcode != dns.RcodeNameError {
		return nil, dnsmsg.RcodeReason(got.rcode, w.question.name, run.server.String())
	}
	reply := &zoneReply{run: run}
	soa, err := reply.readDelegation(got.message, dns.CanonicalName(w.question.name))
	if err != nil {
		return nil, &check.Reason{Code: check.DNSMalformed, Message: err.Error()}
	}
	further := reply.next != "" && dns.IsSubDomain(zone, reply.next) && !slices.Contains(w.path, reply.next)
	answers := got.count > 0 || len(got.cnames) > 0
	switch {
	case !got.message.Authoritative() && further:
		return reply, nil
	case !got.message.Authoritative():
		return nil, &check.Reason{Code: check.DNSMalformed, Message: fmt.Sprintf("%s is no authority for %s and leads no further down", run.server, dnsmsg.Shown(w.question.name))}
	case !answers && soa != "" && !dns.IsSubDomain(zone, soa): // no resolver believes that
		return nil, &check.Reason{Code: check.DNSMalformed, Message: fmt.Sprintf("%s denies %s as the authority of %s", run.server, dnsmsg.Shown(w.question.name), dnsmsg.Shown(soa))}
	case !answers && soa == "" && got.rcode == dns.RcodeSuccess && further: // there are servers that say AA for what they delegate
		return reply, nil
	}
	return &zoneReply{run: run}, nil
}

// readDelegation takes the servers of the first zone that the authority section
// delegates the name to. It returns the owner of the section's SOA.
func (r *zoneReply) readDelegation(msg dnsmsg.Message, name string) (soa string, err error) {
	err = msg.Records(func(s dnsmsg.Section, rr dns.RR) error {
		owner := dns.CanonicalName(rr.Header().Name)
		switch rr := rr.(type) {
		case *dns.NS:
			if s == dnsmsg.Authority && dns.IsSubDomain(owner, name) && (r.next == "" || r.next == owner) && len(r.names) < maxNSRecords {
				r.next = owner
				r.names = append(r.names, dns.CanonicalName(rr.Ns))
			}
		case *dns.SOA:
			if s == dnsmsg.Authority {
				soa = owner
			}
		case *dns.A, *dns.AAAA:
			if s == dnsmsg.Additional && len(r.glue) < maxAddresses {
				r.glue = append(r.glue, nsHost{owner, addressOf(rr)})
			}
		}
		return nil
	})
	slices.Sort(r.names)
	r.names = slices.Compact(r.names)
	return soa, err
}

// serversOf returns a delegation's servers. Addresses that came with it are
// believed of names below the zone that told them; the others are resolved when
// they are needed.
func (w *walk) serversOf(reply *zoneReply, above string) *zoneServers {
	at := &zoneServers{}
	for _, host := range reply.glue {
		wanted := w.probe.router.family == 0 || familyOf(host.addr) == w.probe.router.family
		if wanted && host.addr.IsValid() && slices.Contains(reply.names, host.name) && dns.IsSubDomain(above, host.name) && len(at.hosts) < maxZoneServers {
			at.hosts = append(at.hosts, host)
		}
	}
	slices.SortStableFunc(at.hosts, func(a, b nsHost) int { // IPv4 first, as there is no race
		return cmp.Compare(familyOf(a.addr), familyOf(b.addr))
	})
	for _, name := range reply.names {
		known := slices.ContainsFunc(at.hosts, func(h nsHost) bool { return h.name == name })
		if !known && len(at.names) < maxNSResolved {
			at.names = append(at.names, name)
		}
	}
	return at
}

// locate resolves the names of a zone's servers whose addresses are not known.
// It returns why none has one.
func (w *walk) locate(ctx context.Context, j *journey, zone string, at *zoneServers) *check.Reason {
	var worst *check.Reason
	for _, name := range at.names {
		direct := *w.probe.router
		direct.address = netip.Addr{}
		addrs, reason := j.resolve(ctx, &direct, name)
		if reason != nil {
			worst = worse(worst, reason)
			if !reason.Code.Local() && ctx.Err() == nil {
				w.isLame(dnsmsg.Shown(name), zone, "it has no address: "+reason.Message)
			}
			continue
		}
		for _, addr := range addrs[:min(len(addrs), 2, maxZoneServers-len(at.hosts))] {
			at.hosts = append(at.hosts, nsHost{name, addr})
		}
	}
	at.names = nil
	if worst == nil {
		return nil
	}
	return &check.Reason{Code: worst.Code, Message: fmt.Sprintf("no server of %s has an address: %s", dnsmsg.Shown(zone), worst.Message)}
}

// compareNS asks all servers of the last zone which servers it has.
func (w *walk) compareNS(ctx context.Context, zone string, at *zoneServers) {
	if w.parentNS == nil {
		return
	}
	start := time.Now()
	defer func() { w.idle += time.Since(start) }()
	w.locateOthers(ctx, zone, at)
	hosts := at.hosts
	if w.queries+len(hosts) > maxTraceQueries {
		return
	}
	flags := w.question.flags
	q, err := newQuestion(zone, dns.TypeNS, w.question.class, queryFlags{ednsSize: flags.ednsSize})
	if err != nil {
		return // cannot happen: the name came from a message
	}
	found := make([][]string, len(hosts))
	failed := make([]*check.Reason, len(hosts))
	var all sync.WaitGroup
	for i, host := range hosts {
		w.queries++
		all.Go(func() {
			run, reason := w.askHost(ctx, host, q, 2)
			switch {
			case reason != nil:
				failed[i] = reason
			case !run.got.message.Authoritative() || run.got.rcode != dns.RcodeSuccess:
				failed[i] = &check.Reason{Code: check.DNSServFail, Message: "it is no authority, " + dnsmsg.RcodeName(run.got.rcode)}
			default:
				found[i] = run.got.set(q)
			}
		})
	}
	all.Wait()
	for i, host := range hosts {
		switch {
		case failed[i] == nil:
			w.childNS = append(w.childNS, found[i]...)
		case !failed[i].Code.Local():
			w.isLame(host.String(), zone, failed[i].Message)
		}
	}
	slices.Sort(w.childNS)
	w.childNS = slices.Compact(w.childNS)
}

// locateOthers resolves the names that were not needed for the answer, in a part
// of the time that is left, so that a resolver which is silent does no harm.
func (w *walk) locateOthers(ctx context.Context, zone string, at *zoneServers) {
	if len(at.names) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(ctx, share(ctx, traceTimeout, 2))
	defer cancel()
	w.locate(ctx, begin(), zone, at)
}
