package probes

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/netif"
)

// Route is how a probe gets to its target: the options that every kind which
// connects has in common, embedded in its options.
type Route struct {
	Family    string   `yaml:"family" enum:"any,4,6,both" doc:"address family; any races both as in RFC 8305, both does so and tries each alone beside it"`
	Address   string   `yaml:"address" address:"true" doc:"any of the name's addresses; all probes each of them; an IP address is connected to instead of resolving the name"`
	Require   string   `yaml:"require" doc:"with address: all, how many of the addresses must pass: all, any or a number; default is all"`
	Source    []string `yaml:"source" address:"true" single:"true" doc:"local IP address to connect from, or list of addresses of one family, of which each run takes the next"`
	Resolver  string   `yaml:"resolver" address:"true" doc:"name server to resolve with, as IP[:port], tcp://IP[:port], tls://IP[:port], quic://IP[:port] or https://host/dns-query, whose host the system resolves; default is the system's resolver"`
	DNS       string   `yaml:"dns" enum:"fresh,cached" doc:"fresh resolves in each run; cached keeps an answer as long as its TTL says, for all checks together"`
	Interface string   `yaml:"interface" doc:"network interface to connect by; Linux and macOS only"`
	Search    bool     `yaml:"search" doc:"let the system's search domains complete a name that has a dot"`
}

// router is a validated [Route].
type router struct {
	family   uint8          // 4, 6, or 0 for any
	wanted   uint8          // as the option says, which a source may narrow
	via      *proxy         // nil: straight to the target, or as http decides for each URL
	address  netip.Addr     // invalid: resolve the host
	sources  []netip.Addr   // none: the system chooses
	turn     *atomic.Uint32 // of several sources
	reset    bool           // close connections with an RST
	network  string         // empty: tcp
	resolver *nameserver    // nil: the system's
	search   bool
	cache    *answerCache // nil: resolve afresh
	device   string       // network interface; empty: the system chooses
	system   *system      // nil: this machine's
	spread   spreading
	need     int // of the addresses that must pass, with everyAddress; 0: all
}

// build validates the route of a kind that goes to one address in a run. Its
// errors are [check.OptionError]s.
func (r *Route) build() (*router, error) {
	out, err := r.buildAll()
	switch out.spread {
	case everyAddress:
		err = errors.Join(err, check.OptionErrorf("address", "all is not for this kind"))
	case bothFamilies:
		err = errors.Join(err, check.OptionErrorf("family", "both is not for this kind"))
	}
	return out, err
}

// buildAll is build for a kind that can go to several addresses in a run, by
// [spreadOver].
func (r *Route) buildAll() (*router, error) {
	out := &router{search: r.Search}
	var errs []error
	switch r.Family {
	case "", "any":
	case "4":
		out.family = 4
	case "6":
		out.family = 6
	case "both":
		out.spread = bothFamilies
	default:
		errs = append(errs, check.OptionErrorf("family", "%q is not any, 4, 6 or both", r.Family))
	}
	out.wanted = out.family
	out.address = parseOption(&errs, "address", r.pin(), out.family)
	out.takeSources(&errs, r.Source)
	out.takeSpread(&errs, r)
	switch r.DNS {
	case "", dnsFresh:
	case dnsCached:
		out.cache = sharedAnswers
	default:
		errs = append(errs, check.OptionErrorf("dns", "%q is not fresh or cached", r.DNS))
	}
	if err := netif.CheckName(r.Interface); err != nil {
		errs = append(errs, &check.OptionError{Option: "interface", Err: err})
	}
	out.device = r.Interface
	if r.Resolver != "" {
		var err error
		if out.resolver, err = parseServer(r.Resolver); err != nil {
			errs = append(errs, &check.OptionError{Option: "resolver", Err: err})
		}
	}
	return out, errors.Join(errs...)
}

// parseOption reads an optional IP address of the family.
func parseOption(errs *[]error, option, text string, family uint8) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		*errs = append(*errs, check.OptionErrorf(option, "%q is not an IP address", text))
		return netip.Addr{}
	case family != 0 && familyOf(addr) != family:
		*errs = append(*errs, check.OptionErrorf(option, "%s is not an IPv%d address, as family demands", addr, family))
	}
	return addr.Unmap()
}

// familyOf returns 4 or 6. An IPv4 address mapped into IPv6 is of family 4.
func familyOf(addr netip.Addr) uint8 {
	if addr.Unmap().Is4() {
		return 4
	}
	return 6
}

// journey makes one probe's way to its target and records it: phases, facts
// and what stopped it. One journey serves one Observe call.
type journey struct {
	obs   check.Observation
	start time.Time
	// certAsked tells that a TLS server asked for a client certificate, and
	// certWanted that it got none. TLS 1.3 lets it refuse what it got only after
	// the handshake.
	certAsked, certWanted bool
	refusing              bool          // refusal reads
	idle                  time.Duration // waited for what is no part of the measurement
	from                  netip.Addr    // where the run's connections come from, once it has one; invalid: the system chooses
}

func begin() *journey { return &journey{start: time.Now()} }

// timed adds the time since start to the phase.
func (j *journey) timed(phase string, start time.Time) { j.obs.Phases.Add(phase, time.Since(start)) }

// fail ends the journey with a failure.
func (j *journey) fail(code check.Code, message string) check.Observation {
	return j.stop(&check.Reason{Code: code, Message: message})
}

// stop ends the journey with the reason that connect or handshake returned.
func (j *journey) stop(reason *check.Reason) check.Observation {
	j.obs.Failure = *reason
	return j.end()
}

// end closes the record.
func (j *journey) end() check.Observation {
	j.obs.Latency = time.Since(j.start) - j.idle
	return j.obs
}
