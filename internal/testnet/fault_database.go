package testnet

import (
	"encoding/binary"
	"io"
	"net"
)

// Checks of databases.
const (
	checkRedis = `redis: {host: $HOST, port: $PORT}`
	checkSQL   = `sql: {host: $HOST, port: $PORT, user: probe}`
)

func databaseFaults() []Fault {
	answersPing := func(text string) starter {
		return speaks(Converse([]Turn{{Until: "PING\r\n"}}, Say(text)))
	}
	answersLogin := func(text string) starter { return speaks(PostgresStarted(nil, Say(text))) }
	return []Fault{
		{"redis-silence", "R1", "takes a PING and says nothing", checkRedis, speaks(Silence)},
		{"redis-endless-line", "R2", "answers with a line without end", checkRedis, speaks(endless("+x"))},
		{"redis-huge-text", "R2", "announces a text of a gigabyte", checkRedis, answersPing("$999999999\r\n")},
		{"redis-other", "R3", "a mail server on the port of Redis", checkRedis, speaks(Say("220 mail.test ESMTP\r\n"))},
		{"redis-loading", "R4", "still loads its data", checkRedis, answersPing("-LOADING Redis is loading the dataset in memory\r\n")},
		{"redis-noauth", "R5", "wants a login", checkRedis, answersPing("-NOAUTH Authentication required.\r\n")},
		{"sql-silence", "Q1", "takes the login and says nothing", checkSQL, speaks(Silence)},
		{"sql-other", "Q2", "a web server on the port of PostgreSQL", checkSQL, answersLogin("HTTP/1.1 400 Bad Request\r\n\r\n")},
		{"sql-huge-message", "Q3", "announces a message of 2 GiB", checkSQL, answersLogin("R\x7f\xff\xff\xff")},
		{"sql-endless-notices", "Q3", "sends notices without end", checkSQL, speaks(PostgresStarted(nil, endless(PostgresMessage('N', "SNOTICE\x00\x00"))))},
		{"sql-plain-password", "Q6", "wants the password in plain text without TLS", `sql: {host: $HOST, port: $PORT, user: probe, password: $PASSWORD}`,
			answersLogin(PostgresMessage('R', "\x00\x00\x00\x03"))},
		{"sql-refused", "Q7", "refuses the login", checkSQL, answersLogin(PostgresMessage('E', "SFATAL\x00VFATAL\x00C28P01\x00Mpassword authentication failed\x00\x00"))},
	}
}

// PostgresMessage is one of PostgreSQL's.
func PostgresMessage(kind byte, body string) string {
	return string(kind) + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

// PostgresStarted returns a handler that reads a client's first message, takes
// the turns and lets next go on.
func PostgresStarted(turns []Turn, next func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size[:]))-4); err == nil {
			Converse(turns, next)(conn)
		}
	}
}
