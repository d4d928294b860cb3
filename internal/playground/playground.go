// Package playground starts servers on loopback that behave as targets do:
// healthy, slow, failing, expired, closed. `sonde playground` keeps them
// running for a person to probe, `sonde demo` runs checks.example.yaml against
// them.
package playground

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// Service is one server of the playground.
type Service struct {
	Target string // what `sonde check` takes
	Doc    string // how it behaves; one line, lower case, no full stop
}

// Variable is a variable of checks.example.yaml and the value that points it
// at the playground.
type Variable struct{ Name, Value string }

// Playground is a set of running servers.
type Playground struct {
	services  []Service
	variables []Variable
	dir       string // holds ca.pem; removed by Close
	closers   []func() error
}

// Start starts the servers on free ports of 127.0.0.1. The caller closes the
// playground, which removes its one file, the PEM of its authority.
func Start() (*Playground, error) {
	p := &Playground{}
	if err := p.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the playground: %w", err), p.Close())
	}
	return p, nil
}

func (p *Playground) start() error {
	ca, err := testnet.NewCA()
	if err != nil {
		return err
	}
	if err := p.writeCA(ca); err != nil {
		return err
	}
	for _, start := range []func(*testnet.CA) error{p.startWeb, p.startExpired, p.startMail, p.startClosed, p.startDNS} {
		if err := start(ca); err != nil {
			return err
		}
	}
	p.variables = append(p.variables,
		Variable{"GATEWAY", "127.0.0.1"},
		Variable{"VPN_PEER", "127.0.0.1"},
		// TEST-NET-1 (RFC 5737): no machine has this address.
		Variable{"VPN_ADDRESS", "192.0.2.10"})
	return nil
}

func (p *Playground) writeCA(ca *testnet.CA) error {
	dir, err := os.MkdirTemp("", "sonde-playground-")
	if err != nil {
		return err
	}
	p.dir = dir
	path := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(path, ca.PEM(), 0o600); err != nil {
		return err
	}
	p.variables = append(p.variables, Variable{"SONDE_CA", path})
	return nil
}

// Services returns the running servers.
func (p *Playground) Services() []Service { return p.services }

// Variables returns the variables of checks.example.yaml with the values that
// point them at the playground.
func (p *Playground) Variables() []Variable { return p.variables }

// Lookup returns the value of a variable of checks.example.yaml.
func (p *Playground) Lookup(name string) (string, bool) {
	for _, v := range p.variables {
		if v.Name == name {
			return v.Value, true
		}
	}
	return "", false
}

// Close stops the servers and waits for them.
func (p *Playground) Close() error {
	var errs []error
	for _, c := range p.closers {
		errs = append(errs, c())
	}
	if p.dir != "" {
		errs = append(errs, os.RemoveAll(p.dir))
	}
	return errors.Join(errs...)
}

func (p *Playground) serves(target, doc string) {
	p.services = append(p.services, Service{Target: target, Doc: doc})
}

func (p *Playground) set(name, value string) {
	p.variables = append(p.variables, Variable{name, value})
}

// setHostPort sets the two variables PREFIX_HOST and PREFIX_PORT.
func (p *Playground) setHostPort(prefix, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	p.set(prefix+"_HOST", host)
	p.set(prefix+"_PORT", port)
	return nil
}

// startMail is a mail server that greets and knows EHLO and QUIT.
func (p *Playground) startMail(*testnet.CA) error {
	s, err := testnet.ListenTCP(smtp)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, s.Close)
	p.serves("tcp://"+s.Addr(), "greets as a mail server does")
	return p.setHostPort("SMTP", s.Addr())
}

// startClosed keeps a port on which nothing listens.
func (p *Playground) startClosed(*testnet.CA) error {
	s, err := testnet.Refuse()
	if err != nil {
		return err
	}
	p.closers = append(p.closers, s.Close)
	p.serves("tcp://"+s.Addr(), "nothing listens there")
	return p.setHostPort("DB", s.Addr())
}

// startDNS is a name server that knows two names.
func (p *Playground) startDNS(*testnet.CA) error {
	zone, err := testnet.NewZone(
		"gmail.com. 300 IN MX 10 smtp.playground.test.",
		"smtp.playground.test. 300 IN A 127.0.0.1",
	)
	if err != nil {
		return err
	}
	s, err := testnet.ListenDNS(zone.Serve)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, s.Close)
	p.set("DNS_SERVER", s.Addr())
	p.serves("dns://"+s.Addr()+"/gmail.com?type=MX", "answers")
	p.serves("dns://"+s.Addr()+"/does-not-exist.invalid", "NXDOMAIN")
	return nil
}

// smtp speaks the little of RFC 5321 that a probe asks for.
func smtp(conn net.Conn) {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return
	}
	reply := func(text string) bool {
		_, err := conn.Write([]byte(text))
		return err == nil
	}
	if !reply("220 mail.playground.test ESMTP\r\n") {
		return
	}
	buf := make([]byte, 512)
	for {
		n, err := conn.Read(buf)
		switch {
		case err != nil:
			return
		case n >= 4 && string(buf[:4]) == "EHLO":
			if !reply("250-mail.playground.test\r\n250 SIZE 10240000\r\n") {
				return
			}
		case n >= 4 && string(buf[:4]) == "QUIT":
			reply("221 bye\r\n")
			return
		default:
			if !reply("502 not known here\r\n") {
				return
			}
		}
	}
}
