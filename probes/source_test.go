package probes

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonde-cli/sonde/check"
)

func TestSourcesTakeTurns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, want []string }{
		{nil, []string{"invalid IP"}},
		{[]string{""}, []string{"invalid IP"}},
		{[]string{"127.0.0.2"}, []string{"127.0.0.2"}},
		{[]string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}, []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}},
	} {
		route, err := (&Route{Source: c.source}).build()
		if err != nil {
			t.Fatal(err)
		}
		const rounds = 100
		var mu sync.Mutex
		var all sync.WaitGroup
		seen := make(map[string]int)
		for range len(c.want) {
			all.Go(func() {
				for range rounds {
					from := route.from().String()
					mu.Lock()
					seen[from]++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		want := make(map[string]int)
		for _, from := range c.want {
			want[from] = rounds
		}
		if diff := cmp.Diff(want, seen, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q: %s", c.source, diff)
		}
	}
}

func TestSourceOptionErrors(t *testing.T) {
	t.Parallel()
	for says, r := range map[string]Route{
		"not an IP address":                                   {Source: []string{"127.0.0.1", "eth0"}},
		"127.0.0.1 and ::1 are of different families":         {Source: []string{"127.0.0.1", "::1"}},
		"::1 and address 127.0.0.1 are of different families": {Source: []string{"::1"}, Address: "127.0.0.1"},
		"as family demands":                                   {Source: []string{"127.0.0.1"}, Family: "6"},
	} {
		_, err := r.build()
		if got := check.OptionErrors(err); len(got) != 1 || got[0].Option != "source" || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// TestA14OutOfPorts tells ports that ran out from an address of another
// machine, which have one errno.
func TestA14OutOfPorts(t *testing.T) {
	t.Parallel()
	here := netip.MustParseAddr("127.0.0.1")
	for _, c := range []struct {
		name string
		from netip.Addr
		call string
		err  syscall.Errno
		want check.Code
		says string
	}{
		{"no source", netip.Addr{}, "connect", syscall.EADDRNOTAVAIL, check.LocalPorts, "no local port left to connect to 127.0.0.1:80"},
		{"connect", here, "connect", errNoAddress, check.LocalPorts, "no local port of 127.0.0.1 left to connect to"},
		{"bind", here, "bind", syscall.EADDRINUSE, check.LocalPorts, "no local port of 127.0.0.1 left to connect to"},
		{"foreign", here, "bind", errNoAddress, check.LocalRoute, "source must be an address of this machine"},
	} {
		err := &net.OpError{Op: "dial", Err: os.NewSyscallError(c.call, c.err)}
		got := new(router).dialReason([]attempt{{from: c.from, addr: here, err: err}}, 80)
		if got.Code != c.want || !strings.Contains(got.Message, c.says) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestCloseReset has peers tell how their connections ended.
func TestCloseReset(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]error{"": io.EOF, "normal": io.EOF, closeReset: syscall.ECONNRESET} {
		ended := make(chan error, 1)
		host, port := listen(t, func(conn net.Conn) {
			_, err := io.ReadFull(conn, make([]byte, 1))
			ended <- err
		})
		o := observeTCP(t, tcpOptions{Close: how}, host, port, patience)
		if !o.Failure.IsZero() {
			t.Fatal(o.Failure)
		}
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("tcp, close: %q: the peer saw %v, want %v", how, err, want)
		}
		host, port = listen(t, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, err := io.Copy(io.Discard, conn)
			if err == nil {
				err = io.EOF
			}
			ended <- err
		})
		o = observeHTTP(t, "http://"+net.JoinHostPort(host, port)+"/", patience, func(o *httpOptions) { o.Close = how })
		if o.Facts.Get("status") != 200 {
			t.Errorf("http, close: %q: %v %v", how, o.Facts, o.Failure)
		}
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("http, close: %q: the peer saw %v, want %v", how, err, want)
		}
	}
}

func TestCloseOptionErrors(t *testing.T) {
	t.Parallel()
	for how, steps := range map[string][]turn{"rst": nil, closeReset: {{Send: "QUIT\r\n"}}} {
		o := tcpOptions{Host: "127.0.0.1", Port: 80, MaxBanner: defaultMaxBanner, Close: how, Steps: steps}
		_, err := o.Build(needs())
		if got := check.OptionErrors(err); len(got) != 1 || got[0].Option != "close" {
			t.Errorf("%q: %v", how, err)
		}
	}
	o := newHTTPOptions()
	o.URL, o.Close = "http://127.0.0.1/", "rst"
	if _, err := o.Build(needs()); len(check.OptionErrors(err)) != 1 {
		t.Errorf("http: %v", err)
	}
}
