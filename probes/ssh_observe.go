package probes

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sonde-cli/sonde/check"
)

// Bounds of what a server may say.
const (
	maxSSHVersion  = 255       // the banner with its line end (RFC 4253 section 4.2)
	maxSSHPreamble = 16 << 10  // lines before it, and the banner
	maxSSHKexInit  = 36 << 10  // its algorithms; an implementation must take packets of 35,000 bytes (section 6.1)
	maxSSHExchange = 512 << 10 // everything
)

// sshVersion is a server's identification (RFC 4253 section 4.2).
var sshVersion = regexp.MustCompile(`^SSH-([^- ]+)-(\S*)(?: (.*))?$`)

// errKeySeen ends the handshake before a login.
var errKeySeen = errors.New("the host key is known")

// sshSession is one connection to a server, which it watches: x/crypto/ssh
// tells neither what comes before the banner nor what the server offers.
type sshSession struct {
	net.Conn
	in    *bufio.Reader
	start time.Time
	rest  []byte // of the banner's line, not handed on yet

	mu       sync.Mutex // x/crypto/ssh reads in a goroutine of its own
	preamble []byte
	banner   string        // without the line end; empty: not seen
	wait     time.Duration // until the banner
	kexInit  []byte        // packets from the banner on, at most maxSSHKexInit
	said     int
	err      error // why the server is none, or what broke the connection
	key      ssh.PublicKey
}

// visit makes one connection, exchanges keys and closes it. The session is nil
// without a connection.
func (p *sshProbe) visit(ctx context.Context, j *journey, algorithms []string) (*sshSession, *check.Reason) {
	conn, reason := j.connect(ctx, p.route, p.host, p.port)
	if reason != nil {
		return nil, reason
	}
	defer conn.Close()
	s := &sshSession{Conn: conn, in: bufio.NewReader(conn), start: time.Now()}
	_, _, _, err := ssh.NewClientConn(s, net.JoinHostPort(p.host, p.port), &ssh.ClientConfig{
		Config:        sshAlgorithms(),
		ClientVersion: "SSH-2.0-sonde", HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.key = key
			return errKeySeen
		},
	})
	took := time.Since(s.start)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.banner == "" {
		j.obs.Phases.Add(check.PhaseWait, took)
	} else {
		j.obs.Phases.Add(check.PhaseWait, s.wait)
		j.obs.Phases.Add(check.PhaseTransfer, took-s.wait)
	}
	if s.key != nil {
		return s, nil
	}
	return s, s.reason(j, err, took)
}

// reason tells why the key was not seen. The lock is held.
func (s *sshSession) reason(j *journey, err error, took time.Duration) *check.Reason {
	var none *ssh.AlgorithmNegotiationError
	if errors.As(err, &none) {
		return &check.Reason{Code: check.SSHNegotiation, Message: fmt.Sprintf(
			"no common %s algorithm, the server offers %s", none.What, excerpt([]byte(strings.Join(none.RequestedAlgorithms, ", "))))}
	}
	var broken *sshError
	if errors.As(s.err, &broken) {
		return &check.Reason{Code: broken.code, Message: broken.text}
	}
	if s.err == nil {
		return &check.Reason{Code: check.SSHMalformed, Message: "key exchange: " + excerpt([]byte(strings.TrimPrefix(err.Error(), "ssh: handshake failed: ssh: ")))}
	}
	said := bytes.TrimSpace(s.preamble)
	switch reason := j.cause(s.err, check.SSHTimeout); {
	case s.banner == "" && len(said) > 0 && (errors.Is(s.err, io.EOF) || reason.Code == check.SSHTimeout):
		return &check.Reason{Code: check.SSHMalformed, Message: "no SSH banner, the server said " + excerpt(said)}
	case s.banner == "" && errors.Is(s.err, io.EOF):
		return &check.Reason{Code: check.ConnectReset, Message: "the server closed the connection without a banner"}
	case s.banner == "" && reason.Code == check.SSHTimeout:
		return &check.Reason{Code: reason.Code, Message: "no SSH banner within " + check.FormatDuration(took)}
	case errors.Is(s.err, io.EOF):
		return &check.Reason{Code: check.ConnectReset, Message: "the server closed the connection in the key exchange"}
	case reason.Code == check.SSHTimeout:
		return &check.Reason{Code: reason.Code, Message: "the key exchange did not end within " + check.FormatDuration(took)}
	default:
		return &reason
	}
}

// sshError is what a server does that no SSH server may.
type sshError struct {
	code check.Code
	text string
}

// Error returns what it does.
func (e *sshError) Error() string { return e.text }

func notSSH(format string, args ...any) error {
	return &sshError{code: check.SSHMalformed, text: fmt.Sprintf(format, args...)}
}

// Read hands on what the server says, from the line of its banner on.
func (s *sshSession) Read(p []byte) (int, error) {
	if s.rest == nil {
		if err := s.readBanner(); err != nil {
			return 0, s.broke(err)
		}
	}
	if len(s.rest) > 0 {
		n := copy(p, s.rest)
		s.rest = s.rest[n:]
		return n, nil
	}
	n, err := s.in.Read(p)
	s.mu.Lock()
	s.said += n
	s.kexInit = append(s.kexInit, p[:min(n, maxSSHKexInit-len(s.kexInit))]...)
	over := s.said > maxSSHExchange
	s.mu.Unlock()
	if over {
		err = notSSH("more than %s in the key exchange", check.Size(maxSSHExchange))
	}
	return n, s.broke(err)
}

// Write writes as [net.Conn] does.
func (s *sshSession) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	return n, s.broke(err)
}

// broke keeps the first error, unless it is of our own closing. A failed write
// does not hide what the server may have said before it hung up.
func (s *sshSession) broke(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrClosed) {
		s.err = err
	}
	return err
}

// readBanner reads up to the line that begins with SSH-.
func (s *sshSession) readBanner() error {
	var line []byte
	for total := 1; ; total++ {
		c, err := s.in.ReadByte()
		if err != nil {
			if !bytes.HasPrefix(line, []byte("SSH-")) { // the begin of a banner is no other text
				s.before(line)
			}
			return err
		}
		line = append(line, c)
		greets := bytes.HasPrefix(line, []byte("SSH-"))
		switch {
		case greets && len(line) > maxSSHVersion:
			return notSSH("the SSH banner is longer than %d bytes: %s", maxSSHVersion, excerpt(line))
		case greets && c == '\n':
			s.rest = line
			return s.greeted(strings.TrimRight(string(line), "\r\n"))
		case total == maxSSHPreamble:
			s.before(line)
			return notSSH("no SSH banner in the first %s, the server said %s", check.Size(maxSSHPreamble), excerpt(s.preamble))
		case c == '\n':
			s.before(line)
			line = line[:0]
		}
	}
}

// before notes what comes before the banner.
func (s *sshSession) before(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.preamble = append(s.preamble, line...)
}

// greeted takes the banner.
func (s *sshSession) greeted(banner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.banner, s.wait = banner, time.Since(s.start)
	switch m := sshVersion.FindStringSubmatch(banner); {
	case m == nil:
		return notSSH("%s is no SSH banner", excerpt([]byte(banner)))
	case m[1] != "2.0" && m[1] != "1.99":
		return &sshError{code: check.SSHNegotiation, text: "the server speaks version " + excerpt([]byte(m[1])) + " of the protocol, want 2.0"}
	}
	return nil
}

// offers returns the server's algorithms.
func (s *sshSession) offers() sshOffers {
	s.mu.Lock()
	defer s.mu.Unlock()
	return parseKexInit(s.kexInit)
}

// report sets the facts that the session has seen.
func (s *sshSession) report(o *check.Observation, hostKeys []string) {
	offers := s.offers()
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := clean(s.preamble); text != "" && s.banner != "" {
		o.Set("preamble", text)
	}
	if s.banner != "" {
		o.Set("banner", clean([]byte(s.banner)))
	}
	if m := sshVersion.FindStringSubmatch(s.banner); m != nil {
		o.Set("protocol", clean([]byte(m[1])))
		o.Set("software", clean([]byte(m[2])))
		o.Set("comment", clean([]byte(m[3])))
	}
	offers.report(o)
	if s.key != nil {
		o.Set("key.type", s.key.Type())
		if k, ok := s.key.(ssh.CryptoPublicKey); ok {
			o.Set("key.bits", keyBits(k.CryptoPublicKey()))
		}
		o.Set("key.fingerprint", ssh.FingerprintSHA256(s.key))
		offers.agreed(o, hostKeys)
	}
}
