package cmd

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// serveLate reserves an address where a server comes up when there was a second
// knock: serveLate ADDR KNOCK
func serveLate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serveLate VARIABLE VARIABLE")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	addr := free.Addr().String()
	ts.Check(free.Close())
	knocks := make(chan struct{}, 64)
	door, err := testnet.ListenTCP(func(net.Conn) { knocks <- struct{}{} })
	ts.Check(err)
	opened := make(chan net.Listener, 1)
	go func() {
		<-knocks
		<-knocks
		for {
			if l, err := net.Listen("tcp", addr); err == nil {
				opened <- l
				return
			}
			<-time.After(10 * time.Millisecond) // somebody's connection has the port for a moment
		}
	}()
	ts.Defer(func() {
		_ = door.Close()
		_ = (<-opened).Close()
	})
	ts.Setenv(args[0], addr)
	ts.Setenv(args[1], door.Addr())
}

// parrot is a program that says its process's id, and then each signal that it
// gets, until that is an interrupt.
func parrot() {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	fmt.Println(os.Getpid())
	for s := range signals {
		switch s {
		case os.Interrupt:
			fmt.Println(s)
			os.Exit(9)
		case urgent: // the runtime's own
		default:
			fmt.Println(s)
		}
	}
}
