package probes

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// clientCert issues a client certificate and returns its files.
func clientCert(t *testing.T, ca *testnet.CA) (certFile, keyFile string) {
	t.Helper()
	cert, err := ca.Issue(testnet.CertOptions{CommonName: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	return tempFile(t, "cert.pem", chain), tempFile(t, "key.pem", key)
}

// TestB19RefusedClientCertificate shows a certificate that the server does not
// accept, which TLS 1.3 says only after the handshake.
func TestB19RefusedClientCertificate(t *testing.T) {
	t.Parallel()
	other, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	good, goodKey := clientCert(t, authority(t))
	bad, badKey := clientCert(t, other)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}})
		cfg.ClientAuth, cfg.ClientCAs, cfg.MaxVersion = tls.RequireAndVerifyClientCert, authority(t).Pool(), version
		host, port := listenTLS(t, cfg, testnet.Silence)
		for _, c := range []struct {
			cert, key string
			want      check.Code
		}{{good, goodKey, ""}, {bad, badKey, check.TLSAlert}} {
			o := tcpOptions{TLS: &TLS{CA: caFile(t), Cert: c.cert, Key: c.key}}
			look := func() check.Observation { return observeTCP(t, o, host, port, patience) }
			if c.want == "" {
				wantFailure(t, look(), "")
				continue // the server would let a request wait
			}
			wantFailure(t, untilRefused(look), c.want)
			site := observeHTTP(t, "https://"+net.JoinHostPort(host, port), patience, func(o *httpOptions) {
				o.TLS.CA, o.TLS.Cert, o.TLS.Key = caFile(t), c.cert, c.key
				o.Method = "GET"
			})
			wantFailure(t, site, c.want)
		}
	}
}

// TestWaitForARefusalIsNoLatency has a server that asks for a certificate, but
// accepts none as well, and says nothing about it.
func TestWaitForARefusalIsNoLatency(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}})
	cfg.ClientAuth, cfg.SessionTicketsDisabled = tls.RequestClientCert, true
	host, port := listenTLS(t, cfg, testnet.Silence)
	start := time.Now()
	o := observeTCP(t, tcpOptions{TLS: &TLS{CA: caFile(t)}}, host, port, patience)
	wantFailure(t, o, "")
	if whole := time.Since(start); whole < stagger || o.Latency > whole-stagger {
		t.Errorf("latency %v of %v", o.Latency, whole)
	}
}

// TestB5ClockLongPast runs in a bubble, where time begins in the year 2000.
func TestB5ClockLongPast(t *testing.T) {
	host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}}), testnet.Silence)
	ca := caFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := observeTCP(t, tcpOptions{TLS: &TLS{CA: ca}}, host, port, patience)
		wantFailure(t, o, check.LocalClock, "2000-01-01")
		o = observeTCP(t, tcpOptions{TLS: &TLS{CA: ca, Insecure: true}}, host, port, patience)
		wantFailure(t, o, "")
	})
}

// TestB5B9B10B12B17 looks at the codes through both kinds that speak TLS: what
// is a fact to tcp keeps http from sending its request.
func TestB5B9B10B12B17(t *testing.T) {
	t.Parallel()
	local := []string{"127.0.0.1"}
	old := serverConfig(t, testnet.CertOptions{Names: local})
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for name, c := range map[string]struct {
		cfg  *tls.Config
		fact string // of tcp, "" when the handshake fails
		code check.Code
	}{
		"B4":  {serverConfig(t, testnet.CertOptions{Names: local, NotAfter: time.Now().AddDate(0, 0, -1)}), "cert.trusted", check.TLSExpired},
		"B5":  {serverConfig(t, testnet.CertOptions{Names: local, NotBefore: time.Now().AddDate(0, 0, 1)}), "cert.trusted", check.TLSNotYetValid},
		"B9":  {serverConfig(t, testnet.CertOptions{Names: []string{"other.test"}}), "cert.hostname_ok", check.TLSHostname},
		"B10": {serverConfig(t, testnet.CertOptions{CommonName: "127.0.0.1"}), "cert.hostname_ok", check.TLSHostname},
		"B11": {serverConfig(t, testnet.CertOptions{Names: local, SelfSigned: true}), "cert.trusted", check.TLSSelfSigned},
		"B12": {serverConfig(t, testnet.CertOptions{Names: local, Incomplete: true}), "cert.trusted", check.TLSIncompleteChain},
		"B17": {old, "", check.TLSVersion},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := listenTLS(t, c.cfg, testnet.Silence)
			o := observeTCP(t, tcpOptions{TLS: &TLS{CA: caFile(t)}}, host, port, patience)
			got := o.Failure.Code
			if c.fact != "" {
				got = o.Because[c.fact].Code
			}
			if got != c.code || c.fact != "" && o.Facts.Get(c.fact) != false {
				t.Errorf("tcp: %s, want %s; %v", got, c.code, o.Facts.Get(c.fact))
			}
			wantFailure(t, observeHTTP(t, "https://"+net.JoinHostPort(host, port), patience, func(o *httpOptions) { o.TLS.CA = caFile(t) }), c.code)
		})
	}
}

// TestC22EchoOverTCP sends a secret to a server that echoes it behind texts of
// many lengths, so that an excerpt ends everywhere inside it.
func TestC22EchoOverTCP(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"hunter2-and-more", "hüñter2 änd móre", "hunter2\tand\x01more", "hunter2 and more"} {
		mask := check.NewMask(secret)
		for padding := 55; padding < 85; padding++ {
			h := &hearing{text: []byte(strings.Repeat("x", padding-10) + " you said " + secret + " or so, I think"), max: 1 << 10}
			message := mask.String(h.mismatch(0, steps("", "^OK")[0].Expect, time.Second))
			for _, part := range []string{"hun", "h\u00fc\u00f1", "nter", "more"} {
				if strings.Contains(message, part) {
					t.Errorf("padding %d: %s", padding, message)
				}
			}
		}
	}
	host, port := listen(t, testnet.Echo)
	o := inTime(brief, func(d time.Duration) check.Observation {
		return observeTCP(t, tcpOptions{Steps: steps("AUTH "+strings.Repeat("y", 70)+"hunter2-and-more\r\n", "^OK")}, host, port, d)
	}, func(o *check.Observation) bool { return strings.Contains(o.Because["dialogue"].Message, "got ") })
	if why := o.Because["dialogue"]; strings.Contains(why.Message, "hunter") || why.Code != "expect.dialogue" {
		t.Errorf("%+v", why)
	}
}

// TestE2ResolverWithoutNetwork has resolvers that answer every question with a
// failure, as a stub does on a machine that is offline. That is our own side's
// fault, unless the resolver is the check's own choice.
func TestE2ResolverWithoutNetwork(t *testing.T) {
	t.Parallel()
	for _, rcode := range []int{dns.RcodeServerFailure, dns.RcodeRefused} {
		answer := func(q *testnet.DNSQuery) {
			m := q.Answer()
			m.Rcode = rcode
			q.ReplyMsg(m)
		}
		offline := dnsServer(t, answer)
		online := dnsServer(t, func(q *testnet.DNSQuery) {
			if q.Msg.Question[0].Name == "." {
				q.ReplyMsg(q.Answer())
				return
			}
			answer(q)
		})
		silent := dnsServer(t, (*testnet.DNSQuery).Hang)
		code := check.DNSServFail
		if rcode == dns.RcodeRefused {
			code = check.DNSRefused
		}
		for name, c := range map[string]struct {
			conf string
			want check.Code
		}{
			"offline":            {nameserverLine(offline), check.LocalResolver},
			"online":             {nameserverLine(online), code},
			"offline and online": {nameserverLine(offline) + nameserverLine(online), code},
			"silent and offline": {nameserverLine(silent) + nameserverLine(offline), check.LocalResolver},
		} {
			t.Run(fmt.Sprint(dns.RcodeToString[rcode], " ", name), func(t *testing.T) {
				t.Parallel()
				r := &router{system: testSystem(t, c.conf, "")}
				o := inTime(5*time.Second, func(d time.Duration) check.Observation {
					_, reason := begin().resolve(within(t, d), r, "web.test")
					return check.Observation{Failure: *reason}
				}, func(o *check.Observation) bool { return o.Failure.Code == c.want })
				wantFailure(t, o, c.want)
				p := buildDNS(t, "", nil)
				p.router.system = r.system
				o = inTime(5*time.Second, func(d time.Duration) check.Observation { return observeDNS(t, p, d) },
					func(o *check.Observation) bool { return o.Failure.IsZero() == (c.want == code) })
				if c.want == code { // a fact to the kind dns
					wantFailure(t, o, "")
					wantFacts(t, o, check.FactsOf(map[string]any{"rcode": dns.RcodeToString[rcode]}))
					return
				}
				wantFailure(t, o, c.want)
			})
		}
		_, reason := begin().resolve(within(t, patience), &router{resolver: mustServer(t, offline.Addr())}, "web.test")
		if resolveCode(reason) != code {
			t.Errorf("own resolver: %v, want %s", reason, code)
		}
	}
}

// TestPlaced tells apart what two sides say with one system error. An address
// in a zone that does not exist is one that this machine has no route to.
func TestPlaced(t *testing.T) {
	t.Parallel()
	here, nowhere := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fe80::1%no-such-zone")
	for _, c := range []struct {
		errno syscall.Errno
		addr  netip.Addr
		want  check.Code
	}{
		{syscall.EADDRNOTAVAIL, here, check.LocalPorts},
		{syscall.EADDRNOTAVAIL, nowhere, check.LocalRoute},
		{syscall.EHOSTUNREACH, here, check.ConnectUnreachable},
		{syscall.EHOSTUNREACH, nowhere, check.LocalRoute},
		{syscall.ENETUNREACH, here, check.ConnectUnreachable},
		{syscall.ENETUNREACH, nowhere, check.LocalRoute},
		{syscall.EACCES, here, check.LocalPermission},
		{syscall.EACCES, nowhere, check.LocalPermission},
		{syscall.EPERM, here, check.LocalPermission},
		{syscall.ECONNREFUSED, nowhere, check.ConnectRefused},
	} {
		err := error(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", c.errno)})
		if got := placed(cause(err, check.ConnectTimeout), err, "", c.addr); got.Code != c.want {
			t.Errorf("%v for %s: %v, want %s", c.errno, c.addr, got, c.want)
		}
	}
}
