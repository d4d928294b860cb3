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
	maxZoneServers  = 13 // asked of one zone
	maxNSResolved   = 4  // names of servers without an address, resolved for one zone
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
	return shown(h.name) + " (" + h.addr.String() + ")"
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
	setList(&r.obs, "delegation.lame", slices.Compact(w.lame))
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

// down goes from zone to zone until one answers.
func (w *walk) down(ctx context.Context, hosts []nsHost) *check.Reason {
	zone := "." // or whatever the first server is for
	for range maxReferrals + 1 {
		w.path = append(w.path, zone)
		reply, reason := w.askZone(ctx, zone, hosts)
		if reason != nil {
			return reason
		}
		if reply.next == "" {
			w.exchange, w.dnsReply = reply.run.exchange, reply.run.dnsReply
			w.compareNS(ctx, zone, hosts)
			return nil
		}
		w.parentNS = reply.names
		if hosts, reason = w.hostsOf(ctx, reply); reason != nil {
			return reason
		}
		zone = reply.next
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

// askZone asks the zone's servers in turn until one answers or delegates.
func (w *walk) askZone(ctx context.Context, zone string, hosts []nsHost) (*zoneReply, *check.Reason) {
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
				w.latency[shown(zone)] = run.obs.Latency.Seconds()
				return reply, nil
			}
		}
		if reason.Code == check.LocalShutdown {
			return nil, reason
		}
		if !reason.Code.Local() {
			w.lame = append(w.lame, fmt.Sprintf("%s for %s: %s", host, shown(zone), reason.Message))
		}
		worst = worse(worst, reason)
	}
	if worst == nil {
		worst = &check.Reason{Code: check.DNSTimeout, Message: "no time left to ask the servers of " + shown(zone)}
	}
	return nil, &check.Reason{Code: worst.Code, Message: fmt.Sprintf("no server of %s answers: %s", shown(zone), worst.Message)}
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
	msg, rcode := run.got.message, run.got.rcode
	if rcode != dns.RcodeSuccess && rcode != dns.RcodeNameError {
		return nil, rcodeReason(rcode, w.question.name, run.server.String())
	}
	if msg.authoritative() {
		return &zoneReply{run: run}, nil
	}
	reply := &zoneReply{run: run}
	name := dns.CanonicalName(w.question.name)
	err := msg.records(func(s section, rr dns.RR) error {
		owner := dns.CanonicalName(rr.Header().Name)
		switch rr := rr.(type) {
		case *dns.NS:
			if s == sectionAuthority && dns.IsSubDomain(owner, name) && (reply.next == "" || reply.next == owner) && len(reply.names) < maxSignedRecords {
				reply.next = owner
				reply.names = append(reply.names, dns.CanonicalName(rr.Ns))
			}
		case *dns.A, *dns.AAAA:
			if s == sectionAdditional && len(reply.glue) < maxAddresses {
				reply.glue = append(reply.glue, nsHost{owner, addressOf(rr)})
			}
		}
		return nil
	})
	slices.Sort(reply.names)
	reply.names = slices.Compact(reply.names)
	switch {
	case err != nil:
		return nil, &check.Reason{Code: check.DNSMalformed, Message: err.Error()}
	case reply.next == "" || !dns.IsSubDomain(zone, reply.next) || slices.Contains(w.path, reply.next):
		return nil, &check.Reason{Code: check.DNSMalformed, Message: fmt.Sprintf("%s is no authority for %s and leads no further down", run.server, shown(w.question.name))}
	}
	return reply, nil
}

// hostsOf returns the addresses of a delegation's servers: those that came
// with it, of names below the zone that told them, else a few are resolved.
func (w *walk) hostsOf(ctx context.Context, reply *zoneReply) ([]nsHost, *check.Reason) {
	above := w.path[len(w.path)-1]
	var hosts []nsHost
	for _, host := range reply.glue {
		wanted := w.probe.router.family == 0 || familyOf(host.addr) == w.probe.router.family
		if wanted && host.addr.IsValid() && slices.Contains(reply.names, host.name) && dns.IsSubDomain(above, host.name) && len(hosts) < maxZoneServers {
			hosts = append(hosts, host)
		}
	}
	slices.SortStableFunc(hosts, func(a, b nsHost) int { // IPv4 first, as there is no race
		return cmp.Compare(familyOf(a.addr), familyOf(b.addr))
	})
	if len(hosts) > 0 {
		return hosts, nil
	}
	var worst *check.Reason
	for _, name := range reply.names[:min(len(reply.names), maxNSResolved)] {
		direct := *w.probe.router
		direct.address = netip.Addr{}
		addrs, reason := w.resolve(ctx, &direct, name)
		if reason != nil {
			worst = worse(worst, reason)
			continue
		}
		for _, addr := range addrs[:min(len(addrs), 2)] {
			hosts = append(hosts, nsHost{name, addr})
		}
	}
	if len(hosts) == 0 {
		return nil, &check.Reason{Code: worst.Code, Message: fmt.Sprintf("no server of %s has an address: %s", shown(reply.next), worst.Message)}
	}
	return hosts, nil
}

// compareNS asks all servers of the last zone which servers it has.
func (w *walk) compareNS(ctx context.Context, zone string, hosts []nsHost) {
	if w.parentNS == nil || w.queries+len(hosts) > maxTraceQueries {
		return
	}
	flags := w.question.flags
	q, err := newQuestion(zone, dns.TypeNS, w.question.class, queryFlags{ednsSize: flags.ednsSize})
	if err != nil {
		return // cannot happen: the name came from a message
	}
	start := time.Now()
	defer func() { w.idle += time.Since(start) }()
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
			case !run.got.message.authoritative() || run.got.rcode != dns.RcodeSuccess:
				failed[i] = &check.Reason{Code: check.DNSServFail, Message: "it is no authority, " + rcodeName(run.got.rcode)}
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
			w.lame = append(w.lame, fmt.Sprintf("%s for %s: %s", host, shown(zone), failed[i].Message))
		}
	}
	slices.Sort(w.childNS)
	w.childNS = slices.Compact(w.childNS)
}
