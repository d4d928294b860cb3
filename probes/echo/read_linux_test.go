package echo

import (
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sonde-cli/sonde/check"
)

func TestSendFailures(t *testing.T) {
	to := netip.MustParseAddr("192.0.2.1")
	from := socketKey{from: netip.MustParseAddr("192.0.2.2")}
	for _, tc := range []struct {
		err  error
		key  socketKey
		want check.Code
		text string
	}{
		{unix.EPERM, socketKey{}, check.LocalPermission, "firewall"},
		{unix.EACCES, socketKey{}, check.LocalPermission, "prohibits"},
		{unix.ENETUNREACH, socketKey{}, check.LocalRoute, "no route to 192.0.2.1"},
		{unix.EHOSTUNREACH, socketKey{}, check.LocalRoute, "no route"},
		{unix.EINVAL, socketKey{}, check.LocalRoute, "no route"},
		{unix.EINVAL, from, check.LocalRoute, "from the source 192.0.2.2"},
		{unix.EMSGSIZE, socketKey{}, check.LocalRoute, "too large"},
		{unix.EIO, socketKey{}, check.LocalOverload, "cannot send"},
	} {
		if got := sendFailure(tc.err, to, tc.key); got.Code != tc.want || !strings.Contains(got.Message, tc.text) {
			t.Errorf("%v: %+v, want %s %q", tc.err, got, tc.want, tc.text)
		}
	}
	for _, tc := range []struct {
		err  error
		key  socketKey
		want check.Code
	}{
		{unix.EACCES, socketKey{}, check.LocalPermission},
		{unix.EPERM, socketKey{}, check.LocalPermission},
		{unix.EMFILE, socketKey{}, check.LocalFD},
		{unix.ENFILE, socketKey{}, check.LocalFD},
		{unix.EAFNOSUPPORT, socketKey{v6: true}, check.LocalRoute},
		{unix.EADDRNOTAVAIL, from, check.LocalRoute},
		{unix.EADDRINUSE, socketKey{}, check.LocalPorts},
		{unix.ENOBUFS, socketKey{}, check.LocalOverload},
	} {
		if got := openFailure(tc.err, tc.key); got.Code != tc.want {
			t.Errorf("%v: %+v, want %s", tc.err, got, tc.want)
		}
	}
}

func TestF11ClockStepsDoNotShow(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		kernel int64
		want   time.Duration // before now
	}{
		"a delay of ours":   {now.UnixNano() - int64(time.Millisecond), time.Millisecond},
		"no timestamp":      {0, 0},
		"clock set back":    {now.UnixNano() + int64(time.Hour), 0},
		"clock set forward": {now.UnixNano() - int64(time.Hour), 0},
	} {
		if got := now.Sub(arrival(now, tc.kernel)); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	f := newFlight(t, 1)
	f.answer(f.packet(0), target, -time.Second)
	if f.RTTs[0] != 0 {
		t.Errorf("round-trip time %s", f.RTTs[0])
	}
}

// FuzzControl reads what only the kernel writes; it must not fall over.
func FuzzControl(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add(binaryCmsg(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, make([]byte, 16)))
	f.Add(binaryCmsg(unix.IPPROTO_IP, unix.IP_TTL, []byte{64, 0, 0, 0}))
	f.Add(binaryCmsg(unix.IPPROTO_IP, unix.IP_RECVERR, append([]byte{113, 0, 0, 0, 2, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0}, make([]byte, 14)...)))
	f.Fuzz(func(_ *testing.T, b []byte) { parseControl(b) })
}

func binaryCmsg(level, typ int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := unix.Cmsghdr{Level: level, Type: typ}
	h.SetLen(unix.CmsgLen(len(data)))
	head := (*[unix.SizeofCmsghdr]byte)(unsafe.Pointer(&h))
	copy(b, head[:])
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func TestParseControl(t *testing.T) {
	b := binaryCmsg(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, []byte{2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0})
	b = append(b, binaryCmsg(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, []byte{61, 0, 0, 0})...)
	b = append(b, binaryCmsg(unix.IPPROTO_IP, unix.IP_RECVERR,
		append([]byte{113, 0, 0, 0, unix.SO_EE_ORIGIN_ICMP, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 2, 0, 0, 0, 127, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0))...)
	got := parseControl(b)
	if got.ttl != 61 || got.at != 2e9+5 || got.report == nil {
		t.Fatalf("%+v", got)
	}
	if got.report.From != target || got.report.String() != "host unreachable" {
		t.Errorf("%s from %s", got.report, got.report.From)
	}
}
