package probes

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// TestDeviceReason blames this machine for an interface that it cannot use.
func TestDeviceReason(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]check.Code{
		syscall.EPERM: check.LocalPermission, syscall.EACCES: check.LocalPermission,
		syscall.ENODEV: check.LocalRoute, syscall.EINVAL: check.LocalRoute,
	} {
		failed := attempt{err: fmt.Errorf("dial: %w", &deviceError{"eth7", os.NewSyscallError("setsockopt", errno)})}
		reason := new(router).attemptReason(failed, 80)
		if reason.Code != want || !strings.Contains(reason.Message, "the interface eth7") {
			t.Errorf("%v: %v", errno, reason)
		}
	}
	if _, ok := deviceReason(syscall.ENODEV); ok {
		t.Error("an error of another call is one of an interface")
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
	names := newDNSOptions()
	names.Name, names.Interface = "a.test", "eth0"
	ping := &icmpOptions{Host: "a.test", Count: 1, Interval: 1e9, Size: 56, Route: Route{Interface: "eth0"}}
	for _, o := range []check.Options{names, ping} {
		if _, err := o.Build(needs()); err == nil || !strings.Contains(err.Error(), "interface: ") {
			t.Errorf("%T: %v", o, err)
		}
	}
}

// TestDevice connects by an interface, and by one that is not there.
func TestDevice(t *testing.T) {
	t.Parallel()
	if !bindsDevices {
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
