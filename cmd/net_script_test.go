package cmd

import (
	"io"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// serveNet starts a loopback server that is none of HTTP, and sets the variable
// to its host:port: serveNet ADDR echo | mute | sshd | time | kiss
func serveNet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serveNet VARIABLE MODE")
	}
	type server interface {
		io.Closer
		Addr() string
	}
	var s server
	var err error
	switch args[1] {
	case "echo":
		s, err = testnet.ListenUDP(testnet.EchoUDP)
	case "mute":
		s, err = testnet.ListenUDP(func([]byte, func([]byte)) {})
	case "time":
		s, err = testnet.ListenUDP(testnet.NTP{Stratum: 1, Reference: "GPS"}.Serve)
	case "kiss":
		s, err = testnet.ListenUDP(testnet.NTP{Leap: 3, Reference: "RATE"}.Serve)
	case "unset": // a clock that is not set, without the alarm
		s, err = testnet.ListenUDP(testnet.NTP{Stratum: 16, Reference: "INIT"}.Serve)
	case "sshd":
		keys, failed := testnet.SSHKeys()
		ts.Check(failed)
		s, err = testnet.ListenTCP(testnet.SSH(keys, nil, func() {}))
	default:
		ts.Fatalf("serveNet: no mode %q", args[1])
	}
	ts.Check(err)
	ts.Defer(func() { _ = s.Close() })
	ts.Setenv(args[0], s.Addr())
}
