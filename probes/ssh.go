package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"golang.org/x/crypto/ssh"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "ssh",
		Doc:     "reads an SSH server's banner and learns its host key, without a login",
		Schemes: []string{"ssh"},
		Facts:   sshFacts(),
		New:     func() check.Options { return &sshOptions{Port: 22} },
	})
}

// hostKeysFact makes each run ask for all of the server's keys.
const hostKeysFact = "keys"

func sshFacts() []check.Fact {
	return append(connectFacts(),
		check.Fact{Name: "banner", Type: check.String, Doc: "the line by which the server tells its version, such as SSH-2.0-OpenSSH_9.2p1 Debian-2"},
		check.Fact{Name: "preamble", Type: check.String, Doc: "text that the server sends before its banner"},
		check.Fact{Name: "protocol", Type: check.String, Doc: "version of the protocol in the banner; 1.99 is 2.0 that knows 1.5, too"},
		check.Fact{Name: "software", Type: check.String, Doc: "software in the banner, such as OpenSSH_9.2p1"},
		check.Fact{Name: "comment", Type: check.String, Doc: "what follows it in the banner"},
		check.Fact{Name: "key.type", Type: check.String, Doc: "type of the host key, such as ssh-ed25519"},
		check.Fact{Name: "key.bits", Type: check.Int, Unit: "bits", Doc: "its size"},
		check.Fact{Name: "key.fingerprint", Type: check.String, Doc: "its fingerprint as ssh-keygen -l prints it, beginning with SHA256:"},
		check.Fact{Name: "key.algorithm", Type: check.String, Doc: "signature algorithm by which the server has proved that it holds the key"},
		check.Fact{Name: hostKeysFact, Type: check.Map, Doc: "fingerprints of the server's keys by type; an expectation that names it makes sonde ask for each type over a connection of its own"},
		check.Fact{Name: "known", Type: check.Bool, Doc: "known_hosts has the key for this host; only with known_hosts", Option: "known_hosts"},
		check.Fact{Name: "kex", Type: check.String, Doc: "key exchange that was agreed on"},
		check.Fact{Name: "cipher", Type: check.String, Doc: "cipher from server to client that was agreed on"},
		check.Fact{Name: "offers.kex", Type: check.Strings, Doc: "key exchanges that the server offers"},
		check.Fact{Name: "offers.keys", Type: check.Strings, Doc: "host key algorithms that it offers"},
		check.Fact{Name: "offers.ciphers", Type: check.Strings, Doc: "ciphers that it offers, from server to client"},
		check.Fact{Name: "offers.macs", Type: check.Strings, Doc: "message authentication codes that it offers, from server to client"},
	)
}

// sshOptions are the options of the kind ssh.
type sshOptions struct {
	Host       string `yaml:"host" address:"true" required:"true" doc:"name or IP address"`
	Port       int    `yaml:"port" doc:"port to connect to"`
	HostKey    string `yaml:"host_key" enum:"ed25519,ecdsa,rsa" doc:"type of host key to ask for; default is the first of these that the server has, or one that known_hosts has"`
	KnownHosts string `yaml:"known_hosts" path:"true" doc:"file of OpenSSH that must have the server's key"`
	Close      string `yaml:"close" enum:"normal,reset" doc:"how to end the connection; reset leaves no port in TIME_WAIT, see docs/connections.md"`
	Route      `yaml:",inline"`
}

// SetTarget reads ssh://host[:port].
func (o *sshOptions) SetTarget(target string) error {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a target such as ssh://host:port", target)
	case u.User != nil:
		return errors.New("ssh://host:port takes no user, for there is no login")
	case u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return errors.New("ssh://host:port takes nothing behind the port")
	case u.Hostname() == "":
		return fmt.Errorf("%q needs a host: ssh://host:port", target)
	}
	if u.Port() != "" {
		if o.Port, err = strconv.Atoi(u.Port()); err != nil {
			return fmt.Errorf("%q is not a port number", u.Port())
		}
	}
	o.Host = u.Hostname()
	return nil
}

// sshProbe is a built check of the kind ssh.
type sshProbe struct {
	host, port string
	route      *router
	wanted     string   // type of host key, as the option has it
	algorithms []string // of host keys, the preferred one first
	known      ssh.HostKeyCallback
	all        bool // ask for every key
}

// Build validates the options.
func (o *sshOptions) Build(setup check.Setup) (check.Plan, error) {
	errs := validateHostPort(o.Host, o.Port)
	route, err := o.Route.build()
	errs = append(errs, err, route.reaches("host", o.Host), route.closeBy(o.Close))
	p := &sshProbe{
		host: o.Host, port: strconv.Itoa(o.Port), route: route,
		wanted: o.HostKey, algorithms: hostKeyAlgorithms(), all: setup.Needs(hostKeysFact),
	}
	plan := check.Plan{Probe: p, Target: net.JoinHostPort(o.Host, p.port)}
	if o.KnownHosts != "" {
		if p.known, err = knownHosts(o.KnownHosts); err != nil {
			errs = append(errs, &check.OptionError{Option: "known_hosts", Err: err})
		}
		plan.Defaults = []check.Default{{Expect: "known"}}
	}
	switch algorithms, ok := algorithmsOf(o.HostKey); {
	case ok:
		p.algorithms = algorithms
	case o.HostKey != "":
		errs = append(errs, check.OptionErrorf("host_key", "%q is not ed25519, ecdsa or rsa", o.HostKey))
	case p.known != nil:
		p.algorithms = preferKnown(p.known, plan.Target, p.algorithms)
	}
	return plan, errors.Join(errs...)
}

// Observe connects, exchanges keys and leaves.
func (p *sshProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	j.obs.Reproduce = p.reproduce
	s, reason := p.visit(ctx, j, p.algorithms)
	if s != nil {
		s.report(&j.obs, p.algorithms)
	}
	if reason != nil {
		from := j.from // ssh-keyscan does not tell why there is no key
		j.obs.Reproduce = func() string { return netcatLine(p.route, p.host, p.port, from, true) + noInput }
		return j.stop(reason)
	}
	if p.known != nil {
		p.judgeKnown(&j.obs, s)
	}
	if p.all {
		p.askAll(ctx, j, s)
	}
	return j.end()
}

// Footprint is that of the connection.
func (p *sshProbe) Footprint() check.Footprint { return p.route.footprint() }

// reproduce returns a shell line that shows the fingerprint. ssh-keyscan cannot
// choose the address that it comes from.
func (p *sshProbe) reproduce() string {
	c := shellLine{"ssh-keyscan"}
	if p.route.family != 0 {
		c.add("-" + strconv.Itoa(int(p.route.family)))
	}
	if p.wanted != "" {
		c.add("-t", p.wanted)
	}
	host := p.route.to(p.host)
	c.add("-p", p.port, host)
	return c.String() + " | ssh-keygen -lf -"
}
