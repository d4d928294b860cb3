package probes

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// shake connects to the address and shakes hands.
func shake(t *testing.T, options TLS, name, host, port string, d time.Duration) (check.Observation, *check.Reason) {
	t.Helper()
	plan, err := options.build()
	if err != nil {
		t.Fatal(err)
	}
	plan.detail = true
	ctx := timeout(t, d)
	j := begin()
	conn, reason := j.connect(ctx, &router{}, host, port)
	if reason != nil {
		return j.end(), reason
	}
	defer conn.Close()
	secure, reason := j.handshake(ctx, conn, plan, name, nil)
	if reason == nil {
		reason = j.refusal(secure)
	}
	return j.end(), reason
}

func TestHandshakeOfAGoodServer(t *testing.T) {
	t.Parallel()
	host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}}), testnet.Silence)
	o, reason := shake(t, TLS{CA: caFile(t)}, "api.test", host, port, patience)
	if reason != nil {
		t.Fatal(reason)
	}
	if o.Facts.Get("cert.trusted") != true || o.Facts.Get("cert.hostname_ok") != true || o.Facts.Get("tls.version") != "1.3" {
		t.Errorf("facts %v because %v", o.Facts, o.Because)
	}
	for _, f := range tlsFacts() {
		if v, ok := o.Facts.Lookup(f.Name); !ok || !f.Type.Accepts(v) {
			t.Errorf("%s is %v (%T), want a %s", f.Name, v, v, f.Type)
		}
	}
}

func TestB4ExpiredLeaf(t *testing.T) {
	t.Parallel()
	host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{
		Names: []string{"api.test"}, NotAfter: time.Now().AddDate(0, 0, -3),
	}), testnet.Silence)
	for _, insecure := range []bool{false, true} {
		o, reason := shake(t, TLS{CA: caFile(t), Insecure: insecure}, "api.test", host, port, patience)
		if reason != nil {
			t.Fatal(reason)
		}
		if o.Facts.Get("cert.trusted") != false || o.Because["cert.trusted"].Code != check.TLSExpired {
			t.Errorf("insecure %v: trusted %v because %v", insecure, o.Facts.Get("cert.trusted"), o.Because)
		}
		if left := o.Facts.Get("cert.expires_in").(time.Duration); left > -70*time.Hour {
			t.Errorf("expires in %v", left)
		}
	}
}

func TestBadCertificates(t *testing.T) {
	t.Parallel()
	names := []string{"api.test", "www.test"}
	trusted, hostname := "cert.trusted", "cert.hostname_ok"
	tests := map[string]struct {
		cert testnet.CertOptions
		name string // asked for; default api.test
		fact string
		code check.Code
		says string
	}{
		"B5 not yet valid":          {testnet.CertOptions{Names: names, NotBefore: time.Now().AddDate(0, 0, 3)}, "", trusted, check.TLSNotYetValid, "not valid before"},
		"B9 wrong host":             {testnet.CertOptions{Names: names}, "db.test", hostname, check.TLSHostname, "db.test but for api.test, www.test"},
		"B9 wrong address":          {testnet.CertOptions{Names: names}, "127.0.0.1", hostname, check.TLSHostname, "127.0.0.1"},
		"B10 common name only":      {testnet.CertOptions{CommonName: "api.test"}, "", hostname, check.TLSHostname, "common name"},
		"B11 self-signed":           {testnet.CertOptions{Names: names, SelfSigned: true}, "", trusted, check.TLSSelfSigned, "self-signed"},
		"B12 incomplete chain":      {testnet.CertOptions{Names: names, Incomplete: true}, "", trusted, check.TLSIncompleteChain, "browsers may hide this"},
		"a trailing dot is no name": {testnet.CertOptions{Names: names}, "api.test.", "", "", ""},
		"an address in the names":   {testnet.CertOptions{Names: []string{"127.0.0.1"}}, "127.0.0.1", "", "", ""},
		"a complete chain":          {testnet.CertOptions{Names: names, Intermediate: true}, "", "", "", ""},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			host, port := listenTLS(t, serverConfig(t, tt.cert), testnet.Silence)
			name := cmp.Or(tt.name, "api.test")
			o, reason := shake(t, TLS{CA: caFile(t)}, name, host, port, patience)
			if reason != nil {
				t.Fatal(reason)
			}
			for _, fact := range []string{trusted, hostname} {
				if o.Facts.Get(fact) != (fact != tt.fact) {
					t.Errorf("%s is %v because %v", fact, o.Facts.Get(fact), o.Because)
				}
			}
			if got := o.Because[tt.fact]; got.Code != tt.code || !strings.Contains(got.Message, tt.says) {
				t.Errorf("because %v", got)
			}
		})
	}
}

func TestB11UntrustedRoot(t *testing.T) {
	t.Parallel()
	other, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []testnet.CertOptions{{Names: []string{"api.test"}}, {Names: []string{"api.test"}, Intermediate: true}} {
		host, port := listenTLS(t, serverConfig(t, o), testnet.Silence)
		got, reason := shake(t, TLS{CA: tempFile(t, "other.pem", other.PEM())}, "api.test", host, port, patience)
		if reason != nil {
			t.Fatal(reason)
		}
		if because := got.Because["cert.trusted"]; because.Code != check.TLSUntrusted {
			t.Errorf("because %v", because)
		}
	}
}

func TestFailedHandshakes(t *testing.T) {
	t.Parallel()
	good := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	with := func(change func(*tls.Config)) func(net.Conn) {
		cfg := good.Clone()
		change(cfg)
		return func(conn net.Conn) {
			if tls.Server(conn, cfg).Handshake() == nil {
				testnet.Silence(conn)
			}
		}
	}
	tests := map[string]struct {
		handler func(net.Conn)
		options TLS
		brief   bool
		code    check.Code
		says    string
	}{
		"B1 no ServerHello":         {testnet.Silence, TLS{}, true, check.TLSHandshakeTimeout, "no answer"},
		"B2 plaintext HTTP":         {testnet.Say("HTTP/1.1 400 Bad Request\r\n\r\n"), TLS{}, false, check.TLSPlaintext, `"HTTP/1.1 400 Bad Request....`},
		"B2 SSH banner":             {testnet.Say("SSH-2.0-OpenSSH_9.7\r\n"), TLS{}, false, check.TLSPlaintext, "SSH-2.0-OpenSSH_9.7"},
		"B2 two bytes":              {testnet.Say("hi"), TLS{}, true, check.TLSPlaintext, `"hi"`},
		"B3 dribbled ServerHello":   {testnet.Drip("\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03", 30*time.Millisecond), TLS{}, true, check.TLSHandshakeTimeout, "did not finish"},
		"B17 only TLS 1.1":          {with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), TLS{}, false, check.TLSVersion, "1.2 to 1.3"},
		"B17 only TLS 1.3":          {with(func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }), TLS{MaxVersion: "1.2"}, false, check.TLSVersion, "1.2"},
		"B17 answers TLS 1.0":       {testnet.Say(oldServerHello), TLS{}, false, check.TLSVersion, "the server wants TLS 1.0, sonde offered 1.2 to 1.3"},
		"B19 client cert, TLS 1.2":  {with(func(c *tls.Config) { c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12 }), TLS{}, false, check.TLSClientCert, "tls.cert"},
		"B19 client cert, TLS 1.3":  {with(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), TLS{}, false, check.TLSClientCert, "tls.cert"},
		"B19 optional client cert":  {with(func(c *tls.Config) { c.ClientAuth = tls.VerifyClientCertIfGiven }), TLS{}, false, "", ""},
		"A5 FIN after accept":       {func(net.Conn) {}, TLS{}, false, check.ConnectReset, "TLS handshake"},
		"A6 RST after ClientHello":  {func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); testnet.Reset(c) }, TLS{}, false, check.ConnectReset, "TLS handshake"},
		"an alert":                  {testnet.Say("\x15\x03\x03\x00\x02\x02\x28"), TLS{}, false, check.TLSAlert, "handshake failure"},
		"a broken record":           {testnet.Say("\x16\x03\x03\x00\x04\x63\x00\x00\x00"), TLS{}, false, check.TLSAlert, "unexpected message"},
		"a record that is too long": {testnet.Say("\x16\x03\x03\xff\xff" + strings.Repeat("x", 100)), TLS{}, false, check.TLSAlert, "oversized"},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			host, port := listen(t, tt.handler)
			d := patience
			if tt.brief {
				d = brief
			}
			tt.options.CA = caFile(t)
			look := func(d time.Duration) check.Observation {
				start := time.Now()
				o, reason := shake(t, tt.options, "api.test", host, port, d)
				if took := time.Since(start); tt.brief && took > d+hung {
					t.Errorf("took %v", took)
				}
				if reason != nil {
					o.Failure = *reason
				}
				return o
			}
			var o check.Observation
			if tt.code == check.TLSClientCert {
				o = untilRefused(func() check.Observation { return look(d) })
			} else {
				o = inTime(d, look, endsAs(tt.code, tt.says))
			}
			wantFailure(t, o, tt.code, tt.says)
			if _, ok := o.Phases.Get(check.PhaseTLS); !ok {
				t.Error("no phase tls")
			}
		})
	}
}

// oldServerHello is a ServerHello of TLS 1.0 with the cipher suite
// TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA.
const oldServerHello = "\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01" +
	"0123456789abcdef0123456789abcdef" + "\x00\xc0\x13\x00"

// B24: what is offered by default is large, and can be made small.
func TestB24ClassicKeys(t *testing.T) {
	t.Parallel()
	offers := make(chan []tls.CurveID, 1)
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		offers <- hello.SupportedCurves
		return nil, nil
	}
	host, port := listenTLS(t, cfg, testnet.Silence)
	for _, classic := range []bool{false, true} {
		if _, reason := shake(t, TLS{CA: caFile(t), ClassicKeys: classic}, "api.test", host, port, patience); reason != nil {
			t.Fatal(reason)
		}
		if got := slices.Contains(<-offers, tls.X25519MLKEM768); got == classic {
			t.Errorf("classic %v: the post-quantum key exchange is offered: %v", classic, got)
		}
	}
	host, port = listen(t, testnet.Silence)
	o := inTime(brief, func(d time.Duration) check.Observation {
		o, reason := shake(t, TLS{}, "api.test", host, port, d)
		o.Failure = *reason
		return o
	}, endsAs(check.TLSHandshakeTimeout))
	wantFailure(t, o, check.TLSHandshakeTimeout, "tls.classic_keys")
}

func TestB18SNI(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		asked <- hello.ServerName
		return nil, nil
	}
	host, port := listenTLS(t, cfg, testnet.Silence)
	for _, tt := range []struct{ host, serverName, want string }{
		{"api.test", "", "api.test"},
		{"api.test", "other.test", "other.test"},
		{"127.0.0.1", "", ""},
		{"::1", "", ""},
		{"127.0.0.1", "api.test", "api.test"},
	} {
		if _, reason := shake(t, TLS{ServerName: tt.serverName}, tt.host, host, port, patience); reason != nil && !reason.Code.Local() {
			t.Fatal(reason)
		}
		if got := <-asked; got != tt.want {
			t.Errorf("%s with server_name %q: SNI %q, want %q", tt.host, tt.serverName, got, tt.want)
		}
	}
}

func TestClientCertificateIsSent(t *testing.T) {
	t.Parallel()
	client, err := authority(t).Issue(testnet.CertOptions{CommonName: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(client)
	if err != nil {
		t.Fatal(err)
	}
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, authority(t).Pool()
	seen := make(chan string, 1)
	host, port := listenTLS(t, cfg, func(conn net.Conn) {
		seen <- conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	})
	options := TLS{CA: caFile(t), Cert: tempFile(t, "cert.pem", chain), Key: tempFile(t, "key.pem", key)}
	if _, reason := shake(t, options, "api.test", host, port, patience); reason != nil {
		t.Fatal(reason)
	}
	if got := <-seen; got != "probe" {
		t.Errorf("the server saw %q", got)
	}
}

func TestB20TLSOptionErrors(t *testing.T) {
	t.Parallel()
	var files [2][2]string // chain and key of two certificates
	for i := range files {
		cert, err := authority(t).Issue(testnet.CertOptions{CommonName: "probe"})
		if err != nil {
			t.Fatal(err)
		}
		chain, key, err := testnet.KeyPEM(cert)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = [2]string{tempFile(t, "cert.pem", chain), tempFile(t, "key.pem", key)}
	}
	locked := tempFile(t, "locked.pem", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	junk := tempFile(t, "junk.pem", []byte("junk"))
	tests := map[string]struct {
		options      TLS
		option, says string
	}{
		"no CA file":        {TLS{CA: "missing.pem"}, "tls.ca", "missing.pem"},
		"CA is junk":        {TLS{CA: junk}, "tls.ca", "no PEM certificate"},
		"cert without key":  {TLS{Cert: files[0][0]}, "tls.cert", "tls.key"},
		"key without cert":  {TLS{Key: files[0][1]}, "tls.key", "tls.cert"},
		"missing cert file": {TLS{Cert: "missing.pem", Key: files[0][1]}, "tls.cert", "missing.pem"},
		"missing key file":  {TLS{Cert: files[0][0], Key: "missing.pem"}, "tls.key", "missing.pem"},
		"mismatch":          {TLS{Cert: files[0][0], Key: files[1][1]}, "tls.key", "does not match"},
		"passphrase":        {TLS{Cert: files[0][0], Key: locked}, "tls.key", "passphrase"},
		"cert is junk":      {TLS{Cert: junk, Key: files[0][1]}, "tls.cert", "PEM"},
		"versions crossed":  {TLS{MinVersion: "1.3", MaxVersion: "1.2"}, "tls.max_version", "below"},
		"unknown version":   {TLS{MinVersion: "1.4"}, "tls.min_version", "1.4"},
	}
	for title, tt := range tests {
		_, err := tt.options.build()
		got := check.OptionErrors(err)
		if len(got) != 1 || got[0].Option != tt.option || !strings.Contains(got[0].Error(), tt.says) {
			t.Errorf("%s: %v", title, err)
		}
	}
	good := TLS{Cert: files[0][0], Key: files[0][1], MinVersion: "1.2", MaxVersion: "1.2"}
	if _, err := good.build(); err != nil {
		t.Error(err)
	}
}

// TestB7ChainThatLastsLongest has two chains, by two roots with one key.
func TestB7ChainThatLastsLongest(t *testing.T) {
	t.Parallel()
	day := func(n int) *x509.Certificate { return &x509.Certificate{NotAfter: time.Unix(int64(n)*86400, 0)} }
	chains := [][]*x509.Certificate{{day(90), day(10)}, {day(90), day(60), day(70)}, {day(90), day(20), day(99)}}
	if got, want := chainEnd(chains), day(60).NotAfter; !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
