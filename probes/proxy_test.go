package probes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// socksServer leads every connection to one address. The channel tells what it
// was asked, as "ipv4 192.0.2.1:80". With a user it demands the login.
func socksServer(t *testing.T, to, user, password string) (addr string, asked <-chan string) {
	t.Helper()
	seen := make(chan string, 64)
	host, port := listen(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		if !socksHello(conn, in, user, password) {
			return
		}
		head := make([]byte, 4)
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		kind, size := "ipv4", 4
		switch head[3] {
		case socksIPv6:
			kind, size = "ipv6", 16
		case socksName:
			n, _ := in.ReadByte()
			kind, size = "name", int(n)
		}
		rest := make([]byte, size+2)
		if _, err := io.ReadFull(in, rest); err != nil {
			return
		}
		where := string(rest[:size])
		if addr, ok := netip.AddrFromSlice(rest[:size]); ok && kind != "name" {
			where = addr.String()
		}
		seen <- kind + " " + net.JoinHostPort(where, strconv.Itoa(int(rest[size])<<8|int(rest[size+1])))
		if strings.HasPrefix(where, "2001:db8:") {
			_, _ = conn.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			_, _ = conn.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		defer server.Close()
		_, _ = conn.Write([]byte{5, 0, 0, 3, 4, 'h', 'e', 'r', 'e', 0, 80})
		go func() {
			_, _ = io.Copy(server, in)
			server.Close()
		}()
		_, _ = io.Copy(conn, server)
	})
	return net.JoinHostPort(host, port), seen
}

func socksHello(conn net.Conn, in *bufio.Reader, user, password string) bool {
	head := make([]byte, 2)
	if _, err := io.ReadFull(in, head); err != nil {
		return false
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(in, methods); err != nil {
		return false
	}
	if user == "" {
		_, err := conn.Write([]byte{5, socksNoLogin})
		return err == nil
	}
	if !strings.Contains(string(methods), "\x02") {
		_, _ = conn.Write([]byte{5, socksNoMethod})
		return false
	}
	_, _ = conn.Write([]byte{5, socksLogin})
	want := fmt.Sprintf("\x01%c%s%c%s", len(user), user, len(password), password)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
		_, _ = conn.Write([]byte{1, 1})
		return false
	}
	_, err := conn.Write([]byte{1, 0})
	return err == nil
}

// lastAsked returns what the proxy was asked last, "" when nothing.
func lastAsked(asked <-chan string) (got string) {
	for {
		select {
		case got = <-asked:
		default:
			return got
		}
	}
}

func TestProxySOCKS(t *testing.T) {
	t.Parallel()
	plain := strings.TrimPrefix(httpSite(t, nil, testnet.Site()), "http://")
	_, port := split(t, plain)
	open, asked := socksServer(t, plain, "", "")
	locked, askedLocked := socksServer(t, plain, "me", "s3cret-px")
	names := dnsServer(t, zone(t, "far.test. 60 IN A 192.0.2.7", "far.test. 60 IN AAAA 2001:db8::7").Serve)
	for name, c := range map[string]struct {
		proxy, host, want string
		seen              <-chan string
	}{
		"told an address": {"socks5://" + open, "192.0.2.7", "ipv4 192.0.2.7:" + port, asked},
		"told a name":     {"socks5h://" + open, "far.test", "name far.test:" + port, asked},
		"name to address": {"socks5h://" + open, "2001:DB7::1", "ipv6 [2001:db7::1]:" + port, asked},
		"raced here":      {"socks5://" + open, "far.test", "ipv4 192.0.2.7:" + port, asked}, // IPv6 is unreachable there
		"login":           {"socks5h://me:s3cret-px@" + locked, "far.test", "name far.test:" + port, askedLocked},
		"login unasked":   {"socks5h://me:s3cret-px@" + open, "far.test", "name far.test:" + port, asked},
	} {
		o := observeTCP(t, tcpOptions{Route: Route{Resolver: names.Addr()}, Proxied: Proxied{Proxy: c.proxy}}, c.host, port, patience)
		if o.Failure.Code != "" {
			t.Errorf("%s: %+v", name, o.Failure)
		}
		if got := lastAsked(c.seen); got != c.want {
			t.Errorf("%s: the proxy was asked %q, want %q", name, got, c.want)
		}
		scheme, _, _ := strings.Cut(c.proxy, ":")
		if got, _ := o.Facts.Get("proxy").(string); !strings.HasPrefix(got, scheme+"://127.0.0.1:") || o.Facts.Get("ip") != "127.0.0.1" {
			t.Errorf("%s: facts %v", name, o.Facts)
		}
		if line := o.Reproduce(); !strings.HasPrefix(line, "curl ") || !strings.Contains(line, "-x "+c.proxy) {
			t.Errorf("%s: %s", name, line)
		}
	}
	for _, target := range []string{"http://far.test:" + port + "/status/204", "http://192.0.2.7:" + port + "/status/204"} {
		o := observeHTTP(t, target, patience, func(o *httpOptions) { o.Proxy = "socks5h://" + open })
		wantFacts(t, o, check.FactsOf(map[string]any{"status": 204, "proxy": "socks5h://" + open}))
		lastAsked(asked)
	}
}

// TestProxySOCKSReplies has a proxy say no in each way that it can.
func TestProxySOCKSReplies(t *testing.T) {
	t.Parallel()
	hello, login := "\x05\x00", "\x05\x02"
	for name, c := range map[string]struct {
		script string // what it answers, whatever it is asked
		user   string
		code   check.Code
		want   string
	}{
		"general":       {hello + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", "", check.ConnectUnreachable, "it cannot connect to far.test:80: general failure"},
		"not allowed":   {hello + "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "", check.ConnectUnreachable, "not allowed by its rules"},
		"network":       {hello + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "", check.ConnectUnreachable, "network unreachable"},
		"host":          {hello + "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00", "", check.ConnectUnreachable, "host unreachable"},
		"refused":       {hello + "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00", "", check.ConnectRefused, "connection refused"},
		"ttl":           {hello + "\x05\x06\x00\x01\x00\x00\x00\x00\x00\x00", "", check.ConnectUnreachable, "TTL expired"},
		"command":       {hello + "\x05\x07", "", check.ConnectUnreachable, "does not know the command"},
		"address":       {hello + "\x05\x08\x00", "", check.ConnectUnreachable, "type of address"},
		"strange":       {hello + "\x05\x77\x00\x01", "", check.ConnectUnreachable, "reply 119, which RFC 1928 does not know"},
		"wants a login": {"\x05\xff", "", check.ConnectUnreachable, "it demands a user and a password"},
		"other login":   {"\x05\xff", "me:pw@", check.ConnectUnreachable, "another login"},
		"wrong login":   {login + "\x01\x01", "me:pw@", check.ConnectUnreachable, "it does not accept the user and the password"},
		"not offered":   {login, "", check.ConnectUnreachable, `does not speak SOCKS 5, it sent ".."`},
		"gssapi":        {"\x05\x01", "me:pw@", check.ConnectUnreachable, "does not speak SOCKS 5"},
		"HTTP":          {"HTTP/1.1 400 Bad Request\r\n\r\n", "", check.ConnectUnreachable, `it sent "HT"`},
		"one byte":      {"H", "", check.ConnectUnreachable, `it sent "H"`},
		"login garbage": {login + "xy", "me:pw@", check.ConnectUnreachable, `it sent "xy"`},
		"reply garbage": {hello + "GET / HTTP", "", check.ConnectUnreachable, `it sent "GET "`},
		"address type":  {hello + "\x05\x00\x00\x09", "", check.ConnectUnreachable, "does not speak SOCKS 5"},
		"closes":        {"", "", check.ConnectReset, "the peer closed the connection"},
		"closes later":  {hello, "", check.ConnectReset, "the peer closed the connection"},
		"closes inside": {hello + "\x05\x00\x00\x01\x00", "", check.ConnectReset, "the peer closed the connection"},
		"short name":    {hello + "\x05\x00\x00\x03\xffabc", "", check.ConnectReset, "the peer closed the connection"},
	} {
		host, port := listen(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, c.script)
			_ = conn.(*net.TCPConn).CloseWrite()
			testnet.Silence(conn)
		})
		via := net.JoinHostPort(host, port)
		o := observeTCP(t, tcpOptions{Proxied: Proxied{Proxy: "socks5h://" + c.user + via}}, "far.test", "80", patience)
		t.Run(name, func(t *testing.T) { wantFailure(t, o, c.code, "proxy "+via+": ", c.want) })
	}
}

// TestC19ProxyHostile has proxies that never come to an end.
func TestC19ProxyHostile(t *testing.T) {
	t.Parallel()
	endless := func(conn net.Conn) {
		_, err := io.WriteString(conn, "\x05\x00\x05\x00\x00\x03\xff")
		for err == nil {
			_, err = io.WriteString(conn, strings.Repeat("x", 4<<10))
		}
	}
	for name, c := range map[string]struct {
		proxy  string
		server func(net.Conn)
		code   check.Code
		want   string
	}{
		"SOCKS, silent":     {"socks5h", testnet.Silence, check.ConnectTimeout, "no answer to the SOCKS request in time"},
		"SOCKS, half":       {"socks5h", testnet.ReplyAndStall("\x05\x00\x05\x00\x00\x03\xffab"), check.ConnectTimeout, "no answer to the SOCKS request in time"},
		"CONNECT, silent":   {"http", testnet.Silence, check.ConnectTimeout, "no answer to CONNECT in time"},
		"CONNECT, half":     {"http", testnet.ReplyAndStall("HTTP/1.1 200 OK\r\nX: "), check.ConnectTimeout, "no answer to CONNECT in time"},
		"CONNECT, garbage":  {"http", testnet.Reply("SSH-2.0-OpenSSH\r\n"), check.HTTPMalformed, ""},
		"CONNECT, endless":  {"http", testnet.ReplyForever("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"), check.HTTPHeaderTooLarge, ""},
		"CONNECT, closes":   {"http", testnet.Reply(""), check.HTTPTruncated, ""},
		"CONNECT, more":     {"http", testnet.Reply("HTTP/1.1 200 OK\r\n\r\nHello"), check.HTTPMalformed, "bytes after the answer to CONNECT"},
		"TLS to it, silent": {"https", testnet.Silence, check.TLSHandshakeTimeout, ""},
		"TLS to it, plaintext": {"https", func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			testnet.Silence(conn)
		}, check.TLSPlaintext, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := listen(t, c.server)
			via := net.JoinHostPort(host, port)
			o := inTime(brief, func(d time.Duration) check.Observation {
				start := time.Now()
				o := observeTCP(t, tcpOptions{TLS: &TLS{}, Proxied: Proxied{Proxy: c.proxy + "://" + via}}, "far.test", "443", d)
				if took := time.Since(start); took > d+hung {
					t.Errorf("took %v", took)
				}
				return o
			}, endsAs(c.code, c.want))
			wantFailure(t, o, c.code, "proxy "+via+": ", c.want)
		})
	}
	// Once it has led there, what comes is the target's.
	host, port := listen(t, endless)
	o := observeTCP(t, tcpOptions{TLS: &TLS{}, Proxied: Proxied{Proxy: "socks5h://" + net.JoinHostPort(host, port)}}, "far.test", "443", patience)
	wantFailure(t, o, check.TLSPlaintext)
	if strings.Contains(o.Failure.Message, "proxy") {
		t.Error(o.Failure)
	}
}

// TestProxyTLS goes to a proxy over TLS, and to the target with TLS inside.
func TestProxyTLS(t *testing.T) {
	t.Parallel()
	plain := httpSite(t, nil, testnet.Site())
	secure := httpSite(t, serverConfig(t, testnet.CertOptions{Names: []string{"far.test"}}), testnet.Site())
	inner, asked := proxyTo(t, strings.TrimPrefix(plain, "http://"), strings.TrimPrefix(secure, "https://"))
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"localhost"}})
	_, port := listenTLS(t, cfg, func(conn net.Conn) {
		to, err := net.Dial("tcp", inner)
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			_, _ = io.Copy(to, conn)
			to.Close()
		}()
		_, _ = io.Copy(conn, to)
	})
	via := "https://me:pr0xypass@localhost:" + port
	for target, want := range map[string]string{
		"http://far.test/echo":  "GET http://far.test/echo Basic bWU6cHIweHlwYXNz",
		"https://far.test/echo": "CONNECT far.test:443 Basic bWU6cHIweHlwYXNz",
	} {
		o := observeHTTP(t, target, patience, func(o *httpOptions) {
			o.Proxy, o.ProxyTLS.CA, o.TLS.CA = via, caFile(t), caFile(t)
		})
		wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "proxy": "https://localhost:" + port}))
		if got := lastAsked(asked); got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
		if o.Facts.Get("cert.hostname_ok") != nil && !strings.HasPrefix(target, "https") {
			t.Error("the proxy's certificate is no fact of the target")
		}
	}
	for _, c := range []struct {
		change func(*httpOptions)
		code   check.Code
	}{
		{func(o *httpOptions) { o.Proxy = via }, check.TLSUntrusted},
		{func(o *httpOptions) {
			o.Proxy, o.ProxyTLS.CA = strings.Replace(via, "localhost", "127.0.0.1", 1), caFile(t)
		}, check.TLSHostname},
	} {
		o := observeHTTP(t, "http://far.test/", patience, c.change)
		if o.Failure.Code != c.code && !(c.code == check.TLSUntrusted && strings.HasPrefix(string(o.Failure.Code), "tls.")) {
			t.Errorf("%+v, want %s", o.Failure, c.code)
		}
		if got := lastAsked(asked); got != "" {
			t.Errorf("a proxy that cannot prove who it is was sent %q", got)
		}
	}
}

// TestProxyKept keeps a connection through each kind of proxy.
func TestProxyKept(t *testing.T) {
	t.Parallel()
	plain := strings.TrimPrefix(httpSite(t, nil, testnet.Site()), "http://")
	socks, _ := socksServer(t, plain, "", "")
	inner, _ := proxyTo(t, plain, plain)
	_, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"localhost"}}), func(conn net.Conn) {
		to, err := net.Dial("tcp", inner)
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			_, _ = io.Copy(to, conn)
			to.Close()
		}()
		_, _ = io.Copy(conn, to)
	})
	for _, via := range []string{"socks5h://" + socks, "https://localhost:" + port} {
		plan := buildHTTP(t, "http://far.test/echo", func(o *httpOptions) {
			o.Proxy, o.ProxyTLS.CA, o.Connection = via, "", "reuse"
			if strings.HasPrefix(via, "https") {
				o.ProxyTLS.CA = caFile(t)
			}
		})
		for _, want := range []string{"fresh", "reused", "reused"} {
			o := plan.Probe.Observe(timeout(t, patience))
			wantFacts(t, o, check.FactsOf(map[string]any{"status": 200, "connection": want, "proxy": via}))
		}
		if err := plan.Probe.(check.Closer).Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestProxyEveryKind opens a WebSocket, a gRPC call and a TLS handshake through
// a tunnel; none of them can be forwarded.
func TestProxyEveryKind(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"far.test"}})
	secure := strings.TrimPrefix(httpSite(t, cfg, testnet.Site()), "https://")
	proxy, asked := proxyTo(t, secure, secure)
	setup := needs()
	for name, o := range map[string]check.Options{
		"tls":       &tlsOptions{Host: "far.test", Port: 443, TLS: TLS{CA: caFile(t)}, Proxied: Proxied{Proxy: proxy}},
		"websocket": &wsOptions{URL: "ws://far.test:443/", MaxMessage: defaultMaxMessage, Proxied: Proxied{Proxy: proxy}},
		"grpc":      &grpcOptions{Host: "far.test", Port: 443, Proxied: Proxied{Proxy: proxy}},
	} {
		plan, err := o.Build(setup)
		if err != nil {
			t.Fatal(name, err)
		}
		seen := plan.Probe.Observe(timeout(t, patience))
		if got := strings.TrimSpace(lastAsked(asked)); got != "CONNECT far.test:443" {
			t.Errorf("%s: the proxy was asked %q", name, got)
		}
		if name == "tls" && (seen.Failure.Code != "" || seen.Facts.Get("cert.hostname_ok") != true) {
			t.Errorf("%s: %+v %v", name, seen.Failure, seen.Facts)
		}
	}
}

// TestProxyEnvironment takes the proxies that curl would.
func TestProxyEnvironment(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"ALL_PROXY": "socks5h://all.test", "https_proxy": "secure.test:3128", "no_proxy": "inside.test"}
	setup := needs()
	setup.Getenv = func(name string) string { return vars[name] }
	var secrets []string
	choose, err := (&Proxied{Proxy: "env"}).chooser(setup, &secrets)
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"http://a.test/": "socks5h://all.test", "https://a.test/": "http://secure.test:3128", "tcp://a.test:5432": "socks5h://all.test",
		"https://inside.test/": "", "tcp://inside.test:22": "", "tcp://127.0.0.1:22": "",
	} {
		u, err := http.NewRequest("GET", target, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if via := choose(u.URL); via != nil {
			got = via.String()
		}
		if got != want {
			t.Errorf("%s goes through %q, want %q", target, got, want)
		}
	}
	vars["ALL_PROXY"] = "ftp://all.test"
	if _, err := (&Proxied{Proxy: "env"}).chooser(setup, &secrets); err == nil || !strings.Contains(err.Error(), "ALL_PROXY of the environment has the scheme ftp") {
		t.Error(err)
	}
}

// TestProxyOptionErrors names the option in each error.
func TestProxyOptionErrors(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]tcpOptions{
		"proxy: has the scheme ftp":                     {Proxied: Proxied{Proxy: "ftp://a.test"}},
		"proxy: has a path":                             {Proxied: Proxied{Proxy: "socks5://a.test/x"}},
		"proxy: port 0 is not in":                       {Proxied: Proxied{Proxy: "socks5://a.test:0"}},
		"proxy: has a user or a password that SOCKS":    {Proxied: Proxied{Proxy: "socks5://:x@a.test"}},
		"proxy: has a user or":                          {Proxied: Proxied{Proxy: "socks5://" + strings.Repeat("u", 256) + "@a.test"}},
		"proxy_tls: there is no proxy":                  {Proxied: Proxied{ProxyTLS: TLS{Insecure: true}}},
		"proxy_tls: a proxy of socks5:// speaks no TLS": {Proxied: Proxied{Proxy: "socks5://a.test", ProxyTLS: TLS{Insecure: true}}},
		"proxy_tls.min_version: \"9\" is not":           {Proxied: Proxied{Proxy: "https://a.test", ProxyTLS: TLS{MinVersion: "9"}}},
		"address: goes with no proxy":                   {Proxied: Proxied{Proxy: "socks5://a.test"}, Route: Route{Address: "192.0.2.1"}},
	} {
		o.Host, o.Port, o.MaxBanner = "far.test", 80, defaultMaxBanner
		if _, err := o.Build(needs()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestProxySecrets hides the password in every form.
func TestProxySecrets(t *testing.T) {
	t.Parallel()
	o := tcpOptions{Host: "far.test", Port: 80, MaxBanner: defaultMaxBanner, Proxied: Proxied{Proxy: "socks5h://me:fir%73t-secret@127.0.0.1:1"}}
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	seen := plan.Probe.Observe(timeout(t, patience))
	mask := check.NewMask(plan.Secrets...)
	for _, text := range []string{seen.Reproduce(), seen.Failure.Message, fmt.Sprint(seen.Facts)} {
		if got := mask.String(text); strings.Contains(got, "fir%73t-secret") || strings.Contains(got, "first-secret") {
			t.Error(got)
		}
	}
}

// TestRestrictBehindSOCKS does not let a proxy go where we may not, nor to what
// a name turns out to be when it is resolved here.
func TestRestrictBehindSOCKS(t *testing.T) {
	t.Parallel()
	proxy, asked := socksServer(t, "127.0.0.1:1", "", "")
	names := dnsServer(t, zone(t, "meta.test. 60 IN A 169.254.169.254").Serve)
	ctx := Restrict(timeout(t, patience), DenyMetadata)
	for host, scheme := range map[string]string{"169.254.169.254": "socks5h", "0xa9fea9fe": "socks5h", "meta.test": "socks5"} {
		o := tcpOptions{Host: host, Port: 80, MaxBanner: defaultMaxBanner, Route: Route{Resolver: names.Addr()}, Proxied: Proxied{Proxy: scheme + "://" + proxy}}
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		wantFailure(t, plan.Probe.Observe(ctx), check.LocalPermission, "not allowed to go there")
		if got := lastAsked(asked); got != "" {
			t.Errorf("%s: the proxy was asked %q", host, got)
		}
	}
}

// TestProxyCancelled ends at once when it is cancelled, in each of the places.
func TestProxyCancelled(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"", "\x05\x00"} {
		reached := make(chan struct{}, 1)
		host, port := listen(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, script)
			reached <- struct{}{}
			testnet.Silence(conn)
		})
		ctx, cancel := context.WithCancel(timeout(t, time.Minute))
		o := tcpOptions{Host: "far.test", Port: 80, MaxBanner: defaultMaxBanner, Proxied: Proxied{Proxy: "socks5h://" + net.JoinHostPort(host, port)}}
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-reached
			cancel()
		}()
		seen := plan.Probe.Observe(ctx)
		wantFailure(t, seen, check.LocalShutdown)
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Error(ctx.Err())
		}
	}
}
