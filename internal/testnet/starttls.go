package testnet

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
)

// Turn is one turn of a server in a conversation: it says something, then reads
// until the peer has said what Until ends with, if that is not empty.
type Turn struct{ Say, Until string }

// Converse returns a handler that takes the turns and then lets next go on with
// the connection.
func Converse(turns []Turn, next func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		for _, turn := range turns {
			if _, err := io.WriteString(conn, turn.Say); err != nil || !heard(conn, turn.Until) {
				return
			}
		}
		next(conn)
	}
}

// heard reads byte by byte, so that nothing behind the text is lost.
func heard(conn net.Conn, until string) bool {
	var text []byte
	for one := make([]byte, 1); !bytes.HasSuffix(text, []byte(until)); text = append(text, one[0]) {
		if _, err := io.ReadFull(conn, one); err != nil {
			return false
		}
	}
	return true
}

// Secure returns a handler that makes a TLS handshake and then reads until the
// peer closes.
func Secure(cfg *tls.Config) func(net.Conn) {
	return func(conn net.Conn) {
		if secure := tls.Server(conn, cfg); secure.Handshake() == nil {
			Silence(secure)
		}
	}
}

// mysqlGreeting is a handshake packet of MySQL 8 with CLIENT_SSL, or without
// when secure is false.
func mysqlGreeting(secure bool) string {
	flags := "\xff\xff"
	if !secure {
		flags = "\xff\xf7"
	}
	body := "\x0a8.0.40\x00\x08\x00\x00\x00saltsalt\x00" + flags + "\x2d\x02\x00\xff\xff\x15" + string(make([]byte, 10)) + "moresaltmore\x00mysql_native_password\x00"
	return string([]byte{byte(len(body)), 0, 0, 0}) + body
}

// StartTLSTurns returns what a good server of the protocol says before TLS, nil
// for one that is not known.
func StartTLSTurns(protocol string) []Turn {
	const features = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' version='1.0'>" +
		"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
	return map[string][]Turn{
		"smtp":     {{"220-mail.test\r\n220 ready\r\n", "\n"}, {"250-mail.test\r\n250-SIZE 1000\r\n250-starttls\r\n250 HELP\r\n", "STARTTLS\r\n"}, {"220 go ahead\r\n", ""}},
		"imap":     {{"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", "STARTTLS\r\n"}, {"* 1 EXISTS\r\na OK begin\r\n", ""}},
		"pop3":     {{"+OK ready\r\n", "STLS\r\n"}, {"+OK begin\r\n", ""}},
		"ftp":      {{"220-welcome\r\n to this server\r\n220 ready\r\n", "AUTH TLS\r\n"}, {"234 go ahead\r\n", ""}},
		"ldap":     {{"", "20037"}, {"\x30\x84\x00\x00\x00\x10\x02\x01\x01\x78\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00", ""}},
		"postgres": {{"", "\x04\xd2\x16\x2f"}, {"S", ""}},
		"mysql":    {{mysqlGreeting(true), string(make([]byte, 23))}},
		"xmpp":     {{"", "to='api.test'>"}, {features, "/>"}, {"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", ""}},
	}[protocol]
}

// MySQLWithoutTLS is what a MySQL server says that has TLS turned off.
func MySQLWithoutTLS() string { return mysqlGreeting(false) }
