//go:build !unix

package testnet

// backlogFaults are none, for here the queue of connections cannot be filled.
func backlogFaults() []Fault { return nil }
