package probes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/sonde-cli/sonde/check"
)

// startTLS is a protocol's way from plain text to TLS.
type startTLS struct {
	name string // the option's value, and what openssl s_client calls it
	port int    // where it is spoken unless said otherwise
	talk func(*plainTalk) error
}

// startTLSProtocols returns the protocols that can be upgraded.
func startTLSProtocols() []startTLS {
	return []startTLS{
		{"ftp", 21, upgradeFTP},
		{"imap", 143, upgradeIMAP},
		{"ldap", 389, upgradeLDAP},
		{"mysql", 3306, upgradeMySQL},
		{"pop3", 110, upgradePOP3},
		{"postgres", 5432, upgradePostgres},
		{"smtp", 25, upgradeSMTP},
		{"xmpp", 5222, upgradeXMPP},
	}
}

// maxPlainTalk bounds what a server may say before TLS, in bytes.
const maxPlainTalk = 64 << 10

// refusedTLS tells that the server does not let the client begin with TLS.
type refusedTLS struct{ why string }

// Error returns why.
func (e *refusedTLS) Error() string { return e.why }

func refusef(format string, args ...any) error { return &refusedTLS{fmt.Sprintf(format, args...)} }

// upgrade lets the server expect TLS on the connection. Nothing that it said in
// plain text is left over for TLS. The phase wait holds the time. conn must be
// as for handshake.
func (j *journey) upgrade(ctx context.Context, conn net.Conn, s *startTLS, name string) *check.Reason {
	limit := &io.LimitedReader{R: conn, N: maxPlainTalk}
	t := &plainTalk{conn: conn, in: bufio.NewReader(limit), name: name}
	start := time.Now()
	err := s.talk(t)
	j.timed(check.PhaseWait, start)
	if n := t.in.Buffered(); err == nil && n > 0 {
		rest, _ := t.in.Peek(n)
		// Text that somebody on the way put in would pass for text under TLS.
		err = refusef("the server sent %s behind its consent to TLS, which is not to be trusted", excerpt(rest))
	}
	var refused *refusedTLS
	var reason check.Reason
	switch {
	case err == nil:
		return nil
	case ctx.Err() == context.Canceled:
		reason = j.cause(ctx.Err(), "")
	case errors.As(err, &refused):
		reason = check.Reason{Code: check.TLSPlaintext, Message: "STARTTLS of " + s.name + ": " + refused.why}
	case limit.N == 0 || errors.Is(err, bufio.ErrBufferFull):
		reason = check.Reason{Code: check.TLSPlaintext, Message: "STARTTLS of " + s.name + ": the server says more than the protocol lets it"}
	default:
		reason = j.cause(err, check.TLSHandshakeTimeout)
		reason.Message = "STARTTLS of " + s.name + ": " + reason.Message
	}
	return &reason
}

// plainTalk is what is said before TLS.
type plainTalk struct {
	conn net.Conn
	in   *bufio.Reader
	name string // of the server
}

func (t *plainTalk) send(text string) error {
	_, err := io.WriteString(t.conn, text)
	return err
}

// line reads one without its end.
func (t *plainTalk) line() (string, error) {
	line, err := t.in.ReadSlice('\n')
	return strings.TrimRight(string(line), "\r\n"), err
}

// wantLine reads a line that must begin with the prefix.
func (t *plainTalk) wantLine(prefix string) error {
	line, err := t.line()
	if err == nil && !strings.HasPrefix(line, prefix) {
		err = refusef("the server said %s, want %s", excerpt([]byte(line)), prefix)
	}
	return err
}

// wantReply reads a reply of one or more lines (RFC 5321 section 4.2.1) that
// must have the code, and reports whether one of the lines is the keyword.
func (t *plainTalk) wantReply(code, keyword string) (bool, error) {
	for found := false; ; {
		line, err := t.line()
		if err != nil {
			return false, err
		}
		rest, ok := strings.CutPrefix(line, code)
		if !ok || rest != "" && rest[0] != ' ' && rest[0] != '-' {
			return false, refusef("the server said %s, want %s", excerpt([]byte(line)), code)
		}
		found = found || len(rest) > 1 && strings.EqualFold(strings.TrimSpace(rest[1:]), keyword)
		if rest == "" || rest[0] == ' ' {
			return found, nil
		}
	}
}

// ask sends the line and wants a reply of the code.
func (t *plainTalk) ask(line, code string) error {
	if err := t.send(line + "\r\n"); err != nil {
		return err
	}
	_, err := t.wantReply(code, "")
	return err
}

// upgradeSMTP is RFC 3207.
func upgradeSMTP(t *plainTalk) error {
	if _, err := t.wantReply("220", ""); err != nil {
		return err
	}
	if err := t.send("EHLO localhost\r\n"); err != nil {
		return err
	}
	offered, err := t.wantReply("250", "STARTTLS")
	if err != nil {
		return err
	}
	if !offered {
		return refusef("the server does not offer it")
	}
	return t.ask("STARTTLS", "220")
}

// upgradeFTP is RFC 4217. Lines inside a greeting may begin without the code.
func upgradeFTP(t *plainTalk) error {
	for {
		line, err := t.line()
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, "220 "), line == "220":
			return t.ask("AUTH TLS", "234")
		case len(line) > 3 && line[3] == ' ' && strings.Trim(line[:3], "0123456789") == "":
			return refusef("the server said %s, want 220", excerpt([]byte(line)))
		}
	}
}

// upgradePOP3 is RFC 2595 section 4.
func upgradePOP3(t *plainTalk) error {
	if err := t.wantLine("+OK"); err != nil {
		return err
	}
	if err := t.send("STLS\r\n"); err != nil {
		return err
	}
	return t.wantLine("+OK")
}

// upgradeIMAP is RFC 9051 section 6.2.1.
func upgradeIMAP(t *plainTalk) error {
	if err := t.wantLine("* OK"); err != nil {
		return err
	}
	if err := t.send("a STARTTLS\r\n"); err != nil {
		return err
	}
	for {
		line, err := t.line()
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, "a OK"):
			return nil
		case !strings.HasPrefix(line, "* "):
			return refusef("the server said %s, want a OK", excerpt([]byte(line)))
		}
	}
}

// upgradePostgres sends an SSLRequest, see "SSL Session Encryption" in
// PostgreSQL's documentation of its protocol.
func upgradePostgres(t *plainTalk) error {
	if err := t.send("\x00\x00\x00\x08\x04\xd2\x16\x2f"); err != nil {
		return err
	}
	answer, err := t.in.ReadByte()
	switch {
	case err != nil:
		return err
	case answer == 'N':
		return refusef("the server has TLS turned off")
	case answer != 'S':
		return refusef("the server answered %s, want S", excerpt([]byte{answer}))
	}
	return nil
}

// MySQL's capability flags (Protocol::Handshake).
const (
	mysqlProtocol41 = 1 << 9
	mysqlSSL        = 1 << 11
	mysqlSecureConn = 1 << 15
)

// upgradeMySQL reads the server's greeting and sends an SSLRequest.
func upgradeMySQL(t *plainTalk) error {
	greeting, err := readMySQLGreeting(t.in)
	var told *mysql.MySQLError
	var malformed *mysqlMalformed
	switch {
	case errors.As(err, &told):
		return refusef("the server says %s (error %d)", excerpt([]byte(told.Message)), told.Number)
	case errors.As(err, &malformed):
		return refusef("%s", malformed.what)
	case errors.Is(err, errTalkative):
		return bufio.ErrBufferFull
	case err != nil:
		return err
	case greeting.capabilities&mysqlSSL == 0:
		return refusef("the server has TLS turned off")
	}
	return t.send(string(mysqlSSLRequest(greeting.packet[3] + 1)))
}

// mysqlSSLRequest asks a server to go on in TLS.
func mysqlSSLRequest(number byte) []byte {
	const utf8mb4 = 45
	request := []byte{32, 0, 0, number}
	request = binary.LittleEndian.AppendUint32(request, mysqlProtocol41|mysqlSSL|mysqlSecureConn)
	request = binary.LittleEndian.AppendUint32(request, 1<<24) // largest packet
	return append(append(request, utf8mb4), make([]byte, 23)...)
}

// upgradeLDAP sends the extended request of RFC 4511 section 4.14.
func upgradeLDAP(t *plainTalk) error {
	if err := t.send("\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"); err != nil {
		return err
	}
	message, err := t.element(0x30)
	if err != nil {
		return err
	}
	body := &plainTalk{in: bufio.NewReader(bytes.NewReader(message))}
	if _, err = body.element(0x02); err == nil { // the request's number
		message, err = body.element(0x78)
	}
	if err != nil || len(message) < 3 || message[0] != 0x0a || message[1] != 1 {
		return refusef("the server's answer is not one of LDAP")
	}
	if code := message[2]; code != 0 {
		return refusef("the server refused with the LDAP result code %d", code)
	}
	return nil
}

// element reads a BER element (X.690 section 8.1) with the tag.
func (t *plainTalk) element(tag byte) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(t.in, head[:]); err != nil {
		return nil, err
	}
	if head[0] != tag {
		return nil, refusef("the server sent %s, want an element of LDAP", excerpt(head[:]))
	}
	size := int(head[1])
	if size > 0x80 {
		size = 0
		for range head[1] & 0x7f {
			b, err := t.in.ReadByte()
			if err != nil {
				return nil, err
			}
			if size = size<<8 | int(b); size > maxPlainTalk {
				return nil, bufio.ErrBufferFull
			}
		}
	}
	value := make([]byte, size)
	_, err := io.ReadFull(t.in, value)
	return value, err
}

// upgradeXMPP is RFC 6120 section 5.4.
func upgradeXMPP(t *plainTalk) error {
	var to strings.Builder
	_ = xml.EscapeText(&to, []byte(t.name)) // a Builder takes everything
	err := t.send("<?xml version='1.0'?><stream:stream xmlns='jabber:client' " +
		"xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='" + to.String() + "'>")
	if err != nil {
		return err
	}
	offered := false
	for {
		tag, err := t.tag()
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(tag, "<starttls"):
			offered = true
		case strings.HasPrefix(tag, "<stream:error"), strings.HasPrefix(tag, "</stream:stream"):
			return refusef("the server ended the stream")
		}
		if tag == "</stream:features>" || strings.HasPrefix(tag, "<stream:features") && strings.HasSuffix(tag, "/>") {
			break
		}
	}
	if !offered {
		return refusef("the server does not offer it")
	}
	if err := t.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
		return err
	}
	tag, err := t.tag()
	switch {
	case err != nil:
		return err
	case !strings.HasPrefix(tag, "<proceed"):
		return refusef("the server said %s, want <proceed", excerpt([]byte(tag)))
	case !strings.HasSuffix(tag, "/>"):
		_, err = t.tag() // </proceed>
	}
	return err
}

// tag reads up to the end of an XML tag and returns it without the text before.
func (t *plainTalk) tag() (string, error) {
	text, err := t.in.ReadSlice('>')
	if i := bytes.IndexByte(text, '<'); i > 0 {
		text = text[i:]
	}
	return string(text), err
}
