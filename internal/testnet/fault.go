package testnet

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Fault is a way in which a target is broken or hostile, by the name that
// people use for it.
type Fault struct {
	Name string // such as gzip-bomb
	Case string // of docs/hostile.md, such as C7
	Doc  string // what the target does; one line, lower case, no full stop

	// check is the kind's block of a check of the target, and more of its keys,
	// as in a file in flow style. $ADDR, $HOST, $PORT stand for the address,
	// $CA for the authority's file, $LARGE for a large one and $PASSWORD for a
	// password that nobody has.
	check string
	start starter
}

// starter starts a fault's server.
type starter func(*CA) (server, error)

// server is what all servers here have in common.
type server interface {
	Addr() string
	Close() error
}

// Faulty is a running target that has a fault.
type Faulty struct {
	Fault
	server
}

// Faults returns all faults, those of a part of docs/hostile.md together.
func Faults() []Fault {
	return slices.Concat(connectionFaults(), backlogFaults(), tlsFaults(), httpFaults(), bodyFaults(), proxyFaults(), loginFaults(),
		http2Faults(), quicFaults(), upgradeFaults(), databaseFaults(), dnsFaults(), datagramFaults(), sshFaults(), ntpFaults())
}

// Start starts the target on a free port of 127.0.0.1. The certificate, if it
// has one, is of the authority. The caller closes it.
func (f Fault) Start(ca *CA) (*Faulty, error) {
	s, err := f.start(ca)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", f.Name, err)
	}
	return &Faulty{Fault: f, server: s}, nil
}

// Check is a check of the target as an entry of a file's list of checks, with a
// timeout as files have it. The folder is one of [WriteFaultFiles].
func (f *Faulty) Check(dir, timeout string) string {
	host, port, _ := strings.Cut(f.Addr(), ":")
	quote := func(before, file, behind string) string {
		return "'" + before + strings.ReplaceAll(filepath.Join(dir, file), "'", "''") + behind + "'"
	}
	text := strings.NewReplacer("$ADDR", f.Addr(), "$HOST", host, "$PORT", port, "$CA", quote("", CAFile, ""),
		"$LARGE", quote("", largeFile, ""), "$PASSWORD", quote("${file:", passwordFile, "}")).Replace(f.check)
	return "- {name: " + f.Name + ", timeout: " + timeout + ", " + text + "}"
}

// The files that checks of faults refer to.
const (
	CAFile       = "ca.pem" // the authority's certificate
	largeFile    = "large.bin"
	passwordFile = "password"
)

// largeSize is more than the buffers of a connection take, bytes.
const largeSize = 32 << 20

// WriteFaultFiles writes the files that checks of faults refer to into the
// folder. The large one has no content and takes no room.
func WriteFaultFiles(dir string, ca *CA) error {
	if err := os.WriteFile(filepath.Join(dir, CAFile), ca.PEM(), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, passwordFile), []byte("known to nobody"), 0o600); err != nil {
		return err
	}
	large, err := os.OpenFile(filepath.Join(dir, largeFile), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(large.Truncate(largeSize), large.Close())
}

// speaks starts a server with the handler.
func speaks(handler func(net.Conn)) starter {
	return func(*CA) (server, error) { return ListenTCP(handler) }
}

// speaksTLS is as speaks behind a handshake with a good certificate. The
// configuration may be changed; change may be nil.
func speaksTLS(handler func(net.Conn), change func(*tls.Config)) starter {
	return certified(CertOptions{Names: []string{"127.0.0.1"}, Intermediate: true}, handler, change)
}

// certified is as speaksTLS with another certificate.
func certified(o CertOptions, handler func(net.Conn), change func(*tls.Config)) starter {
	return func(ca *CA) (server, error) {
		cert, err := ca.Issue(o)
		if err != nil {
			return nil, err
		}
		cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		if change != nil {
			change(cfg)
		}
		return ListenTLS(cfg, handler)
	}
}
