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

// Footprint is that of the connection and of those that try out what else the
// server accepts; each cipher suite that it does accept takes one more.
func (p *tlsProbe) Footprint() check.Footprint {
	one, connections := p.route.footprint(), 1
	if p.versions {
		connections += len(tlsVersions)
	}
	if p.ciphers {
		connections++
	}
	one.Ports *= connections
	return one
}

// Footprint is that of the connection of the transports that make one. With
// auto that is the exception.
func (p *dnsProbe) Footprint() check.Footprint {
	switch p.transport {
	case transportTCP, transportTLS, transportHTTPS:
		return p.router.footprint()
	default:
		return check.Footprint{}
	}
}
