package testnet

import (
	"encoding/binary"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Checks of datagrams, of SSH and of time servers.
const (
	checkUDP = `udp: {host: $HOST, port: $PORT, steps: [{send: ping, expect: pong}]}`
	checkSSH = `ssh: {host: $HOST, port: $PORT}`
	checkNTP = `ntp: {host: $HOST, port: $PORT}`
)

func datagramFaults() []Fault {
	return []Fault{
		{"udp-silence", "U1", "takes datagrams and says nothing", checkUDP, datagrams(func([]byte, func([]byte)) {})},
		{"udp-closed", "U1", "nothing listens on the UDP port", checkUDP, func(*CA) (server, error) { return Refuse() }},
		{"udp-huge", "U2", "answers with a datagram of 60 KiB", checkUDP, datagrams(func(_ []byte, reply func([]byte)) {
			reply([]byte(strings.Repeat("pong ", 12<<10)))
		})},
		{"udp-stranger", "U2", "the answer comes from another port", checkUDP, stranger(func(_ []byte, reply func([]byte)) { reply([]byte("pong")) })},
	}
}

func sshFaults() []Fault {
	return []Fault{
		{"ssh-silence", "S1", "accepts and sends no banner", checkSSH, speaks(Silence)},
		{"ssh-stall", "S1", "stops behind the banner", checkSSH, speaks(Say(sshBanner))},
		{"ssh-endless-text", "S2", "sends lines without end before the banner", checkSSH, speaks(endless("welcome\r\n"))},
		{"ssh-other", "S2", "a mail server on the port of SSH", checkSSH, speaks(Say("220 mail.test ESMTP\r\n"))},
		{"ssh-ignore", "S3", "sends messages that mean nothing without end", checkSSH, speaks(func(conn net.Conn) {
			if _, err := io.WriteString(conn, sshBanner); err == nil {
				endless(SSHPacket(2, "\x00\x00\x04\x00"+strings.Repeat("x", 1024)))(conn)
			}
		})},
		{"ssh-bad-exchange", "S3", "lies about lengths in the key exchange", checkSSH, speaks(Say(sshBanner + SSHPacket(20, strings.Repeat("\xff", 60))))},
		{"ssh-nothing-common", "S4", "offers no algorithm that anybody has", checkSSH, speaks(Say(sshBanner + SSHOffer("none", ssh.KeyAlgoED25519)))},
	}
}

const sshBanner = "SSH-2.0-Test\r\n"

// SSHPacket is a packet of SSH before there is encryption (RFC 4253 section 6).
func SSHPacket(message byte, body string) string {
	const padding = 8
	b := binary.BigEndian.AppendUint32(nil, uint32(1+1+len(body)+padding))
	return string(append(b, padding, message)) + body + strings.Repeat("\x00", padding)
}

// SSHOffer is a server's offer of one key exchange and one kind of key (RFC 4253
// section 7.1).
func SSHOffer(exchange, key string) string {
	body := strings.Repeat("\x07", 16)
	for _, list := range []string{exchange, key, "aes128-ctr", "aes128-ctr", "hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""} {
		body += string(binary.BigEndian.AppendUint32(nil, uint32(len(list)))) + list
	}
	return SSHPacket(20, body+"\x00\x00\x00\x00\x00")
}

func ntpFaults() []Fault {
	return []Fault{
		{"ntp-forged", "N1", "answers to a request of somebody else", checkNTP, datagrams(func(request []byte, reply func([]byte)) {
			if b := (NTP{Stratum: 2}).Answer(request); b != nil {
				b[31]++ // of the time stamp that it gives back
				reply(b)
			}
		})},
		{"ntp-silence", "N1", "the time server says nothing", checkNTP, datagrams(func([]byte, func([]byte)) {})},
		{"ntp-kiss", "N2", "refuses with a kiss-o'-death", checkNTP, datagrams(NTP{Reference: "RATE", Leap: 3}.Serve)},
		{"ntp-unsynchronised", "N3", "says that its clock is not set", checkNTP, datagrams(NTP{Stratum: 2, Leap: 3}.Serve)},
		{"ntp-stratum-16", "N3", "a stratum that means: not synchronised", checkNTP, datagrams(NTP{Stratum: 16}.Serve)},
	}
}

// datagrams starts a server of UDP with the handler.
func datagrams(handler func([]byte, func([]byte))) starter {
	return func(*CA) (server, error) { return ListenUDP(handler) }
}

// stranger is as datagrams, but what it sends comes from another port.
func stranger(handler func([]byte, func([]byte))) starter {
	return func(*CA) (server, error) {
		other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		s, err := listenUDP(handler, other)
		if err != nil {
			other.Close()
			return nil, err
		}
		return s, nil
	}
}
