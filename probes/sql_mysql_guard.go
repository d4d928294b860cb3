package probes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/go-sql-driver/mysql"

	"github.com/sonde-cli/sonde/check"
)

// First bytes of MySQL's packets.
const (
	mysqlOK       = 0x00
	mysqlMoreData = 0x01 // AuthMoreData
	mysqlInfile   = 0xfb // LOCAL INFILE Request
	mysqlSwitch   = 0xfe // AuthSwitchRequest
	mysqlEOF      = 0xfe // behind the rows
	mysqlERR      = 0xff
)

// mysqlChallenge is how many bytes a server sends to be mixed with the password.
const mysqlChallenge = 20

// maxMySQLColumns is the server's own limit. The driver makes room for as many
// as it is told.
const maxMySQLColumns = 4096

// Errors of a server that the guard stops.
var (
	errMySQLPlain  = errors.New("the server wants the password itself")
	errMySQLInfile = errors.New("the server asks for a file of this machine")
)

// mysqlMalformed tells that a packet is broken.
type mysqlMalformed struct{ what string }

// Error returns what is wrong.
func (e *mysqlMalformed) Error() string { return e.what }

// mysqlPlugin tells that the server wants an authentication that is not spoken.
type mysqlPlugin struct{ name string }

// Error names it.
func (e *mysqlPlugin) Error() string {
	return "the server wants the authentication plugin " + excerpt([]byte(e.name)) + ", which is not spoken"
}

// mysqlPlugins are those that are: the driver's, without those that send the
// password itself or encrypt it for whoever sends a key.
func mysqlPlugins() []string {
	return []string{"mysql_native_password", "caching_sha2_password", "client_ed25519"}
}

// readMySQL reads a packet: length, number, body.
func readMySQL(in io.Reader) ([]byte, error) {
	packet := make([]byte, 4)
	if _, err := io.ReadFull(in, packet); err != nil {
		return nil, err
	}
	size := int(packet[0]) | int(packet[1])<<8 | int(packet[2])<<16
	switch {
	case size == 0:
		return nil, &mysqlMalformed{"the server sent an empty packet"}
	case size > maxSQLMessage:
		return nil, errTalkative
	}
	packet = append(packet, make([]byte, size)...)
	_, err := io.ReadFull(in, packet[4:])
	return packet, err
}

// mysqlGreeting is the first packet of a server.
type mysqlGreeting struct {
	packet       []byte
	version      string
	plugin       string // of authentication
	capabilities uint16 // the lower half
}

// readMySQLGreeting reads it. An error that the server greets with, such as
// "Too many connections", is a [mysql.MySQLError].
func readMySQLGreeting(in io.Reader) (*mysqlGreeting, error) {
	packet, err := readMySQL(in)
	if err != nil {
		return nil, err
	}
	body := packet[4:]
	const version10 = 10
	switch {
	case body[0] == mysqlERR && len(body) >= 3:
		text := body[3:]
		if len(text) >= len("#HY000") && text[0] == '#' {
			text = text[len("#HY000"):]
		}
		return nil, &mysql.MySQLError{Number: binary.LittleEndian.Uint16(body[1:]), Message: string(text)}
	case body[0] != version10:
		return nil, &mysqlMalformed{fmt.Sprintf("the server sent %s, which is no greeting of MySQL", excerpt(body))}
	}
	// Behind the version's text: thread 4, first part of the challenge 8, filler 1,
	// capabilities 2, character set 1, status 2, capabilities 2, size 1, filler 10,
	// second part of the challenge 13, and the name of the plugin.
	version, rest, found := bytes.Cut(body[1:], []byte{0})
	if !found || len(rest) < 4+8+1+2+1+2+2+1+10+13 {
		return nil, &mysqlMalformed{"the server's greeting is cut, or of a server older than MySQL 5.5"}
	}
	plugin, _, _ := bytes.Cut(rest[44:], []byte{0})
	return &mysqlGreeting{packet, string(version), string(plugin), binary.LittleEndian.Uint16(rest[4+8+1:])}, nil
}

// mysqlStep is where a session is.
type mysqlStep int

// The steps of a session.
const (
	mysqlGreets mysqlStep = iota // with a packet that was looked at
	mysqlLogin
	mysqlAnswer // a command was sent, its answer begins
	mysqlRest   // columns and rows
)

// mysqlGuard is the driver's connection. It lets only whole packets through that
// are within the bounds, and none at which the driver would panic in a login,
// for it would leave a goroutine behind, or allocate without measure.
type mysqlGuard struct {
	net.Conn
	// secure makes the connection one of TLS, where that is wanted. It reports
	// whether the password itself may be sent over it.
	secure  func(net.Conn) (conn net.Conn, secret bool, err error)
	secret  bool
	hidden  byte // packets of the login that the driver does not know of
	version string
	step    mysqlStep
	last    byte   // the first one of the packet before
	rest    []byte // of a packet
	broken  error  // what ended the session, which the driver does not tell
}

// Read reads as [net.Conn] does.
func (g *mysqlGuard) Read(b []byte) (int, error) {
	if len(g.rest) == 0 {
		if err := g.next(); err != nil {
			return 0, g.broke(err)
		}
	}
	n := copy(b, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// next reads a packet and looks at it.
func (g *mysqlGuard) next() error {
	if g.step == mysqlGreets {
		return g.greet()
	}
	packet, err := readMySQL(g.Conn)
	if err != nil {
		return err
	}
	if err := g.look(packet[4:]); err != nil {
		return err
	}
	packet[3] -= g.hidden
	g.rest, g.last = packet, packet[4]
	return nil
}

// greet reads the greeting.
func (g *mysqlGuard) greet() error {
	greeting, err := readMySQLGreeting(g.Conn)
	switch {
	case err != nil:
		return err
	case greeting.plugin == "sha256_password": // the driver would ask for a key
		return &mysqlPlugin{greeting.plugin}
	case g.secure != nil && greeting.capabilities&mysqlSSL == 0:
		return &reasonError{check.Reason{Code: check.TLSPlaintext, Message: "the server has TLS turned off"}}
	}
	g.rest, g.version, g.step = greeting.packet, greeting.version, mysqlLogin
	return nil
}

// Write writes a packet, which the driver does at once. Before the login goes
// the SSLRequest, which is the login's beginning, and TLS.
func (g *mysqlGuard) Write(b []byte) (int, error) {
	const head, begin = 4, 32
	b = slices.Clone(b)
	switch {
	case len(b) > 3 && b[3] == 0: // a command begins to count anew
		g.step, g.hidden = mysqlAnswer, 0
	case g.secure != nil && len(b) >= head+begin:
		binary.LittleEndian.PutUint32(b[head:], binary.LittleEndian.Uint32(b[head:])|mysqlSSL)
		request := append([]byte{begin, 0, 0, b[3]}, b[head:head+begin]...)
		if _, err := g.Conn.Write(request); err != nil {
			return 0, g.broke(err)
		}
		conn, secret, err := g.secure(g.Conn)
		if err != nil {
			return 0, g.broke(err)
		}
		g.Conn, g.secret, g.secure, g.hidden = conn, secret, nil, 1
	}
	if g.hidden != 0 {
		b[3] += g.hidden
	}
	n, err := g.Conn.Write(b)
	return n, g.broke(err)
}

func (g *mysqlGuard) broke(err error) error {
	if g.broken == nil {
		g.broken = err
	}
	return err
}

// why tells what is behind an error of the driver: what the server said, for what
// came behind it matters less, what ended the session, or a packet.
func (g *mysqlGuard) why(err error) error {
	var told *mysql.MySQLError
	switch {
	case errors.As(err, &told):
		return told
	case g.broken != nil:
		return g.broken
	case errors.Is(err, io.EOF):
		return errMySQLPanic
	}
	return &mysqlMalformed{err.Error()}
}

// look refuses what the driver must not see.
func (g *mysqlGuard) look(body []byte) error {
	if body[0] == mysqlERR {
		if len(body) < 4 || body[3] == '#' && len(body) < 9 {
			return &mysqlMalformed{"an error of the server is cut"}
		}
		return nil
	}
	switch g.step {
	case mysqlLogin:
		return g.lookLogin(body)
	case mysqlAnswer:
		g.step = mysqlRest
		return lookAnswer(body)
	}
	return nil
}

func (g *mysqlGuard) lookLogin(body []byte) error {
	const fast, full = 3, 4 // of caching_sha2_password
	switch {
	case body[0] == mysqlOK:
		_, err := mysqlStatus(body)
		return err
	case body[0] == mysqlMoreData && len(body) == 2 && body[1] == fast:
		return nil
	case body[0] == mysqlMoreData && len(body) == 2 && body[1] == full:
		if !g.secret {
			return errMySQLPlain
		}
		return nil
	case body[0] != mysqlSwitch:
		return &mysqlMalformed{"the server's answer to the login is none of MySQL"}
	}
	name, challenge, _ := bytes.Cut(body[1:], []byte{0})
	switch {
	case !slices.Contains(mysqlPlugins(), string(name)):
		return &mysqlPlugin{string(name)}
	case len(bytes.TrimSuffix(challenge, []byte{0})) < mysqlChallenge:
		return &mysqlMalformed{"the server's challenge is cut"}
	}
	return nil
}

// lookAnswer looks at the first packet behind a command: the number of columns,
// or that it is done.
func lookAnswer(body []byte) error {
	const moreResults = 8
	switch body[0] {
	case mysqlOK:
		status, err := mysqlStatus(body)
		if err == nil && status&moreResults != 0 {
			err = &mysqlMalformed{"the server announces more results"}
		}
		return err
	case mysqlInfile:
		return errMySQLInfile
	}
	if n, _, ok := mysqlInteger(body); !ok || n > maxMySQLColumns {
		return &mysqlMalformed{fmt.Sprintf("the server announces more than %d columns", maxMySQLColumns)}
	}
	return nil
}

// mysqlStatus reads the status flags of an OK packet, which stand behind two
// integers.
func mysqlStatus(body []byte) (uint16, error) {
	_, rest, ok := mysqlInteger(body[1:])
	if ok {
		_, rest, ok = mysqlInteger(rest)
	}
	if !ok || len(rest) < 2 {
		return 0, &mysqlMalformed{"the server's consent is cut"}
	}
	return binary.LittleEndian.Uint16(rest), nil
}

// mysqlInteger reads a length-encoded integer.
func mysqlInteger(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	size, long := map[byte]int{0xfc: 2, 0xfd: 3, 0xfe: 8}[b[0]]
	switch {
	case !long:
		return uint64(b[0]), b[1:], b[0] < 0xfb
	case len(b) <= size:
		return 0, nil, false
	}
	var number [8]byte
	copy(number[:], b[1:1+size])
	return binary.LittleEndian.Uint64(number[:]), b[1+size:], true
}
