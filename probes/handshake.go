package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonde-cli/sonde/check"
)

// TLS are the options of a TLS connection.
type TLS struct {
	CA          string `yaml:"ca" path:"true" doc:"file of PEM certificates to trust instead of the system's"`
	Cert        string `yaml:"cert" path:"true" doc:"file with the client certificate, PEM"`
	Key         string `yaml:"key" path:"true" private:"true" doc:"file with the client certificate's key, PEM"`
	ServerName  string `yaml:"server_name" doc:"name to ask for (SNI) and to verify instead of the target's"`
	MinVersion  string `yaml:"min_version" enum:"1.0,1.1,1.2,1.3" doc:"lowest TLS version to offer"`
	MaxVersion  string `yaml:"max_version" enum:"1.0,1.1,1.2,1.3" doc:"highest TLS version to offer"`
	ClassicKeys bool   `yaml:"classic_keys" doc:"offer no post-quantum key exchange, whose larger ClientHello some middleboxes drop"`
	VerifyEach  bool   `yaml:"verify_each" doc:"verify the chain's signatures at each run, even if the same chain was verified in the last 5 minutes"`
	Insecure    bool   `yaml:"insecure" doc:"do not demand a verified certificate; the certificate's facts are reported all the same"`
}

// tlsPlan is a validated [TLS] with its files read.
type tlsPlan struct {
	roots      *x509.CertPool // nil: the system's
	cert       *tls.Certificate
	serverName string // empty: the target's
	min, max   uint16 // 0: crypto/tls's own
	insecure   bool
	verifyEach bool
	groups     []tls.CurveID // of key exchange; nil: crypto/tls's own
	detail     bool          // observe the detailFacts, too
	ciphers    []uint16      // nil: crypto/tls's own
}

// tlsVersions in the order of age.
var tlsVersions = [...]struct {
	name string
	id   uint16
}{{"1.0", tls.VersionTLS10}, {"1.1", tls.VersionTLS11}, {"1.2", tls.VersionTLS12}, {"1.3", tls.VersionTLS13}}

// tlsVersionName returns "1.3" for [tls.VersionTLS13].
func tlsVersionName(id uint16) string {
	for _, v := range tlsVersions {
		if v.id == id {
			return v.name
		}
	}
	return fmt.Sprintf("0x%04x", id)
}

func tlsVersion(errs *[]error, option, name string) uint16 {
	for _, v := range tlsVersions {
		if v.name == name {
			return v.id
		}
	}
	if name != "" {
		*errs = append(*errs, check.OptionErrorf(option, "%q is not 1.0, 1.1, 1.2 or 1.3", name))
	}
	return 0
}

// build validates the options and reads their files. Its errors are
// [check.OptionError]s of the block tls.
func (t *TLS) build() (*tlsPlan, error) {
	var errs []error
	plan := &tlsPlan{serverName: t.ServerName, insecure: t.Insecure, verifyEach: t.VerifyEach}
	if t.ClassicKeys {
		plan.groups = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	}
	plan.min = tlsVersion(&errs, "tls.min_version", t.MinVersion)
	plan.max = tlsVersion(&errs, "tls.max_version", t.MaxVersion)
	if plan.max != 0 && plan.max < max(plan.min, tls.VersionTLS10) {
		errs = append(errs, check.OptionErrorf("tls.max_version", "%s is below min_version %s", t.MaxVersion, t.MinVersion))
	}
	if t.CA != "" {
		plan.roots = readRoots(&errs, t.CA)
	}
	switch {
	case t.Cert != "" && t.Key != "":
		plan.cert = readClientCert(&errs, t.Cert, t.Key)
	case t.Cert != "":
		errs = append(errs, check.OptionErrorf("tls.cert", "a client certificate needs its key, set tls.key"))
	case t.Key != "":
		errs = append(errs, check.OptionErrorf("tls.key", "a key needs its client certificate, set tls.cert"))
	}
	return plan, errors.Join(errs...)
}

func readRoots(errs *[]error, file string) *x509.CertPool {
	text, err := os.ReadFile(file)
	if err != nil {
		*errs = append(*errs, &check.OptionError{Option: "tls.ca", Err: err})
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		*errs = append(*errs, check.OptionErrorf("tls.ca", "%s holds no PEM certificate", file))
	}
	return pool
}

func readClientCert(errs *[]error, certFile, keyFile string) *tls.Certificate {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		*errs = append(*errs, &check.OptionError{Option: "tls.cert", Err: err})
	}
	key, keyErr := os.ReadFile(keyFile)
	if keyErr != nil {
		*errs = append(*errs, &check.OptionError{Option: "tls.key", Err: keyErr})
	}
	if err != nil || keyErr != nil {
		return nil
	}
	block, _ := pem.Decode(key)
	if block != nil && (strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "") {
		*errs = append(*errs, check.OptionErrorf("tls.key", "%s is protected by a passphrase, which sonde cannot ask for", keyFile))
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		option := "tls.cert"
		if strings.Contains(err.Error(), "key") {
			option = "tls.key"
		}
		*errs = append(*errs, check.OptionErrorf(option, "%s and %s: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: ")))
		return nil
	}
	return &pair
}

// defaults are the expectations that TLS brings along.
func (p *tlsPlan) defaults() []check.Default {
	if p.insecure {
		return nil
	}
	return []check.Default{
		{Expect: "cert.trusted", WhenSeen: true},
		{Expect: "cert.hostname_ok", WhenSeen: true},
	}
}

// handshake makes a TLS connection over conn for inspection: it completes
// whatever the certificate is, records the phase tls, the tls.* and cert.*
// facts, and explains (check.Observation.Explain) cert.trusted and
// cert.hostname_ok when they are false. protocols is the ALPN list. conn must
// be one of connect's, or wrap one: its deadline and interruption end the
// handshake. On failure conn stays open.
func (j *journey) handshake(ctx context.Context, conn net.Conn, plan *tlsPlan, host string, protocols []string) (*tls.Conn, *check.Reason) {
	name := plan.nameFor(host)
	heard := &listener{Conn: conn}
	j.certAsked = false // by a connection before
	secure := tls.Client(heard, j.tlsConfig(heard, plan, name, protocols))
	start := time.Now()
	// Not HandshakeContext: conn obeys ctx, and a goroutine is saved.
	err := secure.Handshake()
	j.timed(check.PhaseTLS, start)
	heard.done = true
	if err != nil {
		if ctx.Err() == context.Canceled {
			err = ctx.Err()
		}
		reason := j.handshakeReason(err, plan, heard.text(), time.Since(start))
		// The certificate may be seen all the same, such as by one who lacks his own.
		if state := secure.ConnectionState(); len(state.PeerCertificates) > 0 {
			j.inspect(&state, plan, name)
		}
		return nil, &reason
	}
	state := secure.ConnectionState()
	if reason := j.inspect(&state, plan, name); reason != nil {
		return nil, reason
	}
	return secure, nil
}

// distrusted tells why a password in plain text is not for the peer of the
// handshake: it may be somebody else. nil when it may be sent.
func (j *journey) distrusted(plan *tlsPlan) *check.Reason {
	if plan.insecure {
		return nil
	}
	for _, fact := range []string{"cert.trusted", "cert.hostname_ok"} {
		if why, bad := j.obs.Because[fact]; bad {
			why.Message = "no password is sent to a server that is not verified: " + why.Message
			return &why
		}
	}
	return nil
}

// nameFor is the name to ask for and to verify.
func (p *tlsPlan) nameFor(host string) string {
	if p.serverName != "" {
		return p.serverName
	}
	return host
}

func (j *journey) tlsConfig(conn net.Conn, plan *tlsPlan, name string, protocols []string) *tls.Config {
	config := &tls.Config{
		// Verified after the handshake, so that a bad certificate can be told.
		InsecureSkipVerify: true, //nolint:gosec // inspect verifies
		ServerName:         name, // crypto/tls sends no SNI for an IP address
		NextProtos:         protocols,
		MinVersion:         plan.min,
		MaxVersion:         plan.max,
		CipherSuites:       plan.ciphers,
		CurvePreferences:   plan.groups,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			j.certAsked = true
			if plan.cert != nil {
				return plan.cert, nil
			}
			j.certWanted = true
			return &tls.Certificate{}, nil
		},
	}
	if plan.cert != nil {
		config.ClientSessionCache = ticketWatch{j, conn}
	}
	return config
}

// ticketWatch ends the wait of refusal when a session ticket comes: a server
// sends one only to a client that it has accepted. No session is resumed. A
// ticket that comes at any other time, in the handshake of TLS 1.2 or before an
// answer, changes nothing.
type ticketWatch struct {
	j    *journey
	conn net.Conn
}

// Get finds nothing.
func (ticketWatch) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

// Put is called inside a read of the connection.
func (w ticketWatch) Put(string, *tls.ClientSessionState) {
	if w.j.refusing {
		_ = w.conn.SetReadDeadline(past)
	}
}

// handshakeReason tells why a handshake failed after the peer had sent heard.
func (j *journey) handshakeReason(err error, plan *tlsPlan, heard string, took time.Duration) check.Reason {
	reason := j.cause(err, check.TLSHandshakeTimeout)
	text := strings.TrimPrefix(err.Error(), "tls: ")
	wrong, isVersion := strings.CutPrefix(text, "server selected unsupported protocol version ")
	switch {
	case reason.Code.Local(), reason.Code == check.TLSClientCert:
	case heard != "" && !isTLSRecord(heard[0]):
		reason.Code = check.TLSPlaintext
		reason.Message = "the peer does not speak TLS, it sent " + excerpt([]byte(heard))
	case isVersion:
		id, _ := strconv.ParseUint(wrong, 16, 16) // not a number: named as 0
		reason.Code = check.TLSVersion
		reason.Message = fmt.Sprintf("the server wants TLS %s, sonde offered %s", tlsVersionName(uint16(id)), plan.offered())
	case reason.Code == check.TLSVersion:
		reason.Message = fmt.Sprintf("the server accepts none of the TLS versions that sonde offered: %s", plan.offered())
	case reason.Code == check.TLSHandshakeTimeout && heard == "":
		reason.Message = "no answer to the TLS handshake within " + check.FormatDuration(took)
		if plan.groups == nil {
			reason.Message += "\nhint: if only sonde gets none, a middlebox may drop large ClientHellos; tls.classic_keys makes it small"
		}
	case reason.Code == check.TLSHandshakeTimeout:
		reason.Message = "the TLS handshake did not finish within " + check.FormatDuration(took)
	case reason.Code == check.ConnectReset:
		reason.Message = "TLS handshake: " + reason.Message
	case reason.Code == check.ConnectUnreachable && isErrno(err):
		reason.Message = "TLS handshake: " + reason.Message
	case reason.Code == check.ConnectUnreachable, brokenTLS(err) != "": // none of the known causes
		reason = check.Reason{Code: check.TLSAlert, Message: "TLS handshake: " + text}
	}
	return reason
}

// offered names the TLS versions that the client hello offers.
func (p *tlsPlan) offered() string {
	low, high := p.min, p.max
	if low == 0 {
		low = tls.VersionTLS12
	}
	if high == 0 {
		high = tls.VersionTLS13
	}
	if low >= high {
		return tlsVersionName(high)
	}
	return tlsVersionName(low) + " to " + tlsVersionName(high)
}

// isTLSRecord reports whether a record can begin with the byte: a content type
// of RFC 8446 section 5.1.
func isTLSRecord(b byte) bool { return b >= 20 && b <= 24 }

// listener keeps the first bytes that a peer sends during the handshake.
type listener struct {
	net.Conn
	done bool
	n    int
	head [utf8.UTFMax * (maxQuote + 1)]byte
}

// Read reads as [net.Conn] does.
func (l *listener) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if !l.done {
		l.n += copy(l.head[l.n:], b[:n])
	}
	return n, err
}

func (l *listener) text() string { return string(l.head[:l.n]) }

// refusal waits for what a TLS 1.3 server has to say to the certificate that it
// asked the client for, or to the lack of one: the handshake is over by then.
// It returns nil at once when none was asked for, and when the server sends a
// session ticket. A server that stays silent for longer than the handshake
// suggests has accepted. The wait is no part of the latency. What is read here
// is lost, so only a probe that reads nothing else calls it; one that reads maps
// its read errors with j.cause.
func (j *journey) refusal(conn *tls.Conn) *check.Reason {
	if !j.certAsked || conn.ConnectionState().Version < tls.VersionTLS13 {
		return nil
	}
	start := time.Now()
	defer func() { j.idle += time.Since(start) }()
	took, _ := j.obs.Phases.Get(check.PhaseTLS)
	conn.SetReadDeadline(start.Add(3*took + stagger))
	defer conn.SetReadDeadline(time.Time{})
	j.refusing = true
	defer func() { j.refusing = false }()
	var one [1]byte
	if _, err := conn.Read(one[:]); err != nil && !errors.Is(err, io.EOF) {
		if reason := j.cause(err, ""); reason.Code != "" {
			return &reason
		}
	}
	return nil
}
