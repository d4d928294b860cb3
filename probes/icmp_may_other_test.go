//go:build !linux

package probes

import (
	probing "github.com/prometheus-community/pro-bing"
)

// mayPing reports whether this process can open an ICMP socket, datagram or
// raw.
func mayPing() bool {
	for _, raw := range []bool{false, true} {
		p := probing.New("127.0.0.1")
		p.SetPrivileged(raw)
		p.SetLogger(probing.NoopLogger{})
		p.Count = 1
		if p.Run() == nil {
			return true
		}
	}
	return false
}
