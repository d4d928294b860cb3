package probes

import "github.com/sonde-cli/sonde/check"

// footprint is that of a connection that is made for one run.
func (r *router) footprint() check.Footprint {
	if r.reset {
		return check.Footprint{}
	}
	return check.Footprint{Ports: 1}
}

// Footprint is that of one connection. Redirects may make more.
func (p *httpProbe) Footprint() check.Footprint {
	if p.keeper != nil {
		return check.Footprint{Kept: 1}
	}
	if p.home.unix != "" || p.version == "3" {
		return check.Footprint{} // neither has ports in TIME_WAIT
	}
	made := p.home.route.footprint()
	if p.digest != nil {
		made.Ports *= 2 // the challenge comes over one of its own
	}
	return made
}

// Footprint is that of the connection.
func (p *tcpProbe) Footprint() check.Footprint { return p.route.footprint() }

// Footprint is that of the connection. Looking for versions and ciphers makes more.
func (p *tlsProbe) Footprint() check.Footprint { return p.route.footprint() }

// Footprint is that of the connection of the transports that make one. With
// auto that is the exception.
func (p *dnsProbe) Footprint() check.Footprint {
	if p.transport == transportTCP || p.transport == transportTLS {
		return p.router.footprint()
	}
	return check.Footprint{}
}
