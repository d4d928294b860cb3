package probes

import (
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// sshKeys are the keys of the tests' servers.
var sshKeys = sync.OnceValues(testnet.SSHKeys)

func hostKeys(t *testing.T) []ssh.Signer {
	t.Helper()
	keys, err := sshKeys()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// observeSSH builds the options for the address and observes once.
func observeSSH(t *testing.T, host, port string, d time.Duration, change func(*sshOptions), facts ...string) check.Observation {
	t.Helper()
	o := &sshOptions{Host: host}
	var err error
	if o.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(o)
	}
	plan, err := o.Build(needs(facts...))
	if err != nil {
		t.Fatal(err)
	}
	return plan.Probe.Observe(timeout(t, d))
}

func TestSSH(t *testing.T) {
	t.Parallel()
	keys := hostKeys(t)
	var logins atomic.Int32
	host, port := listen(t, testnet.SSH(keys, func(c *ssh.ServerConfig) { c.ServerVersion = "SSH-2.0-Test_1.0 of a server" }, func() { logins.Add(1) }))
	fingerprint := func(i int) string { return ssh.FingerprintSHA256(keys[i].PublicKey()) }
	for _, c := range []struct {
		option, kind, algorithm, fingerprint string
		bits                                 int
	}{
		{"", "ssh-ed25519", "ssh-ed25519", fingerprint(0), 256},
		{"ed25519", "ssh-ed25519", "ssh-ed25519", fingerprint(0), 256},
		{"ecdsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", fingerprint(1), 256},
		{"rsa", "ssh-rsa", "rsa-sha2-512", fingerprint(2), 2048},
	} {
		o := observeSSH(t, host, port, patience, func(o *sshOptions) { o.HostKey = c.option })
		wantFailure(t, o, "")
		wantFacts(t, o, check.FactsOf(map[string]any{
			"banner": "SSH-2.0-Test_1.0 of a server", "protocol": "2.0", "software": "Test_1.0", "comment": "of a server",
			"key.type": c.kind, "key.algorithm": c.algorithm, "key.fingerprint": c.fingerprint, "key.bits": c.bits,
			"kex": "mlkem768x25519-sha256", "cipher": "aes128-gcm@openssh.com", "preamble": nil, "known": nil, "keys": nil,
		}))
		for _, phase := range []string{check.PhaseConnect, check.PhaseWait, check.PhaseTransfer} {
			if d, ok := o.Phases.Get(phase); !ok || d <= 0 {
				t.Errorf("phase %s %v", phase, d)
			}
		}
	}
	o := observeSSH(t, host, port, patience, nil, hostKeysFact)
	want := map[string]string{"ssh-ed25519": fingerprint(0), "ecdsa-sha2-nistp256": fingerprint(1), "ssh-rsa": fingerprint(2)}
	if diff := cmp.Diff(want, o.Facts.Get(hostKeysFact)); diff != "" {
		t.Error(diff)
	}
	if n := logins.Load(); n != 0 {
		t.Errorf("%d logins", n)
	}
}

// TestSSHOldServer has one that knows nothing of this century.
func TestSSHOldServer(t *testing.T) {
	t.Parallel()
	old, err := ssh.NewSignerWithAlgorithms(hostKeys(t)[2].(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	host, port := listen(t, testnet.SSH([]ssh.Signer{old}, func(c *ssh.ServerConfig) {
		c.KeyExchanges, c.Ciphers, c.MACs = []string{ssh.InsecureKeyExchangeDH14SHA1}, []string{ssh.InsecureCipherAES128CBC}, []string{ssh.HMACSHA1}
	}, func() {}))
	o := observeSSH(t, host, port, patience, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{
		"key.algorithm": "ssh-rsa", "kex": "diffie-hellman-group14-sha1", "cipher": "aes128-cbc",
		"offers.ciphers": []string{"aes128-cbc"}, "offers.macs": []string{"hmac-sha1"}, "offers.keys": []string{"ssh-rsa"},
	}))
	o = observeSSH(t, host, port, patience, func(o *sshOptions) { o.HostKey = "ed25519" })
	wantFailure(t, o, check.SSHNegotiation, "no common host key algorithm", `"ssh-rsa"`)
	wantFacts(t, o, check.FactsOf(map[string]any{"offers.keys": []string{"ssh-rsa"}, "key.type": nil}))
}

// TestSSHGoesWrong has servers that are none, or end too early.
func TestSSHGoesWrong(t *testing.T) {
	t.Parallel()
	const banner = "SSH-2.0-Test\r\n"
	says := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			_, _ = conn.Read(make([]byte, 4096)) // so that closing sends no RST
		}
	}
	for name, c := range map[string]struct {
		handler func(net.Conn)
		code    check.Code
		parts   []string
		slow    bool // it lasts until the timeout
	}{
		"silence":            {testnet.Silence, check.SSHTimeout, []string{"no SSH banner within"}, true},
		"half a banner":      {testnet.Say("SSH-2.0-Te"), check.SSHTimeout, []string{"no SSH banner within"}, true},
		"no key exchange":    {testnet.Say(banner), check.SSHTimeout, []string{"the key exchange did not end within"}, true},
		"ends":               {says(""), check.ConnectReset, []string{"closed the connection without a banner"}, false},
		"ends after banner":  {says(banner), check.ConnectReset, []string{"in the key exchange"}, false},
		"resets":             {testnet.Reset, check.ConnectReset, nil, false},
		"refuses in words":   {says("Exceeded MaxStartups\r\n"), check.SSHMalformed, []string{`the server said "Exceeded MaxStartups"`}, false},
		"mysql":              {testnet.Say("\x4a\x00\x00\x00\x0a8.0.36\x00"), check.SSHMalformed, []string{"no SSH banner, the server said"}, true},
		"endless text":       {flood("welcome\r\n"), check.SSHMalformed, []string{"no SSH banner in the first 16KiB", "welcome"}, false},
		"endless line":       {flood("x"), check.SSHMalformed, []string{"no SSH banner in the first 16KiB"}, false},
		"endless banner":     {flood("SSH-2.0-x"), check.SSHMalformed, []string{"longer than 255 bytes"}, false},
		"version 1":          {testnet.Say("SSH-1.5-Old\r\n"), check.SSHNegotiation, []string{`"1.5"`}, false},
		"no version":         {testnet.Say("SSH-what\r\n"), check.SSHMalformed, []string{`"SSH-what" is no SSH banner`}, false},
		"no packets":         {testnet.Say(banner + "HTTP/1.1 400 Bad Request\r\n\r\n"), check.SSHMalformed, []string{"key exchange: "}, false},
		"ignored for ever":   {ignoring(banner), check.SSHMalformed, []string{"more than 512KiB in the key exchange"}, false},
		"the wrong message":  {testnet.Say(banner + testnet.SSHPacket(1, "\x00\x00\x00\x02\x00\x00\x00\x04gone\x00\x00\x00\x00")), check.SSHMalformed, []string{"gone"}, false},
		"dribbled preamble":  {testnet.Drip("hello\r\n", 5*time.Millisecond), check.SSHMalformed, []string{"no SSH banner, the server said"}, true},
		"nothing in common":  {testnet.Say(banner + testnet.SSHOffer("none", "none")), check.SSHNegotiation, []string{"no common key exchange algorithm", `"none"`}, false},
		"no key of ours":     {testnet.Say(banner + testnet.SSHOffer("curve25519-sha256", "x-key")), check.SSHNegotiation, []string{"no common host key algorithm", `"x-key"`}, false},
		"lies about lengths": {testnet.Say(banner + testnet.SSHPacket(20, strings.Repeat("\xff", 60))), check.SSHMalformed, []string{"key exchange: "}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, port := listen(t, c.handler)
			limit := patience
			if c.slow {
				limit = brief
			}
			o := inTime(limit, func(d time.Duration) check.Observation { return observeSSH(t, host, port, d, nil) }, endsAs(c.code, c.parts...))
			wantFailure(t, o, c.code, c.parts...)
		})
	}
}

// ignoring sends messages that mean nothing (SSH_MSG_IGNORE).
func ignoring(banner string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := io.WriteString(conn, banner); err == nil {
			flood(testnet.SSHPacket(2, "\x00\x00\x04\x00"+strings.Repeat("x", 1024)))(conn)
		}
	}
}

// TestSSHPreamble has lines before the banner, as RFC 4253 section 4.2 allows.
func TestSSHPreamble(t *testing.T) {
	t.Parallel()
	server := testnet.SSH(hostKeys(t), nil, func() {})
	text := strings.Repeat("no trespassing\r\n", 100)
	host, port := listen(t, func(conn net.Conn) {
		if _, err := io.WriteString(conn, text); err == nil {
			server(conn)
		}
	})
	o := observeSSH(t, host, port, patience, nil)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"preamble": strings.TrimRight(text, "\r\n"), "protocol": "2.0", "key.type": "ssh-ed25519"}))
}

// TestSSHKnownHosts compares the key with files of OpenSSH.
func TestSSHKnownHosts(t *testing.T) {
	t.Parallel()
	keys := hostKeys(t)
	others, err := testnet.SSHKeys()
	if err != nil {
		t.Fatal(err)
	}
	host, port := listen(t, testnet.SSH(keys, nil, func() {}))
	addr := net.JoinHostPort(host, port)
	name := knownhosts.Normalize(addr)
	line := func(name string, key ssh.Signer) string { return knownhosts.Line([]string{name}, key.PublicKey()) }
	for what, c := range map[string]struct {
		file  string
		known bool
		kind  string // of key that is asked for
		part  string
	}{
		"the key":       {line(name, keys[0]), true, "ssh-ed25519", ""},
		"another type":  {line(name, keys[2]), true, "ssh-rsa", ""},
		"ecdsa":         {line(name, keys[1]), true, "ecdsa-sha2-nistp256", ""},
		"hashed":        {line(knownhosts.HashHostname(name), keys[1]), true, "ecdsa-sha2-nistp256", ""},
		"nobody":        {line("other.test", keys[0]), false, "ssh-ed25519", "has no key for this host"},
		"empty":         {"", false, "ssh-ed25519", "has no key for this host"},
		"somebody else": {"# hosts\n" + line(name, others[0]), false, "ssh-ed25519", "line 2 of known_hosts has the ssh-ed25519 key " + ssh.FingerprintSHA256(others[0].PublicKey())},
		"revoked":       {line(name, keys[0]) + "\n@revoked * " + string(ssh.MarshalAuthorizedKey(keys[0].PublicKey())), false, "ssh-ed25519", "is revoked, line 2"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			file := tempFile(t, "known_hosts", []byte(c.file+"\n"))
			o := observeSSH(t, host, port, patience, func(o *sshOptions) { o.KnownHosts = file })
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"known": c.known, "key.type": c.kind}))
			if !strings.Contains(o.Because["known"].Message, c.part) {
				t.Errorf("%v, want %q", o.Because["known"], c.part)
			}
		})
	}
}

func TestSSHOptions(t *testing.T) {
	t.Parallel()
	wantTargets(t, map[string]string{
		"ssh://git.test":        "git.test:22",
		"ssh://[::1]:2222/":     "[::1]:2222",
		"ssh://root@git.test":   "error: ",
		"ssh://git.test/x":      "error: ",
		"ssh://git.test?x":      "error: ",
		"ssh://:22":             "error: ",
		"ssh://git.test:0":      "error: ",
		"ssh://git.test:123456": "error: ",
	}, func() check.Options { return &sshOptions{Port: 22} }, func(plan check.Plan) string { return plan.Target })
	for option, o := range map[string]sshOptions{
		"host_key":    {Host: "h", Port: 22, HostKey: "dsa"},
		"known_hosts": {Host: "h", Port: 22, KnownHosts: tempFile(t, "bad", []byte("one two three\n"))},
		"close":       {Host: "h", Port: 22, Close: "never"},
		"port":        {Host: "h", Port: 70000},
		"family":      {Host: "h", Port: 22, Route: Route{Family: "5"}},
	} {
		if _, err := o.Build(needs()); err == nil || !strings.HasPrefix(err.Error(), option+": ") {
			t.Errorf("%v, want it of %s", err, option)
		}
	}
	o := sshOptions{Host: "h", Port: 22, HostKey: "rsa", Route: Route{Family: "6"}}
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := plan.Probe.(*sshProbe).reproduce(), "ssh-keyscan -6 -t rsa -p 22 h | ssh-keygen -lf -"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzSSHKexInit(f *testing.F) {
	f.Add([]byte(testnet.SSHOffer("curve25519-sha256", "ssh-ed25519")))
	f.Add([]byte(testnet.SSHPacket(2, "\x00\x00\x00\x01x") + testnet.SSHOffer("", "")))
	f.Add([]byte(testnet.SSHPacket(20, strings.Repeat("\xff", 60))))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var o check.Observation
		offers := parseKexInit(b)
		offers.report(&o)
		offers.agreed(&o, hostKeyAlgorithms())
	})
}
