package probes

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// resolve returns the addresses of host that the route allows, in the order of
// the answer, IPv6 first when both families are wanted. An IP literal and a
// pinned address need no resolving and have no phase. The fact resolved_name
// is recorded when the name that was found differs from host.
//
// The system's resolver is the machine's hosts file and the servers of its
// resolv.conf, asked by sonde itself: the answer does not depend on how the
// binary was linked, and a failure has a cause. When none of them answers, the
// code is local.resolver: that says nothing about the target.
func (j *journey) resolve(ctx context.Context, r *router, host string) ([]netip.Addr, *check.Reason) {
	if r.address.IsValid() {
		return []netip.Addr{r.address}, nil
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return only(r.family, []netip.Addr{ip}, host)
	}
	start := time.Now()
	name, err := asciiName(host)
	l := lookup{route: r, system: cmp.Or(r.system, machine())}
	if err == nil && r.cache != nil {
		l.key, l.life = l.keyOf(name), r.cache.begin() // before the look-up: its files may change meanwhile
		if a, age, ok := r.cache.get(l.key); ok {
			j.setAge(true, age)
			j.found(host, a.found)
			return a.addrs, nil
		}
	}
	defer j.timed(check.PhaseResolve, start)
	if err != nil {
		return nil, &check.Reason{Code: check.DNSNXDomain, Message: err.Error()}
	}
	addrs, found, reason := l.host(ctx, name)
	if reason != nil {
		return addrs, reason
	}
	if r.cache != nil {
		r.cache.put(l.key, addrs, found, l.life)
		j.setAge(false, 0)
	}
	j.found(host, found)
	return addrs, nil
}

// found records the name that has the addresses, when it is not the host.
func (j *journey) found(host, name string) {
	if name = strings.TrimSuffix(name, "."); name != strings.TrimSuffix(host, ".") {
		j.obs.Set("resolved_name", name)
	}
}

// maxName is the length of the longest domain name as text, in bytes: 255 in
// wire form (RFC 1035 section 3.1) without the first length and the root.
const maxName = 253

// asciiName returns a host name as it is asked for: internationalised labels
// in their ASCII form (RFC 5891), everything else untouched. Underscores and
// a final dot are fine.
func asciiName(name string) (string, error) {
	if len(name) > utf8.UTFMax*maxName { // before idna, which takes quadratic time
		return "", fmt.Errorf("the name is not a domain name: longer than %d bytes", maxName)
	}
	ascii := name
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		var err error
		profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.BidiRule())
		if ascii, err = profile.ToASCII(name); err != nil {
			return "", fmt.Errorf("%q is not a domain name: %w", name, err)
		}
	}
	if ascii == "" {
		return "", errors.New("the name is empty")
	}
	if len(strings.TrimSuffix(ascii, ".")) > maxName {
		return "", fmt.Errorf("%q is not a domain name: longer than %d bytes", name, maxName)
	}
	if ascii != "." {
		for label := range strings.SplitSeq(strings.TrimSuffix(ascii, "."), ".") {
			if len(label) == 0 || len(label) > 63 {
				return "", fmt.Errorf("%q is not a domain name: a label has 1 to 63 bytes", name)
			}
		}
	}
	return ascii, nil
}

// only keeps the addresses of the family, 0 being any. None left is an error.
func only(family uint8, addrs []netip.Addr, host string) ([]netip.Addr, *check.Reason) {
	if family == 0 {
		return addrs, nil
	}
	kept := slices.DeleteFunc(slices.Clone(addrs), func(ip netip.Addr) bool { return familyOf(ip) != family })
	if len(kept) == 0 {
		return nil, &check.Reason{Code: check.DNSNoData, Message: fmt.Sprintf("%s has no IPv%d address", host, family)}
	}
	return kept, nil
}

// lookup is the resolving of one host name.
type lookup struct {
	route  *router
	system *system
	key    answerKey  // where the answer is to be cached
	life   *shelfLife // of what the answers say; nil where they are not cached
}

// host returns the addresses and the absolute name that has them.
func (l *lookup) host(ctx context.Context, name string) (addrs []netip.Addr, found string, reason *check.Reason) {
	own := l.route.resolver
	if own == nil {
		if addrs, err := l.local(name); err != nil || len(addrs) > 0 {
			return addrs, name, unread(err)
		}
		if !hasResolvConf {
			return l.library(ctx, name)
		}
	}
	config, err := l.system.config()
	if err != nil {
		return nil, name, unread(err)
	}
	names := []string{dns.Fqdn(name)}
	if own == nil || l.route.search {
		names = config.names(name, l.route.search)
	}
	for _, candidate := range names {
		var failure *check.Reason
		addrs, failure = l.name(ctx, config, candidate)
		if failure == nil {
			return addrs, candidate, nil
		}
		// What is known of the name as it was written counts most.
		if reason == nil || strings.TrimSuffix(candidate, ".") == strings.TrimSuffix(name, ".") {
			reason = failure
		}
		if failure.Code != check.DNSNXDomain && failure.Code != check.DNSNoData {
			return nil, candidate, failure
		}
	}
	return nil, name, reason
}

// local returns the addresses of the wanted family that this machine knows by
// itself: from the hosts file, or because the name means the machine (RFC 6761
// section 6.3).
func (l *lookup) local(name string) ([]netip.Addr, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	fixed, err := l.system.lookup(name)
	if err != nil {
		return nil, err
	}
	if addrs, reason := only(l.route.family, fixed, name); reason == nil && len(addrs) > 0 {
		return addrs, nil
	}
	if name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		return nil, nil
	}
	loopback := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	addrs, _ := only(l.route.family, loopback, name) // there is one of each family
	return addrs, nil
}

// unread words why the system's files were not read, nil when they were.
func unread(err error) *check.Reason {
	if err == nil {
		return nil
	}
	return &check.Reason{Code: cause(err, check.LocalResolver).Code, Message: err.Error()}
}

// library resolves with the operating system's own functions, where there is
// no resolv.conf.
func (l *lookup) library(ctx context.Context, name string) ([]netip.Addr, string, *check.Reason) {
	asked := name
	if strings.Contains(name, ".") && !l.route.search {
		asked = dns.Fqdn(name)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", asked)
	if err == nil {
		addrs, reason := only(l.route.family, addrs, name)
		return addrs, name, reason
	}
	var de *net.DNSError
	reason := cause(err, check.LocalResolver)
	if errors.As(err, &de) && de.IsNotFound {
		reason = check.Reason{Code: check.DNSNXDomain, Message: name + " does not exist"}
	}
	return nil, name, &reason
}

// resolutionDelay is how long IPv6 addresses are waited for once there are
// IPv4 ones (RFC 8305 section 3). There is no such limit the other way round:
// where IPv6 does not work, the IPv4 addresses are the only useful ones.
const resolutionDelay = 50 * time.Millisecond

// name asks for the addresses of one absolute name.
func (l *lookup) name(ctx context.Context, config *resolvConf, name string) ([]netip.Addr, *check.Reason) {
	switch l.route.family {
	case 4:
		return l.records(ctx, config, name, dns.TypeA)
	case 6:
		return l.records(ctx, config, name, dns.TypeAAAA)
	}
	type outcome struct {
		addrs  []netip.Addr
		reason *check.Reason
	}
	ctx6, cancel := context.WithCancel(ctx)
	defer cancel()
	six := make(chan outcome, 1)
	go func() {
		addrs, reason := l.records(ctx6, config, name, dns.TypeAAAA)
		six <- outcome{addrs, reason}
	}()
	four := l.part()
	v4, reason := four.kept(ctx, config, name)
	l.life.join(four.life)
	if reason == nil {
		late := time.AfterFunc(resolutionDelay, cancel)
		defer late.Stop()
	} else if reason.Code == check.DNSNXDomain || reason.Code.Local() {
		cancel() // the other answer cannot help
	}
	v6 := <-six
	if !known(reason) || !known(v6.reason) && (reason == nil || reason.Code != check.DNSNXDomain) {
		l.life.end()
		if reason == nil {
			four.keep(name, v4)
		}
	}
	switch {
	case reason == nil && v6.reason == nil:
		return append(v6.addrs, v4...), nil
	case reason == nil:
		return v4, nil
	case v6.reason == nil:
		return v6.addrs, nil
	case reason.Code == check.DNSNoData && v6.reason.Code != check.DNSNoData:
		return nil, v6.reason
	case reason.Code == check.DNSNoData:
		return nil, &check.Reason{Code: check.DNSNoData, Message: dnsmsg.Shown(name) + " exists but has no A or AAAA record"}
	default:
		return nil, reason
	}
}

// known reports whether a look-up found out what there is, if only nothing.
func known(reason *check.Reason) bool {
	return reason == nil || reason.Code == check.DNSNXDomain || reason.Code == check.DNSNoData
}

// records asks the servers in turn for the addresses of one type.
func (l *lookup) records(ctx context.Context, config *resolvConf, name string, qtype uint16) ([]netip.Addr, *check.Reason) {
	q, err := newQuestion(name, qtype, dns.ClassINET, queryFlags{recursion: true, ednsSize: ednsSize})
	if err != nil {
		return nil, &check.Reason{Code: check.DNSNXDomain, Message: err.Error()}
	}
	servers := l.servers(config)
	var reason *check.Reason
	for i, server := range servers {
		until := share(ctx, config.timeout, len(servers)-i)
		said, err := server.ask(ctx, q, until)
		if err == nil && said.answer.RefusesEDNS() {
			if plain, failed := newQuestion(name, qtype, dns.ClassINET, queryFlags{recursion: true}); failed == nil {
				q = plain
				said, err = server.ask(ctx, q, until)
			}
		}
		if err != nil {
			reason = worse(reason, askReason(err, name, &server))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		addrs, failure := addresses(said.answer, q, server.String())
		if known(failure) {
			l.life.note(said, failure == nil)
			return addrs, failure
		}
		reason = worse(reason, failure)
	}
	if unable(reason) && !alive(ctx, servers) {
		reason = &check.Reason{Code: check.LocalResolver, Message: resolverFails + ": " + reason.Message}
	}
	return nil, reason
}

// unable reports whether a server failed to answer or refused to, which says
// something of the name only when the server is able to answer at all.
func unable(reason *check.Reason) bool {
	return reason != nil && (reason.Code == check.DNSServFail || reason.Code == check.DNSRefused)
}

// resolverFails words what alive found out.
const resolverFails = "the system's resolver fails on every question"

// alive asks the system's servers the control question. It returns false only
// when none answers and at least one says that it cannot: a stub resolver on a
// machine without network does so. Servers of the check's own choice are taken
// to be alive.
func alive(ctx context.Context, servers []nameserver) bool {
	failed := false
	for _, server := range servers {
		if !server.system {
			return true
		}
		server.system = false // the question is the control itself
		said, err := server.ask(ctx, controlQuestion(), share(ctx, controlTimeout, 2))
		switch {
		case err != nil:
		case unable(dnsmsg.RcodeReason(said.answer.Rcode(), ".", server.String())):
			failed = true
		default:
			return true
		}
	}
	return !failed
}

// controlTimeout bounds the wait for the answer to a control question.
const controlTimeout = 2 * time.Second

// servers returns the servers to ask.
func (l *lookup) servers(config *resolvConf) (servers []nameserver) {
	if l.route.resolver != nil {
		return []nameserver{*l.route.resolver}
	}
	return systemServers(config)
}

func systemServers(config *resolvConf) (servers []nameserver) {
	for _, addr := range config.servers {
		servers = append(servers, nameserver{transport: "udp", addr: addr, system: true})
	}
	return servers
}

// share returns until when one of the servers that are left is waited for. The
// last one gets all the time; the ones before leave enough for those after
// them and for what comes after the resolving.
func share(ctx context.Context, timeout time.Duration, left int) time.Time {
	now := time.Now()
	deadline, ok := ctx.Deadline()
	if !ok {
		return now.Add(timeout)
	}
	if left == 1 {
		return deadline
	}
	return now.Add(min(timeout, deadline.Sub(now)/time.Duration(left+1)))
}

// worse returns the reason that says more: an answer of any kind says more than
// silence.
func worse(a, b *check.Reason) *check.Reason {
	if a == nil || a.Code.Local() && !b.Code.Local() {
		return b
	}
	return a
}

// askReason words why a server gave no answer. Silence of the system's own
// servers says nothing about the name, unless they answer everything else.
func askReason(err error, name string, server *nameserver) *check.Reason {
	var bad *dnsmsg.MalformedError
	var known *reasonError
	var short *truncatedError
	var alive *aliveError
	r := cause(err, check.DNSTimeout)
	silent := fmt.Sprintf("no answer from %s to the question for %s", server, dnsmsg.Shown(name))
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &bad):
		r.Code, r.Message = check.DNSMalformed, err.Error()
	case errors.As(err, &known) && known.Code.Local():
		return &known.Reason
	case errors.As(err, &known):
		r = known.Reason
	case errors.As(err, &cert):
		r.Code, r.Message = check.TLSUntrusted, cert.Error()
	case r.Code.Local():
		return &r
	case errors.As(err, &short):
		r.Code, r.Message = check.DNSTruncated, err.Error()
	case errors.As(err, &alive):
		return &check.Reason{Code: check.DNSTimeout, Message: silent + ", though it answers others"}
	case server.system:
		return &check.Reason{Code: check.LocalResolver, Message: fmt.Sprintf("%s, the system's resolver: %s", silent, r.Message)}
	case r.Code == check.DNSTimeout:
		return &check.Reason{Code: check.DNSTimeout, Message: silent}
	}
	r.Message = fmt.Sprintf("resolving %s at %s: %s", dnsmsg.Shown(name), server, r.Message)
	return &r
}

// addresses reads the A or AAAA records at the end of the answer's CNAMEs.
func addresses(msg dnsmsg.Message, q *question, server string) ([]netip.Addr, *check.Reason) {
	if r := dnsmsg.RcodeReason(msg.Rcode(), q.name, server); r != nil {
		return nil, r
	}
	type owned struct {
		name string
		ip   netip.Addr
	}
	var aliases dnsmsg.Aliases
	var all []owned
	err := msg.Records(func(s dnsmsg.Section, rr dns.RR) error {
		if s != dnsmsg.Answer || rr.Header().Class != dns.ClassINET {
			return nil
		}
		aliases.Add(rr)
		if ip := addressOf(rr); ip.IsValid() && rr.Header().Rrtype == q.qtype && len(all) < maxAddresses {
			all = append(all, owned{dns.CanonicalName(rr.Header().Name), ip})
		}
		return nil
	})
	var names []string
	if err == nil {
		names, err = aliases.Follow(q.name, q.qtype)
	}
	if err != nil {
		return nil, &check.Reason{Code: check.DNSMalformed, Message: fmt.Sprintf("resolving %s at %s: %v", dnsmsg.Shown(q.name), server, err)}
	}
	last := dns.CanonicalName(q.name)
	if len(names) > 0 {
		last = dns.CanonicalName(names[len(names)-1])
	}
	var addrs []netip.Addr
	for _, a := range all {
		if a.name == last {
			addrs = append(addrs, a.ip)
		}
	}
	if len(addrs) == 0 {
		return nil, &check.Reason{Code: check.DNSNoData, Message: fmt.Sprintf("%s exists but has no %s record", dnsmsg.Shown(q.name), dns.TypeToString[q.qtype])}
	}
	return addrs, nil
}

// maxAddresses is how many addresses of one answer are kept: as many as fit
// into an answer over TCP would be, and more than anybody connects to.
const maxAddresses = 256

func addressOf(rr dns.RR) (ip netip.Addr) {
	switch rr := rr.(type) {
	case *dns.A:
		ip, _ = netip.AddrFromSlice(rr.A)
		ip = ip.Unmap()
	case *dns.AAAA:
		ip, _ = netip.AddrFromSlice(rr.AAAA)
	}
	return ip
}
