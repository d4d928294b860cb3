package probes

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/echo"
	"github.com/sonde-cli/sonde/probes/netif"
)

// TestDeviceReason blames this machine for an interface that it cannot use.
func TestDeviceReason(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]check.Code{
		syscall.EPERM: check.LocalPermission, syscall.EACCES: check.LocalPermission,
		syscall.ENODEV: check.LocalRoute, syscall.EINVAL: check.LocalRoute,
	} {
		failed := attempt{err: fmt.Errorf("dial: %w", &netif.BindError{Name: "eth7", Err: os.NewSyscallError("setsockopt", errno)})}
		reason := new(router).attemptReason(failed, 80)
		if reason.Code != want || !strings.Contains(reason.Message, "the interface eth7") {
			t.Errorf("%v: %v", errno, reason)
		}
	}
}

func TestDeviceOption(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"eth0 ", "a/b", "sixteen-letters-", "é0"} {
		_, err := (&Route{Interface: name}).buildAll()
		if err == nil || !strings.Contains(err.Error(), "interface: ") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestDeviceOfEveryKind has kinds that make sockets of their own, and some that
// share one way to make them, go by an interface that is not there. A kind that
// ignored the option would reach the target.
func TestDeviceOfEveryKind(t *testing.T) {
	t.Parallel()
	if !netif.Binds {
		return // TestDevice has the refusal
	}
	site := http3Site(t, quicTLS(t, "h3"), http3Mux())
	server := dnsServer(t, zone(t, "a.test. 60 IN A 192.0.2.1").Serve)
	host, port := listen(t, testnet.Silence)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	route := Route{Interface: "nosuch0"}
	web := newHTTPOptions()
	web.URL, web.Version, web.Route = site, "3", route
	kinds := map[string]check.Options{
		"http/3": web,
		"ssh":    &sshOptions{Host: host, Port: number, Route: route},
		"redis":  &redisOptions{Host: host, Port: number, Route: route},
	}
	for _, transport := range []string{transportUDP, transportTCP, transportTLS, transportQUIC} {
		o := newDNSOptions()
		o.Name, o.Server, o.Transport, o.Route = "a.test", server.Addr(), transport, route
		kinds["dns over "+transport] = o
	}
	if echo.MarksPackets && mayPing() {
		kinds["icmp"] = &icmpOptions{Host: "127.0.0.1", Count: 1, Interval: time.Second, Size: 56, Route: route}
	}
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan, err := o.Build(needs())
			if err != nil {
				t.Fatal(err)
			}
			wantFailure(t, plan.Probe.Observe(timeout(t, patience)), check.LocalRoute, "the interface nosuch0: ")
		})
	}
}

// TestDevice connects by an interface, and by one that is not there.
func TestDevice(t *testing.T) {
	t.Parallel()
	if !netif.Binds {
		if _, err := (&Route{Interface: "lo"}).buildAll(); err == nil {
			t.Error("the option is taken where the system cannot do it")
		}
		return
	}
	host, port := listen(t, testnet.Silence)
	loopback := "lo"
	if _, err := os.Stat("/sys/class/net/lo"); err != nil {
		loopback = "lo0" // of macOS
	}
	o := observeTCP(t, tcpOptions{Route: Route{Interface: loopback}}, host, port, patience)
	// Before Linux 5.7 only a privileged process may.
	if code := o.Failure.Code; code != "" && code != check.LocalPermission {
		t.Errorf("%+v", o.Failure)
	}
	if line := o.Reproduce(); line != "curl -v --interface "+loopback+" --noproxy '*' telnet://"+host+":"+port {
		t.Error(line)
	}
	wantFailure(t, observeTCP(t, tcpOptions{Route: Route{Interface: "nosuch0"}}, host, port, patience), check.LocalRoute, "the interface nosuch0: ")
	web := observeHTTP(t, "http://"+host+":"+port+"/", patience, func(o *httpOptions) { o.Interface = "nosuch0" })
	wantFailure(t, web, check.LocalRoute, "nosuch0")
	if line := web.Reproduce(); !strings.Contains(line, " --interface nosuch0 ") {
		t.Error(line)
	}
}
