package probes

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// atTLS returns options of the kind tls for a server of api.test.
func atTLS(t *testing.T, host, port string) *tlsOptions {
	t.Helper()
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return &tlsOptions{Host: host, Port: number, TLS: TLS{CA: caFile(t), ServerName: "api.test"}}
}

// look builds the check and observes once.
func look(t *testing.T, o *tlsOptions, d time.Duration, facts ...string) check.Observation {
	t.Helper()
	plan, err := o.Build(needs(facts...))
	if err != nil {
		t.Fatal(err)
	}
	return promptly(t, plan.Probe, d)
}

func TestTLSKindFactsOfABadCertificate(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"db.test"}, NotAfter: time.Now().AddDate(0, 0, -1), Intermediate: true})
	cfg.NextProtos = []string{"h2"}
	host, port := listenTLS(t, cfg, testnet.Silence)
	options := atTLS(t, host, port)
	options.ALPN = []string{"h2", "http/1.1"}
	o := look(t, options, patience)
	if o.Failure.Code != "" {
		t.Fatal(o.Failure)
	}
	sum := sha256.Sum256(parsed(t, cfg.Certificates[0])[0].RawSubjectPublicKeyInfo)
	for fact, want := range map[string]any{
		"cert.trusted": false, "cert.hostname_ok": false, "cert.self_signed": false, "tls.alpn": "h2", "tls.client_cert": false,
		"cert.signature": "ECDSA-SHA256", "cert.key_bits": 256, "cert.presented": 2, stapleFact: stapleNone,
		"cert.must_staple": false, "cert.scts": 0, "cert.pin": base64.StdEncoding.EncodeToString(sum[:]),
	} {
		if got := o.Facts.Get(fact); got != want {
			t.Errorf("%s is %v, want %v", fact, got, want)
		}
	}
	if d, _ := o.Facts.Get("cert.presented_expires_in").(time.Duration); d > -23*time.Hour {
		t.Errorf("presented: %v", d)
	}
}

func TestTLSKindClientCertificate(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
		cfg.ClientAuth, cfg.MaxVersion = tls.RequireAnyClientCert, version
		host, port := listenTLS(t, cfg, testnet.Silence)
		o := untilRefused(func() check.Observation { return look(t, atTLS(t, host, port), patience) })
		if o.Failure.Code != check.TLSClientCert || o.Facts.Get("tls.client_cert") != true || o.Facts.Get("cert.trusted") != true {
			t.Errorf("%s: %v, %v", tls.VersionName(version), o.Failure, o.Facts)
		}
	}
}

func TestTLSKindWhatIsAccepted(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS11, tls.VersionTLS12
	cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	host, port := listen(t, testnet.Converse(testnet.StartTLSTurns("pop3"), testnet.Secure(cfg)))
	options := atTLS(t, host, port)
	options.StartTLS = "pop3"
	o := look(t, options, patience, versionsFact, ciphersFact)
	if diff := cmp.Diff([]string{"1.1", "1.2"}, o.Facts.Get(versionsFact)); diff != "" {
		t.Errorf("%v %s", o.Because, diff)
	}
	want := []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"}
	if diff := cmp.Diff(want, o.Facts.Get(ciphersFact)); diff != "" {
		t.Errorf("%v %s", o.Because, diff)
	}
	if o = look(t, options, patience); o.Facts.Get(versionsFact) != nil {
		t.Error("tried without being asked")
	}
}

// TestTLSScanTellsSilenceFromRefusal has a server refuse TLS 1.1 and something
// on the way swallow TLS 1.0.
func TestTLSScanTellsSilenceFromRefusal(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	over := make(chan struct{})
	defer close(over) // before the cleanup, which waits for the server
	swallow := cfg.Clone()
	swallow.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Max(hello.SupportedVersions) == tls.VersionTLS10 {
			<-over
		}
		return cfg, nil
	}
	old := cfg.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	for name, tt := range map[string]struct {
		cfg     *tls.Config
		want    any
		why     check.Reason
		failure check.Code
	}{
		"refused": {cfg, []string{"1.2", "1.3"}, check.Reason{}, ""},
		"old":     {old, []string{"1.1"}, check.Reason{}, check.TLSVersion},
		"silent":  {swallow, nil, check.Reason{Code: check.TLSHandshakeTimeout, Message: "trying TLS 1.0: no answer"}, ""},
	} {
		host, port := listenTLS(t, tt.cfg, testnet.Silence)
		options := atTLS(t, host, port)
		options.Scan = true
		limit := patience
		if tt.why.Code != "" {
			limit = brief // each try of a version has its share of it, the last ones need no more
		}
		o := inTime(limit, func(d time.Duration) check.Observation { return look(t, options, d) }, func(o *check.Observation) bool {
			return o.Facts.Get(ciphersFact) != nil && strings.HasPrefix(o.Because[versionsFact].Message, tt.why.Message)
		})
		if diff := cmp.Diff(tt.want, o.Facts.Get(versionsFact)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if why := o.Because[versionsFact]; why.Code != tt.why.Code || !strings.HasPrefix(why.Message, tt.why.Message) {
			t.Errorf("%s: %v", name, why)
		}
		if diff := cmp.Diff([]string{"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"}, o.Facts.Get(ciphersFact)); diff != "" || o.Failure.Code != tt.failure {
			t.Errorf("%s: %s%v", name, diff, o.Failure)
		}
	}
}

// TestTLSScanOfASlowServer has a server that takes half a second for each
// handshake: too long for what the timeout leaves for a version.
func TestTLSScanOfASlowServer(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	slow := cfg.Clone()
	var asked [4]atomic.Int32 // by the version, of the handshakes that offer one alone
	slow.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if v := hello.SupportedVersions; len(v) == 1 {
			asked[v[0]-tls.VersionTLS10].Add(1)
		}
		<-time.After(500 * time.Millisecond)
		return cfg, nil
	}
	host, port := listenTLS(t, slow, testnet.Silence)
	options := atTLS(t, host, port)
	options.Scan = true
	o := look(t, options, 2*time.Second)
	wantFailure(t, o, "")
	for fact, begins := range map[string]string{versionsFact: "trying TLS 1.0: no answer", ciphersFact: "trying cipher suites: no answer"} {
		why := o.Because[fact]
		if o.Facts.Get(fact) != nil || why.Code != check.TLSHandshakeTimeout || !strings.HasPrefix(why.Message, begins) || !strings.Contains(why.Message, "raise the timeout") {
			t.Errorf("%s: %v because %v", fact, o.Facts.Get(fact), why)
		}
	}
	if asked[1].Load() > 0 {
		t.Error("tried TLS 1.1 when the list could not become whole any more")
	}
}

func TestStartTLS(t *testing.T) {
	t.Parallel()
	cfg := serverConfig(t, testnet.CertOptions{Names: []string{"api.test"}})
	for _, s := range startTLSProtocols() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			turns := testnet.StartTLSTurns(s.name)
			host, port := listen(t, testnet.Converse(turns, testnet.Secure(cfg)))
			options := atTLS(t, host, port)
			options.StartTLS = s.name
			o := look(t, options, patience)
			if o.Failure.Code != "" || o.Facts.Get("cert.trusted") != true {
				t.Errorf("%v, %v", o.Failure, o.Facts)
			}
			// Text in the same packet as the consent, and right behind it.
			last := turns[len(turns)-1]
			for name, handler := range map[string]func(net.Conn){
				"with the consent":   testnet.Converse(append(turns[:len(turns)-1:len(turns)-1], testnet.Turn{Say: last.Say + "250 injected\r\n", Until: last.Until}), testnet.Secure(cfg)),
				"behind the consent": testnet.Converse(turns, testnet.Say("250 injected\r\n")),
			} {
				host, port := listen(t, handler)
				options := atTLS(t, host, port)
				options.StartTLS = s.name
				o := look(t, options, patience)
				if o.Failure.Code != check.TLSPlaintext || !strings.Contains(o.Failure.Message, "injected") {
					t.Errorf("%s: %v", name, o.Failure)
				}
			}
		})
	}
}

func TestStartTLSGoesWrong(t *testing.T) {
	t.Parallel()
	const greet, slowly = "220 mail.test\r\n", 5 * time.Millisecond
	ehlo := testnet.Turn{Say: greet, Until: "\n"}
	tests := map[string]struct {
		protocol string
		handler  func(net.Conn)
		code     check.Code
		says     string
	}{
		"silence":                {"smtp", testnet.Silence, check.TLSHandshakeTimeout, "timed out"},
		"silence of postgres":    {"postgres", testnet.Silence, check.TLSHandshakeTimeout, "timed out"},
		"slow greeting":          {"smtp", testnet.Drip("220-mail.test\r\n", slowly), check.TLSHandshakeTimeout, "timed out"},
		"endless greeting":       {"smtp", flood("220-mail.test\r\n"), check.TLSPlaintext, "more than the protocol lets"},
		"endless line":           {"ftp", flood("x"), check.TLSPlaintext, "more than the protocol lets"},
		"endless untagged lines": {"imap", testnet.Converse([]testnet.Turn{{Say: "* OK\r\n", Until: "\n"}}, flood("* 1 EXISTS\r\n")), check.TLSPlaintext, "more than"},
		"endless tags":           {"xmpp", flood("<a>"), check.TLSPlaintext, "more than"},
		"endless text":           {"xmpp", flood("a"), check.TLSPlaintext, "more than"},
		"closes":                 {"smtp", func(net.Conn) {}, check.ConnectReset, "closed"},
		"resets":                 {"smtp", testnet.Converse([]testnet.Turn{ehlo}, testnet.Reset), check.ConnectReset, "STARTTLS of smtp"},
		"busy":                   {"smtp", testnet.Say("421 too busy\r\n"), check.TLSPlaintext, `"421 too busy"`},
		"not offered":            {"smtp", testnet.Converse([]testnet.Turn{ehlo}, testnet.Say("250-mail\r\n250 SIZE\r\n")), check.TLSPlaintext, "does not offer"},
		"refused":                {"smtp", testnet.Converse([]testnet.Turn{ehlo, {Say: "250 STARTTLS\r\n", Until: "\n"}}, testnet.Say("554 no\r\n")), check.TLSPlaintext, `"554 no"`},
		"imap without":           {"imap", testnet.Converse([]testnet.Turn{{Say: "* OK\r\n", Until: "\n"}}, testnet.Say("a BAD no\r\n")), check.TLSPlaintext, "a BAD no"},
		"imap knows us":          {"imap", testnet.Say("* PREAUTH hi\r\n"), check.TLSPlaintext, "PREAUTH"},
		"pop3 without":           {"pop3", testnet.Converse([]testnet.Turn{{Say: "+OK\r\n", Until: "\n"}}, testnet.Say("-ERR no\r\n")), check.TLSPlaintext, "-ERR no"},
		"ftp without":            {"ftp", testnet.Converse([]testnet.Turn{{Say: "220 hi\r\n", Until: "\n"}}, testnet.Say("502 no\r\n")), check.TLSPlaintext, "502 no"},
		"ftp is busy":            {"ftp", testnet.Say("421 busy\r\n"), check.TLSPlaintext, "421 busy"},
		"postgres without":       {"postgres", testnet.Say("N"), check.TLSPlaintext, "turned off"},
		"postgres of old":        {"postgres", testnet.Say("E"), check.TLSPlaintext, "want S"},
		"mysql without":          {"mysql", testnet.Say(testnet.MySQLWithoutTLS()), check.TLSPlaintext, "turned off"},
		"mysql error":            {"mysql", testnet.Say("\x05\x00\x00\x00\xff\x10\x04no"), check.TLSPlaintext, `the server says "no" (error 1040)`},
		"mysql cut":              {"mysql", testnet.Say("\x05\x00\x00\x00\x0a8.0\x00"), check.TLSPlaintext, "is cut"},
		"mysql too long":         {"mysql", testnet.Say("\xff\xff\xff\x00" + strings.Repeat("x", 70<<10)), check.TLSPlaintext, "more than"},
		"mysql empty":            {"mysql", testnet.Say("\x00\x00\x00\x00"), check.TLSPlaintext, "an empty packet"},
		"ldap refuses":           {"ldap", testnet.Say("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00"), check.TLSPlaintext, "result code 52"},
		"ldap too long":          {"ldap", testnet.Say("\x30\x84\x7f\xff\xff\xff"), check.TLSPlaintext, "more than"},
		"ldap garbage":           {"ldap", testnet.Say("220 mail.test\r\n"), check.TLSPlaintext, "want an element"},
		"ldap inner garbage":     {"ldap", testnet.Say("\x30\x03\x02\x7f\x01"), check.TLSPlaintext, "not one of LDAP"},
		"xmpp without":           {"xmpp", testnet.Say("<stream:stream><stream:features/>"), check.TLSPlaintext, "does not offer"},
		"xmpp error":             {"xmpp", testnet.Say("<stream:stream><stream:error>"), check.TLSPlaintext, "ended the stream"},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			host, port := listen(t, tt.handler)
			options := atTLS(t, host, port)
			options.StartTLS = tt.protocol
			d := patience
			if tt.code == check.TLSHandshakeTimeout {
				d = brief
			}
			o := inTime(d, func(d time.Duration) check.Observation { return look(t, options, d) }, endsAs(tt.code, tt.says))
			if o.Failure.Code != tt.code || !strings.Contains(o.Failure.Message, tt.says) {
				t.Errorf("got %v", o.Failure)
			}
			if _, ok := o.Phases.Get(check.PhaseTLS); ok {
				t.Error("went on to TLS")
			}
		})
	}
}

func TestTLSTargets(t *testing.T) {
	t.Parallel()
	const verify = " -verify_return_error -verify_hostname db.test </dev/null"
	wantTargets(t, map[string]string{
		"tls://db.test:993/":               "openssl s_client -connect db.test:993 -servername db.test" + verify,
		"tls://db.test":                    "openssl s_client -connect db.test:443 -servername db.test" + verify,
		"tls://db.test?starttls=smtp":      "openssl s_client -starttls smtp -connect db.test:25 -servername db.test" + verify,
		"tls://db.test:587?starttls=smtp":  "openssl s_client -starttls smtp -connect db.test:587 -servername db.test" + verify,
		"tls://[::1]:443":                  "openssl s_client -connect '[::1]:443' -verify_return_error -verify_ip ::1 </dev/null",
		"tls://:443":                       "error: ",
		"tls://db.test:x":                  "error: ",
		"tls://db.test:0":                  "error: ",
		"tls://db.test:99999":              "error: ",
		"tls://a@db.test:443":              "error: ",
		"tls://db.test:443/x":              "error: ",
		"tls://db.test?starttls=gopher":    "error: ",
		"tls://db.test?starttls=a&b=c":     "error: ",
		"tls://db.test?starttls=a;b":       "error: ",
		"tls://db.test?other=smtp":         "error: ",
		"tls://db.test?starttls=smtp#frag": "error: ",
	}, func() check.Options { return new(tlsOptions) }, func(plan check.Plan) string { return plan.Probe.(*tlsProbe).reproduce(netip.Addr{}) })
}

func TestTLSOptionsGoWrong(t *testing.T) {
	t.Parallel()
	for option, o := range map[string]*tlsOptions{
		"host":            {Host: "a b"},
		"port":            {Host: "a.test", Port: 65536},
		"starttls":        {Host: "a.test", StartTLS: "gopher"},
		"alpn[1]":         {Host: "a.test", ALPN: []string{"h2", ""}},
		"tls.min_version": {Host: "a.test", TLS: TLS{MinVersion: "9"}},
		"close":           {Host: "a.test", Close: "gently"},
	} {
		_, err := o.Build(needs())
		if got := check.OptionErrors(err); len(got) != 1 || got[0].Option != option {
			t.Errorf("%s: %v", option, err)
		}
	}
}

func FuzzStartTLS(f *testing.F) {
	for i, s := range startTLSProtocols() {
		text := ""
		for _, turn := range testnet.StartTLSTurns(s.name) {
			text += turn.Say
		}
		f.Add(uint8(i), []byte(text))
	}
	f.Fuzz(func(t *testing.T, which uint8, sent []byte) {
		client, server := net.Pipe()
		defer client.Close()
		go testnet.Silence(client)
		defer server.Close()
		all := startTLSProtocols()
		conn := &said{Conn: server, text: strings.NewReader(string(sent))}
		reason := begin().upgrade(t.Context(), conn, &all[int(which)%len(all)], "api.test")
		if reason == nil && conn.text.Len() > 0 && len(sent) <= 4096 {
			t.Errorf("%q left over of %q", sent[len(sent)-conn.text.Len():], sent)
		}
	})
}

// said is a connection whose peer has said the text and ends.
type said struct {
	net.Conn
	text *strings.Reader
}

// Read reads the text.
func (s *said) Read(b []byte) (int, error) { return s.text.Read(b) }
