package probes

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Route is how a probe gets to its target: the options that every kind which
// connects has in common, embedded in its options.
type Route struct {
	Family   string `yaml:"family" enum:"any,4,6" doc:"address family; any races both as in RFC 8305"`
	Address  string `yaml:"address" address:"true" doc:"connect to this IP address instead of resolving the name"`
	Resolver string `yaml:"resolver" address:"true" doc:"name server to resolve with, as IP[:port], tcp://IP[:port] or tls://IP[:port]; default is the system's resolver"`
	Search   bool   `yaml:"search" doc:"let the system's search domains complete a name that has a dot"`
}

// TLS are the options of a TLS connection.
type TLS struct {
	CA         string `yaml:"ca" path:"true" doc:"file of PEM certificates to trust instead of the system's"`
	Cert       string `yaml:"cert" path:"true" doc:"file with the client certificate, PEM"`
	Key        string `yaml:"key" path:"true" doc:"file with the client certificate's key, PEM"`
	ServerName string `yaml:"server_name" doc:"name to ask for (SNI) and to verify instead of the target's"`
	MinVersion string `yaml:"min_version" enum:"1.0,1.1,1.2,1.3" doc:"lowest TLS version to offer"`
	MaxVersion string `yaml:"max_version" enum:"1.0,1.1,1.2,1.3" doc:"highest TLS version to offer"`
	Insecure   bool   `yaml:"insecure" doc:"do not demand a verified certificate; the certificate's facts are reported all the same"`
}

// journey makes one probe's way to its target and records it: phases, facts
// and what stopped it. One journey serves one Observe call.
type journey struct {
	obs   check.Observation
	start time.Time
}

func begin() *journey { return &journey{start: time.Now()} }

// timed adds the time since start to the phase.
func (j *journey) timed(phase string, start time.Time) { j.obs.Phases.Add(phase, time.Since(start)) }

// fail ends the journey with a failure.
func (j *journey) fail(code check.Code, message string) check.Observation {
	j.obs.Failure = check.Reason{Code: code, Message: message}
	return j.end()
}

// end closes the record.
func (j *journey) end() check.Observation {
	j.obs.Latency = time.Since(j.start)
	return j.obs
}

// connect resolves host and connects to port, racing the addresses. It records
// the phases resolve and connect and the facts ip and family. On failure it
// returns the reason, and no connection. The connection carries ctx's deadline
// and is interrupted when ctx is cancelled.
func (j *journey) connect(ctx context.Context, route *router, host, port string) (net.Conn, *check.Reason)

// handshake makes a TLS connection over conn for inspection: it completes
// whatever the certificate is, records the phase tls, the tls.* and cert.*
// facts, and explains (check.Observation.Explain) cert.trusted and
// cert.hostname_ok when they are false. protocols is the ALPN list.
func (j *journey) handshake(ctx context.Context, conn net.Conn, plan *tlsPlan, host string, protocols []string) (*tls.Conn, *check.Reason)

// router is a validated Route.
type router struct{}

// tlsPlan is a validated TLS with its files read.
type tlsPlan struct{}

func (r *Route) build() (*router, error)

func (t *TLS) build() (*tlsPlan, error)
