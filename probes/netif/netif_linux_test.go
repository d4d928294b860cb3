package netif

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/check"
)

// TestBind asks the kernel for what a socket is bound to.
func TestBind(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var failed *BindError
	if err := Bind(uintptr(fd), "udp", "nosuch0"); !errors.As(err, &failed) || failed.Name != "nosuch0" {
		t.Errorf("bound to no interface: %v", err)
	}
	switch err := Bind(uintptr(fd), "udp", "lo"); {
	case errors.Is(err, unix.EPERM): // before Linux 5.7
	case err != nil:
		t.Error(err)
	default:
		if name, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); name != "lo" || err != nil {
			t.Errorf("bound to %q, %v", name, err)
		}
	}
}

func TestSockaddr(t *testing.T) {
	t.Parallel()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	link := netip.MustParseAddr("fe80::7")
	for text, want := range map[string]unix.Sockaddr{
		"192.0.2.7":  &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 7}},
		"fe80::7":    &unix.SockaddrInet6{Port: 9, Addr: link.As16()},
		"fe80::7%77": &unix.SockaddrInet6{Port: 9, Addr: link.As16(), ZoneId: 77},
		"fe80::7%lo": &unix.SockaddrInet6{Port: 9, Addr: link.As16(), ZoneId: uint32(lo.Index)},
	} {
		got, why := Sockaddr(netip.MustParseAddr(text), 9)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(unix.SockaddrInet4{}, unix.SockaddrInet6{})); diff != "" || why != nil {
			t.Errorf("%s: %v %s", text, why, diff)
		}
	}
	_, why := Sockaddr(link.WithZone("nosuch0"), 9)
	if want := (check.Reason{Code: check.LocalRoute, Message: "no network interface nosuch0 for fe80::7%nosuch0"}); why == nil || *why != want {
		t.Errorf("%v, want %v", why, want)
	}
}
