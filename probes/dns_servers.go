package probes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// maxCompared is how many servers one check may ask.
const maxCompared = 32

// dnsGroup asks several servers the same question, all at once.
type dnsGroup struct {
	members   []*dnsProbe
	names     []string // as they were written
	transport string   // of those that do not say their own
}

// buildGroup makes one probe of each server.
func (o *dnsOptions) buildGroup(setup check.Setup) (*dnsGroup, error) {
	switch {
	case o.Server != "":
		return nil, check.OptionErrorf("servers", "is instead of server, leave one of them out")
	case o.Address != "":
		return nil, check.OptionErrorf("address", "is of one server and cannot go with servers")
	case o.Trace:
		return nil, check.OptionErrorf("trace", "asks the servers that it finds and cannot go with servers")
	case o.DNSSEC.Validate:
		return nil, check.OptionErrorf("dnssec.validate", "is of one server and cannot go with servers")
	case len(o.Servers) < 2 || len(o.Servers) > maxCompared:
		return nil, check.OptionErrorf("servers", "has %d servers: 2 to %d can be compared", len(o.Servers), maxCompared)
	}
	g := &dnsGroup{names: o.Servers, transport: o.Transport}
	for i, server := range o.Servers {
		if server == "" { // which would be the resolver
			return nil, check.OptionErrorf("servers", "has an empty name, write them like 192.0.2.53,ns.example.com")
		}
		if slices.Contains(o.Servers[:i], server) {
			return nil, check.OptionErrorf("servers", "has %s twice", server)
		}
		one := *o
		one.Servers, one.Server = nil, server
		p, err := one.buildOne(setup)
		var wrong *check.OptionError
		if errors.As(err, &wrong) && wrong.Option == "server" {
			return nil, &check.OptionError{Option: "servers", Err: wrong.Err}
		}
		if err != nil {
			return nil, err
		}
		g.members = append(g.members, p)
	}
	return g, nil
}

// target returns the check's target as SetTarget reads it.
func (g *dnsGroup) target() string {
	escape := strings.NewReplacer("%", "%25", "&", "%26", ";", "%3B", "+", "%2B")
	one := *g.members[0]
	one.host, one.doh, one.transport = "", nil, g.transport
	return one.target() + "&servers=" + escape.Replace(strings.Join(g.names, ","))
}

// groupFacts declares what several servers say of the same question.
func groupFacts() []check.Fact {
	return []check.Fact{
		{Name: "servers.total", Type: check.Int, Doc: "number of servers that were asked, with servers"},
		{Name: "servers.answered", Type: check.Int, Doc: "number of servers that answered with NOERROR or NXDOMAIN"},
		{Name: "servers.latency", Type: check.Any, Doc: "seconds that each server took that answered, by its name in servers: servers.latency['192.0.2.53'] < 0.1"},
		{Name: "servers.slowest", Type: check.Duration, Doc: "time of the slowest server that answered"},
		{Name: "consistent", Type: check.Bool, Doc: "all servers that answered gave the same answer, in any order and whatever the times to live"},
		{Name: "differing", Type: check.Strings, Doc: "servers that answered differently from most, and how, and those that failed, and why"},
		{Name: "serials", Type: check.Map, Doc: "serial number of the zone at each server, of the type SOA"},
	}
}

// member is one server of a group and what it said.
type member struct {
	name    string
	run     *dnsRun
	failure *check.Reason // why it does not count as an answer
	key     string        // equal for equal answers
}

// Observe implements [check.Probe]. The facts of one server are those of the
// first that has no good answer, so that what is expected of the answer is
// expected of all, or else those of the first.
func (g *dnsGroup) Observe(ctx context.Context) check.Observation {
	start := time.Now()
	members := make([]member, len(g.members))
	var all sync.WaitGroup
	for i, p := range g.members {
		all.Go(func() {
			run := p.once(ctx)
			members[i] = member{name: g.names[i], run: run, failure: failureOf(run)}
			if members[i].failure == nil {
				members[i].key = run.got.key(run.question)
			}
		})
	}
	all.Wait()
	shown := representative(members)
	obs := shown.run.obs
	obs.Failure = check.Reason{}
	compareMembers(&obs, members)
	if odd := oddAnswer(members); odd != nil {
		obs.Reproduce = odd.run.dig
	}
	obs.Latency = time.Since(start)
	return obs
}

// failureOf returns why a run has no answer that tells whether the name exists,
// nil when it has one.
func failureOf(run *dnsRun) *check.Reason {
	switch {
	case !run.obs.Failure.IsZero():
		return &run.obs.Failure
	case run.untrusted() != nil:
		return run.untrusted()
	case run.got.rcode == dns.RcodeSuccess || run.got.rcode == dns.RcodeNameError:
		return nil
	}
	reason := dnsmsg.RcodeReason(run.got.rcode, run.question.name, run.server.String())
	if because, ok := run.obs.Because["rcode"]; ok {
		reason = &because
	}
	return reason
}

// untrusted returns why the certificate of a server does not hold, nil when it
// does or need not.
func (r *dnsRun) untrusted() *check.Reason {
	if !r.probe.overTLS() || r.probe.tls.insecure {
		return nil
	}
	for _, fact := range [...]string{"cert.trusted", "cert.hostname_ok"} {
		if because, ok := r.obs.Because[fact]; ok {
			return &because
		}
	}
	return nil
}

// representative returns the member whose facts are shown.
func representative(members []member) *member {
	first := -1
	for i := range members {
		m := &members[i]
		if m.failure != nil {
			continue
		}
		if m.run.got.rcode != dns.RcodeSuccess || m.run.got.count == 0 {
			return m
		}
		if first < 0 {
			first = i
		}
	}
	return &members[max(first, 0)]
}

// compareMembers sets the facts of the group. Without any answer the group has
// failed.
func compareMembers(obs *check.Observation, members []member) {
	usual := usualAnswer(members)
	latency, serials := make(map[string]any, len(members)), make(map[string]string)
	var slowest time.Duration
	var differing []string
	var worst *check.Reason
	answered, differ := 0, 0
	for i := range members {
		m := &members[i]
		if m.failure != nil {
			differing = append(differing, fmt.Sprintf("%s: %s, %s", m.name, m.failure.Code, m.failure.Message))
			worst = worse(worst, &check.Reason{Code: m.failure.Code, Message: m.name + ": " + m.failure.Message})
			continue
		}
		answered++
		slowest = max(slowest, m.run.obs.Latency)
		latency[m.name] = m.run.obs.Latency.Seconds()
		if serial, ok := m.run.got.serial(m.run.question); ok {
			serials[m.name] = serial
		}
		if m.key != usual.key {
			differ++
			differing = append(differing, fmt.Sprintf("%s: %s, where %s has %s", m.name, m.run.got.brief(), usual.name, usual.run.got.brief()))
		}
	}
	obs.Set("servers.total", len(members))
	obs.Set("servers.answered", answered)
	setList(obs, "differing", differing)
	if answered == 0 {
		obs.Failure = *worst
		return
	}
	obs.Set("servers.latency", latency)
	obs.Set("servers.slowest", slowest)
	obs.Set("consistent", differ == 0)
	if len(serials) > 0 {
		obs.Set("serials", serials)
	}
	if worst != nil {
		obs.Explain("servers.answered", worst.Code, worst.Message)
	}
	if differ > 0 {
		obs.Explain("consistent", check.ExpectCode("consistent"), strings.Join(differing, "; "))
	}
}

// usualAnswer returns the member whose answer most have, the first of equals.
func usualAnswer(members []member) *member {
	count := make(map[string]int)
	for i := range members {
		if members[i].failure == nil {
			count[members[i].key]++
		}
	}
	usual := &members[0]
	for i := range members {
		if m := &members[i]; m.failure == nil && (usual.failure != nil || count[m.key] > count[usual.key]) {
			usual = m
		}
	}
	return usual
}

// oddAnswer returns the member that a person would look at: the first that has no
// answer or, when all have one, the first with another than most; nil for none.
func oddAnswer(members []member) *member {
	if i := slices.IndexFunc(members, func(m member) bool { return m.failure != nil }); i >= 0 {
		return &members[i]
	}
	usual := usualAnswer(members)
	if i := slices.IndexFunc(members, func(m member) bool { return m.key != usual.key }); i >= 0 {
		return &members[i]
	}
	return nil
}

// set returns the answers sorted, each once. Where they are names, in lower
// case (RFC 4343).
func (a *dnsAnswer) set(q *question) []string {
	set := slices.Clone(a.answers)
	switch q.qtype {
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeMX, dns.TypeSRV, dns.TypeSOA, dns.TypeDNAME:
		for i := range set {
			set[i] = strings.ToLower(set[i])
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// key is equal for answers that say the same.
func (a *dnsAnswer) key(q *question) string {
	parts := []string{strconv.Itoa(a.rcode)}
	if a.count > len(a.answers) { // not all are kept
		parts = append(parts, strconv.Itoa(a.count))
	}
	for _, alias := range a.cnames {
		parts = append(parts, strings.ToLower(alias))
	}
	return strings.Join(append(append(parts, ""), a.set(q)...), "\n")
}

// brief says in a few words what the answer is.
func (a *dnsAnswer) brief() string {
	if a.rcode != dns.RcodeSuccess {
		return dnsmsg.RcodeName(a.rcode)
	}
	if a.count == 0 {
		return "no record"
	}
	const most = 4
	text := strings.Join(a.answers[:min(most, len(a.answers))], " ")
	if a.count > most {
		text += fmt.Sprintf(" and %d more", a.count-most)
	}
	return cmp.Or(excerpt([]byte(text)), "no record")
}

// serial returns the zone's serial number in an answer of the type SOA.
func (a *dnsAnswer) serial(q *question) (string, bool) {
	if q.qtype != dns.TypeSOA || len(a.answers) == 0 {
		return "", false
	}
	fields := strings.Fields(a.answers[0]) // RFC 1035 section 3.3.13
	if len(fields) != 7 {
		return "", false
	}
	return fields[2], true
}

// Footprint is that of a question to each server.
func (g *dnsGroup) Footprint() check.Footprint {
	all := check.Footprint{Probes: len(g.members), AtOnce: len(g.members)}
	for _, member := range g.members {
		all.Ports += member.Footprint().Ports
	}
	return all
}
