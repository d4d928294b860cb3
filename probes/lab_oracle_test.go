//go:build oracle && linux

package probes

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// labProbe is one probe from the client of a [pingLab], of a port where nothing
// listens unless the network says otherwise.
type labProbe struct {
	Kind string // tcp, http or dns; or an interface to connect by
	Host string
	Code check.Code
	Up   string // the address that answered, when one did
}

// labProbes are the cases A2 (packets vanish), A11 (a router objects) and A12
// (this machine knows no way), over both families.
func labProbes() []labProbe {
	var all []labProbe
	for host, code := range map[string]check.Code{
		"198.51.100.3": check.ConnectTimeout, "fd77:3::3": check.ConnectTimeout, // vanishes at the router
		"198.51.100.1": check.ConnectUnreachable, "198.51.100.2": check.ConnectUnreachable,
		"fd77:3::1": check.ConnectUnreachable, "fd77:3::2": check.ConnectUnreachable,
		"10.77.2.1": check.ConnectRefused, "fd77:2::1": check.ConnectRefused,
		"203.0.113.1": check.LocalRoute, "203.0.113.2": check.LocalPermission, "203.0.113.3": check.LocalRoute,
	} {
		all = append(all, labProbe{Kind: "tcp", Host: host, Code: code})
		if code != check.ConnectUnreachable { // Linux sends no more than five such errors at once
			all = append(all, labProbe{Kind: "http", Host: host, Code: code})
		}
		switch host {
		case "198.51.100.3", "fd77:3::3", "198.51.100.1", "fd77:3::1":
			code = check.DNSTimeout // of an ICMP error that is not final, Linux does not tell a UDP socket
		}
		all = append(all, labProbe{Kind: "dns", Host: host, Code: code})
	}
	for device, code := range map[string]check.Code{"c0": check.ConnectRefused, "nosuch0": check.LocalRoute} {
		all = append(all, labProbe{Kind: device, Host: "10.77.2.1", Code: code}, labProbe{Kind: device, Host: "fd77:2::1", Code: code})
	}
	// What leaves by the loopback interface comes back as a stranger's; IPv6 has no
	// route by it.
	all = append(all, labProbe{Kind: "lo", Host: "10.77.2.1", Code: check.ConnectTimeout}, labProbe{Kind: "lo", Host: "fd77:2::1", Code: check.LocalRoute})
	return append(all, labProbe{Kind: "A16", Host: "both.test", Up: "10.77.1.1"})
}

// TestOracleA2Network probes through a network that drops and refuses.
func TestOracleA2Network(t *testing.T) {
	if os.Getenv(icmpChild) != "" {
		probeInLab(t)
		return
	}
	lab := newPingLab(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", lab.client, self, "-test.run", "^TestOracleA2Network$")
	cmd.Env = append(os.Environ(), icmpChild+"=client")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range labProbes() {
		line, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), string(line)+"\n") {
			t.Errorf("want %s", line)
		}
	}
	if t.Failed() {
		t.Logf("got\n%s", out)
	}
}

// probeInLab is the part of the process in the namespace: it prints what it
// sees, in the form of what the test wants.
func probeInLab(t *testing.T) {
	t.Helper()
	probes := labProbes()
	seen := make([]check.Observation, len(probes))
	var all sync.WaitGroup
	for i, p := range probes {
		all.Go(func() { seen[i] = p.observe(t) })
	}
	all.Wait()
	for i, p := range probes {
		p.Code, p.Up = seen[i].Failure.Code, ""
		if ip, ok := seen[i].Facts.Get("ip").(string); ok && p.Kind == "A16" {
			p.Up = ip
		}
		line, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s\n# %s\n", line, seen[i].Failure.Message)
	}
}

func (p labProbe) observe(t *testing.T) (o check.Observation) {
	// On a link between namespaces the first ICMP error comes while the kernel
	// is still busy with the SYN and does not count; that to the second SYN,
	// after a second, does.
	const silence = 5 * time.Second
	start := time.Now()
	switch p.Kind {
	case "tcp":
		o = observeTCP(t, tcpOptions{}, p.Host, "80", silence)
	case "http":
		o = observeHTTP(t, "http://"+net.JoinHostPort(p.Host, "80")+"/", silence, nil)
	case "dns":
		o = observeDNS(t, buildDNS(t, net.JoinHostPort(p.Host, "53"), nil), silence)
	case "c0", "lo", "nosuch0":
		o = observeTCP(t, tcpOptions{Route: Route{Interface: p.Kind}}, p.Host, "80", silence)
	case "A16":
		o = observeBoth(t, p.Host, p.Up)
	}
	if took := time.Since(start); took > silence+hung {
		t.Errorf("%+v took %v", p, took)
	}
	return o
}

// observeBoth probes a name with an IPv6 address where packets vanish and an
// IPv4 address that answers.
func observeBoth(t *testing.T, name, v4 string) check.Observation {
	t.Helper()
	server := dnsServer(t, zone(t, name+". 60 IN AAAA fd77:3::3", name+". 60 IN A "+v4).Serve)
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(v4), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			testnet.Silence(conn)
			conn.Close()
		}
	}()
	_, port := split(t, listener.Addr().String())
	return observeTCP(t, tcpOptions{Route: Route{Resolver: server.Addr()}}, name, port, 5*time.Second)
}
