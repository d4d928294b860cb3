package probes

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

func TestDenyMetadata(t *testing.T) {
	for text, denied := range map[string]bool{
		"169.254.169.254": true, "169.254.170.2": true, "168.63.129.16": true, "100.100.100.200": true, "192.0.0.192": true,
		"fd00:ec2::254": true, "fd20:ce::254": true, "fe80::1": true, "fe80::a9fe:a9fe%lo": true,
		"::ffff:169.254.169.254": true, "::ffff:168.63.129.16": true, "64:ff9b::a9fe:a9fe": true, "64:ff9b:1::a9fe:a9fe": true,
		"2002:a9fe:a9fe::1": true, "::169.254.169.254": true, "0.0.0.0": true, "::": true, "::ffff:0.0.0.0": true,
		"127.0.0.1": false, "::1": false, "10.0.0.1": false, "192.168.1.1": false, "192.0.2.1": false, "2001:db8::1": false,
		"168.63.129.17": false, "fd00::1": false, "64:ff9b::c000:201": false,
	} {
		if err := DenyMetadata(netip.MustParseAddr(text)); (err != nil) != denied {
			t.Errorf("%s: %v, want denied %v", text, err, denied)
		}
	}
}

// TestRestrict tries every kind, each at an address that is denied and where
// something listens, so that only the restriction can keep it from being up.
func TestRestrict(t *testing.T) {
	tcp, err := testnet.ListenTCP(testnet.Silence)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	denied := func(addr netip.Addr) error {
		if addr.IsLoopback() {
			return errors.New("loopback")
		}
		return nil
	}
	for _, target := range []string{
		"http://" + tcp.Addr() + "/", "tcp://" + tcp.Addr(), "dns://" + tcp.Addr() + "/example.com",
		"dns+tcp://" + tcp.Addr() + "/example.com", "icmp://127.0.0.1", "icmp://::1",
		"ssh://" + tcp.Addr(), "udp://" + tcp.Addr() + "?send=x&expect=x", "ntp://" + tcp.Addr(),
	} {
		o := observeTarget(t, Restrict(context.Background(), denied), target)
		if o.Failure.Code != check.LocalPermission {
			t.Errorf("%s: %+v, want %s", target, o.Failure, check.LocalPermission)
		}
	}
}

// TestRestrictRedirects is asked about where a redirect leads, too.
func TestRestrictRedirects(t *testing.T) {
	server, err := testnet.ListenHTTP(nil, http.RedirectHandler("http://169.254.169.254/latest/meta-data/", http.StatusFound))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	o := observeTarget(t, Restrict(context.Background(), DenyMetadata), "http://"+server.Addr()+"/")
	if o.Failure.Code != check.LocalPermission {
		t.Errorf("%+v", o.Failure)
	}
}

// TestRestrictBehindAProxy does not let a proxy go where we may not.
func TestRestrictBehindAProxy(t *testing.T) {
	t.Parallel()
	nowhere := strings.TrimPrefix(httpSite(t, nil, testnet.Site()), "http://")
	proxy, asked := proxyTo(t, nowhere, nowhere)
	for target, denied := range map[string]bool{
		"http://169.254.169.254/":          true,
		"https://169.254.169.254/":         true,
		"http://[::ffff:169.254.169.254]/": true,
		"http://2852039166/":               true,
		"http://0xa9.0xfe.0251.254./":      true,
		"http://192.0.2.1/":                false,
		"http://far.test/":                 false,
	} {
		plan := buildHTTP(t, target, func(o *httpOptions) { o.Proxy = "http://" + proxy })
		o := plan.Probe.Observe(Restrict(timeout(t, patience), DenyMetadata))
		if (o.Failure.Code == check.LocalPermission) != denied || (len(asked) == 0) != denied {
			t.Errorf("%s: %+v, %d requests", target, o.Failure, len(asked))
		}
		for len(asked) > 0 {
			<-asked
		}
	}
}

func TestLiteralAddr(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"1.2.3.4": "1.2.3.4", "1.2.3.4.": "1.2.3.4", "::1": "::1", "1.2.772": "1.2.3.4", "1.131844": "1.2.3.4", "16909060": "1.2.3.4",
		"0x01020304": "1.2.3.4", "0x1.02.0x3.4": "1.2.3.4", "0377.1": "255.0.0.1", "4294967296": "", "256.1.1.1": "", "1.2.3.4.5": "",
		"far.test": "", "": "", "a": "", "1..2": "", "0b1": "", "1_0": "", "0o1": "", "-1": "",
	} {
		got := ""
		if addr := literalAddr(host); addr.IsValid() {
			got = addr.String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

// TestRestrictKeepsOthers leaves out only what is denied.
func TestRestrictKeepsOthers(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("192.0.2.1")}
	got, reason := permitted(Restrict(context.Background(), DenyMetadata), addrs)
	if reason != nil || len(got) != 1 || got[0] != addrs[1] {
		t.Errorf("%v, %v", got, reason)
	}
}

func observeTarget(t *testing.T, ctx context.Context, target string) check.Observation {
	t.Helper()
	for _, k := range Kinds() {
		for _, scheme := range k.Schemes {
			if len(target) <= len(scheme) || target[:len(scheme)+1] != scheme+":" {
				continue
			}
			options := k.New()
			if err := options.(check.Targeter).SetTarget(target); err != nil {
				t.Fatal(err)
			}
			plan, err := options.Build(check.Setup{Needs: func(string) bool { return false }, Getenv: func(string) string { return "" }})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return plan.Probe.Observe(ctx)
		}
	}
	t.Fatalf("no kind for %s", target)
	return check.Observation{}
}
