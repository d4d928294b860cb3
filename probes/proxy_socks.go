package probes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/sonde-cli/sonde/check"
)

// The numbers of SOCKS version 5 (RFC 1928, and RFC 1929 for the login).
const (
	socksVersion = 5
	loginVersion = 1
	socksConnect = 1

	socksNoLogin  = 0
	socksLogin    = 2
	socksNoMethod = 0xff

	socksIPv4 = 1
	socksName = 3
	socksIPv6 = 4

	maxSOCKSText = 255 // a length is one byte
)

// notSOCKS is an answer that breaks the protocol.
type notSOCKS struct{ got []byte }

// Error shows what came.
func (e *notSOCKS) Error() string {
	return "it does not speak SOCKS 5, it sent " + excerpt(e.got)
}

// socksConnect asks a SOCKS proxy for a connection. It reads no byte behind the
// proxy's answer, and never more than that has: 262 bytes.
func (p *proxy) socksConnect(leg *journey, conn net.Conn, to *place) *check.Reason {
	reason, err := p.socksMethod(conn)
	var reply byte
	if reason == nil && err == nil {
		reply, err = socksAsk(conn, to)
	}
	var alien *notSOCKS
	switch {
	case reason != nil:
		return reason
	case errors.As(err, &alien):
		return &check.Reason{Code: check.ConnectUnreachable, Message: alien.Error()}
	case err != nil:
		return leg.broken(err, "no answer to the SOCKS request in time")
	case reply != 0:
		return socksReason(reply, to)
	}
	return nil
}

// socksMethod agrees on a login and makes it.
func (p *proxy) socksMethod(conn net.Conn) (*check.Reason, error) {
	hello := []byte{socksVersion, 1, socksNoLogin}
	if p.user != "" {
		hello = []byte{socksVersion, 2, socksNoLogin, socksLogin}
	}
	if _, err := conn.Write(hello); err != nil {
		return nil, err
	}
	var answer [2]byte
	if n, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, alienOr(answer[:n], socksVersion, err)
	}
	switch method := answer[1]; {
	case answer[0] != socksVersion, method == socksLogin && p.user == "", method != socksNoLogin && method != socksLogin && method != socksNoMethod:
		return nil, &notSOCKS{answer[:]}
	case method == socksNoMethod:
		message := "it demands another login than a user and a password"
		if p.user == "" {
			message = p.login()
		}
		return &check.Reason{Code: check.ConnectUnreachable, Message: message}, nil
	case method == socksNoLogin:
		return nil, nil
	}
	login := append([]byte{loginVersion, byte(len(p.user))}, p.user...)
	login = append(append(login, byte(len(p.pass))), p.pass...)
	if _, err := conn.Write(login); err != nil {
		return nil, err
	}
	if n, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, alienOr(answer[:n], loginVersion, err)
	}
	switch {
	case answer[0] != loginVersion:
		return nil, &notSOCKS{answer[:]}
	case answer[1] != 0:
		return &check.Reason{Code: check.ConnectUnreachable, Message: p.login()}, nil
	}
	return nil, nil
}

// alienOr makes an error of an answer that ended early: what came may show that
// it is none of SOCKS.
func alienOr(got []byte, version byte, err error) error {
	if len(got) > 0 && got[0] != version {
		return &notSOCKS{got}
	}
	return err
}

// socksAsk asks for the connection and returns the proxy's reply.
func socksAsk(conn net.Conn, to *place) (byte, error) {
	m := []byte{socksVersion, socksConnect, 0}
	switch {
	case !to.addr.IsValid():
		m = append(append(m, socksName, byte(len(to.name))), to.name...) // a name has at most 254 bytes
	case to.addr.Is4():
		m = append(append(m, socksIPv4), to.addr.AsSlice()...)
	default:
		m = append(append(m, socksIPv6), to.addr.AsSlice()...)
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint16(m, to.port)); err != nil {
		return 0, err
	}
	var room [4 + 1 + maxSOCKSText + 2]byte
	head := room[:4] // version, reply, reserved, type of the address
	if n, err := io.ReadFull(conn, head); err != nil {
		// A proxy that refuses may say no more than that.
		if n >= 2 && head[0] == socksVersion && head[1] != 0 {
			return head[1], nil
		}
		return 0, alienOr(head[:n], socksVersion, err)
	}
	if head[0] != socksVersion {
		return 0, &notSOCKS{head}
	}
	if head[1] != 0 {
		return head[1], nil
	}
	rest := 2 // the port
	switch head[3] {
	case socksIPv4:
		rest += 4
	case socksIPv6:
		rest += 16
	case socksName:
		if _, err := io.ReadFull(conn, room[4:5]); err != nil {
			return 0, err
		}
		rest += int(room[4])
	default:
		return 0, &notSOCKS{head}
	}
	_, err := io.ReadFull(conn, room[5:5+rest])
	return 0, err
}

// socksReason says what a reply means (RFC 1928 section 6).
func socksReason(reply byte, to *place) *check.Reason {
	code, text := check.ConnectUnreachable, ""
	switch reply {
	case 1:
		text = "general failure"
	case 2:
		text = "not allowed by its rules"
	case 3:
		text = "network unreachable"
	case 4:
		text = "host unreachable"
	case 5:
		code, text = check.ConnectRefused, "connection refused"
	case 6:
		text = "TTL expired"
	case 7:
		text = "it does not know the command CONNECT"
	case 8:
		text = "it does not know this type of address"
	default:
		text = fmt.Sprintf("reply %d, which RFC 1928 does not know", reply)
	}
	return &check.Reason{Code: code, Message: fmt.Sprintf("it cannot connect to %s: %s", to, text)}
}
